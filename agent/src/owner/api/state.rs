//! The device in one answer, the connection, and what there is to permit.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Value as Json, json};

use super::Shared;
use super::body::told;
use crate::device::Doing;
use crate::serve::builtin::consent::words;
use crate::serve::builtin::resource::{self, Manager};

/// How long each part of the device may take to tell; a modem that is busy does not hold up the screen.
const DEVICE_TIMEOUT: Duration = Duration::from_secs(5);

/// `GET /api/state`. What the device lacks, or can't tell now, is null.
pub(super) async fn state(State(owner): Shared) -> Response {
    let device = &owner.handset.device;
    let battery = told_in_time(device.battery())
        .await
        .map(|battery| json!({"percent": battery.percent, "charging": battery.charging}));
    let coverage = told_in_time(device.coverage()).await.map(|coverage| {
        json!({
            "bars": coverage.bars,
            "dbm": coverage.dbm,
            "technology": coverage.technology,
            "operator": coverage.operator,
        })
    });
    let mode = told_in_time(device.mode()).await.map(|mode| mode.name());
    let sim = told_in_time(device.sim())
        .await
        .flatten()
        .map(|sim| json!({"contacts_max": sim.contacts_max, "sms_max": sim.sms_max}));
    let state = json!({
        "capabilities": device.capabilities(),
        "battery": battery,
        "coverage": coverage,
        "mode": mode,
        "sim": sim,
    });
    told(StatusCode::OK, &state)
}

async fn told_in_time<T>(doing: Doing<'_, T>) -> Option<T> {
    tokio::time::timeout(DEVICE_TIMEOUT, doing).await.ok()?.ok()
}

/// `GET /api/connection`.
pub(super) async fn connection(State(owner): Shared) -> Response {
    told(StatusCode::OK, &(owner.connection)())
}

/// `GET /api/resources`.
pub(super) async fn resources() -> Response {
    let resources: Vec<Json> = resource::ALL
        .iter()
        .map(|resource| {
            let actions = resource.actions.iter().map(|action| {
                let says = words::says(resource::ALL, resource.name, action.name());
                json!({"name": action.name(), "says": says})
            });
            let manager = match resource.manager {
                Manager::PersonalData => "personal-data",
                Manager::State => "state",
                Manager::Service => "service",
            };
            json!({"name": resource.name, "manager": manager, "actions": actions.collect::<Vec<_>>()})
        })
        .collect();
    told(StatusCode::OK, &json!({"resources": resources}))
}
