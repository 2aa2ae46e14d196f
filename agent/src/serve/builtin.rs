//! The embedded web server (R9, R12): HTTP on a data channel, answered from this handset's own data.
//!
//! In the order in which a request meets them:
//!
//! | module | what it is |
//! |---|---|
//! | [`https`] | the same over TLS, on a local port |
//! | [`web`] | the URLs: who is calling, which manager, errors in one form |
//! | [`authentication`] | who is calling |
//! | [`personal_data`] | the manager of lists and items, the same for every resource |
//! | [`conditional`] | tags of what is told, and the conditions that callers set with them |
//! | [`representation`], [`json`], [`xml`], [`vcard`], [`jscontact`], [`icalendar`] | which form is wanted or sent, and the forms |
//! | [`content_line`], [`contacts`], [`mime`], [`sms_pdu`] | lines of vCard and iCalendar, what a card says of a contact; messages as they travel |
//! | [`media`], [`parts`] | files: images, sounds, videos, attachments, as they come and as they go |
//! | [`respond_async`] | who would not wait for the owner gets a task |
//! | [`state`], [`services`], [`capabilities`] | the managers of state and of services; what the hardware has |
//! | [`tasks`], [`idempotency`] | what takes time; what is sent twice is done once |
//! | [`consent`] | the notifier: nothing is done without its permit, and everything is written into the audit log |
//! | [`openapi`] | what all this is, for programs |
//! | [`store`], [`blobs`], [`import`] | SQLite, and what is brought into it at start |
//! | [`inbox`], [`call_book`] | what comes to the handset by itself |
//! | [`events`] | who is told what happens |
//! | [`handset`], [`resource`], [`descriptions`], [`answer`], [`problem`] | passive: what the managers share, descriptions, answers, errors |

pub mod answer;
pub mod authentication;
pub mod blobs;
pub mod capabilities;
pub mod call_book;
pub mod conditional;
pub mod consent;
pub mod contacts;
pub mod content_line;
pub mod descriptions;
pub mod events;
pub mod handset;
pub mod https;
pub mod icalendar;
pub mod idempotency;
pub mod import;
pub mod inbox;
pub mod jscontact;
pub mod json;
pub mod media;
pub mod mime;
pub mod openapi;
pub mod parts;
pub mod personal_data;
pub mod problem;
pub mod representation;
pub mod resource;
pub mod respond_async;
pub mod services;
pub mod sms_pdu;
pub mod state;
pub mod store;
pub mod tasks;
pub mod vcard;
pub mod web;
pub mod xml;

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use everline_protocol::Msisdn;
use http::HeaderMap;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};

use authentication::{Authentication, AuthenticationConfig, DoorError};
use call_book::CallBook;
use consent::{ConsentConfig, Gate};
use events::Events;
use handset::Handset;
use https::{Https, HttpsConfig, HttpsError};
use idempotency::Keys;
use store::{Store, StoreError};
use tasks::Tasks;

use crate::device::simulated::{Simulated, SimulatedConfig};
use crate::owner::{OwnerConfig, OwnerError, Screen};
use crate::status::Status;

/// How long the head of a request may take on a channel that is not kept.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// Buffer of one channel at most, in bytes; also the most that a request's head may have.
const BUFFER_BYTES_MAX: usize = 64 * 1024;

/// What the embedded web server is configured with.
#[derive(Debug, Clone)]
pub struct BuiltinConfig {
    /// The SQLite file.
    pub database: PathBuf,
    /// vCard files to bring in at start.
    pub import: Vec<PathBuf>,
    /// `None`: authentication is off.
    pub authentication: Option<AuthenticationConfig>,
    /// Seconds for which a data channel is kept for the next request; 0: one response each.
    pub linger_s: u32,
    /// Bytes that all pictures, films, messages and kept forms may have together.
    pub content_bytes_max: u64,
    /// How the handset that stands for the hardware behaves.
    pub device: SimulatedConfig,
    /// Whether the owner is asked, and what is permitted from the beginning.
    pub consent: ConsentConfig,
    /// The TLS listener, if there is to be one.
    pub https: Option<HttpsConfig>,
    /// The owner's screen, if there is to be one.
    pub owner: Option<OwnerConfig>,
}

/// The embedded web server could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The database.
    #[error("the database {}: {source}", path.display())]
    Store {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: StoreError,
    },
    /// Who may call.
    #[error("{0}")]
    Door(#[from] DoorError),
    /// The TLS listener.
    #[error("{0}")]
    Https(#[from] HttpsError),
    /// The owner's screen.
    #[error("the owner's screen: {0}")]
    Owner(#[from] OwnerError),
}

/// The embedded web server; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Builtin {
    router: Router,
    linger: Duration,
    /// Takes connections as long as somebody has it.
    https: Option<Arc<Https>>,
    /// Is there as long as somebody has it.
    _screen: Option<Screen>,
    tasks: Tasks,
    gate: Gate,
    /// The simulated handset, for the controls on the owner's screen; `None`: the hardware is real.
    pub simulated: Option<Arc<Simulated>>,
}

impl Builtin {
    /// Opens the database, imports what is to be imported, and hashes what is to be hashed.
    pub async fn open(config: &BuiltinConfig, status: &Status) -> Result<Self, OpenError> {
        let failed = |path: &Path| {
            let path = path.to_owned();
            move |source| OpenError::Store { path, source }
        };
        let store =
            Store::open(&config.database, resource::ALL).map_err(failed(&config.database))?;
        let content_bytes_max = config.content_bytes_max;
        store
            .run(move |db| blobs::limit(db.connection(), content_bytes_max))
            .await
            .map_err(failed(&config.database))?;
        for path in config.import.clone() {
            let imported = store
                .run(move |db| import::file(db, &contacts::CONTACTS, &path))
                .await;
            imported.map_err(failed(&config.database))?;
        }
        let simulated = Simulated::new(config.device.clone());
        let events = Events::default();
        let gate = Gate::start(&store, &events, &config.consent).await;
        let keys = Keys::open(&store).await;
        let handset = Handset {
            store,
            gate: gate.map_err(failed(&config.database))?,
            device: simulated.clone(),
            tasks: Tasks::new(events.clone()),
            events,
            keys: keys.map_err(failed(&config.database))?,
            calls: CallBook::default(),
        };
        let authentication = config.authentication.as_ref();
        let authentication = Authentication::open(&handset.store, authentication, &handset.gate);
        let authentication = authentication.await?;
        if let Some(notifier) = handset.gate.notifier() {
            let notifier = Arc::clone(notifier);
            status.watch_prompts(move || notifier.prompts().len());
        }
        inbox::start(&handset);
        services::resume(&handset)
            .await
            .map_err(failed(&config.database))?;
        let screen = match &config.owner {
            Some(owner) => {
                Some(screen(owner, &handset, &authentication, &simulated, status).await?)
            }
            None => None,
        };
        let tasks = handset.tasks.clone();
        let gate = handset.gate.clone();
        let router = web::router(resource::ALL, &handset, authentication);
        let https = match &config.https {
            Some(https) => Some(Https::open(https, &config.database, router.clone()).await?),
            None => None,
        };
        Ok(Self {
            router,
            tasks,
            gate,
            https: https.map(Arc::new),
            _screen: screen,
            linger: Duration::from_secs(config.linger_s.into()),
            simulated: Some(simulated),
        })
    }

    /// The agent is ending: answers those who wait for what may take long, and lets go of those who listen.
    pub fn leave(&self) {
        if let Some(https) = &self.https {
            https.close();
        }
        self.tasks.close();
        self.gate.leave();
    }

    /// Waits for those who asked over TLS, as data channels are waited for, and for the services that are under way.
    pub async fn answered(&self) {
        if let Some(https) = &self.https {
            https.finish().await;
        }
        self.tasks.finish().await;
    }

    /// The agent has answered all it had in hand: what is written behind a request's back is on the disk after this.
    pub async fn finish(&self) {
        self.gate.finish().await;
    }

    /// Answers the requests of one data channel until either side ends it, or it was idle for the linger. Gives the
    /// channel back, to be closed.
    pub async fn serve<S>(&self, stream: S) -> Result<S, hyper::Error>
    where
        S: AsyncRead + AsyncWrite + Unpin + 'static,
    {
        let keep = !self.linger.is_zero();
        let service = TowerToHyperService::new(self.router.clone());
        let mut connection = http1::Builder::new()
            .timer(TokioTimer::new())
            // hyper counts from when a kept connection falls idle, so this is the linger as well (PROTOCOL 5.3).
            .header_read_timeout(if keep { self.linger } else { HEAD_TIMEOUT })
            .keep_alive(keep)
            .max_buf_size(BUFFER_BYTES_MAX)
            .serve_connection(TokioIo::new(stream), service);
        Pin::new(&mut connection).await?;
        Ok(connection.into_parts().io.into_inner())
    }
}

/// The owner's screen, on which this handset is asked about, managed and, as there is no hardware, played.
async fn screen(
    owner: &OwnerConfig,
    handset: &Handset,
    authentication: &Authentication,
    simulated: &Arc<Simulated>,
    status: &Status,
) -> Result<Screen, OwnerError> {
    let (status, msisdn) = (status.clone(), owner.msisdn.digits().to_string());
    let connection = Arc::new(move || {
        let mut connection = status.connection();
        connection["msisdn"] = msisdn.as_str().into();
        connection
    });
    let api = crate::owner::api::router(handset, authentication, connection);
    Screen::start(owner, api.unwrap_or_default(), Some(Arc::clone(simulated))).await
}

/// What stands before the paths that a caller sees: the gateway's path form takes `/<msisdn>` away and names it in
/// `X-Forwarded-Prefix` (R11, PROTOCOL 5.2). Anything else in that header is not the gateway's, and not repeated.
pub(crate) fn prefix(headers: &HeaderMap) -> &str {
    let value = headers
        .get("x-forwarded-prefix")
        .and_then(|value| value.to_str().ok());
    value
        .filter(|value| {
            let digits = value.strip_prefix('/').map(str::as_bytes);
            digits.is_some_and(|digits| Msisdn::parse(digits).is_ok())
        })
        .unwrap_or_default()
}
