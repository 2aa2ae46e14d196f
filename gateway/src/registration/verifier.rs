//! Whether a token is good for an MSISDN: the rules of PROTOCOL 3.1, and nothing beyond them.
//!
//! A shard calls [`Verifier::verify`] once for each CONNECT. The token is cut, decoded and its signature checked
//! once, with keys that were parsed at start (`jsonwebtoken`'s own `decode` reads the header three times and parses
//! the key anew for each token); every claim has one type, and another type is a failure, never an absence.

use std::borrow::Cow;
use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everline_protocol::{LINE_BYTES_MAX, Msisdn};
use serde::de::{Deserializer, SeqAccess, Visitor};
use serde::{Deserialize, de};

use super::keys::{Algorithm, KeySet, KeySetError};
use crate::config::Auth;

/// Clocks may differ by this much, seconds (PROTOCOL 3.1).
const SKEW_S: u64 = 60;
/// No signature of ours is longer: RSA with 8,192 bits.
const SIGNATURE_BYTES_MAX: usize = 1024;

/// Checks tokens against the configured keys.
#[derive(Debug)]
pub struct Verifier(Rule);

#[derive(Debug)]
enum Rule {
    Signed {
        keys: KeySet,
        audience: Option<String>,
    },
    Anyone,
}

/// Why a token is worth nothing. Logged, never told to the handset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenFault {
    /// Not three parts of base64url.
    #[error("not a signed JWT in compact form")]
    Form,
    /// The header is no JSON of the right types, or asks for what we do not understand (`crit`).
    #[error("the header is malformed or asks for extensions")]
    Header,
    /// `none`, or one that version 1 does not know.
    #[error("the algorithm is not one of EdDSA, ES256, RS256, HS256")]
    Algorithm,
    /// No key of this `kid` and algorithm; or no `kid`, and not exactly one key of this algorithm.
    #[error("no key for this kid and algorithm")]
    Key,
    /// Made with another key, or altered.
    #[error("the signature is wrong")]
    Signature,
    /// The claims are no JSON, or one of them has the wrong type, or `sub` or `exp` is missing.
    #[error("a claim is missing or of the wrong type")]
    Claims,
    /// `sub` names another handset.
    #[error("sub is another handset")]
    Subject,
    /// `exp` has passed.
    #[error("expired")]
    Expired,
    /// `nbf` has not come.
    #[error("not yet valid")]
    Early,
    /// `aud` does not hold what this gateway asks for.
    #[error("for another audience")]
    Audience,
}

impl Verifier {
    /// Reads the key set, if there is one.
    pub fn from_config(auth: &Auth) -> Result<Self, KeySetError> {
        match auth {
            Auth::Jwks {
                jwks_file,
                audience,
            } => {
                let keys = KeySet::read(jwks_file)?;
                if keys.left_out() > 0 {
                    tracing::warn!(
                        file = %jwks_file.display(),
                        left_out = keys.left_out(),
                        "the key set holds keys that cannot be used here"
                    );
                }
                Ok(Self::new(keys, audience.clone()))
            }
            Auth::None => Ok(Self::anyone()),
        }
    }

    /// Tokens signed by one of `keys`, for `audience` if there is one.
    pub fn new(keys: KeySet, audience: Option<String>) -> Self {
        Self(Rule::Signed { keys, audience })
    }

    /// Anyone may be anybody: a lab on loopback.
    pub fn anyone() -> Self {
        Self(Rule::Anyone)
    }

    /// Whether `token` is good for `msisdn` at `unix_s`, seconds since 1970.
    pub fn verify(&self, token: &str, msisdn: Msisdn, unix_s: u64) -> Result<(), TokenFault> {
        let Rule::Signed { keys, audience } = &self.0 else {
            return Ok(());
        };
        // The line bounds it already; the buffers below rely on it.
        if token.len() > LINE_BYTES_MAX {
            return Err(TokenFault::Form);
        }
        let (message, signature) = token.rsplit_once('.').ok_or(TokenFault::Form)?;
        let (header, claims) = message.split_once('.').ok_or(TokenFault::Form)?;

        let mut buffer = [0; LINE_BYTES_MAX];
        let header: Header<'_> = serde_json::from_slice(decode(header, &mut buffer)?)
            .map_err(|_error| TokenFault::Header)?;
        if header.crit.is_some() {
            return Err(TokenFault::Header);
        }
        let algorithm = Algorithm::parse(&header.alg).ok_or(TokenFault::Algorithm)?;
        let key = keys
            .select(algorithm, header.kid.as_deref())
            .ok_or(TokenFault::Key)?;
        let mut bytes = [0; SIGNATURE_BYTES_MAX];
        let signature = decode(signature, &mut bytes)?;
        if !key.signed(message.as_bytes(), signature) {
            return Err(TokenFault::Signature);
        }
        let claims: Claims<'_> = serde_json::from_slice(decode(claims, &mut buffer)?)
            .map_err(|_error| TokenFault::Claims)?;
        claims.hold(msisdn, unix_s, audience.as_deref())
    }
}

fn decode<'b>(part: &str, buffer: &'b mut [u8]) -> Result<&'b [u8], TokenFault> {
    let length = URL_SAFE_NO_PAD
        .decode_slice(part, buffer)
        .map_err(|_error| TokenFault::Form)?;
    buffer.get(..length).ok_or(TokenFault::Form)
}

/// What of a JOSE header matters here; a member that comes twice is an error.
#[derive(Deserialize)]
struct Header<'t> {
    #[serde(borrow)]
    alg: Cow<'t, str>,
    #[serde(borrow, default, deserialize_with = "text")]
    kid: Option<Cow<'t, str>>,
    crit: Option<de::IgnoredAny>,
}

/// The registered claims of PROTOCOL 3.1; a claim that comes twice is an error.
#[derive(Deserialize)]
struct Claims<'t> {
    #[serde(borrow)]
    sub: Cow<'t, str>,
    #[serde(deserialize_with = "date")]
    exp: f64,
    #[serde(default, deserialize_with = "maybe_date")]
    nbf: Option<f64>,
    #[serde(borrow, default)]
    aud: Audience<'t>,
}

impl Claims<'_> {
    fn hold(self, msisdn: Msisdn, unix_s: u64, audience: Option<&str>) -> Result<(), TokenFault> {
        // Every MSISDN has one spelling, so equal numbers are equal texts.
        if Msisdn::parse(self.sub.as_bytes()) != Ok(msisdn) {
            return Err(TokenFault::Subject);
        }
        let (now, skew) = (seconds(unix_s), seconds(SKEW_S));
        if self.exp + skew <= now {
            return Err(TokenFault::Expired);
        }
        if self.nbf.is_some_and(|nbf| nbf - skew > now) {
            return Err(TokenFault::Early);
        }
        match audience {
            Some(audience) if !self.aud.0.iter().any(|one| one == audience) => {
                Err(TokenFault::Audience)
            }
            _ => Ok(()),
        }
    }
}

/// Exact until the year 285 million.
#[expect(
    clippy::cast_precision_loss,
    reason = "seconds since 1970 fit into 53 bits"
)]
fn seconds(whole: u64) -> f64 {
    whole as f64
}

/// A NumericDate (RFC 7519 section 2): a JSON number, a fraction allowed; `null` and "123" are none.
fn date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    struct Date;
    impl Visitor<'_> for Date {
        type Value = f64;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number of seconds, not negative")
        }

        fn visit_u64<E: de::Error>(self, value: u64) -> Result<f64, E> {
            Ok(seconds(value))
        }

        fn visit_f64<E: de::Error>(self, value: f64) -> Result<f64, E> {
            if value.is_finite() && value >= 0.0 {
                Ok(value)
            } else {
                Err(E::custom("not a date"))
            }
        }
    }
    deserializer.deserialize_any(Date)
}

fn maybe_date<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    date(deserializer).map(Some)
}

/// A string that is there: `null` is not the same as absent.
fn text<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Cow<'de, str>>, D::Error> {
    struct Text;
    impl<'de> Visitor<'de> for Text {
        type Value = Cow<'de, str>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a string")
        }

        fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
            Ok(Cow::Borrowed(value))
        }

        fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
            Ok(Cow::Owned(value.to_owned()))
        }
    }
    deserializer.deserialize_str(Text).map(Some)
}

/// `aud`: one string or an array of them (RFC 7519 section 4.1.3); absent: none.
#[derive(Default)]
struct Audience<'t>(Vec<Cow<'t, str>>);

impl<'de: 't, 't> Deserialize<'de> for Audience<'t> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct OneOrMany;
        impl<'de> Visitor<'de> for OneOrMany {
            type Value = Audience<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or an array of strings")
            }

            fn visit_borrowed_str<E: de::Error>(self, value: &'de str) -> Result<Self::Value, E> {
                Ok(Audience(vec![Cow::Borrowed(value)]))
            }

            fn visit_str<E: de::Error>(self, value: &str) -> Result<Self::Value, E> {
                Ok(Audience(vec![Cow::Owned(value.to_owned())]))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
                let mut all = Vec::new();
                while let Some(one) = array.next_element::<Cow<'de, str>>()? {
                    all.push(one);
                }
                Ok(Audience(all))
            }
        }
        deserializer.deserialize_any(OneOrMany)
    }
}
