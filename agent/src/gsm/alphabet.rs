//! The GSM 7-bit default alphabet (TS 23.038, 6.2.1): characters as septets, and septets packed into octets.

/// The character of each septet; the one at [`ESCAPE`] stands for none.
#[rustfmt::skip]
const BASIC: [char; 128] = [
    '@', '£', '$', '¥', 'è', 'é', 'ù', 'ì', 'ò', 'Ç', '\n', 'Ø', 'ø', '\r', 'Å', 'å',
    'Δ', '_', 'Φ', 'Γ', 'Λ', 'Ω', 'Π', 'Ψ', 'Σ', 'Θ', 'Ξ', '\u{1b}', 'Æ', 'æ', 'ß', 'É',
    ' ', '!', '"', '#', '¤', '%', '&', '\'', '(', ')', '*', '+', ',', '-', '.', '/',
    '0', '1', '2', '3', '4', '5', '6', '7', '8', '9', ':', ';', '<', '=', '>', '?',
    '¡', 'A', 'B', 'C', 'D', 'E', 'F', 'G', 'H', 'I', 'J', 'K', 'L', 'M', 'N', 'O',
    'P', 'Q', 'R', 'S', 'T', 'U', 'V', 'W', 'X', 'Y', 'Z', 'Ä', 'Ö', 'Ñ', 'Ü', '§',
    '¿', 'a', 'b', 'c', 'd', 'e', 'f', 'g', 'h', 'i', 'j', 'k', 'l', 'm', 'n', 'o',
    'p', 'q', 'r', 's', 't', 'u', 'v', 'w', 'x', 'y', 'z', 'ä', 'ö', 'ñ', 'ü', 'à',
];

/// The characters behind [`ESCAPE`] (TS 23.038, 6.2.1.1).
const EXTENSION: [(u8, char); 10] = [
    (0x0a, '\u{c}'),
    (0x14, '^'),
    (0x28, '{'),
    (0x29, '}'),
    (0x2f, '\\'),
    (0x3c, '['),
    (0x3d, '~'),
    (0x3e, ']'),
    (0x40, '|'),
    (0x65, '€'),
];

/// The septet before those of the extension table.
const ESCAPE: u8 = 0x1b;

/// Bits of a septet.
const BITS: usize = 7;

/// How many septets a character takes: one or two. `None`: the alphabet does not have it.
pub fn septets(character: char) -> Option<usize> {
    encode_one(character).map(|(escaped, _)| 1 + usize::from(escaped))
}

/// A text in septets, one to an octet. `None`: it has a character that the alphabet does not have.
pub fn encode(text: &str) -> Option<Vec<u8>> {
    let mut septets = Vec::with_capacity(text.len());
    for character in text.chars() {
        let (escaped, septet) = encode_one(character)?;
        if escaped {
            septets.push(ESCAPE);
        }
        septets.push(septet);
    }
    Some(septets)
}

/// The text of septets. As the specification has it, an escape before something unknown is passed over, and one before
/// another escape, or behind everything, is a space.
pub fn decode(septets: &[u8]) -> String {
    let mut text = String::with_capacity(septets.len());
    let mut septets = septets.iter().map(|septet| septet & 0x7f);
    while let Some(septet) = septets.next() {
        if septet != ESCAPE {
            text.push(basic(septet));
            continue;
        }
        let Some(next) = septets.next().filter(|next| *next != ESCAPE) else {
            text.push(' ');
            continue;
        };
        let extended = EXTENSION.iter().find(|(code, _)| *code == next);
        text.push(extended.map_or_else(|| basic(next), |(_, character)| *character));
    }
    text
}

/// Septets in octets, lowest bits first, behind so many bits of filling (TS 23.038, 6.1.2.1).
pub fn pack(septets: &[u8], fill_bits: usize) -> Vec<u8> {
    let bits = fill_bits + septets.len() * BITS;
    let mut octets = vec![0_u8; bits.div_ceil(8)];
    for (at, septet) in septets.iter().enumerate() {
        let bit = fill_bits + at * BITS;
        let wide = u16::from(septet & 0x7f) << (bit % 8);
        let [low, high] = wide.to_le_bytes();
        for (octet, part) in octets.iter_mut().skip(bit / 8).zip([low, high]) {
            *octet |= part;
        }
    }
    octets
}

/// So many septets of octets, behind the filling. `None`: there are not enough octets.
pub fn unpack(octets: &[u8], fill_bits: usize, count: usize) -> Option<Vec<u8>> {
    let mut septets = Vec::new();
    for at in 0..count {
        let bit = fill_bits + at * BITS;
        let low = *octets.get(bit / 8)?;
        let high = octets.get(bit / 8 + 1).copied();
        if high.is_none() && bit % 8 > 1 {
            return None;
        }
        let wide = u16::from_le_bytes([low, high.unwrap_or_default()]) >> (bit % 8);
        septets.push(wide.to_le_bytes()[0] & 0x7f);
    }
    Some(septets)
}

fn basic(septet: u8) -> char {
    BASIC.get(usize::from(septet)).copied().unwrap_or(' ')
}

/// Whether it stands behind an escape, and its septet.
fn encode_one(character: char) -> Option<(bool, u8)> {
    let extended = EXTENSION.iter().find(|(_, known)| *known == character);
    if let Some((septet, _)) = extended {
        return Some((true, *septet));
    }
    let at = BASIC.iter().position(|known| *known == character)?;
    let septet = u8::try_from(at).ok().filter(|at| *at != ESCAPE)?;
    Some((false, septet))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn r42_hellohello_is_packed_as_everybody_packs_it() {
        let septets = encode("hellohello").unwrap();
        let octets = [0xe8, 0x32, 0x9b, 0xfd, 0x46, 0x97, 0xd9, 0xec, 0x37];
        assert_eq!(pack(&septets, 0), octets);
        assert_eq!(unpack(&octets, 0, 10), Some(septets));
        assert_eq!(unpack(&octets, 0, 11), None);
    }

    #[test]
    fn r42_the_extension_takes_two_septets_and_what_is_unknown_is_read_as_can_be() {
        assert_eq!(encode("€"), Some(vec![0x1b, 0x65]));
        assert_eq!(
            (septets('€'), septets('a'), septets('ç')),
            (Some(2), Some(1), None)
        );
        assert_eq!(encode("\u{1b}"), None, "the escape is no character");
        assert_eq!(
            decode(&[0x1b, 0x65, 0x1b, 0x41, 0x1b, 0x1b, 0x41, 0x1b]),
            "€A A "
        );
    }

    proptest! {
        #[test]
        fn r42_what_is_encoded_is_decoded(picks in proptest::collection::vec(0_usize..137, 0..200), fill in 0_usize..7) {
            let all: Vec<char> = BASIC.into_iter().filter(|c| *c != '\u{1b}')
                .chain(EXTENSION.into_iter().map(|(_, c)| c)).collect();
            let text: String = picks.into_iter().map(|pick| all[pick]).collect();
            let septets = encode(&text).unwrap();
            prop_assert_eq!(decode(&septets), text);
            let octets = pack(&septets, fill);
            prop_assert_eq!(unpack(&octets, fill, septets.len()), Some(septets));
        }

        #[test]
        fn r42_any_septets_are_read(octets: Vec<u8>, fill in 0_usize..8, count in 0_usize..300) {
            if let Some(septets) = unpack(&octets, fill, count) {
                prop_assert_eq!(septets.len(), count);
                decode(&septets);
            }
        }
    }
}
