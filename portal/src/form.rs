//! Forms: reading one within its limits, and the token that shows it was this portal that served it to this visitor.
//!
//! The token is an HMAC of the visitor's cookie under a key made at start, so it needs no memory, holds before sign-in
//! as well as after, and is worth nothing together with any other cookie.

use std::time::Duration;

use aws_lc_rs::hmac;
use axum::body::Body;
use axum::extract::Request;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{StatusCode, header};
use maud::{Markup, html};

use crate::visitor::VisitorId;

/// The name of the hidden input that carries the token.
const TOKEN: &str = "token";
/// The name of the hidden input that tells one filled-out form from the next.
const ONCE: &str = "once";
/// More inputs than any page has.
const INPUTS_MAX: usize = 256;

/// Makes and checks tokens.
pub struct FormKey(hmac::Key);

/// A form as it was sent: its inputs in their order.
#[derive(Debug)]
pub struct Form {
    inputs: Vec<(String, String)>,
    digest: SubmissionId,
}

/// Names one submission: the same form with the same contents sent twice by the same visitor has the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SubmissionId([u8; 16]);

/// Why a form was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FormError {
    /// No token, or not this visitor's.
    #[error("the form is not one that was served to this visitor")]
    Foreign,
    /// Not the type that browsers send.
    #[error("the body is not a form")]
    NotAForm,
    /// Over the limit.
    #[error("the form is too large")]
    TooLarge,
    /// The body did not come in time, or broke off.
    #[error("the form did not arrive whole")]
    Incomplete,
}

impl FormError {
    /// The status that a browser gets.
    pub fn status(self) -> StatusCode {
        match self {
            Self::Foreign => StatusCode::FORBIDDEN,
            Self::NotAForm => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Incomplete => StatusCode::REQUEST_TIMEOUT,
        }
    }
}

impl FormKey {
    /// A new key; every form served before is void.
    ///
    /// # Errors
    /// The machine has no randomness to give.
    pub fn generate() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes)?;
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The hidden inputs that every form of this visitor's must hold.
    pub fn inputs(&self, visitor: &VisitorId) -> Markup {
        let token = URL_SAFE_NO_PAD.encode(hmac::sign(&self.0, &signed(visitor)));
        let mut once = [0; 12];
        // Without randomness the same form sent twice counts as one submission, which is the safe side.
        let _ = aws_lc_rs::rand::fill(&mut once);
        html! {
            input type="hidden" name=(TOKEN) value=(token);
            input type="hidden" name=(ONCE) value=(URL_SAFE_NO_PAD.encode(once));
        }
    }

    /// Reads a form of at most `bytes_max` bytes that must arrive within `timeout`, and checks its token.
    ///
    /// # Errors
    /// See [`FormError`].
    pub async fn read(
        &self,
        request: Request,
        visitor: Option<&VisitorId>,
        bytes_max: usize,
        timeout: Duration,
    ) -> Result<Form, FormError> {
        let kind = request
            .headers()
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok());
        let is_form = kind.is_some_and(|kind| {
            let essence = kind.split(';').next().unwrap_or_default();
            essence
                .trim()
                .eq_ignore_ascii_case("application/x-www-form-urlencoded")
        });
        if !is_form {
            return Err(FormError::NotAForm);
        }
        let body = read_body(request.into_body(), bytes_max, timeout).await?;
        let inputs: Vec<(String, String)> = form_urlencoded::parse(&body)
            .into_owned()
            .take(INPUTS_MAX)
            .collect();
        let token = inputs
            .iter()
            .find(|(name, _)| name == TOKEN)
            .map(|(_, value)| value.as_str());
        let (Some(visitor), Some(token)) = (visitor, token) else {
            return Err(FormError::Foreign);
        };
        let tag = URL_SAFE_NO_PAD
            .decode(token)
            .map_err(|_why| FormError::Foreign)?;
        // Compares in constant time.
        hmac::verify(&self.0, &signed(visitor), &tag).map_err(|_why| FormError::Foreign)?;
        Ok(Form {
            inputs,
            digest: self.digest(visitor, &body),
        })
    }

    fn digest(&self, visitor: &VisitorId, body: &[u8]) -> SubmissionId {
        let mut context = hmac::Context::with_key(&self.0);
        context.update(b"submission");
        context.update(visitor.as_bytes());
        context.update(body);
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().zip(context.sign().as_ref()) {
            *to = *from;
        }
        SubmissionId(short)
    }
}

fn signed(visitor: &VisitorId) -> Vec<u8> {
    [b"form".as_slice(), visitor.as_bytes()].concat()
}

async fn read_body(
    body: Body,
    bytes_max: usize,
    timeout: Duration,
) -> Result<bytes::Bytes, FormError> {
    match tokio::time::timeout(timeout, axum::body::to_bytes(body, bytes_max)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) => {
            let source = std::error::Error::source(&error);
            let over = source.is_some_and(|cause| cause.is::<http_body_util::LengthLimitError>());
            Err(if over {
                FormError::TooLarge
            } else {
                FormError::Incomplete
            })
        }
        Err(_elapsed) => Err(FormError::Incomplete),
    }
}

impl Form {
    /// The first input of this name; empty if there is none.
    pub fn value(&self, name: &str) -> &str {
        self.inputs
            .iter()
            .find(|(input, _)| input == name)
            .map_or("", |(_, value)| value)
    }

    /// All inputs in their order.
    pub fn inputs(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inputs
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The name of this submission.
    pub fn submission(&self) -> SubmissionId {
        self.digest
    }
}

impl SubmissionId {
    /// The inverse of its `Display`.
    pub fn parse(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }
}

impl std::fmt::Display for SubmissionId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&URL_SAFE_NO_PAD.encode(self.0))
    }
}
