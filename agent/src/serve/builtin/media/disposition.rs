//! The name of a file in HTTP: `Content-Disposition` (RFC 6266, RFC 8187) and `Slug` (RFC 5023), both ways.
//!
//! A name that was sent is told again and shown; nothing on the handset is ever opened by it.

use std::fmt::Write;

use http::header::CONTENT_DISPOSITION;
use http::{HeaderMap, HeaderValue};

/// Characters of a name at most; more are cut.
const NAME_CHARS_MAX: usize = 255;

/// The file's name that a request tells: without directories, and without what no file can be called.
pub fn file_name(headers: &HeaderMap) -> Option<String> {
    let value = headers.get(CONTENT_DISPOSITION)?;
    let value = String::from_utf8_lossy(value.as_bytes());
    let mut plain = None;
    for parameter in parameters(&value) {
        let Some((name, value)) = parameter.split_once('=') else {
            continue;
        };
        match name.trim().to_ascii_lowercase().as_str() {
            // It comes first wherever it stands: the other one is for those who can't read it.
            "filename*" => {
                if let Some(name) = extended(value.trim()).and_then(|name| base(&name)) {
                    return Some(name);
                }
            }
            "filename" if plain.is_none() => plain = base(&unquoted(value.trim())),
            _ => {}
        }
    }
    plain
}

/// What a request calls the thing that it sends: percent-encoded UTF-8.
pub fn slug(headers: &HeaderMap) -> Option<String> {
    let slug = headers.get("slug")?;
    let slug = String::from_utf8_lossy(&decoded(slug.as_bytes())).into_owned();
    let slug: String = slug.chars().filter(|c| is_shown(*c)).collect();
    let slug: String = slug.trim().chars().take(NAME_CHARS_MAX).collect();
    (!slug.is_empty()).then_some(slug)
}

/// The header of an answer that shows a file of this name, or saves it under that.
pub fn inline(file_name: Option<&str>) -> HeaderValue {
    let Some(name) = file_name.and_then(base) else {
        return HeaderValue::from_static("inline");
    };
    let is_plain = |c: char| matches!(c, ' '..='~') && !matches!(c, '"' | '\\' | '%');
    let plain: String = name
        .chars()
        .map(|c| if is_plain(c) { c } else { '_' })
        .collect();
    let mut value = format!("inline; filename=\"{plain}\"");
    if plain != name {
        value.push_str("; filename*=UTF-8''");
        for byte in name.bytes() {
            // attr-char of RFC 8187, 3.2.1.
            if byte.is_ascii_alphanumeric() || b"!#$&+-.^_`|~".contains(&byte) {
                value.push(char::from(byte));
            } else {
                let _ = write!(value, "%{byte:02X}");
            }
        }
    }
    HeaderValue::try_from(value).unwrap_or(HeaderValue::from_static("inline"))
}

/// The parts between semicolons that are not quoted.
fn parameters(value: &str) -> Vec<&str> {
    let (mut parts, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, c) in value.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' if quoted => escaped = true,
            '"' => quoted = !quoted,
            ';' if !quoted => {
                parts.extend(value.get(start..at));
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.extend(value.get(start..));
    parts
}

fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"') else {
        return value.to_owned();
    };
    let (mut text, mut escaped) = (String::new(), false);
    for c in inner.chars() {
        match c {
            // Windows' own separator was never meant as an escape by those who send paths; the last part is kept anyway.
            '\\' if !escaped => escaped = true,
            '"' if !escaped => break,
            _ => {
                if escaped && c != '"' && c != '\\' {
                    text.push('\\');
                }
                text.push(c);
                escaped = false;
            }
        }
    }
    text
}

/// `UTF-8'en'%e2%82%ac%20rates`; of other character sets only the one that RFC 5987 asked for as well.
fn extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_, encoded) = rest.split_once('\'')?;
    let bytes = decoded(encoded.as_bytes());
    if charset.eq_ignore_ascii_case("utf-8") {
        String::from_utf8(bytes).ok()
    } else if charset.eq_ignore_ascii_case("iso-8859-1") {
        Some(bytes.into_iter().map(char::from).collect())
    } else {
        None
    }
}

fn decoded(text: &[u8]) -> Vec<u8> {
    let hex = |at: usize| text.get(at).and_then(|b| char::from(*b).to_digit(16));
    let (mut bytes, mut at) = (Vec::with_capacity(text.len()), 0);
    while let Some(byte) = text.get(at) {
        match (byte, hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                bytes.push(u8::try_from(high * 16 + low).unwrap_or_default());
                at += 3;
            }
            _ => {
                bytes.push(*byte);
                at += 1;
            }
        }
    }
    bytes
}

/// What a field of text may hold, in XML as well.
fn is_shown(c: char) -> bool {
    !c.is_control() && !matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// The last part of a path of any system, without control characters.
fn base(name: &str) -> Option<String> {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let shown: String = last.chars().filter(|c| is_shown(*c)).collect();
    let shown: String = shown.trim().chars().take(NAME_CHARS_MAX).collect();
    (!matches!(shown.as_str(), "" | "." | "..")).then_some(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(value: &str) -> Option<String> {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        file_name(&HeaderMap::from_iter([(CONTENT_DISPOSITION, value)]))
    }

    #[test]
    fn r21_file_names_are_read_as_programs_send_them() {
        let cases = [
            ("attachment; filename=a.jpg", Some("a.jpg")),
            (
                "attachment; filename=\"a; b.jpg\"; size=1",
                Some("a; b.jpg"),
            ),
            (
                "attachment; filename=\"a \\\"b\\\".jpg\"",
                Some("a \"b\".jpg"),
            ),
            (
                "inline; filename=\"x\"; filename*=UTF-8''%e2%82%ac%20rates.png",
                Some("€ rates.png"),
            ),
            (
                "inline; filename*=iso-8859-1'en'%A3%20rates; filename=x",
                Some("£ rates"),
            ),
            ("inline; filename*=UTF-8''%ff; filename=x", Some("x")),
            ("form-data; FileName=\"Übung.jpg\"", Some("Übung.jpg")),
            (
                "attachment; filename=\"C:\\Users\\ada\\beach.jpg\"",
                Some("beach.jpg"),
            ),
            ("attachment; filename=\"../../etc/passwd\"", Some("passwd")),
            ("attachment; filename=\"..\"", None),
            ("attachment; filename=\"\"", None),
            ("attachment", None),
            ("", None),
        ];
        for (value, name) in cases {
            assert_eq!(named(value).as_deref(), name, "{value}");
        }
        assert_eq!(
            named(&format!("a; filename={}", "x".repeat(999))).map(|n| n.len()),
            Some(255)
        );
        let slug_of = |value: &str| {
            slug(&HeaderMap::from_iter([(
                "slug".parse().unwrap(),
                value.parse().unwrap(),
            )]))
        };
        assert_eq!(
            slug_of("The%20Beach %C3%A9%0A").as_deref(),
            Some("The Beach é")
        );
        assert_eq!(slug_of("%20"), None);
    }

    #[test]
    fn r21_a_name_that_was_told_is_read_again() {
        assert_eq!(inline(None), "inline");
        assert_eq!(inline(Some("a.jpg")), "inline; filename=\"a.jpg\"");
        assert_eq!(
            inline(Some("é\".jpg")),
            "inline; filename=\"__.jpg\"; filename*=UTF-8''%C3%A9%22.jpg"
        );
    }

    proptest::proptest! {
        #[test]
        fn r21_every_name_comes_back(name in "\\PC{1,60}", value: Vec<u8>) {
            let told = inline(Some(&name));
            assert_eq!(named(told.to_str().unwrap()), base(&name));
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                let headers = HeaderMap::from_iter([(CONTENT_DISPOSITION, value.clone()), ("slug".parse().unwrap(), value)]);
                let _ = (file_name(&headers), slug(&headers));
            }
        }
    }
}
