//! Messages that come to the simulated handset: as a network, a message centre and a mail server would hand them over.

use axum::extract::{Request, State};
use http::StatusCode;
use serde::Deserialize;

use super::{Handset, bad, failed, read};
use crate::device::{Device, Number};
use crate::serve::builtin::descriptions::{EMAILS, MMS};
use crate::serve::builtin::mime::{self, Attachment};
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::resource::{Item, Resource, Value};

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Sms {
    /// A number, or a name as companies have.
    from: String,
    text: String,
}

pub(super) async fn sms(
    State(simulated): Handset,
    request: Request,
) -> Result<StatusCode, Problem> {
    let Sms { from, text } = read(request).await?;
    match simulated.receive_sms(&from, &text) {
        Ok(kept) => on_its_way(kept),
        Err(error) => Err(bad(error.to_string())),
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Mms {
    from: String,
    #[serde(default)]
    subject: String,
    text: String,
    /// Whether a photograph hangs on it.
    #[serde(default)]
    picture: bool,
}

pub(super) async fn mms(
    State(simulated): Handset,
    request: Request,
) -> Result<StatusCode, Problem> {
    let Mms {
        from,
        subject,
        text,
        picture,
    } = read(request).await?;
    if Number::parse(&from).is_none() {
        return Err(bad("from: is no telephone number"));
    }
    let item = item(&MMS, [("from", from), ("subject", subject), ("text", text)])?;
    let mut attachments = Vec::new();
    if picture {
        let taken = simulated.photograph().await.map_err(failed)?;
        attachments.push(Attachment {
            media_type: taken.media_type.to_owned(),
            name: "picture.jpg".to_owned(),
            bytes: taken.bytes,
        });
    }
    on_its_way(simulated.receive_mms(mime::message(&MMS, &item, &attachments)))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Email {
    from: String,
    #[serde(default)]
    subject: String,
    text: String,
}

pub(super) async fn email(
    State(simulated): Handset,
    request: Request,
) -> Result<StatusCode, Problem> {
    let Email {
        from,
        subject,
        text,
    } = read(request).await?;
    if !from.contains('@') {
        return Err(bad("from: is no email address"));
    }
    let item = item(
        &EMAILS,
        [("from", from), ("subject", subject), ("text", text)],
    )?;
    on_its_way(simulated.receive_email(mime::message(&EMAILS, &item, &[])))
}

/// The fields of a message, held against its description; an empty one is not there.
fn item(resource: &'static Resource, fields: [(&str, String); 3]) -> Result<Item, Problem> {
    let mut item = resource.blank();
    for (name, text) in fields {
        if !text.is_empty() {
            resource.put(&mut item, name, Value::Text(text));
        }
    }
    Ok(resource.check(item)?)
}

/// What comes while there is no coverage waits in the network, which has no room for ever more.
fn on_its_way(kept: bool) -> Result<StatusCode, Problem> {
    match kept {
        true => Ok(StatusCode::ACCEPTED),
        false => {
            let detail = "The network keeps no more for this handset: let it into coverage, or try again in a moment.";
            Err(Problem::new(Kind::StoreFull, detail))
        }
    }
}
