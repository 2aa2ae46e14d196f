//! The owner's API: what the owner's screen speaks to (R53 to R59, R66), as `docs/owner-api.md` describes it.
//!
//! URLs and their JSON, and nothing decided here: the notifier decides, the users' table keeps users. Who may come this far
//! is settled before, by [`super::guard`].
//!
//! | module | what it is |
//! |---|---|
//! | [`prompts`] | prompts, their answers, silences |
//! | [`stream`] | what changes, as server-sent events |
//! | [`access`] | the list manager |
//! | [`users`] | remote users |
//! | [`audit`] | the audit log, in pages and as a file |
//! | [`state`] | the device, the connection, and what there is to permit |
//! | [`body`] | bodies and queries |

pub mod access;
pub mod audit;
pub mod body;
pub mod prompts;
pub mod state;
pub mod stream;
pub mod users;

use std::fmt;
use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::Response;
use axum::routing::{delete, get, post, put};
use serde_json::Value as Json;
use tokio::sync::{Semaphore, watch};

use crate::serve::builtin::authentication::Authentication;
use crate::serve::builtin::authentication::users::Users;
use crate::serve::builtin::consent::notifier::Notifier;
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::problem::{self, Kind, Problem};
use crate::serve::builtin::representation::Format;

/// What the connections manager says of itself, when it is asked.
pub type Connection = Arc<dyn Fn() -> Json + Send + Sync>;

/// Every URL and the methods that it has, as `docs/owner-api.md` lists them.
pub const URLS: &[(&str, &str)] = &[
    ("/api/prompts", "GET"),
    ("/api/prompts/{id}/answer", "POST"),
    ("/api/silences", "POST"),
    ("/api/silences/{user}", "DELETE"),
    ("/api/stream", "GET"),
    ("/api/access", "GET POST"),
    ("/api/access/{id}", "PUT DELETE"),
    ("/api/users", "GET POST"),
    ("/api/users/{name}", "DELETE"),
    ("/api/users/{name}/password", "PUT"),
    ("/api/users/{name}/disabled", "PUT"),
    ("/api/users/{name}/unlock", "POST"),
    ("/api/audit", "GET"),
    ("/api/audit.jsonl", "GET"),
    ("/api/audit.csv", "GET"),
    ("/api/state", "GET"),
    ("/api/connection", "GET"),
    ("/api/resources", "GET"),
];

/// What the owner's API is about; shared by all requests.
pub struct Owner {
    handset: Handset,
    notifier: Arc<Notifier>,
    authentication: Authentication,
    connection: Connection,
    /// Told when the owner changed the remote users.
    users_changed: watch::Sender<()>,
    streams: Arc<Semaphore>,
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Owner").finish_non_exhaustive()
    }
}

impl Owner {
    /// The remote users; a problem where authentication is off, and there are none.
    fn users(&self) -> Result<&Users, Problem> {
        self.authentication.users().ok_or_else(|| {
            Problem::new(
                Kind::NotFound,
                "Authentication is off, so there are no remote users.",
            )
        })
    }
}

type Shared = State<Arc<Owner>>;

/// The URLs. `None` if the gate keeps no list, and there is nothing to manage.
pub fn router(
    handset: &Handset,
    authentication: &Authentication,
    connection: Connection,
) -> Option<Router> {
    let owner = Arc::new(Owner {
        handset: handset.clone(),
        notifier: Arc::clone(handset.gate.notifier()?),
        authentication: authentication.clone(),
        connection,
        users_changed: watch::Sender::new(()),
        streams: Arc::new(Semaphore::new(stream::STREAMS_MAX)),
    });
    let router = Router::new()
        .route("/api/prompts", get(prompts::list))
        .route("/api/prompts/{id}/answer", post(prompts::answer))
        .route("/api/silences", post(prompts::silence))
        .route("/api/silences/{user}", delete(prompts::unsilence))
        .route("/api/stream", get(stream::stream))
        .route("/api/access", get(access::list).post(access::add))
        .route(
            "/api/access/{id}",
            put(access::change).delete(access::delete),
        )
        .route("/api/users", get(users::list).post(users::add))
        .route("/api/users/{name}", delete(users::delete))
        .route("/api/users/{name}/password", put(users::password))
        .route("/api/users/{name}/disabled", put(users::disabled))
        .route("/api/users/{name}/unlock", post(users::unlock))
        .route("/api/audit", get(audit::page))
        .route("/api/audit.jsonl", get(audit::json_lines))
        .route("/api/audit.csv", get(audit::csv))
        .route("/api/state", get(state::state))
        .route("/api/connection", get(state::connection))
        .route("/api/resources", get(state::resources))
        .method_not_allowed_fallback(|| async {
            Problem::new(
                Kind::MethodNotAllowed,
                "The Allow header lists what it has.",
            )
        })
        .with_state(owner)
        .layer(from_fn(tell_problems));
    Some(router)
}

async fn tell_problems(request: Request, next: Next) -> Response {
    problem::render(next.run(request).await, Format::Json)
}
