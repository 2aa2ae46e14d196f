//! Addresses in a TPDU (TS 23.040, 9.1.2): numbers, semi-octet by semi-octet, and names in septets.

use super::alphabet;
use super::tpdu::TpduError;

/// Semi-octets of an address at most.
const SEMI_OCTETS_MAX: usize = 20;

/// The digits that a semi-octet says; the last value is filling.
const DIGITS: &[u8; 15] = b"0123456789*#abc";

/// Bit that every type-of-address octet has.
const TYPE_BIT: u8 = 0x80;

/// Type of number 001: international.
const INTERNATIONAL: u8 = 0x10;

/// Type of number 101: alphanumeric.
const ALPHANUMERIC: u8 = 0x50;

/// Numbering plan 0001: telephone (E.164).
const TELEPHONE: u8 = 0x01;

/// Who a message is from or for.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// Type of number and numbering plan, as they travel.
    kind: u8,
    /// Digits, or a name.
    value: String,
}

impl Address {
    /// The address of what people write: a number, with a `+` before an international one, or else a name of up to
    /// eleven septets. `None`: it is neither.
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.strip_prefix('+').unwrap_or(text);
        let dialled = |b: u8| DIGITS.contains(&b);
        let is_number = !digits.is_empty() && digits.bytes().all(dialled);
        // `abc` can be dialled in theory; it is a name as people write it.
        let is_number = is_number && digits.bytes().any(|b| b.is_ascii_digit());
        if is_number && digits.len() <= SEMI_OCTETS_MAX {
            let international = if digits.len() < text.len() {
                INTERNATIONAL
            } else {
                0
            };
            return Some(Self {
                kind: TYPE_BIT | international | TELEPHONE,
                value: digits.to_owned(),
            });
        }
        let septets = alphabet::encode(text)?;
        let semi_octets = (septets.len() * 7).div_ceil(4);
        let fits = !septets.is_empty() && semi_octets <= SEMI_OCTETS_MAX;
        fits.then(|| Self {
            kind: TYPE_BIT | ALPHANUMERIC,
            value: text.to_owned(),
        })
    }

    /// The address that comes nearest to what people write: of a name that does not fit, as much from its front as does.
    pub fn nearest(text: &str) -> Self {
        let mut short: String = text
            .chars()
            .map(|c| alphabet::septets(c).map_or('?', |_| c))
            .take(SEMI_OCTETS_MAX)
            .collect();
        while !short.is_empty() {
            if let Some(address) = Self::parse(&short) {
                return address;
            }
            short.pop();
        }
        Self {
            kind: TYPE_BIT | ALPHANUMERIC,
            value: String::new(),
        }
    }

    /// As people write it.
    pub fn shown(&self) -> String {
        match self.kind & 0x70 {
            INTERNATIONAL => format!("+{}", self.value),
            _ => self.value.clone(),
        }
    }

    /// Whether it is a name and no number.
    pub fn is_name(&self) -> bool {
        self.kind & 0x70 == ALPHANUMERIC
    }

    /// Takes an address from the front of `bytes`: its length in semi-octets, its type, its digits.
    pub(super) fn take(bytes: &mut &[u8]) -> Result<Self, TpduError> {
        let (&[length, kind], rest) = bytes.split_first_chunk().ok_or(TpduError::Short)?;
        let length = usize::from(length);
        if length > SEMI_OCTETS_MAX {
            return Err(TpduError::Address);
        }
        let octets = length.div_ceil(2);
        let (value, rest) = rest.split_at_checked(octets).ok_or(TpduError::Short)?;
        let value = if kind & 0x70 == ALPHANUMERIC {
            let septets = alphabet::unpack(value, 0, length * 4 / 7).ok_or(TpduError::Address)?;
            alphabet::decode(&septets)
        } else {
            let halves = value.iter().flat_map(|octet| [octet & 0x0f, octet >> 4]);
            let digits = halves.take(length).map(|half| {
                let digit = DIGITS.get(usize::from(half)).copied();
                digit.map(char::from).ok_or(TpduError::Address)
            });
            digits.collect::<Result<String, _>>()?
        };
        *bytes = rest;
        Ok(Self { kind, value })
    }

    /// Writes it behind `bytes`.
    pub(super) fn put(&self, bytes: &mut Vec<u8>) {
        if self.is_name() {
            let septets = alphabet::encode(&self.value).unwrap_or_default();
            bytes.push(length((septets.len() * 7).div_ceil(4)));
            bytes.push(self.kind);
            bytes.extend(alphabet::pack(&septets, 0));
            return;
        }
        let half = |digit: u8| DIGITS.iter().position(|known| *known == digit);
        let halves = self.value.bytes().filter_map(half);
        let halves: Vec<u8> = halves.map(length).collect();
        bytes.push(length(halves.len()));
        bytes.push(self.kind);
        bytes.extend(halves.chunks(2).map(|pair| match pair {
            [low, high] => low | high << 4,
            [low] => low | 0xf0,
            _ => 0xff,
        }));
    }
}

/// Somebody's number is personal data: logs get its kind alone.
impl std::fmt::Debug for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let kind = if self.is_name() { "name" } else { "number" };
        write!(f, "Address({kind} of {})", self.value.chars().count())
    }
}

/// A length or digit that is known to be small.
fn length(value: usize) -> u8 {
    u8::try_from(value).unwrap_or(u8::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes(text: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        Address::parse(text).unwrap().put(&mut bytes);
        bytes
    }

    #[test]
    fn r42_numbers_are_swapped_half_octets_and_names_packed_septets() {
        assert_eq!(
            bytes("+46708251358"),
            [0x0b, 0x91, 0x64, 0x07, 0x28, 0x15, 0x53, 0xf8]
        );
        assert_eq!(bytes("1234"), [0x04, 0x81, 0x21, 0x43]);
        assert_eq!(bytes("*21#"), [0x04, 0x81, 0x2a, 0xb1]);
        assert_eq!(
            bytes("Design"),
            [0x0b, 0xd0, 0xc4, 0xf2, 0x3c, 0x7d, 0x76, 0x03]
        );
        assert!(Address::parse("+").unwrap().is_name());
        for nothing in ["", "日本", "twelve chars", "123456789012345678901"] {
            assert_eq!(Address::parse(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn r24_a_name_that_is_too_long_is_cut() {
        let nearest = |text| Address::nearest(text).shown();
        assert_eq!(nearest("+34600"), "+34600");
        assert_eq!(nearest("Everline Bank"), "Everline Ba");
        assert_eq!(nearest("日本"), "??");
        assert_eq!(nearest(""), "");
    }

    #[test]
    fn r24_a_broken_address_is_refused() {
        for broken in [
            &[1][..],
            &[4, 0x91, 0x21],
            &[21, 0x91, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
            &[1, 0x91, 0x0f],
        ] {
            assert!(Address::take(&mut &*broken).is_err(), "{broken:?}");
        }
    }

    proptest! {
        #[test]
        fn r42_what_is_put_is_taken(text in r"\+?[0-9][0-9*#]{0,19}|[A-Za-z@€ ]{1,5}[A-Za-z]{1,5}") {
            let Some(address) = Address::parse(&text) else { return Ok(()) };
            let mut bytes = Vec::new();
            address.put(&mut bytes);
            let mut rest = bytes.as_slice();
            let taken = Address::take(&mut rest).unwrap();
            prop_assert!(rest.is_empty());
            prop_assert_eq!(taken.shown(), text);
            prop_assert_eq!(taken, address);
        }
    }
}
