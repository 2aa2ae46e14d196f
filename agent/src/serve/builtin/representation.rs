//! Which form a caller gets and which forms it may send: `Accept`, `Content-Type`, and the media types between.
//!
//! [`Format`] is of what has no other forms than JSON and XML: problems, the menu; [`Shown`] is of items and lists.
//! RFC 9110, 12.5.1: quality values, and of the ranges that match a form the most specific one counts.

use http::HeaderMap;
use http::header::{ACCEPT, CONTENT_TYPE};

use super::problem::{Kind, Problem};
use super::resource::{Form, Resource};

/// A form that every resource has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`, the default.
    Json,
    /// `application/xml`.
    Xml,
}

/// Ranges of one `Accept` that are looked at, at most.
const RANGES_MAX: usize = 32;

/// Media types by which each form is asked for. The first that a caller likes best is its form.
const OFFERS: &[(&str, &str, Format)] = &[
    ("application", "json", Format::Json),
    ("application", "xml", Format::Xml),
    ("text", "xml", Format::Xml),
];

/// The same for problems, that a caller may ask for by their own types too.
const PROBLEM_OFFERS: &[(&str, &str, Format)] = &[
    ("application", "json", Format::Json),
    ("application", "problem+json", Format::Json),
    ("application", "xml", Format::Xml),
    ("application", "problem+xml", Format::Xml),
    ("text", "xml", Format::Xml),
];

impl Format {
    /// The form that the caller likes best; `None`: it takes none of ours.
    pub fn wanted(headers: &HeaderMap) -> Option<Self> {
        best(headers, OFFERS)
    }

    /// The form of a problem. A caller that takes neither gets JSON: a reason is better than none.
    pub fn of_problem(headers: &HeaderMap) -> Self {
        best(headers, PROBLEM_OFFERS).unwrap_or(Self::Json)
    }

    /// The `Content-Type` of an item or a list.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml; charset=utf-8",
        }
    }

    /// The `Content-Type` of a problem.
    pub fn problem_type(self) -> &'static str {
        match self {
            Self::Json => "application/problem+json",
            Self::Xml => "application/problem+xml; charset=utf-8",
        }
    }
}

/// A form in which a list or an item is told.
#[derive(Debug, Clone, Copy)]
pub enum Shown {
    /// `application/json`.
    Json,
    /// `application/xml`.
    Xml,
    /// One of the resource's own.
    Form(&'static Form),
    /// The bytes that the item is about, as they are.
    Content,
}

impl Shown {
    /// The form of an item that the caller likes best. `files` are the media types that the bytes may have which it is
    /// about.
    pub fn of_item(
        resource: &'static Resource,
        files: &[&str],
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        Self::of(resource.forms.iter(), files, headers)
    }

    /// The form of a list that the caller likes best.
    pub fn of_list(resource: &'static Resource, headers: &HeaderMap) -> Result<Self, Problem> {
        let forms = resource.forms.iter().filter(|form| form.list.is_some());
        Self::of(forms, &[], headers)
    }

    fn of(
        forms: impl Iterator<Item = &'static Form>,
        files: &[&str],
        headers: &HeaderMap,
    ) -> Result<Self, Problem> {
        let mut offers = vec![
            ("application", "json", Self::Json),
            ("application", "xml", Self::Xml),
            ("text", "xml", Self::Xml),
        ];
        let named = |form: &'static Form| {
            let (kind, subtype) = form.media_type.split_once('/')?;
            Some((kind, subtype, Self::Form(form)))
        };
        offers.extend(forms.filter_map(named));
        let files = files.iter().filter_map(|file| file.split_once('/'));
        offers.extend(files.map(|(kind, subtype)| (kind, subtype, Self::Content)));
        best(headers, &offers).ok_or_else(|| {
            let types = offers.iter().map(|(kind, sub, _)| format!("{kind}/{sub}"));
            let types: Vec<_> = types.collect();
            Problem::new(
                Kind::NotAcceptable,
                format!("Accept one of {}.", types.join(", ")),
            )
        })
    }

    /// The media type, without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Xml => "application/xml",
            Self::Form(form) => form.media_type,
            Self::Content => "application/octet-stream",
        }
    }

    /// The `Content-Type`.
    pub fn content_type(self) -> String {
        match self {
            Self::Xml => format!("{}; charset=utf-8", self.media_type()),
            Self::Form(form) => format!("{}{}", form.media_type, form.parameters),
            Self::Json | Self::Content => self.media_type().to_owned(),
        }
    }
}

/// A form in which an item may be sent.
#[derive(Debug, Clone, Copy)]
pub enum Sent {
    /// `application/json`.
    Json,
    /// `application/xml` or `text/xml`.
    Xml,
    /// One of the resource's own.
    Form(&'static Form),
}

impl Sent {
    /// The form that `Content-Type` names; `None`: none of ours, or a character set other than UTF-8.
    pub fn of(resource: &'static Resource, headers: &HeaderMap) -> Option<Self> {
        let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
        let mut parts = value.split(';');
        let media_type = parts.next()?.trim().to_ascii_lowercase();
        let charset = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
        if let Some((_, charset)) = charset {
            let charset = charset.trim().trim_matches('"');
            if !charset.eq_ignore_ascii_case("utf-8") && !charset.eq_ignore_ascii_case("us-ascii") {
                return None;
            }
        }
        match media_type.as_str() {
            "application/json" => Some(Self::Json),
            "application/xml" | "text/xml" => Some(Self::Xml),
            other => {
                let mut forms = resource.forms.iter().filter(|form| form.read.is_some());
                let named =
                    |form: &&Form| form.media_type == other || form.also_read.contains(&other);
                forms.find(named).map(Self::Form)
            }
        }
    }
}

/// The offer of the highest quality, the first of equals. No `Accept`, or none that can be read, takes everything.
fn best<T: Copy>(headers: &HeaderMap, offers: &[(&str, &str, T)]) -> Option<T> {
    let values = headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok());
    let ranges: Vec<_> = values
        .flat_map(|value| value.split(','))
        .filter_map(Range::parse)
        .take(RANGES_MAX)
        .collect();
    if ranges.is_empty() {
        return offers.first().map(|(_, _, format)| *format);
    }
    let mut found: Option<(u16, T)> = None;
    for (kind, subtype, format) in offers {
        let matching = ranges.iter().filter_map(|range| {
            let specificity = range.matches(kind, subtype)?;
            Some((specificity, range.quality))
        });
        let quality = matching.max().map_or(0, |(_, quality)| quality);
        if quality > found.as_ref().map_or(0, |(best, _)| *best) {
            found = Some((quality, *format));
        }
    }
    found.map(|(_, format)| format)
}

struct Range {
    kind: String,
    subtype: String,
    /// Thousandths.
    quality: u16,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split(';');
        let media_type = parts.next()?.trim().to_ascii_lowercase();
        let (kind, subtype) = match media_type.split_once('/') {
            Some((kind, subtype)) => (kind.to_owned(), subtype.to_owned()),
            // `*` alone is what some clients of the last century send for everything.
            None if media_type == "*" => ("*".to_owned(), "*".to_owned()),
            None => return None,
        };
        let quality = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1000), |(_, value)| quality(value.trim()))?;
        Some(Self {
            kind,
            subtype,
            quality,
        })
    }

    fn matches(&self, kind: &str, subtype: &str) -> Option<u8> {
        match (self.kind.as_str(), self.subtype.as_str()) {
            ("*", "*") => Some(0),
            (k, "*") if k == kind => Some(1),
            (k, s) if k == kind && s == subtype => Some(2),
            _ => None,
        }
    }
}

/// `0`, `0.5`, `1.000` in thousandths; `None` for what is no quality.
fn quality(text: &str) -> Option<u16> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    if fraction.len() > 3 || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let thousandths: u16 = format!("{fraction:0<3}").parse().ok()?;
    match (whole, thousandths) {
        ("0", thousandths) => Some(thousandths),
        ("1", 0) => Some(1000),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::contacts::CONTACTS;
    use super::*;

    fn accepting(accept: &str) -> HeaderMap {
        HeaderMap::from_iter([(ACCEPT, accept.parse().unwrap())])
    }

    #[test]
    fn r16_the_best_quality_of_the_most_specific_range_wins() {
        let cases = [
            ("*/*", Some(Format::Json)),
            ("", Some(Format::Json)),
            ("application/xml", Some(Format::Xml)),
            ("TEXT/XML", Some(Format::Xml)),
            ("application/json;q=0.5, application/xml", Some(Format::Xml)),
            ("application/xml;q=0.2, */*;q=0.1", Some(Format::Xml)),
            ("application/*", Some(Format::Json)),
            ("application/json;q=0, application/*", Some(Format::Xml)),
            (
                "text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8",
                Some(Format::Xml),
            ),
            ("image/png", None),
            ("*/*;q=0", None),
            ("application/json;q=7", Some(Format::Json)),
        ];
        for (accept, wanted) in cases {
            assert_eq!(Format::wanted(&accepting(accept)), wanted, "{accept:?}");
        }
        assert_eq!(Format::of_problem(&accepting("image/png")), Format::Json);
        assert_eq!(
            Format::of_problem(&accepting("application/problem+xml")),
            Format::Xml
        );
    }

    #[test]
    fn r29_what_is_sent_is_told_by_its_type() {
        let sent = |value: &str| {
            let headers = HeaderMap::from_iter([(CONTENT_TYPE, value.parse().unwrap())]);
            match Sent::of(&CONTACTS, &headers) {
                Some(Sent::Json) => "json",
                Some(Sent::Xml) => "xml",
                Some(Sent::Form(form)) => form.media_type,
                None => "none",
            }
        };
        assert_eq!(sent("application/json; charset=UTF-8"), "json");
        assert_eq!(sent("text/x-vcard"), "text/vcard");
        assert_eq!(sent("application/xml;charset=latin1"), "none");
        assert_eq!(sent("text/plain"), "none");
    }
}
