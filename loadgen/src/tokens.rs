//! Mints the token that each handset registers with, from a key that the tester shares with the gateway.
//!
//! Keys come from a file with a shared secret, or from a JWK or JWKS file with private keys (`gateway keygen`).

use std::fmt;
use std::path::{Path, PathBuf};

use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use everline_protocol::Msisdn;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};

/// A key file is a few hundred bytes; whatever is larger is another file.
const KEY_FILE_BYTES_MAX: u64 = 1 << 20;

/// Says which token a handset registers with.
pub enum Mint {
    /// The same text for every handset: for a lab gateway with `auth = "none"`.
    Fixed(String),
    /// A signed JWT of its own for each handset.
    Signed(Box<Signer>),
}

/// A key, and what every token says beside `sub`, `iat` and `exp`.
pub struct Signer {
    header: Header,
    key: EncodingKey,
    audience: Option<String>,
    valid_s: u64,
}

/// The key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadKey {
    /// The file cannot be read.
    #[error("cannot read the key file {0}: {1}")]
    Read(PathBuf, std::io::Error),
    /// It is far too large.
    #[error("{0} is larger than 1 MiB: that is no key file")]
    TooLarge(PathBuf),
    /// A secret that a guesser would find.
    #[error(
        "the secret in {0} is shorter than 32 bytes, the least that HS256 allows (RFC 7518, 3.2)"
    )]
    ShortSecret(PathBuf),
    /// Not a JWK.
    #[error("{0} holds neither a JWK nor a JWKS: {1}")]
    NotJwk(PathBuf, serde_json::Error),
    /// A key set without a key to sign with.
    #[error(
        "{0} holds no private key that this program can sign with (Ed25519, P-256, or a shared secret of 32 bytes or more)"
    )]
    NoPrivateKey(PathBuf),
}

#[derive(Deserialize)]
#[serde(untagged)]
enum KeyFile {
    Set { keys: Vec<Jwk> },
    One(Jwk),
}

#[derive(Deserialize)]
struct Jwk {
    kty: String,
    crv: Option<String>,
    kid: Option<String>,
    alg: Option<String>,
    x: Option<String>,
    y: Option<String>,
    d: Option<String>,
    k: Option<String>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: String,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

impl Mint {
    /// HS256 with the secret that is the content of `path`, less one line ending at its end.
    pub fn from_secret_file(
        path: &Path,
        audience: Option<String>,
        valid_s: u64,
    ) -> Result<Self, BadKey> {
        let mut secret = read(path)?;
        if secret.last() == Some(&b'\n') {
            secret.pop();
            if secret.last() == Some(&b'\r') {
                secret.pop();
            }
        }
        if secret.len() < 32 {
            return Err(BadKey::ShortSecret(path.into()));
        }
        let header = Header::new(Algorithm::HS256);
        let key = EncodingKey::from_secret(&secret);
        Ok(Self::Signed(Box::new(Signer {
            header,
            key,
            audience,
            valid_s,
        })))
    }

    /// The first private key of a JWK or JWKS file that can sign: Ed25519, P-256 or a shared secret.
    pub fn from_key_file(
        path: &Path,
        audience: Option<String>,
        valid_s: u64,
    ) -> Result<Self, BadKey> {
        let file = serde_json::from_slice(&read(path)?)
            .map_err(|error| BadKey::NotJwk(path.into(), error))?;
        let keys = match file {
            KeyFile::Set { keys } => keys,
            KeyFile::One(key) => vec![key],
        };
        let (algorithm, key, kid) = keys
            .iter()
            .find_map(|jwk| {
                signing_key(jwk).map(|(algorithm, key)| (algorithm, key, jwk.kid.clone()))
            })
            .ok_or_else(|| BadKey::NoPrivateKey(path.into()))?;
        let header = Header {
            kid,
            ..Header::new(algorithm)
        };
        Ok(Self::Signed(Box::new(Signer {
            header,
            key,
            audience,
            valid_s,
        })))
    }

    /// The token of `msisdn`, minted at `unix_s` seconds since 1970.
    pub fn token(&self, msisdn: Msisdn, unix_s: u64) -> String {
        match self {
            Self::Fixed(text) => text.clone(),
            Self::Signed(signer) => {
                let claims = Claims {
                    sub: msisdn.digits().to_string(),
                    iat: unix_s,
                    exp: unix_s + signer.valid_s,
                    aud: signer.audience.as_deref(),
                };
                // The key was tried when it was read, and the claims always serialise.
                jsonwebtoken::encode(&signer.header, &claims, &signer.key)
                    .expect("a key that signed once signs again")
            }
        }
    }
}

/// Never the key or the text.
impl fmt::Debug for Mint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fixed(_) => f.write_str("Fixed"),
            Self::Signed(signer) => write!(f, "Signed({:?})", signer.header.alg),
        }
    }
}

fn read(path: &Path) -> Result<Vec<u8>, BadKey> {
    let refused = |error| BadKey::Read(path.into(), error);
    if std::fs::metadata(path).map_err(refused)?.len() > KEY_FILE_BYTES_MAX {
        return Err(BadKey::TooLarge(path.into()));
    }
    std::fs::read(path).map_err(refused)
}

/// The key, if it is private, of a kind that we can sign with, and does sign.
fn signing_key(jwk: &Jwk) -> Option<(Algorithm, EncodingKey)> {
    let decode = |field: &Option<String>| BASE64_URL_SAFE_NO_PAD.decode(field.as_ref()?).ok();
    let (algorithm, key) = match (jwk.kty.as_str(), jwk.crv.as_deref()) {
        ("OKP", Some("Ed25519")) => {
            let pair = Ed25519KeyPair::from_seed_unchecked(&decode(&jwk.d)?).ok()?;
            (
                Algorithm::EdDSA,
                EncodingKey::from_ed_der(pair.to_pkcs8().ok()?.as_ref()),
            )
        }
        ("EC", Some("P-256")) => {
            let public = [vec![4], decode(&jwk.x)?, decode(&jwk.y)?].concat();
            let algorithm = &ECDSA_P256_SHA256_FIXED_SIGNING;
            let private = decode(&jwk.d)?;
            let pair =
                EcdsaKeyPair::from_private_key_and_public_key(algorithm, &private, &public).ok()?;
            (
                Algorithm::ES256,
                EncodingKey::from_ec_der(pair.to_pkcs8v1().ok()?.as_ref()),
            )
        }
        ("oct", _) if jwk.alg.as_deref().is_none_or(|alg| alg == "HS256") => {
            let secret = decode(&jwk.k).filter(|secret| secret.len() >= 32)?;
            (Algorithm::HS256, EncodingKey::from_secret(&secret))
        }
        _ => return None,
    };
    jsonwebtoken::encode(&Header::new(algorithm), &serde_json::json!({}), &key).ok()?;
    Some((algorithm, key))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use jsonwebtoken::{DecodingKey, Validation, decode, decode_header};

    use super::*;

    // RFC 8037, appendix A: an Ed25519 key that everybody knows.
    const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";

    fn handset() -> Msisdn {
        Msisdn::from_u64(34_700_000_001).unwrap()
    }

    fn written(content: &str) -> tempfile::NamedTempFile {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), content).unwrap();
        file
    }

    #[test]
    fn an_ed25519_key_set_signs_what_its_public_half_verifies() {
        let set = written(&format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","kid":"lab-1","x":"{PUBLIC}","d":"{SEED}","alg":"EdDSA","use":"sig"}}]}}"#
        ));
        let mint = Mint::from_key_file(set.path(), Some("everline".into()), 60).unwrap();
        let token = mint.token(handset(), 4_000_000_000);
        assert_eq!(decode_header(&token).unwrap().kid.as_deref(), Some("lab-1"));
        let mut rules = Validation::new(Algorithm::EdDSA);
        rules.set_audience(&["everline"]);
        let key = DecodingKey::from_ed_components(PUBLIC).unwrap();
        let claims = decode::<serde_json::Value>(&token, &key, &rules)
            .unwrap()
            .claims;
        let expected = serde_json::json!({"sub": "34700000001", "iat": 4_000_000_000u64, "exp": 4_000_000_060u64, "aud": "everline"});
        assert_eq!(claims, expected);
    }

    #[test]
    fn a_p256_key_signs_what_its_public_half_verifies() {
        // RFC 7517, appendix A.2.
        let x = "MKBCTNIcKUSDii11ySs3526iDZ8AiTo7Tu6KPAqv7D4";
        let y = "4Etl6SRW2YiLUrN5vfvVHuhp7x8PxltmWWlbbM4IFyM";
        let d = "870MB6gfuTJ4HtUnUvYMyJpr5eUZNP4Bk43bVdj3eAE";
        let jwk = format!(r#"{{"kty":"EC","crv":"P-256","x":"{x}","y":"{y}","d":"{d}"}}"#);
        let mint = Mint::from_key_file(written(&jwk).path(), None, 60).unwrap();
        let token = mint.token(handset(), 4_000_000_000);
        let key = DecodingKey::from_ec_components(x, y).unwrap();
        let rules = Validation::new(Algorithm::ES256);
        assert!(decode::<serde_json::Value>(&token, &key, &rules).is_ok());
    }

    #[test]
    fn a_secret_signs_alike_from_a_file_and_from_a_jwk() {
        let secret = "0123456789abcdef0123456789abcdef";
        let from_secret =
            Mint::from_secret_file(written(&format!("{secret}\n")).path(), None, 60).unwrap();
        let jwk = written(&format!(
            r#"{{"kty":"oct","k":"{}"}}"#,
            BASE64_URL_SAFE_NO_PAD.encode(secret)
        ));
        let from_jwk = Mint::from_key_file(jwk.path(), None, 60).unwrap();
        let token = from_secret.token(handset(), 4_000_000_000);
        assert_eq!(token, from_jwk.token(handset(), 4_000_000_000));
        let key = DecodingKey::from_secret(secret.as_bytes());
        assert!(
            decode::<serde_json::Value>(&token, &key, &Validation::new(Algorithm::HS256)).is_ok()
        );
    }

    #[test]
    fn keys_that_cannot_sign_are_refused_with_a_reason() {
        let public = written(&format!(
            r#"{{"keys":[{{"kty":"OKP","crv":"Ed25519","x":"{PUBLIC}"}}]}}"#
        ));
        assert!(matches!(
            Mint::from_key_file(public.path(), None, 60),
            Err(BadKey::NoPrivateKey(_))
        ));
        let short = written("secret\n");
        assert!(matches!(
            Mint::from_secret_file(short.path(), None, 60),
            Err(BadKey::ShortSecret(_))
        ));
        assert!(matches!(
            Mint::from_key_file(short.path(), None, 60),
            Err(BadKey::NotJwk(..))
        ));
        let nowhere = Path::new("/nowhere/private.jwks.json");
        assert!(matches!(
            Mint::from_key_file(nowhere, None, 60),
            Err(BadKey::Read(..))
        ));
    }

    #[test]
    fn no_authentication_sends_the_same_text_for_everybody() {
        assert_eq!(Mint::Fixed("none".into()).token(handset(), 0), "none");
    }
}
