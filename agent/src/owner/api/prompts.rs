//! Prompts as the owner sees and answers them (R53 to R59), and silences.

use std::time::Duration;

use axum::extract::{Path, Request, State};
use axum::response::Response;
use http::StatusCode;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::body::{gone, id, read, told, wrong};
use super::{Owner, Shared};
use crate::serve::builtin::consent::access::{SECONDS_MAX, TIMES_MAX};
use crate::serve::builtin::consent::answer::Answer;
use crate::serve::builtin::consent::prompts::Open;
use crate::serve::builtin::consent::{Moment, words};
use crate::serve::builtin::problem::Problem;
use crate::serve::builtin::resource;

/// Seconds of a silence at most.
const SILENCE_S_MAX: u64 = 86_400;

/// `GET /api/prompts`.
pub(super) async fn list(State(owner): Shared) -> Response {
    told(StatusCode::OK, &snapshot(&owner))
}

/// All prompts and silences, as they are now.
pub(super) fn snapshot(owner: &Owner) -> Json {
    let now = Moment::now();
    let timeout = owner.notifier.prompt_timeout();
    let prompts = owner.notifier.prompts();
    let silenced = owner.notifier.silenced();
    json!({
        "now": now.rfc3339(),
        "asks": timeout.is_some(),
        "prompt_timeout_s": timeout.map(|timeout| timeout.as_secs()),
        "prompts": prompts.iter().map(|open| prompt(open, now)).collect::<Vec<_>>(),
        "silenced": silenced
            .iter()
            .map(|(user, until)| json!({"user": &**user, "until": until.rfc3339()}))
            .collect::<Vec<_>>(),
    })
}

fn prompt(open: &Open, now: Moment) -> Json {
    let content: Vec<_> = open
        .content
        .iter()
        .map(|detail| json!({"name": detail.name, "text": detail.text}))
        .collect();
    json!({
        "id": open.id.to_string(),
        "user": &*open.user,
        "resource": open.resource,
        "action": open.action,
        "says": words::says(resource::ALL, open.resource, open.action),
        "content": content,
        "waiting": open.waiting,
        "since": open.since.rfc3339(),
        "until": now.after(open.left).rfc3339(),
        "left_ms": u64::try_from(open.left.as_millis()).unwrap_or_default(),
    })
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Said {
    answer: String,
    seconds: Option<i64>,
    until: Option<String>,
    times: Option<i64>,
}

/// `POST /api/prompts/{id}/answer`.
pub(super) async fn answer(
    State(owner): Shared,
    Path(prompt): Path<String>,
    request: Request,
) -> Result<Response, Problem> {
    let prompt = id(&prompt, "prompt")?;
    let said: Said = read(request).await?;
    let Said {
        seconds,
        until,
        times,
        ..
    } = &said;
    let answer = match said.answer.as_str() {
        "for-a-time" => Answer::ForATime(moment(*seconds, until.as_deref())?),
        "a-number-of-times" => Answer::ANumberOfTimes(number_of_times(*times)?),
        "always" => Answer::Always,
        "once" => Answer::Once,
        "not-now" => Answer::NotNow,
        "never" => Answer::Never,
        _ => {
            let known =
                "must be one of always, once, for-a-time, a-number-of-times, not-now, never";
            return Err(wrong("answer", known));
        }
    };
    let timed = matches!(answer, Answer::ForATime(_));
    if !timed && (seconds.is_some() || until.is_some()) {
        return Err(wrong("seconds", "goes with for-a-time alone"));
    }
    if times.is_some() && !matches!(answer, Answer::ANumberOfTimes(_)) {
        return Err(wrong("times", "goes with a-number-of-times alone"));
    }
    let answered = owner.notifier.answer(prompt, answer).await?;
    let answered = answered.ok_or_else(|| gone("prompt"))?;
    let told_to = json!({"permitted": answered.permitted, "denied": answered.denied});
    Ok(told(StatusCode::OK, &told_to))
}

/// When a time ends that the owner said as a length or as a moment.
pub(super) fn moment(seconds: Option<i64>, until: Option<&str>) -> Result<Moment, Problem> {
    let now = Moment::now();
    let until = match (seconds, until) {
        (Some(seconds), None) if (1..=SECONDS_MAX).contains(&seconds) => {
            Moment(now.0.saturating_add(seconds.saturating_mul(1_000)))
        }
        (Some(_), None) => {
            return Err(wrong("seconds", format!("must be from 1 to {SECONDS_MAX}")));
        }
        (None, Some(until)) => {
            let fault = "must be a date and time like 2026-11-23T12:00:00Z (RFC 3339)";
            Moment::parse(until).ok_or_else(|| wrong("until", fault))?
        }
        (Some(_), Some(_)) => return Err(wrong("until", "say either seconds or until")),
        (None, None) => return Err(wrong("seconds", "is missing; or say until")),
    };
    let most = now.0.saturating_add(SECONDS_MAX * 1_000);
    if until <= now || until.0 > most {
        return Err(wrong("until", "must lie in the future, and within a year"));
    }
    Ok(until)
}

/// A number of times that the owner said.
pub(super) fn number_of_times(times: Option<i64>) -> Result<i64, Problem> {
    times
        .filter(|times| (1..=TIMES_MAX).contains(times))
        .ok_or_else(|| wrong("times", format!("must be from 1 to {TIMES_MAX}")))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Silence {
    user: String,
    seconds: u64,
}

/// `POST /api/silences`.
pub(super) async fn silence(State(owner): Shared, request: Request) -> Result<Response, Problem> {
    let Silence { user, seconds } = read(request).await?;
    if !(1..=SILENCE_S_MAX).contains(&seconds) {
        return Err(wrong(
            "seconds",
            format!("must be from 1 to {SILENCE_S_MAX}"),
        ));
    }
    let until = owner.notifier.silence(&user, Duration::from_secs(seconds));
    let silenced = json!({"user": user, "until": until.rfc3339()});
    Ok(told(StatusCode::OK, &silenced))
}

/// `DELETE /api/silences/{user}`.
pub(super) async fn unsilence(
    State(owner): Shared,
    Path(user): Path<String>,
) -> Result<StatusCode, Problem> {
    match owner.notifier.unsilence(&user) {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(gone("silence")),
    }
}
