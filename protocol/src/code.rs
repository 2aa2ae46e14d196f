//! The codes of `CONNREFUSED` and `ERROR` lines (PROTOCOL 3.1, 4 and 5.1).

/// Why a CONNECT was refused. A handset keeps a code it does not know as [`RefusalCode::Unknown`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// `bad-version`: missing or not 1.
    BadVersion,
    /// `bad-msisdn`: missing or not E.164 digits.
    BadMsisdn,
    /// `bad-timeout`: missing or outside 1 to 86,400.
    BadTimeout,
    /// `bad-token`: any authentication failure.
    BadToken,
    /// `full`: the gateway holds as many sessions as it may.
    Full,
    /// `overloaded`: come back after `retry-after`.
    Overloaded,
    /// `draining`: this gateway is leaving; come back after `retry-after`, to another one.
    Draining,
    /// A code of a later protocol version.
    Unknown,
}

/// Why a connection was closed with an `ERROR` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorCode {
    /// `bad-line`
    BadLine,
    /// `line-too-long`
    LineTooLong,
    /// `unknown-verb`
    UnknownVerb,
    /// `unexpected-verb`
    UnexpectedVerb,
    /// `connect-timeout`
    ConnectTimeout,
    /// `replaced`: the same handset registered anew.
    Replaced,
    /// `revoked`: an operator ended the session.
    Revoked,
    /// `flooding`: more than 10 unasked WAITING a minute.
    Flooding,
    /// `internal`
    Internal,
    /// `unknown-request`, on data channels only.
    UnknownRequest,
    /// A code of a later protocol version.
    Unknown,
}

impl ErrorCode {
    /// What a protocol error's ERROR line says beside its code (PROTOCOL section 2); `None` where the code says it all.
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::BadLine => Some("malformed line"),
            Self::LineTooLong => Some("line of more than 2048 bytes"),
            Self::UnknownVerb => Some("no such verb in version 1"),
            Self::UnexpectedVerb => Some("verb out of place"),
            _ => None,
        }
    }
}

macro_rules! wire_names {
    ($kind:ty { $($variant:ident => $name:literal,)* }) => {
        impl $kind {
            /// Every code that this version knows.
            pub const ALL: &[Self] = &[$(Self::$variant),*];

            /// The code on the wire and in metrics.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $name,)* Self::Unknown => "unknown" }
            }

            /// The code of a received line.
            pub fn parse(name: &[u8]) -> Self {
                match name { $(n if n == $name.as_bytes() => Self::$variant,)* _ => Self::Unknown }
            }
        }
    };
}

wire_names!(RefusalCode {
    BadVersion => "bad-version",
    BadMsisdn => "bad-msisdn",
    BadTimeout => "bad-timeout",
    BadToken => "bad-token",
    Full => "full",
    Overloaded => "overloaded",
    Draining => "draining",
});

wire_names!(ErrorCode {
    BadLine => "bad-line",
    LineTooLong => "line-too-long",
    UnknownVerb => "unknown-verb",
    UnexpectedVerb => "unexpected-verb",
    ConnectTimeout => "connect-timeout",
    Replaced => "replaced",
    Revoked => "revoked",
    Flooding => "flooding",
    Internal => "internal",
    UnknownRequest => "unknown-request",
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_back_and_a_later_one_is_unknown() {
        for code in RefusalCode::ALL {
            assert_eq!(RefusalCode::parse(code.name().as_bytes()), *code);
        }
        for code in ErrorCode::ALL {
            assert_eq!(ErrorCode::parse(code.name().as_bytes()), *code);
        }
        assert_eq!(RefusalCode::parse(b"moon-phase"), RefusalCode::Unknown);
        assert_eq!(ErrorCode::parse(b"Replaced"), ErrorCode::Unknown);
    }
}
