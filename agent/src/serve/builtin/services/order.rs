//! What a service is to do, read once from the item that a caller sent: numbers are dialled, reasons known.

use std::time::Duration;

use super::descriptions::{CALL, DIVERT, PHOTOGRAPH, RECORD_VIDEO, SEND_EMAIL, SEND_MMS, SEND_SMS};
use crate::device::{Capabilities, DeviceError, Diversion, DivertReason, Number};
use crate::gsm::sms::split;
use crate::serve::builtin::problem::Problem;
use crate::serve::builtin::resource::{FieldError, Item, Resource, Value};
use crate::serve::builtin::{descriptions::IMAGES, descriptions::SOUNDS, descriptions::VIDEOS};

/// For how long a video is recorded that nobody stops.
const VIDEO_MAX: Duration = Duration::from_secs(60);

/// What is to be done.
#[derive(Debug, Clone)]
pub enum Order {
    /// R40.
    Call(Number),
    /// R41.
    Divert(DivertReason, Diversion),
    /// R42.
    Sms(Number, String),
    /// R43.
    Mms(Message),
    /// R44.
    Email(Message),
    /// R45, with a title.
    Photograph(Option<String>),
    /// R46: for how long at most, with a title.
    Video(Duration, Option<String>),
}

/// A message that goes by MMS or by email.
#[derive(Debug, Clone)]
pub struct Message {
    /// As the description of the service has it.
    pub item: Item,
    /// Which description that is.
    pub resource: &'static Resource,
    /// What goes with it.
    pub attachments: Vec<Attached>,
}

/// An item of this handset whose bytes go with a message.
pub type Attached = (&'static Resource, i64);

impl Order {
    /// What the item says, which fits the description already.
    pub fn read(resource: &'static Resource, item: &Item) -> Result<Self, FieldError> {
        let text = |name| resource.text(item, name).map(str::to_owned);
        let number = |name| number(resource, item, name);
        Ok(match resource.name {
            name if name == CALL.name => Self::Call(number("number")?),
            name if name == DIVERT.name => divert(item)?,
            name if name == SEND_SMS.name => {
                let (to, text) = (number("number")?, text("text").unwrap_or_default());
                // Nobody is asked for what no network takes.
                split(&text).map_err(|error| FieldError::new("text", error.to_string()))?;
                Self::Sms(to, text)
            }
            name if name == SEND_MMS.name => {
                for (at, to) in lines(resource, item, "to").iter().enumerate() {
                    // MMS goes to numbers and to mail addresses alike.
                    if Number::parse(to).is_none() && !is_address(to) {
                        let fault = "must be a number or an email address";
                        return Err(FieldError::new(format!("to[{at}]"), fault));
                    }
                }
                Self::Mms(message(resource, item)?)
            }
            name if name == SEND_EMAIL.name => {
                for field in ["to", "cc", "bcc"] {
                    for (at, to) in lines(resource, item, field).iter().enumerate() {
                        if !is_address(to) {
                            let fault = "must be an email address like ada@example.com";
                            return Err(FieldError::new(format!("{field}[{at}]"), fault));
                        }
                    }
                }
                Self::Email(message(resource, item)?)
            }
            name if name == PHOTOGRAPH.name => Self::Photograph(text("title")),
            _ => {
                let length = match RECORD_VIDEO.value(item, "length_s") {
                    Some(Value::Number(length)) => u64::try_from(*length).ok(),
                    _ => None,
                };
                let length = length.map_or(VIDEO_MAX, Duration::from_secs);
                Self::Video(length, text("title"))
            }
        })
    }

    /// Whether the device can do it at all: the owner is not asked for what it can't.
    pub fn supported(&self, can: &Capabilities) -> Result<(), Problem> {
        let (there, what) = match self {
            Self::Call(_) => (can.calls, "calls"),
            Self::Divert(..) => (can.diversion, "diversion"),
            Self::Sms(..) => (can.sms, "sms"),
            Self::Mms(_) => (can.mms, "mms"),
            Self::Email(_) => (can.email, "email"),
            Self::Photograph(_) => (can.camera, "camera"),
            Self::Video(..) => (can.video, "video"),
        };
        match there {
            true => Ok(()),
            false => Err(DeviceError::Unsupported(what).into()),
        }
    }

    /// The items that go with it.
    pub fn attachments(&self) -> &[Attached] {
        match self {
            Self::Mms(message) | Self::Email(message) => &message.attachments,
            _ => &[],
        }
    }
}

fn number(resource: &Resource, item: &Item, name: &str) -> Result<Number, FieldError> {
    let text = resource.text(item, name).unwrap_or_default();
    Number::parse(text).ok_or_else(|| {
        let most = Number::DIGITS_MAX;
        let fault = format!(
            "must be a number that can be dialled: 1 to {most} digits, after a + if need be"
        );
        FieldError::new(name, fault)
    })
}

/// The reason of this name.
pub fn reason(name: &str) -> Option<DivertReason> {
    DivertReason::ALL.into_iter().find(|r| r.name() == name)
}

fn divert(item: &Item) -> Result<Order, FieldError> {
    let why = DIVERT.text(item, "reason").unwrap_or_default();
    let why = reason(why).ok_or_else(|| FieldError::new("reason", "is not known"))?;
    let after_s = match DIVERT.value(item, "after_s") {
        Some(Value::Number(after)) => u8::try_from(*after).ok(),
        _ => None,
    };
    match (why, after_s) {
        (DivertReason::NoAnswer, Some(after)) if after % 5 != 0 => {
            let fault = "must be one of 5, 10, 15, 20, 25, 30: networks count in steps of five";
            return Err(FieldError::new("after_s", fault));
        }
        (DivertReason::NoAnswer, _) | (_, None) => {}
        (_, Some(_)) => {
            let fault = "goes with the reason no-answer alone";
            return Err(FieldError::new("after_s", fault));
        }
    }
    let to = number(&DIVERT, item, "to")?;
    Ok(Order::Divert(why, Diversion { to, after_s }))
}

/// The lines of a field.
pub fn lines<'a>(resource: &Resource, item: &'a Item, name: &str) -> &'a [String] {
    match resource.value(item, name) {
        Some(Value::Lines(lines)) => lines,
        _ => &[],
    }
}

fn message(resource: &'static Resource, item: &Item) -> Result<Message, FieldError> {
    let mut attachments = Vec::new();
    for (at, href) in lines(resource, item, "attach").iter().enumerate() {
        let attached = attached(href).ok_or_else(|| {
            let fault = "must be one of this handset's images, sounds or videos, like /images/3";
            FieldError::new(format!("attach[{at}]"), fault)
        })?;
        attachments.push(attached);
    }
    let says = ["subject", "text"]
        .iter()
        .any(|f| resource.value(item, f).is_some());
    if !says && attachments.is_empty() {
        let fault =
            "is needed, or a subject, or something attached: a message has to say something";
        return Err(FieldError::new("text", fault));
    }
    Ok(Message {
        item: item.clone(),
        resource,
        attachments,
    })
}

/// `/images/3`, with the gateway's prefix or without: links are told with it.
fn attached(href: &str) -> Option<Attached> {
    let mut segments = href.strip_prefix('/')?.rsplit('/');
    let id = segments.next()?.parse().ok().filter(|id| *id > 0)?;
    let name = segments.next()?;
    let found = [&IMAGES, &SOUNDS, &VIDEOS]
        .into_iter()
        .find(|r| r.name == name)?;
    match (segments.next(), segments.next()) {
        (None, _) => Some((found, id)),
        (Some(number), None) if number.bytes().all(|b| b.is_ascii_digit()) => Some((found, id)),
        _ => None,
    }
}

/// Something before and behind one `@`, and nothing that would end a header's line or address.
fn is_address(text: &str) -> bool {
    let bare = match text.rsplit_once('<') {
        Some((_, rest)) => rest.strip_suffix('>').unwrap_or_default(),
        None => text,
    };
    let odd = |c: char| c.is_whitespace() || c.is_control() || matches!(c, ',' | ';' | '<' | '>');
    bare.rsplit_once('@').is_some_and(|(local, domain)| {
        !local.is_empty() && !domain.is_empty() && !bare.contains(odd)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serve::builtin::json;

    fn read(resource: &'static Resource, body: &str) -> Result<Order, FieldError> {
        let item = resource.check(json::decode(resource, body.as_bytes())?)?;
        Order::read(resource, &item)
    }

    #[test]
    fn r40_r46_an_order_is_read_once_and_its_faults_are_named() {
        let long = "й".repeat(255 * 67 + 1);
        let long = format!(r#"{{"number": "600123456", "text": "{long}"}}"#);
        for (resource, body, field) in [
            (&CALL, r#"{}"#, "number"),
            (&CALL, r#"{"number": "home"}"#, "number"),
            (&CALL, r#"{"number": "+34600000002;rm"}"#, "number"),
            (&DIVERT, r#"{"reason": "busy"}"#, "to"),
            (&DIVERT, r#"{"reason": "always", "to": "1"}"#, "reason"),
            (
                &DIVERT,
                r#"{"reason": "busy", "to": "1", "after_s": 5}"#,
                "after_s",
            ),
            (
                &DIVERT,
                r#"{"reason": "no-answer", "to": "1", "after_s": 7}"#,
                "after_s",
            ),
            (&SEND_SMS, r#"{"number": "600123456"}"#, "text"),
            (&SEND_SMS, long.as_str(), "text"),
            (
                &SEND_MMS,
                r#"{"to": ["600123456", "nobody"], "text": "x"}"#,
                "to[1]",
            ),
            (&SEND_MMS, r#"{"to": ["600123456"]}"#, "text"),
            (
                &SEND_MMS,
                r#"{"to": ["1"], "attach": ["/contacts/1"]}"#,
                "attach[0]",
            ),
            (
                &SEND_EMAIL,
                r#"{"to": ["a@b", "a,b@c"], "text": "x"}"#,
                "to[1]",
            ),
            (
                &SEND_EMAIL,
                r#"{"to": ["a@b"], "bcc": ["@c"], "text": "x"}"#,
                "bcc[0]",
            ),
            (&RECORD_VIDEO, r#"{"length_s": 61}"#, "length_s"),
        ] {
            let error = read(resource, body).unwrap_err();
            assert_eq!(error.field, field, "{body}: {error}");
        }
        let order = read(
            &SEND_EMAIL,
            r#"{"to": ["Ada <a@b>"], "attach": ["/images/3", "/34600000001/sounds/1"]}"#,
        );
        let attached = order.unwrap();
        let names: Vec<_> = attached
            .attachments()
            .iter()
            .map(|(r, id)| (r.name, *id))
            .collect();
        assert_eq!(names, [("images", 3), ("sounds", 1)]);
        let order = read(
            &DIVERT,
            r#"{"reason": "no-answer", "to": "+1 555", "after_s": 20}"#,
        );
        assert!(matches!(
            order.unwrap(),
            Order::Divert(
                DivertReason::NoAnswer,
                Diversion {
                    after_s: Some(20),
                    ..
                }
            )
        ));
    }

    #[test]
    fn r40_r46_what_the_device_lacks_is_told_before_anybody_is_asked() {
        let nothing = Capabilities {
            battery: false,
            coverage: false,
            mode: false,
            calls: false,
            diversion: false,
            sms: false,
            mms: false,
            email: false,
            camera: false,
            video: false,
            video_s_max: 0,
            sim: false,
        };
        for (resource, body) in [
            (&CALL, r#"{"number": "1"}"#),
            (&DIVERT, r#"{"reason": "busy", "to": "1"}"#),
            (&SEND_SMS, r#"{"number": "1", "text": "x"}"#),
            (&SEND_MMS, r#"{"to": ["1"], "text": "x"}"#),
            (&SEND_EMAIL, r#"{"to": ["a@b"], "text": "x"}"#),
            (&PHOTOGRAPH, "{}"),
            (&RECORD_VIDEO, "{}"),
        ] {
            let problem = read(resource, body)
                .unwrap()
                .supported(&nothing)
                .unwrap_err();
            let (status, slug, _) = problem.kind().told();
            assert_eq!(
                (status.as_u16(), slug),
                (501, "unsupported-by-device"),
                "{}",
                resource.name
            );
        }
    }
}
