//! Tags of what is told, and the conditions that callers set with them (RFC 9110, 8.8.3 and 13.1).
//!
//! A tag is `"state.form"`: the same item has another one in each form, since the bytes differ. Whoever deletes an item
//! may show the tag of any form: what counts is the state.

use blake2::{Blake2s256, Digest};
use http::header::{AsHeaderName, IF_MATCH, IF_NONE_MATCH};
use http::{HeaderMap, HeaderValue};

use super::json;
use super::problem::{Kind, Problem};
use super::resource::Resource;
use super::store::Stored;

/// Bytes of a digest that a tag shows.
const SHOWN_BYTES: usize = 12;

/// What is told, in no form yet: two are the same exactly if they say the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct State(String);

impl State {
    /// Of an item: where it is, what it says, and the bytes that it has.
    pub fn of_item(resource: &Resource, stored: &Stored) -> Self {
        let blob = stored.content.as_ref();
        Self::of(&[
            &json::item(resource, stored),
            blob.map_or(b"", |blob| &blob.digest),
        ])
    }

    /// Of a list, whichever part of it: how often it changed says it all.
    pub fn of_list(resource: &Resource, version: i64) -> Self {
        Self::of(&[resource.name.as_bytes(), &version.to_le_bytes()])
    }

    fn of(parts: &[&[u8]]) -> Self {
        // Another agent may tell the same in other words.
        let mut digest = Blake2s256::new_with_prefix(env!("CARGO_PKG_VERSION"));
        for part in parts {
            // Each with its length: no two states look alike.
            digest.update((part.len() as u64).to_le_bytes());
            digest.update(part);
        }
        let digest = digest.finalize();
        let shown = digest.iter().take(SHOWN_BYTES);
        Self(shown.map(|byte| format!("{byte:02x}")).collect())
    }

    /// The `ETag` in this form.
    pub fn tag(&self, form: &str) -> HeaderValue {
        let form: String = form
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
            .collect();
        // Hexadecimal digits, letters and hyphens: always a header's value.
        HeaderValue::try_from(format!("\"{}.{form}\"", self.0))
            .unwrap_or(HeaderValue::from_static("\"\""))
    }

    /// Whether the caller has it in this form already (`If-None-Match`): a 304 is enough.
    pub fn is_known(&self, form: &str, headers: &HeaderMap) -> bool {
        let ours = self.tag(form);
        tags(headers, IF_NONE_MATCH)
            .map(|tag| tag.trim_start_matches("W/"))
            .any(|tag| tag == "*" || tag.as_bytes() == ours.as_bytes())
    }

    /// Refuses to go on if the caller expects another state (`If-Match`).
    pub fn is_expected(&self, headers: &HeaderMap) -> Result<(), Problem> {
        if !headers.contains_key(IF_MATCH) {
            return Ok(());
        }
        let ours = |tag: &str| {
            let tag = tag.strip_prefix('"').and_then(|tag| tag.strip_suffix('"'));
            tag.and_then(|tag| tag.split('.').next()) == Some(&self.0)
        };
        match tags(headers, IF_MATCH).any(|tag| tag == "*" || ours(tag)) {
            true => Ok(()),
            false => Err(Problem::new(
                Kind::Changed,
                "It is not what it was when you read it. Read it again, and show its new ETag in If-Match.",
            )),
        }
    }
}

fn tags(headers: &HeaderMap, name: impl AsHeaderName) -> impl Iterator<Item = &str> {
    let values = headers.get_all(name).into_iter();
    values
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::super::descriptions::CONTACTS;
    use super::*;

    fn list(version: i64) -> State {
        State::of_list(&CONTACTS, version)
    }

    fn with(name: http::HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, value.parse().unwrap())])
    }

    #[test]
    fn r28_what_a_caller_has_is_known_in_its_form_alone() {
        let tag = list(7).tag("json");
        let tag = tag.to_str().unwrap();
        for known in [tag, "*", &format!("W/{tag}"), &format!("\"x\", {tag}")] {
            assert!(
                list(7).is_known("json", &with(IF_NONE_MATCH, known)),
                "{known}"
            );
        }
        assert!(!list(7).is_known("xml", &with(IF_NONE_MATCH, tag)));
        assert!(!list(8).is_known("json", &with(IF_NONE_MATCH, tag)));
        assert!(!list(7).is_known("json", &HeaderMap::new()));
    }

    #[test]
    fn r30_a_delete_goes_by_the_state_in_whatever_form_it_was_read() {
        for form in ["json", "text/vcard"] {
            let tag = list(7).tag(form);
            let headers = with(IF_MATCH, tag.to_str().unwrap());
            assert!(list(7).is_expected(&headers).is_ok());
            assert!(list(8).is_expected(&headers).is_err());
        }
        assert!(list(7).is_expected(&HeaderMap::new()).is_ok());
        assert!(list(7).is_expected(&with(IF_MATCH, "*")).is_ok());
        for wrong in ["", "x", "\"\"", "W/\"x\""] {
            assert!(
                list(7).is_expected(&with(IF_MATCH, wrong)).is_err(),
                "{wrong}"
            );
        }
    }
}
