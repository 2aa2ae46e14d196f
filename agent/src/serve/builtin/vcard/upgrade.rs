//! From vCard 2.1 and 3.0 to 4.0 (RFC 6350, appendix A): property by property, and nothing of a card is lost.
//!
//! What 4.0 took away goes on under the name that it has there, or as an `X-` property. Cards of 4.0 are left alone.

use super::{Card, only};
use crate::serve::builtin::contacts;
use crate::serve::builtin::content_line::{Param, Property, escape, split_escaped, unescape};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// Cards within cards that are looked into; a deeper one stays the text that it is.
const DEPTH_MAX: usize = 4;

/// Properties of which 4.0 knows nothing.
const GONE: &[&str] = &["MAILER", "CLASS", "NAME", "PROFILE"];

/// The media types of what 3.0 names by one word.
const MEDIA: &[(&str, &str)] = &[
    ("jpeg", "image/jpeg"),
    ("jpg", "image/jpeg"),
    ("png", "image/png"),
    ("gif", "image/gif"),
    ("bmp", "image/bmp"),
    ("tiff", "image/tiff"),
    ("webp", "image/webp"),
    ("wave", "audio/wav"),
    ("wav", "audio/wav"),
    ("basic", "audio/basic"),
    ("pcm", "audio/basic"),
    ("aiff", "audio/aiff"),
    ("mp3", "audio/mpeg"),
    ("x509", "application/pkix-cert"),
    ("pgp", "application/pgp-keys"),
];

/// The same card in 4.0.
pub fn card(card: &Card) -> Card {
    nested(card, 0)
}

fn nested(card: &Card, depth: usize) -> Card {
    let old = match card.is_version("2.1") {
        true => Old::V21,
        false => Old::V30,
    };
    let mut properties = vec![Property::raw("VERSION", "4.0")];
    let (mut labels, mut sort) = (Vec::new(), None);
    for property in &card.properties {
        match property.name.as_str() {
            "VERSION" => {}
            "LABEL" => labels.push(property),
            "SORT-STRING" => sort = Some(property),
            "AGENT" => properties.push(agent(property, depth)),
            _ => properties.push(upgraded(property, old)),
        }
    }
    for label in labels {
        put_label(&mut properties, label);
    }
    if let Some(sort) = sort {
        put_sort(&mut properties, sort);
    }
    // 4.0 asks for FN, 2.1 only for N.
    if !properties.iter().any(|p| p.name == "FN") {
        let name = contacts::spoken(card).unwrap_or_default();
        properties.insert(1, Property::of_text("FN", &name));
    }
    Card {
        line: card.line,
        properties,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Old {
    V21,
    V30,
}

fn upgraded(property: &Property, old: Old) -> Property {
    let mut up = Property {
        params: params(property),
        ..property.clone()
    };
    match property.name.as_str() {
        "FN" | "NOTE" | "TITLE" | "ROLE" | "EMAIL" | "TEL" | "PRODID" => {
            up.value = escape(&property.text());
        }
        "NICKNAME" | "CATEGORIES" => up.value = each(&property.value, ',', text),
        "N" | "ADR" => up.value = each(&property.value, ';', |part| component(part, old)),
        "ORG" => up.value = each(&property.value, ';', text),
        "URL" | "SOURCE" | "IMPP" | "CALURI" | "FBURL" | "CALADRURI" => {
            up.value = property.text().trim().to_owned();
        }
        "PHOTO" | "LOGO" | "SOUND" | "KEY" => media(&mut up, property),
        "BDAY" | "ANNIVERSARY" | "DEATHDATE" => date(&mut up),
        "REV" => up.value = basic(&property.text()).unwrap_or_else(|| property.value.clone()),
        "UID" if !is_uri(&property.text()) => set(&mut up, "VALUE", "text"),
        "GEO" => position(&mut up, old),
        "TZ" => zone(&mut up),
        name if GONE.contains(&name) => up.name = format!("X-{name}"),
        _ => {}
    }
    up
}

/// TYPE lists as one, in lower case; `pref` becomes PREF; what said how the value was encoded is done with.
fn params(property: &Property) -> Vec<Param> {
    let mut params: Vec<Param> = Vec::new();
    let types = property.types();
    let named: Vec<_> = types.iter().filter(|t| *t != "pref").cloned().collect();
    if !named.is_empty() {
        let name = "TYPE".to_owned();
        params.push(Param {
            name,
            values: named,
        });
    }
    let ranked = property.param("PREF").is_some();
    if types.iter().any(|t| t == "pref") && !ranked {
        params.push(Param {
            name: "PREF".to_owned(),
            values: vec!["1".to_owned()],
        });
    }
    for param in &property.params {
        match param.name.as_str() {
            "TYPE" | "ENCODING" | "CHARSET" => {}
            "VALUE" => {
                let value = property.param("VALUE").unwrap_or_default();
                let known = match value.to_ascii_lowercase().as_str() {
                    "url" | "uri" | "cid" | "content-id" => "uri",
                    "text" => "text",
                    // The rest is what 4.0 takes for granted, or what it does not know.
                    _ => continue,
                };
                params.push(Param {
                    name: "VALUE".to_owned(),
                    values: vec![known.to_owned()],
                });
            }
            _ => params.push(param.clone()),
        }
    }
    params
}

fn set(property: &mut Property, name: &str, value: &str) {
    property.params.retain(|param| param.name != name);
    property.params.push(Param {
        name: name.to_owned(),
        values: vec![value.to_owned()],
    });
}

fn each(value: &str, at: char, write: impl Fn(&str) -> String) -> String {
    let parts: Vec<_> = split_escaped(value, at).map(write).collect();
    parts.join(if at == ';' { ";" } else { "," })
}

fn text(part: &str) -> String {
    escape(&unescape(part))
}

/// In 3.0 a component may be a list; in 2.1 a comma is a comma.
fn component(part: &str, old: Old) -> String {
    match old {
        Old::V21 => text(part),
        Old::V30 => each(part, ',', text),
    }
}

/// What stood in the card itself becomes a `data:` URI (RFC 2397), its type said by TYPE before.
fn media(up: &mut Property, old: &Property) {
    let encoding = old.param("ENCODING").unwrap_or_default();
    let inline = ["B", "BASE64"]
        .iter()
        .any(|e| encoding.eq_ignore_ascii_case(e));
    let value = old.text();
    if !inline {
        let value = value.trim();
        if is_uri(value) {
            up.value = value.to_owned();
            if let Some(kind) = take_media_type(up, &old.name) {
                set(up, "MEDIATYPE", &kind);
            }
        } else if old.name == "KEY" {
            set(up, "VALUE", "text");
            up.value = escape(value);
        } else {
            // Some phones write how a name sounds here; 4.0 has only URIs in its place.
            up.name = format!("X-{}", old.name);
        }
        return;
    }
    let kind = take_media_type(up, &old.name);
    let kind = kind.unwrap_or_else(|| "application/octet-stream".to_owned());
    let bytes: String = value.chars().filter(|c| !c.is_whitespace()).collect();
    up.params.retain(|param| param.name != "VALUE");
    up.value = format!("data:{kind};base64,{bytes}");
}

/// The media type that a TYPE of 3.0 means; that TYPE is taken away.
fn take_media_type(up: &mut Property, name: &str) -> Option<String> {
    let whole = match name {
        "SOUND" => "audio",
        "KEY" => "application",
        _ => "image",
    };
    let types = up.params.iter_mut().find(|param| param.name == "TYPE")?;
    let is_media = |t: &str| !["home", "work"].contains(&t) && !t.starts_with("x-");
    let at = types.values.iter().position(|t| is_media(t))?;
    let word = types.values.remove(at);
    if types.values.is_empty() {
        up.params.retain(|param| param.name != "TYPE");
    }
    let known = MEDIA.iter().find(|(short, _)| *short == word);
    Some(match known {
        Some((_, kind)) => (*kind).to_owned(),
        None if word.contains('/') => word,
        None => format!("{whole}/{word}"),
    })
}

/// `1996-04-15` to `19960415`; Apple's year that was left out to `--0415`; words to text.
fn date(up: &mut Property) {
    let said = up.text();
    let said = said.trim();
    let omitted = up.param("X-APPLE-OMIT-YEAR").map(str::to_owned);
    if let Some(value) = basic(said) {
        let yearless = omitted.and_then(|year| value.strip_prefix(&year).map(str::to_owned));
        match yearless.filter(|rest| rest.len() == 4) {
            Some(rest) => {
                up.params.retain(|param| param.name != "X-APPLE-OMIT-YEAR");
                up.value = format!("--{rest}");
            }
            None => up.value = value,
        }
    } else {
        set(up, "VALUE", "text");
        up.value = escape(said);
    }
}

/// The basic form of ISO 8601 that 4.0 takes: `1985-04-12T10:22:00.5-05:00` to `19850412T102200-0500`.
pub fn basic(said: &str) -> Option<String> {
    let (date, time) = match said.split_once('T') {
        Some((date, time)) => (date, Some(time)),
        None => (said, None),
    };
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let date = match date.strip_prefix("--") {
        Some(rest) => format!("--{}", rest.replace('-', "")),
        // A year and a month alone keep their hyphen: without it they would be a year, month and day cut short.
        None if date.len() == 7 && date.contains('-') => date.to_owned(),
        None => date.replace('-', ""),
    };
    if !digits(&date.replace('-', "")) || date.len() > 8 {
        return None;
    }
    let Some(time) = time else {
        return Some(date);
    };
    let at = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, offset) = time.split_at(at);
    let clock = clock.split('.').next().unwrap_or_default().replace(':', "");
    let offset = offset.replace(':', "");
    let plain = offset.is_empty() || offset == "Z" || digits(offset.get(1..)?);
    (digits(&clock) && clock.len() <= 6 && plain).then(|| format!("{date}T{clock}{offset}"))
}

/// `37.386;-122.08` to `geo:37.386,-122.08`. 2.1 says longitude, latitude, with a comma between.
fn position(up: &mut Property, old: Old) {
    let said = up.text();
    let (first, second) = match (said.split_once(';'), said.split_once(',')) {
        (Some((latitude, longitude)), _) => (latitude, longitude),
        (None, Some((longitude, latitude))) if old == Old::V21 => (latitude, longitude),
        (None, Some((latitude, longitude))) => (latitude, longitude),
        (None, None) => return,
    };
    let (first, second) = (first.trim(), second.trim());
    if first.parse::<f64>().is_ok() && second.parse::<f64>().is_ok() {
        up.value = format!("geo:{first},{second}");
    }
}

fn zone(up: &mut Property) {
    let said = up.text();
    let said = said.trim();
    if up.says("VALUE", "text") {
        up.value = escape(said);
        return;
    }
    let offset = said.replace(':', "");
    let digits = offset.strip_prefix(['+', '-']).unwrap_or_default();
    let is_offset = [2, 4].contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
    if is_offset {
        set(up, "VALUE", "utc-offset");
        up.value = offset;
    } else {
        up.value = escape(said);
    }
}

/// The card of somebody's agent becomes a relation of that kind, the card itself in a `data:` URI.
fn agent(property: &Property, depth: usize) -> Property {
    let text = property.text();
    let mut up = Property {
        name: "RELATED".to_owned(),
        params: params(property),
        ..property.clone()
    };
    set(&mut up, "TYPE", "agent");
    match only(text.as_bytes()) {
        Ok(card) if depth < DEPTH_MAX => {
            let mut bytes = Vec::new();
            nested(&card, depth + 1).write(&mut bytes);
            up.params.retain(|param| param.name != "VALUE");
            up.value = format!("data:text/vcard;base64,{}", STANDARD.encode(bytes));
        }
        _ if is_uri(text.trim()) => up.value = text.trim().to_owned(),
        _ => {
            set(&mut up, "VALUE", "text");
            up.value = escape(&text);
        }
    }
    up
}

/// A label goes to the address of the same kind; one that has none gets an address of its own.
fn put_label(properties: &mut Vec<Property>, label: &Property) {
    let sorted = |property: &Property| {
        let mut types = property.types();
        types.retain(|t| t != "pref");
        types.sort();
        types
    };
    let wanted = sorted(label);
    let free = |p: &&mut Property| p.name == "ADR" && p.param("LABEL").is_none();
    let mut addresses = properties.iter_mut().filter(free);
    let address = addresses.find(|p| sorted(p) == wanted);
    let text = label.text();
    let text = text.trim();
    if let Some(address) = address {
        set(address, "LABEL", text);
        return;
    }
    let mut own = Property {
        group: label.group.clone(),
        params: params(label),
        ..Property::raw("ADR", ";;;;;;")
    };
    set(&mut own, "LABEL", text);
    properties.push(own);
}

fn put_sort(properties: &mut Vec<Property>, sort: &Property) {
    let text = sort.text();
    match properties.iter_mut().find(|p| p.name == "N") {
        Some(name) => set(name, "SORT-AS", text.trim()),
        None => properties.push(Property::of_text("X-SORT-STRING", &text)),
    }
}

/// Whether a scheme stands before it (RFC 3986, 3.1).
pub fn is_uri(text: &str) -> bool {
    let Some((scheme, _)) = text.split_once(':') else {
        return false;
    };
    let sign = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'-' | b'.');
    scheme.len() > 1
        && scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.bytes().all(sign)
        && !text.contains(char::is_whitespace)
}
