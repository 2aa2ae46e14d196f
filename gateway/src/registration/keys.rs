//! The keys that tokens are signed with: a JWKS file (RFC 7517), read once at start, every key parsed and checked.
//!
//! A key serves exactly one algorithm, fixed here and never by a token. Keys of an issuer's set that version 1 cannot
//! use (another algorithm, encryption keys) are left out and counted; a key that is broken is an error that names the
//! file, the key's index and what is wrong, because a gateway that silently lacks a key refuses its handsets.

use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::hmac;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED, ED25519, ParsedPublicKey, RSA_PKCS1_2048_8192_SHA256,
    RsaPublicKeyComponents,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// A JWKS file is not larger than this, bytes.
const FILE_BYTES_MAX: u64 = 1 << 20;
/// Shortest HS256 secret, bytes (RFC 7518 section 3.2: no shorter than the hash).
const SECRET_BYTES_MIN: usize = 32;
/// Moduli that RS256 is verified with, bytes: 2,048 to 8,192 bits.
const MODULUS_BYTES: std::ops::RangeInclusive<usize> = 256..=1024;
/// One coordinate of a P-256 point, and an Ed25519 public key, bytes.
const COORDINATE_BYTES: usize = 32;

/// The algorithms of PROTOCOL 3.1. There is no `none` to be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Algorithm {
    /// Ed25519.
    EdDsa,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// RSA PKCS #1 v1.5 with SHA-256.
    Rs256,
    /// HMAC with SHA-256.
    Hs256,
}

impl Algorithm {
    /// Its name in a token's header and in a key's `alg`; `None` for any other, `none` first of all.
    pub(super) fn parse(name: &str) -> Option<Self> {
        match name {
            "EdDSA" => Some(Self::EdDsa),
            "ES256" => Some(Self::Es256),
            "RS256" => Some(Self::Rs256),
            "HS256" => Some(Self::Hs256),
            _ => None,
        }
    }

    /// The inverse of [`Algorithm::parse`].
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::EdDsa => "EdDSA",
            Self::Es256 => "ES256",
            Self::Rs256 => "RS256",
            Self::Hs256 => "HS256",
        }
    }
}

/// One parsed key: which tokens it is for, and what checks their signatures.
pub(super) struct Key {
    pub(super) kid: Option<String>,
    pub(super) algorithm: Algorithm,
    material: Material,
}

enum Material {
    Public(ParsedPublicKey),
    Secret(Box<hmac::Key>),
}

impl Key {
    /// Whether `signature` is this key's over `message`. In constant time where a secret is involved.
    pub(super) fn signed(&self, message: &[u8], signature: &[u8]) -> bool {
        match &self.material {
            Material::Public(key) => key.verify_sig(message, signature).is_ok(),
            Material::Secret(key) => hmac::verify(key, message, signature).is_ok(),
        }
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("kid", &self.kid)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

/// Every key that may sign a token.
#[derive(Debug)]
pub struct KeySet {
    keys: Vec<Key>,
    left_out: usize,
}

/// Why a JWKS file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeySetError {
    /// It cannot be read.
    #[error("{}: {source}", file.display())]
    Unreadable {
        /// Which file.
        file: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is no JSON object with an array `keys`, or it holds no usable key.
    #[error("{}: {problem}", file.display())]
    BadSet {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// One of its keys is broken.
    #[error("{}: key {index} (counted from 0): {problem}", file.display())]
    BadKey {
        /// Which file.
        file: PathBuf,
        /// The key's place in `keys`.
        index: usize,
        /// What is wrong.
        problem: String,
    },
}

/// A key as the file has it. Members of no meaning to us are ignored (RFC 7517 section 4).
#[derive(Deserialize)]
struct Jwk {
    kty: String,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    kid: Option<String>,
    crv: Option<String>,
    x: Option<String>,
    y: Option<String>,
    n: Option<String>,
    e: Option<String>,
    k: Option<String>,
    d: Option<serde::de::IgnoredAny>,
}

#[derive(Deserialize)]
struct JwkSet {
    keys: Vec<serde_json::Value>,
}

impl KeySet {
    /// Reads a file. All its keys are checked; the first broken one is told.
    pub fn read(file: &Path) -> Result<Self, KeySetError> {
        let unreadable = |source| KeySetError::Unreadable {
            file: file.to_owned(),
            source,
        };
        // Not by its size in the directory, which a device or a pipe does not have.
        let mut json = Vec::new();
        std::fs::File::open(file)
            .and_then(|open| open.take(FILE_BYTES_MAX + 1).read_to_end(&mut json))
            .map_err(unreadable)?;
        if json.len() as u64 > FILE_BYTES_MAX {
            let problem = format!("larger than {FILE_BYTES_MAX} bytes");
            return Err(bad_set(file, problem));
        }
        Self::parse(&json, file)
    }

    /// Parses the file's bytes; `file` is only named in errors.
    pub fn parse(json: &[u8], file: &Path) -> Result<Self, KeySetError> {
        let set: JwkSet = serde_json::from_slice(json)
            .map_err(|error| bad_set(file, format!("not a JSON Web Key Set: {error}")))?;
        let mut keys: Vec<Key> = Vec::with_capacity(set.keys.len());
        let mut left_out = 0;
        for (index, value) in set.keys.into_iter().enumerate() {
            let bad = |problem: String| KeySetError::BadKey {
                file: file.to_owned(),
                index,
                problem,
            };
            let jwk: Jwk = serde_json::from_value(value)
                .map_err(|error| bad(format!("not a JSON Web Key: {error}")))?;
            let Some(algorithm) = jwk.algorithm().map_err(bad)? else {
                left_out += 1;
                continue;
            };
            let material = jwk.material(algorithm).map_err(bad)?;
            let same = |key: &Key| key.algorithm == algorithm && key.kid == jwk.kid;
            if jwk.kid.is_some() && keys.iter().any(same) {
                return Err(bad(
                    "another key has the same `kid` and algorithm".to_owned()
                ));
            }
            keys.push(Key {
                kid: jwk.kid,
                algorithm,
                material,
            });
        }
        if keys.is_empty() {
            let problem = format!("no key that can be used ({left_out} left out)");
            return Err(bad_set(file, problem));
        }
        Ok(Self { keys, left_out })
    }

    /// How many keys tokens may be signed with.
    pub fn len(&self) -> usize {
        self.keys.len()
    }

    /// Never: a set without a usable key is an error.
    pub fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Keys of the file that version 1 cannot use.
    pub fn left_out(&self) -> usize {
        self.left_out
    }

    /// The key for a token: by `kid` and algorithm; without `kid` the only key of that algorithm (PROTOCOL 3.1).
    pub(super) fn select(&self, algorithm: Algorithm, kid: Option<&str>) -> Option<&Key> {
        let mut of_algorithm = self.keys.iter().filter(|key| key.algorithm == algorithm);
        match kid {
            Some(kid) => of_algorithm.find(|key| key.kid.as_deref() == Some(kid)),
            None => of_algorithm
                .next()
                .filter(|_| of_algorithm.next().is_none()),
        }
    }
}

impl Jwk {
    /// The one algorithm that the key serves: its `alg`, else what its type implies. `None`: not one of ours.
    fn algorithm(&self) -> Result<Option<Algorithm>, String> {
        if self
            .purpose
            .as_deref()
            .is_some_and(|purpose| purpose != "sig")
        {
            return Ok(None);
        }
        let by_type = match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => Algorithm::EdDsa,
            ("EC", Some("P-256")) => Algorithm::Es256,
            ("RSA", _) => Algorithm::Rs256,
            ("oct", _) => Algorithm::Hs256,
            ("OKP" | "EC", None) => return Err("`crv` is missing".to_owned()),
            _ => return Ok(None),
        };
        // RFC 9864 gives Ed25519 a name of its own.
        match self.alg.as_deref() {
            None | Some("Ed25519") if by_type == Algorithm::EdDsa => Ok(Some(by_type)),
            None => Ok(Some(by_type)),
            Some(alg) => match Algorithm::parse(alg) {
                Some(named) if named == by_type => Ok(Some(named)),
                Some(named) => Err(format!(
                    "`alg` {} does not go with `kty` {}",
                    named.name(),
                    self.kty
                )),
                None => Ok(None),
            },
        }
    }

    fn material(&self, algorithm: Algorithm) -> Result<Material, String> {
        if self.d.is_some() {
            return Err("holds a private key (`d`): give the gateway the public set".to_owned());
        }
        match algorithm {
            Algorithm::EdDsa => {
                let x = coordinate("x", self.x.as_deref())?;
                ParsedPublicKey::new(&ED25519, x)
                    .map(Material::Public)
                    .map_err(|_rejected| "`x` is no Ed25519 public key".to_owned())
            }
            Algorithm::Es256 => {
                let mut point = vec![4];
                point.extend(coordinate("x", self.x.as_deref())?);
                point.extend(coordinate("y", self.y.as_deref())?);
                ParsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point)
                    .map(Material::Public)
                    .map_err(|_rejected| "`x` and `y` are no point of P-256".to_owned())
            }
            Algorithm::Rs256 => {
                let n = decoded("n", self.n.as_deref())?;
                let e = decoded("e", self.e.as_deref())?;
                if !MODULUS_BYTES.contains(&n.len()) {
                    return Err(format!(
                        "`n` has {} bits, not 2048 to 8192",
                        n.len().saturating_mul(8)
                    ));
                }
                RsaPublicKeyComponents { n, e }
                    .to_parsed_public_key(&RSA_PKCS1_2048_8192_SHA256)
                    .map(Material::Public)
                    .map_err(|_rejected| "`n` and `e` are no RSA public key".to_owned())
            }
            Algorithm::Hs256 => {
                let secret = decoded("k", self.k.as_deref())?;
                if secret.len() < SECRET_BYTES_MIN {
                    return Err(format!(
                        "`k` has {} bytes, fewer than {SECRET_BYTES_MIN}",
                        secret.len()
                    ));
                }
                Ok(Material::Secret(Box::new(hmac::Key::new(
                    hmac::HMAC_SHA256,
                    &secret,
                ))))
            }
        }
    }
}

fn bad_set(file: &Path, problem: String) -> KeySetError {
    KeySetError::BadSet {
        file: file.to_owned(),
        problem,
    }
}

/// A member in base64url without padding (RFC 7515 section 2). The error never quotes the value.
pub(super) fn decoded(member: &str, value: Option<&str>) -> Result<Vec<u8>, String> {
    let value = value.ok_or_else(|| format!("`{member}` is missing"))?;
    URL_SAFE_NO_PAD
        .decode(value)
        .map_err(|_error| format!("`{member}` is not base64url without padding"))
}

fn coordinate(member: &str, value: Option<&str>) -> Result<Vec<u8>, String> {
    let bytes = decoded(member, value)?;
    if bytes.len() != COORDINATE_BYTES {
        return Err(format!(
            "`{member}` has {} bytes, not {COORDINATE_BYTES}",
            bytes.len()
        ));
    }
    Ok(bytes)
}
