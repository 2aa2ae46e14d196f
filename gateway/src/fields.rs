//! Which header fields go on, which stay on their hop, and which are ours to add (PROTOCOL 5.2). Starts nothing.
//!
//! Sources: RFC 9110 section 7.6.1 (hop-by-hop), RFC 7239 (`Forwarded`), RFC 9113 section 8.2.2 (HTTP/2).

use std::fmt::Write as _;
use std::net::IpAddr;

use http::header::{
    CONNECTION, COOKIE, FORWARDED, HeaderName, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE,
    TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, HeaderValue, Version};

/// Says `X-Request-Id`.
pub const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
/// Says `X-Forwarded-Prefix`.
pub const X_FORWARDED_PREFIX: HeaderName = HeaderName::from_static("x-forwarded-prefix");

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");

/// Fields of one hop, whether `Connection` names them or not. `Trailer` is not among them: it announces to the end.
const HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    KEEP_ALIVE,
    PROXY_CONNECTION,
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    HTTP2_SETTINGS,
    TE,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Longest `X-Request-Id` of a caller that is kept.
const REQUEST_ID_BYTES_MAX: usize = 128;

/// Removes what belongs to the hop that a message came over.
pub fn remove_hop_by_hop(fields: &mut HeaderMap) {
    let named: Vec<HeaderName> = tokens(fields, &CONNECTION)
        // These frame or route the message: naming them cannot take them away.
        .filter(|name| {
            !["host", "content-length", "trailer"]
                .iter()
                .any(|kept| name.eq_ignore_ascii_case(kept))
        })
        .filter_map(|name| HeaderName::try_from(name).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        fields.remove(name);
    }
}

/// HTTP/2 may send each cookie in a field of its own; HTTP/1.1 knows only one field (RFC 9113, section 8.2.3).
pub fn join_cookies(fields: &mut HeaderMap) {
    let crumbs: Vec<&[u8]> = fields
        .get_all(COOKIE)
        .iter()
        .map(HeaderValue::as_bytes)
        .collect();
    if crumbs.len() > 1
        && let Ok(whole) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..]))
    {
        fields.insert(COOKIE, whole);
    }
}

/// Which protocol a message wants to change to, if it says so as it must (RFC 9110, section 7.8). `h2c` never: what
/// came after it would pass the gateway unseen.
pub fn upgrade(fields: &HeaderMap) -> Option<HeaderValue> {
    let asked = tokens(fields, &CONNECTION).any(|token| token.eq_ignore_ascii_case("upgrade"));
    let cleartext_h2 = tokens(fields, &UPGRADE).any(|token| token.eq_ignore_ascii_case("h2c"));
    if asked && !cleartext_h2 {
        fields.get(UPGRADE).cloned()
    } else {
        None
    }
}

/// Whether an HTTP/1 message is its sender's last one on its connection (RFC 9112, section 9.3).
pub fn is_last(version: Version, fields: &HeaderMap) -> bool {
    let says = |option| tokens(fields, &CONNECTION).any(|token| token.eq_ignore_ascii_case(option));
    says("close") || (version < Version::HTTP_11 && !says("keep-alive"))
}

/// Whether whoever sent this can take trailers.
pub fn takes_trailers(fields: &HeaderMap) -> bool {
    tokens(fields, &TE).any(|token| token.eq_ignore_ascii_case("trailers"))
}

/// Whether a request waits for `100 Continue` before it sends its body.
pub fn expects_continue(fields: &HeaderMap) -> bool {
    tokens(fields, &http::header::EXPECT).any(|token| token.eq_ignore_ascii_case("100-continue"))
}

fn tokens<'f>(fields: &'f HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'f str> + use<'f> {
    let values = fields
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok());
    values
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

/// Adds this hop to `Forwarded`, behind those that are there. A chain that is not well formed is dropped: it could
/// swallow our element.
pub fn append_forwarded(fields: &mut HeaderMap, caller: IpAddr, host: &str) {
    let mut chain = String::new();
    for value in fields.get_all(FORWARDED) {
        match value.to_str() {
            Ok(elements) if is_forwarded(elements) => {
                let _ = write!(chain, "{elements}, ");
            }
            _malformed => {
                chain.clear();
                break;
            }
        }
    }
    // Writing to a String does not fail.
    let _ = match caller.to_canonical() {
        IpAddr::V4(address) => write!(chain, "for={address}"),
        IpAddr::V6(address) => write!(chain, "for=\"[{address}]\""),
    };
    let _ = if host.bytes().all(is_token_byte) {
        write!(chain, ";host={host}")
    } else {
        // An authority holds no quote and no backslash, so nothing in it needs escaping.
        write!(chain, ";host=\"{host}\"")
    };
    chain.push_str(";proto=http");
    match HeaderValue::try_from(chain) {
        Ok(chain) => fields.insert(FORWARDED, chain),
        Err(_invalid) => fields.remove(FORWARDED),
    };
}

/// `forwarded-element *( "," forwarded-element )`, pairs of tokens and tokens or quoted strings (RFC 7239, section 4).
fn is_forwarded(mut rest: &str) -> bool {
    loop {
        let token = rest.trim_start_matches([' ', '\t', ',', ';']);
        let Some((name, value)) = token.split_once('=') else {
            return token.is_empty();
        };
        if name.is_empty() || !name.bytes().all(is_token_byte) {
            return false;
        }
        let behind = match value.strip_prefix('"') {
            Some(quoted) => behind_quotes(quoted),
            None => {
                Some(value.trim_start_matches(|c: char| u8::try_from(c).is_ok_and(is_token_byte)))
            }
        };
        match behind {
            Some(behind) if behind.len() < value.len() => rest = behind,
            _ => return false,
        }
        let next = rest.trim_start_matches([' ', '\t']);
        if !next.is_empty() && !next.starts_with([',', ';']) {
            return false;
        }
    }
}

fn behind_quotes(quoted: &str) -> Option<&str> {
    let mut escaped = false;
    for (at, byte) in quoted.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return quoted.get(at + 1..),
            _ => {}
        }
    }
    None
}

fn is_token_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte)
}

/// The caller's `X-Request-Id`, if there is one and it can stand in a log and a header unchanged.
pub fn request_id(fields: &HeaderMap) -> Option<&HeaderValue> {
    let mut ids = fields.get_all(X_REQUEST_ID).iter();
    let (Some(id), None) = (ids.next(), ids.next()) else {
        return None;
    };
    let sane = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:=+/@".contains(byte);
    let is_sane = (1..=REQUEST_ID_BYTES_MAX).contains(&id.len()) && id.as_bytes().iter().all(sane);
    is_sane.then_some(id)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fields(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pairs = pairs.iter().map(|(name, value)| {
            (
                HeaderName::from_static(name),
                value.parse().expect("a value"),
            )
        });
        pairs.fold(HeaderMap::new(), |mut map, (name, value)| {
            map.append(name, value);
            map
        })
    }

    #[test]
    fn what_belongs_to_a_hop_stays_there() {
        let mut map = fields(&[
            ("connection", "close, X-Mine"),
            ("connection", "host, content-length"),
            ("x-mine", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-authorization", "Basic x"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "websocket"),
            ("host", "a"),
            ("content-length", "3"),
            ("trailer", "x-sum"),
            ("traceparent", "00-1-2-01"),
        ]);
        remove_hop_by_hop(&mut map);
        let mut left: Vec<&str> = map.keys().map(HeaderName::as_str).collect();
        left.sort_unstable();
        assert_eq!(left, ["content-length", "host", "traceparent", "trailer"]);
    }

    #[test]
    fn forwarded_grows_at_its_end() {
        let appended = |before: &[(&'static str, &str)], caller: &str, host: &str| {
            let mut map = fields(before);
            append_forwarded(&mut map, caller.parse().expect("an address"), host);
            map.get(FORWARDED)
                .map(|chain| chain.to_str().expect("text").to_owned())
                .expect("a chain")
        };
        assert_eq!(
            appended(&[], "192.0.2.1", "a.example"),
            "for=192.0.2.1;host=a.example;proto=http"
        );
        assert_eq!(
            appended(&[], "::ffff:192.0.2.1", "a"),
            "for=192.0.2.1;host=a;proto=http"
        );
        assert_eq!(
            appended(&[], "2001:db8::1", "a:80"),
            "for=\"[2001:db8::1]\";host=\"a:80\";proto=http"
        );
        assert_eq!(
            appended(
                &[
                    ("forwarded", "for=\"[::1]:99\"; by=_x"),
                    ("forwarded", "for=unknown")
                ],
                "192.0.2.1",
                "a"
            ),
            "for=\"[::1]:99\"; by=_x, for=unknown, for=192.0.2.1;host=a;proto=http"
        );
        for swallowing in ["for=\"", "for=\"a\\\"", "for", "for=a b", "=a", "for=a,\""] {
            assert_eq!(
                appended(&[("forwarded", swallowing)], "192.0.2.1", "a"),
                "for=192.0.2.1;host=a;proto=http",
                "{swallowing}"
            );
        }
    }

    #[test]
    fn an_upgrade_is_one_only_if_connection_says_so() {
        assert_eq!(upgrade(&fields(&[("upgrade", "websocket")])), None);
        assert_eq!(
            upgrade(&fields(&[("upgrade", "h2c"), ("connection", "Upgrade")])),
            None
        );
        let sound = fields(&[
            ("upgrade", "websocket"),
            ("connection", "keep-alive, Upgrade"),
        ]);
        assert_eq!(upgrade(&sound), Some(HeaderValue::from_static("websocket")));
    }

    #[test]
    fn a_sane_request_id_is_kept() {
        assert_eq!(
            request_id(&fields(&[("x-request-id", "abc-1.2:3")])),
            Some(&HeaderValue::from_static("abc-1.2:3"))
        );
        let long = "a".repeat(129);
        for bad in ["", "a b", "a\"b", "<a>", long.as_str()] {
            assert_eq!(request_id(&fields(&[("x-request-id", bad)])), None, "{bad}");
        }
        assert_eq!(
            request_id(&fields(&[("x-request-id", "a"), ("x-request-id", "b")])),
            None
        );
    }

    proptest! {
        #[test]
        fn no_chain_swallows_our_element(before in "[ -~]{0,40}") {
            let mut map = fields(&[("forwarded", &before)]);
            append_forwarded(&mut map, "192.0.2.1".parse().expect("an address"), "a");
            let chain = map.get(FORWARDED).expect("a chain").to_str().expect("text").to_owned();
            prop_assert!(chain.ends_with("for=192.0.2.1;host=a;proto=http"));
            prop_assert!(is_forwarded(&chain));
        }
    }
}
