//! Basic authentication's grammar (RFC 7617): name and password out of an `Authorization` value.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest value that is looked at, in bytes.
const CREDENTIALS_BYTES_MAX: usize = 2_048;

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Name and password of what stands behind `Basic `. A password may be any bytes.
pub fn parse(token: &[u8]) -> Option<(String, Vec<u8>)> {
    if token.len() > CREDENTIALS_BYTES_MAX {
        return None;
    }
    let pair = BASE64.decode(token.trim_ascii()).ok()?;
    let colon = pair.iter().position(|byte| *byte == b':')?;
    let (name, password) = pair.split_at(colon);
    let name = std::str::from_utf8(name).ok()?.to_owned();
    Some((name, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r47_the_first_colon_ends_the_name() {
        let parsed = |pair: &str| parse(BASE64.encode(pair).as_bytes());
        let pair = |name: &str, password: &str| Some((name.to_owned(), password.into()));
        assert_eq!(parsed("alice:wonder:länd"), pair("alice", "wonder:länd"));
        assert_eq!(parsed(":"), pair("", ""));
        assert_eq!(parse(b"YWxpY2U6eA"), pair("alice", "x"), "without padding");
        assert_eq!(parsed("alice"), None);
        assert_eq!(parse(b"???"), None);
        assert_eq!(parse(&[b'A'; CREDENTIALS_BYTES_MAX + 1]), None);
    }
}
