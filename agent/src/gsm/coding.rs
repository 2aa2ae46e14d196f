//! The data coding scheme (TS 23.038, 4): in which alphabet a message's text is.

/// How a text lies in octets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alphabet {
    /// The GSM 7-bit default alphabet: 160 septets in a message.
    Gsm7,
    /// Octets that are no text, or are compressed: 140 in a message.
    Octets,
    /// UTF-16, of which the specification knows the Basic Multilingual Plane: 70 units in a message.
    Ucs2,
}

impl Alphabet {
    /// The one that a data coding scheme says.
    pub fn of(scheme: u8) -> Self {
        match scheme >> 4 {
            // General data coding, also with automatic deletion.
            0x0..=0x7 if scheme & 0x20 != 0 => Self::Octets,
            0x0..=0x7 => match scheme >> 2 & 3 {
                1 => Self::Octets,
                2 => Self::Ucs2,
                // The fourth is reserved, and to be taken for the first.
                _ => Self::Gsm7,
            },
            // "A message waits", kept, in UCS-2.
            0xe => Self::Ucs2,
            // Data coding with a message class.
            0xf if scheme & 0x04 != 0 => Self::Octets,
            _ => Self::Gsm7,
        }
    }

    /// The plainest data coding scheme that says it.
    pub fn scheme(self) -> u8 {
        match self {
            Self::Gsm7 => 0x00,
            Self::Octets => 0x04,
            Self::Ucs2 => 0x08,
        }
    }

    /// Its name in the API: `gsm-7`, `8-bit`, `ucs-2`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Gsm7 => "gsm-7",
            Self::Octets => "8-bit",
            Self::Ucs2 => "ucs-2",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r24_the_alphabet_is_what_the_scheme_says() {
        let cases = [
            (0x00, Alphabet::Gsm7),
            (0x04, Alphabet::Octets),
            (0x08, Alphabet::Ucs2),
            (0x0c, Alphabet::Gsm7),
            (0x11, Alphabet::Gsm7),
            (0x18, Alphabet::Ucs2),
            (0x20, Alphabet::Octets),
            (0x48, Alphabet::Ucs2),
            (0x80, Alphabet::Gsm7),
            (0xc8, Alphabet::Gsm7),
            (0xd8, Alphabet::Gsm7),
            (0xe0, Alphabet::Ucs2),
            (0xf0, Alphabet::Gsm7),
            (0xf5, Alphabet::Octets),
        ];
        for (scheme, alphabet) in cases {
            assert_eq!(Alphabet::of(scheme), alphabet, "{scheme:#04x}");
        }
        for alphabet in [Alphabet::Gsm7, Alphabet::Octets, Alphabet::Ucs2] {
            assert_eq!(Alphabet::of(alphabet.scheme()), alphabet);
        }
    }
}
