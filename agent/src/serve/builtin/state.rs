//! The state manager (R15, R36 to R38): battery, coverage and mode, as the device tells them now.
//!
//! Each is a description and a question to the device; reading it is asked for like reading anything else. The call
//! logs are kept items, so the personal data manager has them.

use axum::Router;
use axum::extract::{Request, State as Extracted};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use http::header::ALLOW;

use super::answer::{tagged, wanted};
use super::handset::Handset;
use super::json;
use super::personal_data::act;
use super::problem::Problem;
use super::resource::{Action, BODY_BYTES_MAX, Field, Item, Manager, Resource, Shape, Value};
use super::store::Stored;
use crate::device::{Battery, Coverage, DeviceError, Event, Mode};

/// R36.
pub static BATTERY: Resource = state(
    "battery",
    &[
        Field::new("percent", Shape::Number(0, 100)).given(),
        Field::new("charging", Shape::Flag).given(),
    ],
);

/// R37.
pub static COVERAGE: Resource = state(
    "coverage",
    &[
        Field::new("bars", Shape::Number(0, 5)).given(),
        Field::new("dbm", Shape::Number(-200, 0)).given(),
        Field::new(
            "technology",
            Shape::Choice(&["none", "gsm", "umts", "lte", "nr"]),
        )
        .given(),
        Field::new("operator", Shape::Line { chars_max: 64 }).given(),
    ],
);

/// R38.
pub static MODE: Resource = state(
    "mode",
    &[Field::new(
        "mode",
        Shape::Choice(&["normal", "high", "silent", "vibrate"]),
    )
    .given()],
);

const fn state(name: &'static str, fields: &'static [Field]) -> Resource {
    Resource {
        name,
        item: name,
        manager: Manager::State,
        actions: &[Action::Get],
        memories: &[],
        fields,
        forms: &[],
        content: None,
        complete: None,
        body_bytes_max: BODY_BYTES_MAX,
    }
}

/// The URL of one piece of state.
pub fn routes(resource: &'static Resource, handset: &Handset) -> Router {
    let show = move |Extracted(handset), request| show(resource, handset, request);
    let options = || async { (StatusCode::NO_CONTENT, [(ALLOW, "GET, HEAD, OPTIONS")]) };
    Router::new()
        .route(&format!("/{}", resource.path()), get(show).options(options))
        .with_state(handset.clone())
}

async fn show(
    resource: &'static Resource,
    handset: Handset,
    request: Request,
) -> Result<Response, Problem> {
    let format = wanted(request.headers())?;
    supported(resource, &handset)?;
    let act = act(request.extensions(), resource, Action::Get, Vec::new());
    let permit = handset.gate.permit(act).await?;
    let item = match now(resource, &handset).await {
        Ok(item) => item,
        Err(error) => {
            permit.done("failed");
            return Err(error.into());
        }
    };
    permit.done("200");
    let stored = Stored {
        id: 0,
        store: String::new(),
        item,
        content: None,
    };
    Ok(tagged(resource, &stored, request.headers(), format))
}

/// The owner is not asked for what the handset can't tell.
fn supported(resource: &Resource, handset: &Handset) -> Result<(), Problem> {
    let can = handset.device.capabilities();
    let there = match resource.name {
        "battery" => can.battery,
        "coverage" => can.coverage,
        _ => can.mode,
    };
    match there {
        true => Ok(()),
        false => Err(DeviceError::Unsupported(resource.name).into()),
    }
}

async fn now(resource: &Resource, handset: &Handset) -> Result<Item, DeviceError> {
    let device = &handset.device;
    Ok(match resource.name {
        "battery" => battery(device.battery().await?),
        "coverage" => coverage(&device.coverage().await?),
        _ => mode(device.mode().await?),
    })
}

/// What an event says of a piece of state: its resource, and the same that GET tells. `None`: it says nothing of any.
pub fn told(event: &Event) -> Option<(&'static str, serde_json::Value)> {
    let (resource, item) = match event {
        Event::Battery(now) => (&BATTERY, battery(*now)),
        Event::Coverage(now) => (&COVERAGE, coverage(now)),
        Event::Mode(now) => (&MODE, mode(*now)),
        _ => return None,
    };
    let told = serde_json::from_str(&json::content(resource, &item)).ok()?;
    Some((resource.name, told))
}

fn battery(battery: Battery) -> Item {
    let mut item = BATTERY.blank();
    BATTERY.put(&mut item, "percent", Value::Number(battery.percent.into()));
    BATTERY.put(&mut item, "charging", Value::Flag(battery.charging));
    item
}

fn coverage(coverage: &Coverage) -> Item {
    let mut item = COVERAGE.blank();
    COVERAGE.put(&mut item, "bars", Value::Number(coverage.bars.into()));
    let dbm = coverage.dbm.map(|dbm| Value::Number(dbm.into()));
    COVERAGE.put(&mut item, "dbm", dbm);
    let technology = coverage.technology.to_owned();
    COVERAGE.put(&mut item, "technology", Value::Text(technology));
    let operator = coverage.operator.clone().map(Value::Text);
    COVERAGE.put(&mut item, "operator", operator);
    item
}

fn mode(mode: Mode) -> Item {
    let mut item = MODE.blank();
    MODE.put(&mut item, "mode", Value::Text(mode.name().to_owned()));
    item
}
