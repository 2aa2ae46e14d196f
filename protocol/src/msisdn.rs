//! A handset's phone number: parsed once at the edge, carried as one word, masked wherever a person may read it.

use std::fmt;

/// E.164 digits without `+`: 5 to 15 of them, not starting with 0 (PROTOCOL 3.1). Copy, 8 bytes.
///
/// `Debug` is masked, and there is no `Display`: writing the whole number takes a deliberate [`Msisdn::digits`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Msisdn(u64);

/// The text is not an MSISDN.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an MSISDN: expected 5 to 15 digits without `+`, not starting with 0")]
pub struct BadMsisdn;

impl Msisdn {
    /// Parses the digits; anything else, a `+` or a space included, is refused.
    pub fn parse(text: &[u8]) -> Result<Self, BadMsisdn> {
        let (5..=15, Some(b'1'..=b'9')) = (text.len(), text.first()) else {
            return Err(BadMsisdn);
        };
        let mut number = 0u64;
        for byte in text {
            let digit = byte.wrapping_sub(b'0');
            if digit > 9 {
                return Err(BadMsisdn);
            }
            // At most 15 digits: below 10^15, which u64 holds with room to spare.
            number = number * 10 + u64::from(digit);
        }
        Ok(Self(number))
    }

    /// The number as an integer; the digits have no leading zero, so nothing is lost.
    pub fn as_u64(self) -> u64 {
        self.0
    }

    /// The inverse of [`Msisdn::as_u64`].
    pub fn from_u64(number: u64) -> Result<Self, BadMsisdn> {
        if (10_000..1_000_000_000_000_000).contains(&number) {
            Ok(Self(number))
        } else {
            Err(BadMsisdn)
        }
    }

    /// All digits, for the wire and for an operator who asked for them.
    pub fn digits(self) -> impl fmt::Display {
        self.0
    }

    /// The form for logs and errors: first two and last four digits, `34…0151`.
    pub fn masked(self) -> MaskedMsisdn {
        MaskedMsisdn(self)
    }
}

impl fmt::Debug for Msisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Msisdn({})", self.masked())
    }
}

/// Displays as `34…0151`; numbers of fewer than 9 digits show only their last two (`…51`), or masking would tell all.
#[derive(Clone, Copy)]
pub struct MaskedMsisdn(Msisdn);

impl fmt::Display for MaskedMsisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.0.0;
        let digits = number.ilog10() + 1;
        if digits < 9 {
            return write!(f, "…{:02}", number % 100);
        }
        write!(
            f,
            "{}…{:04}",
            number / 10u64.pow(digits - 2),
            number % 10_000
        )
    }
}

impl fmt::Debug for MaskedMsisdn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_e164_digits_are_taken() {
        assert_eq!(
            Msisdn::parse(b"34610515151").map(Msisdn::as_u64),
            Ok(34_610_515_151)
        );
        assert_eq!(
            Msisdn::parse(b"999999999999999").map(|m| m.digits().to_string()),
            Ok("999999999999999".into())
        );
        for bad in [
            "",
            "1234",
            "0123456",
            "1234567890123456",
            "+34610515151",
            "3461051515a",
            "34 610",
        ] {
            assert_eq!(Msisdn::parse(bad.as_bytes()), Err(BadMsisdn), "{bad:?}");
        }
    }

    #[test]
    fn what_a_person_reads_is_masked() {
        let shown = |digits: &[u8]| {
            Msisdn::parse(digits).map(|m| (m.masked().to_string(), format!("{m:?}")))
        };
        assert_eq!(
            shown(b"34610510151"),
            Ok(("34…0151".into(), "Msisdn(34…0151)".into()))
        );
        assert_eq!(shown(b"12345"), Ok(("…45".into(), "Msisdn(…45)".into())));
    }
}
