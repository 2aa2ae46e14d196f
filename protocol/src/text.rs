//! Free text inside a value: percent-encoded on the wire, for people's eyes at the other end (PROTOCOL section 2).

/// Longest encoded text that is written, in bytes: reasons and agent names must not push a line over its limit.
pub const ENCODED_BYTES_MAX: usize = 256;

/// Percent-encodes all but visible ASCII, and `%` itself. Cut at a character so as to stay within
/// [`ENCODED_BYTES_MAX`].
pub fn encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len().min(ENCODED_BYTES_MAX));
    for character in text.chars() {
        let mut bytes = [0u8; 4];
        let before = encoded.len();
        for byte in character.encode_utf8(&mut bytes).bytes() {
            if byte.is_ascii_graphic() && byte != b'%' {
                encoded.push(char::from(byte));
            } else {
                encoded.extend(percent(byte).map(char::from));
            }
        }
        if encoded.len() > ENCODED_BYTES_MAX {
            encoded.truncate(before);
            break;
        }
    }
    encoded
}

/// The inverse of [`encode`], for whatever a peer sent: a `%` without two hex digits stands for itself, and what is no
/// UTF-8 or a control character becomes U+FFFD, because decoded text ends in logs and on terminals.
pub fn decode(value: &str) -> String {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, behind)) = rest.split_first() {
        let escaped = if *first == b'%' {
            hex_pair(behind)
        } else {
            None
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = behind
            .get(if escaped.is_some() { 2 } else { 0 }..)
            .unwrap_or_default();
    }
    let harmless = |character: char| {
        if character.is_control() {
            char::REPLACEMENT_CHARACTER
        } else {
            character
        }
    };
    String::from_utf8_lossy(&bytes)
        .chars()
        .map(harmless)
        .collect()
}

/// `%XX`.
pub(crate) fn percent(byte: u8) -> [u8; 3] {
    let digit = |nibble: u8| {
        if nibble < 10 {
            b'0' + nibble
        } else {
            b'A' + nibble - 10
        }
    };
    [b'%', digit(byte >> 4), digit(byte & 15)]
}

fn hex_pair(bytes: &[u8]) -> Option<u8> {
    let [high, low, ..] = bytes else { return None };
    let number = char::from(*high).to_digit(16)? << 4 | char::from(*low).to_digit(16)?;
    u8::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn visible_ascii_stays_and_the_rest_is_escaped() {
        assert_eq!(encode("acme/1.0=x"), "acme/1.0=x");
        assert_eq!(encode("50 % é\r\n"), "50%20%25%20%C3%A9%0D%0A");
        assert_eq!(decode("50%20%25%20%c3%A9"), "50 % é");
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        assert_eq!(encode(&"a".repeat(300)).len(), ENCODED_BYTES_MAX);
        let cut = encode(&"é".repeat(300));
        assert_eq!(cut.len(), 252, "42 characters of 6 bytes each fit into 256");
        assert_eq!(decode(&cut), "é".repeat(42));
    }

    #[test]
    fn what_a_peer_sends_is_made_harmless() {
        assert_eq!(decode("%"), "%");
        assert_eq!(decode("%4"), "%4");
        assert_eq!(decode("%zz%+1%41"), "%zz%+1A");
        assert_eq!(
            decode("a%0d%0aforged%1b[2J%7F"),
            "a\u{fffd}\u{fffd}forged\u{fffd}[2J\u{fffd}"
        );
        assert_eq!(decode("%ff%C2%85"), "\u{fffd}\u{fffd}");
    }
}
