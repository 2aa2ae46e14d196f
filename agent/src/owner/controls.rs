//! What befalls the simulated handset, and what its owner does with it: the buttons of the owner's screen.
//!
//! Each URL is one method of [`Simulated`]; what comes of it is told as an event of the handset, like any other.

mod messages;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Path, Request, State};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post, put};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::device::simulated::{Incoming, Simulated, TECHNOLOGIES};
use crate::device::{Call, CallEnd, CallId, CallState, Device, Mode, Number};
use crate::serve::builtin::problem::{self, Kind, Problem};
use crate::serve::builtin::representation::Format;

/// Bytes of a body at most: a long message.
const BODY_BYTES_MAX: usize = 16 * 1024;

/// How long a body may take.
const BODY_TIMEOUT: Duration = Duration::from_secs(10);

/// How the handset calls for attention, each of them.
const MODES: [Mode; 4] = [Mode::Normal, Mode::High, Mode::Silent, Mode::Vibrate];

/// Every URL and the methods that it has, as `docs/owner-api.md` lists them.
pub const URLS: &[(&str, &str)] = &[
    ("/api/simulated", "GET"),
    ("/api/simulated/charger", "PUT"),
    ("/api/simulated/battery", "PUT"),
    ("/api/simulated/coverage", "PUT"),
    ("/api/simulated/technology", "PUT"),
    ("/api/simulated/sim", "PUT"),
    ("/api/simulated/mode", "PUT"),
    ("/api/simulated/calls", "POST"),
    ("/api/simulated/calls/{id}/answer", "POST"),
    ("/api/simulated/calls/{id}/hang-up", "POST"),
    ("/api/simulated/sms", "POST"),
    ("/api/simulated/mms", "POST"),
    ("/api/simulated/email", "POST"),
];

type Handset = State<Arc<Simulated>>;

/// The controls; where the hardware is real there are none, and their URLs are not found.
pub(super) fn routes(simulated: Option<Arc<Simulated>>) -> Router {
    let Some(simulated) = simulated else {
        return Router::new();
    };
    Router::new()
        .route("/api/simulated", get(now))
        .route("/api/simulated/charger", put(charger))
        .route("/api/simulated/battery", put(battery))
        .route("/api/simulated/coverage", put(coverage))
        .route("/api/simulated/technology", put(technology))
        .route("/api/simulated/sim", put(sim))
        .route("/api/simulated/mode", put(mode))
        .route("/api/simulated/calls", post(receive_call))
        .route("/api/simulated/calls/{id}/answer", post(answer))
        .route("/api/simulated/calls/{id}/hang-up", post(hang_up))
        .route("/api/simulated/sms", post(messages::sms))
        .route("/api/simulated/mms", post(messages::mms))
        .route("/api/simulated/email", post(messages::email))
        .method_not_allowed_fallback(|| async {
            let detail = "The Allow header lists what it has.";
            Problem::new(Kind::MethodNotAllowed, detail)
        })
        .with_state(simulated)
        .layer(from_fn(tell_problems))
}

async fn tell_problems(request: Request, next: Next) -> Response {
    problem::render(next.run(request).await, Format::Json)
}

/// `GET`: what there is to choose from, and the calls that there are.
async fn now(State(simulated): Handset) -> Result<Response, Problem> {
    let calls = simulated.calls().await.map_err(failed)?;
    let now = json!({
        "technologies": TECHNOLOGIES,
        "modes": MODES.map(Mode::name),
        "calls": calls.iter().map(call).collect::<Vec<_>>(),
    });
    Ok(told(StatusCode::OK, &now))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Charger {
    plugged: bool,
}

async fn charger(State(simulated): Handset, request: Request) -> Result<StatusCode, Problem> {
    let Charger { plugged } = read(request).await?;
    simulated.plug(plugged);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Level {
    percent: u8,
}

async fn battery(State(simulated): Handset, request: Request) -> Result<StatusCode, Problem> {
    let Level { percent } = read(request).await?;
    if percent > 100 {
        return Err(bad("percent: is not from 0 to 100"));
    }
    simulated.set_battery(percent);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Covered {
    covered: bool,
}

async fn coverage(State(simulated): Handset, request: Request) -> Result<StatusCode, Problem> {
    let Covered { covered } = read(request).await?;
    simulated.set_covered(covered);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Technology {
    technology: String,
}

async fn technology(State(simulated): Handset, request: Request) -> Result<StatusCode, Problem> {
    let Technology { technology } = read(request).await?;
    match simulated.set_technology(&technology) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(bad(format!(
            "technology: is none of {}",
            TECHNOLOGIES.join(", ")
        ))),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Card {
    inside: bool,
}

async fn sim(State(simulated): Handset, request: Request) -> Result<StatusCode, Problem> {
    let Card { inside } = read(request).await?;
    simulated.set_sim(inside);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Attention {
    mode: String,
}

async fn mode(State(simulated): Handset, request: Request) -> Result<StatusCode, Problem> {
    let Attention { mode } = read(request).await?;
    let Some(mode) = MODES.into_iter().find(|m| m.name() == mode) else {
        let names = MODES.map(Mode::name).join(", ");
        return Err(bad(format!("mode: is none of {names}")));
    };
    simulated.set_mode(mode);
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Caller {
    /// Null or absent: the number is withheld.
    #[serde(default)]
    from: Option<String>,
}

/// Somebody calls. What becomes of it is the answer: only a call that rings is one of the handset's.
async fn receive_call(State(simulated): Handset, request: Request) -> Result<Response, Problem> {
    let Caller { from } = read(request).await?;
    let from = from.as_deref().map(number).transpose()?;
    let (status, became) = match simulated.receive_call(from) {
        Incoming::Rings(CallId(id)) => (
            StatusCode::CREATED,
            json!({"became": "rings", "id": id.to_string()}),
        ),
        Incoming::Diverted(to) => (
            StatusCode::OK,
            json!({"became": "diverted", "reason": to.reason.name(), "to": to.to.as_str()}),
        ),
        Incoming::Busy => (StatusCode::OK, json!({"became": "busy"})),
        Incoming::Unreachable => (StatusCode::OK, json!({"became": "unreachable"})),
    };
    Ok(told(status, &became))
}

async fn answer(State(simulated): Handset, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    match simulated.answer(call_id(&id)?) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(gone()),
    }
}

async fn hang_up(State(simulated): Handset, Path(id): Path<String>) -> Result<StatusCode, Problem> {
    let id = call_id(&id)?;
    let calls = simulated.calls().await.map_err(failed)?;
    if !calls.iter().any(|call| call.id == id) {
        return Err(gone());
    }
    simulated.hang_up(id).await.map_err(failed)?;
    Ok(StatusCode::NO_CONTENT)
}

fn told(status: StatusCode, value: &Value) -> Response {
    let headers = [(CONTENT_TYPE, "application/json")];
    (status, headers, value.to_string()).into_response()
}

fn call(call: &Call) -> Value {
    let state = match call.state {
        CallState::Dialing => "dialing",
        CallState::Ringing => "ringing",
        CallState::Active => "active",
        CallState::Ended(CallEnd::Answered(_)) => "answered",
        CallState::Ended(CallEnd::NoAnswer) => "no-answer",
        CallState::Ended(CallEnd::Busy) => "busy",
        CallState::Ended(CallEnd::Failed) => "failed",
    };
    json!({
        "id": call.id.0.to_string(),
        "incoming": call.incoming,
        "number": call.number.as_ref().map(Number::as_str),
        "state": state,
    })
}

fn call_id(text: &str) -> Result<CallId, Problem> {
    text.parse().ok().map(CallId).ok_or_else(gone)
}

fn number(text: &str) -> Result<Number, Problem> {
    let wanted = "from: is no telephone number: digits, * and #, with or without a + before them";
    Number::parse(text).ok_or_else(|| bad(wanted))
}

fn gone() -> Problem {
    Problem::new(Kind::NotFound, "The call is over.")
}

fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadItem, detail)
}

/// The simulated handset does what it is told, or is not there.
fn failed(error: crate::device::DeviceError) -> Problem {
    Problem::new(Kind::Internal, error.to_string())
}

async fn read<T: DeserializeOwned>(request: Request) -> Result<T, Problem> {
    let body: Body = request.into_body();
    let body = tokio::time::timeout(BODY_TIMEOUT, to_bytes(body, BODY_BYTES_MAX)).await;
    let late = |_| Problem::new(Kind::BodyTimeout, "Send the whole body at once.");
    let long = |_| Problem::new(Kind::TooLarge, format!("At most {BODY_BYTES_MAX} bytes."));
    let body = body.map_err(late)?.map_err(long)?;
    serde_json::from_slice(&body).map_err(|error| bad(error.to_string()))
}
