//! The owner's screen (R53, R66): a web page on loopback, behind the owner's secret, that looks like a handset's.
//!
//! In the order in which a request of the owner's browser meets them:
//!
//! | module | what it is |
//! |---|---|
//! | [`listener`] | the socket on loopback, and its connections |
//! | [`guard`] | whose page sends it, and whether the owner is signed in |
//! | [`secret`] | the owner's secret and the cookie that stands for it |
//! | [`page`] | the page, its script and its style |
//! | [`api`] | what the page speaks to: prompts, access list, remote users, audit log |
//! | [`controls`] | what befalls the simulated handset, for the buttons of the page |
//!
//! No remote caller gets here: what comes through a gateway goes to [`crate::serve`], which does not know this router.

pub mod api;
pub mod controls;
pub mod guard;
pub mod listener;
pub mod page;
pub mod secret;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use everline_protocol::Msisdn;

use crate::device::simulated::Simulated;
use guard::Guard;
use listener::Running;
use secret::{Secret, SecretError};

/// Where the owner's screen is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OwnerConfig {
    /// An address of loopback; port 0: one that is free.
    pub listen: SocketAddr,
    /// The file with the secret, made if it is not there.
    pub secret_file: PathBuf,
    /// The handset's number, for its screen.
    pub msisdn: Msisdn,
}

/// The owner's screen could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum OwnerError {
    /// The secret.
    #[error(transparent)]
    Secret(#[from] SecretError),
    /// The address.
    #[error("listening on {0}: {1}")]
    Listen(SocketAddr, std::io::Error),
}

/// The owner's screen; when the last clone is dropped, it is gone.
#[derive(Debug, Clone)]
pub struct Screen {
    address: SocketAddr,
    _running: Arc<Running>,
}

impl Screen {
    /// Listens, and answers from now on. `api` has the owner's API, whose paths begin with `/api/`.
    pub async fn start(
        config: &OwnerConfig,
        api: Router,
        simulated: Option<Arc<Simulated>>,
    ) -> Result<Self, OwnerError> {
        let secret = Secret::open(&config.secret_file)?;
        let failed = |error| OwnerError::Listen(config.listen, error);
        let listener = listener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let api = api.merge(controls::routes(simulated));
        let router = Guard::new(secret, address).stand_before(page::routes(), api);
        tracing::info!(
            "the owner's screen is at http://{address}/, its secret in {}",
            config.secret_file.display()
        );
        Ok(Self {
            address,
            _running: Arc::new(listener::run(listener, router)),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}
