//! The embedded web server (R9, R12): HTTP on a data channel, answered from this handset's own data.
//!
//! In the order in which a request meets them:
//!
//! | module | what it is |
//! |---|---|
//! | [`web`] | the URLs: who is calling, which manager, errors in one form |
//! | [`authentication`] | who is calling |
//! | [`personal_data`] | the manager of lists and items, the same for every resource |
//! | [`representation`], [`json`], [`xml`], [`vcard`] | which form is wanted or sent, and the forms |
//! | [`idempotency`] | what is sent twice is done once |
//! | [`consent`] | the notifier: nothing is done without its permit |
//! | [`store`], [`blobs`], [`import`] | SQLite, and what is brought into it at start |
//! | [`events`] | who is told what happens |
//! | [`handset`], [`resource`], [`contacts`], [`problem`] | passive: what the managers share, descriptions, errors |

pub mod authentication;
pub mod blobs;
pub mod consent;
pub mod contacts;
pub mod events;
pub mod handset;
pub mod idempotency;
pub mod import;
pub mod json;
pub mod personal_data;
pub mod problem;
pub mod representation;
pub mod resource;
pub mod store;
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

use authentication::{Authentication, User, UserError, Users};
use consent::Gate;
use events::Events;
use handset::Handset;
use idempotency::Keys;
use store::{Store, StoreError};

use crate::device::simulated::{Simulated, SimulatedConfig};

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
    pub users: Option<Vec<User>>,
    /// Seconds for which a data channel is kept for the next request; 0: one response each.
    pub linger_s: u32,
    /// Bytes that all pictures, films, messages and kept forms may have together.
    pub content_bytes_max: u64,
    /// How the handset that stands for the hardware behaves.
    pub device: SimulatedConfig,
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
    /// The users.
    #[error("the users: {0}")]
    Users(#[from] UserError),
}

/// The embedded web server; a clone is the same one.
#[derive(Debug, Clone)]
pub struct Builtin {
    router: Router,
    linger: Duration,
    /// The simulated handset, for the controls on the owner's screen; `None`: the hardware is real.
    pub simulated: Option<Arc<Simulated>>,
}

impl Builtin {
    /// Opens the database, imports what is to be imported, and hashes what is to be hashed.
    pub async fn open(config: &BuiltinConfig) -> Result<Self, OpenError> {
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
        let authentication = match &config.users {
            Some(users) => Authentication::Basic(Arc::new(Users::new(users.clone())?)),
            None => Authentication::Off,
        };
        let simulated = Simulated::new(config.device.clone());
        let handset = Handset {
            store,
            gate: Gate::open(),
            device: simulated.clone(),
            events: Events::default(),
            keys: Keys::default(),
        };
        Ok(Self {
            router: web::router(resource::ALL, &handset, authentication),
            linger: Duration::from_secs(config.linger_s.into()),
            simulated: Some(simulated),
        })
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
