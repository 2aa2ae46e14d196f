//! Who is asking, before and after the sign-in: random bits in a cookie, which say nothing of anybody.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, header};

/// 256 random bits in a cookie: a visitor before sign-in, the key of a session after it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct VisitorId([u8; 32]);

impl VisitorId {
    /// A new one.
    ///
    /// # Errors
    /// The machine has no randomness to give.
    pub fn random() -> Result<Self, aws_lc_rs::error::Unspecified> {
        let mut bytes = [0; 32];
        aws_lc_rs::rand::fill(&mut bytes)?;
        Ok(Self(bytes))
    }

    /// From the cookie of this name, if the request has exactly what this portal would have set.
    pub fn from_cookies(headers: &HeaderMap, name: &str) -> Option<Self> {
        let cookies = headers
            .get_all(header::COOKIE)
            .iter()
            .filter_map(|value| value.to_str().ok());
        let mut pairs = cookies
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='));
        let (_, value) = pairs.find(|(cookie, _)| *cookie == name)?;
        URL_SAFE_NO_PAD
            .decode(value)
            .ok()?
            .try_into()
            .ok()
            .map(Self)
    }

    /// The cookie's value.
    pub fn cookie(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The bits.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for VisitorId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("VisitorId(…)")
    }
}
