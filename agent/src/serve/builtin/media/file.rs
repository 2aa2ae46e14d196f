//! An answer that is a file: the bytes of an item, of a part of a message, of a thumbnail.
//!
//! Range, conditional requests and HEAD are the same for all of them, and so is what keeps a browser from taking a file
//! for more than it is.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{
    ACCEPT_RANGES, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_LENGTH, CONTENT_RANGE,
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, VARY, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderValue, Method, StatusCode};

use super::disposition;
use super::range::{Wanted, wanted};
use crate::serve::builtin::blobs::{Blob, stream};
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::store::Store;

/// A picture, sound or film that a browser shows by itself runs nothing and fetches nothing but itself.
const POLICY: &str =
    "sandbox; default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'";

/// A document, such as what hangs on an email, fetches nothing at all: each picture of it at a URL of this handset would
/// be a request in the name of whoever looks at it.
const DOCUMENT_POLICY: &str =
    "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'";

/// Bytes with all that is told of them.
#[derive(Debug)]
pub struct File {
    media_type: String,
    file_name: Option<String>,
    etag: HeaderValue,
    bytes: u64,
    held: Held,
}

#[derive(Debug)]
enum Held {
    Blob(Store, i64),
    Memory(Bytes),
}

impl File {
    /// An item's bytes. `etag` is a strong one.
    pub fn of_blob(store: &Store, blob: &Blob, etag: HeaderValue) -> Self {
        Self {
            media_type: blob.media_type.clone(),
            file_name: None,
            etag,
            bytes: blob.bytes,
            held: Held::Blob(store.clone(), blob.id),
        }
    }

    /// Bytes that were made of an item's: a part of a message, a small picture.
    pub fn in_memory(media_type: String, bytes: Bytes, etag: HeaderValue) -> Self {
        Self {
            media_type,
            file_name: None,
            etag,
            bytes: bytes.len() as u64,
            held: Held::Memory(bytes),
        }
    }

    /// The same with a name under which it may be saved.
    pub fn named(mut self, file_name: Option<String>) -> Self {
        self.file_name = file_name;
        self
    }

    /// Answers a GET or a HEAD.
    pub fn answer(self, method: &Method, headers: &HeaderMap) -> Response {
        let all = 0..self.bytes;
        let (status, range) = match wanted(method, headers, &self.etag, self.bytes) {
            Wanted::Nothing => (StatusCode::NOT_MODIFIED, None),
            Wanted::All => (StatusCode::OK, Some(all)),
            Wanted::Part(range) => (StatusCode::PARTIAL_CONTENT, Some(range)),
            Wanted::Beyond => return self.beyond(),
        };
        let mut response = status.into_response();
        let headers = response.headers_mut();
        let told = |value: &str| HeaderValue::try_from(value).ok();
        headers.extend([
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (VARY, HeaderValue::from_static("Accept")),
            (ACCEPT_RANGES, HeaderValue::from_static("bytes")),
            (ETAG, self.etag.clone()),
        ]);
        let Some(range) = range else {
            return response;
        };
        let octets = HeaderValue::from_static("application/octet-stream");
        headers.extend([
            (CONTENT_TYPE, told(&self.media_type).unwrap_or(octets)),
            (CONTENT_LENGTH, (range.end - range.start).into()),
            (
                CONTENT_DISPOSITION,
                disposition::inline(self.file_name.as_deref()),
            ),
            (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (
                CONTENT_SECURITY_POLICY,
                HeaderValue::from_static(policy(&self.media_type)),
            ),
        ]);
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {}-{}/{}", range.start, range.end - 1, self.bytes);
            headers.extend(told(&range).map(|range| (CONTENT_RANGE, range)));
        }
        if method != Method::HEAD {
            *response.body_mut() = match self.held {
                Held::Blob(store, id) => stream::body(&store, id, range),
                Held::Memory(bytes) => {
                    let at = |offset| usize::try_from(offset).unwrap_or(bytes.len());
                    Body::from(bytes.slice(at(range.start)..at(range.end)))
                }
            };
        }
        response
    }

    fn beyond(&self) -> Response {
        let detail = format!("There are {} bytes: ask for some of them.", self.bytes);
        let mut response = Problem::new(Kind::RangeNotSatisfiable, detail).into_response();
        if let Ok(range) = HeaderValue::try_from(format!("bytes */{}", self.bytes)) {
            response.headers_mut().insert(CONTENT_RANGE, range);
        }
        response
    }
}

fn policy(media_type: &str) -> &'static str {
    let shown = ["image/", "audio/", "video/"];
    let is_shown = shown.iter().any(|kind| media_type.starts_with(kind));
    match is_shown && !media_type.starts_with("image/svg") {
        true => POLICY,
        false => DOCUMENT_POLICY,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r21_r26_a_document_may_not_ask_this_handset_for_anything() {
        for document in [
            "text/html",
            "image/svg+xml",
            "application/pdf",
            "message/rfc822",
        ] {
            assert!(!policy(document).contains("'self'"), "{document}");
        }
        // What a browser shows in a page that it makes itself is fetched by that page.
        for shown in ["image/jpeg", "video/mp4", "audio/ogg"] {
            assert!(policy(shown).contains("img-src 'self'; media-src 'self'"));
        }
    }
}
