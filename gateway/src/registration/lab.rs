//! Keys and tokens for a lab: `gateway keygen` and `gateway token`. A network's own issuer takes their place.
//!
//! Only the command line calls this. The private set stays with whoever mints; the gateway reads the public one.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::encoding::{AsBigEndian as _, Curve25519SeedBin, EcPrivateKeyBin};
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, Ed25519KeyPair, KeyPair as _,
};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everline_protocol::Msisdn;
use jsonwebtoken::{EncodingKey, Header};
use serde::{Deserialize, Serialize};

use super::keys::{Algorithm, decoded};

/// The gateway's file, in the directory that [`keygen`] was given.
pub const PUBLIC_FILE: &str = "jwks.json";
/// The minter's file beside it, readable by its owner only.
pub const PRIVATE_FILE: &str = "private.jwks.json";

/// Where [`keygen`] wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFiles {
    /// For `auth.jwks_file`.
    pub public: PathBuf,
    /// For [`mint`] and the load generator.
    pub private: PathBuf,
    /// The new key's `kid`.
    pub kid: String,
}

/// Why a lab command failed.
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// A file cannot be read or written; one that exists is never overwritten.
    #[error("{}: {source}", file.display())]
    File {
        /// Which.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The private file holds no key that can sign.
    #[error("{}: {problem}", file.display())]
    Key {
        /// Which file.
        file: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// Key generation is not offered for it, or the name is not one of ours.
    #[error("{0} keys are not made here: EdDSA, ES256 or HS256")]
    Algorithm(String),
    /// The machine has no randomness, or signing failed.
    #[error("the cryptographic library failed")]
    Crypto,
}

/// One key of a private set; the public set has the same members without `d`.
#[derive(Serialize, Deserialize, Default, Clone)]
struct Jwk {
    kty: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    crv: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kid: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    alg: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    x: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    y: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    k: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    d: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct JwkSet {
    keys: Vec<Jwk>,
}

#[derive(Serialize)]
struct Claims<'a> {
    sub: String,
    iat: u64,
    exp: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<&'a str>,
}

/// Makes a key for `algorithm` (`EdDSA`, `ES256` or `HS256`) and writes [`PUBLIC_FILE`] and [`PRIVATE_FILE`] into
/// `directory`, which is made if it is missing. Refuses to overwrite either. An HS256 secret stands in both files,
/// and both are then readable by their owner only.
pub fn keygen(directory: &Path, algorithm: &str) -> Result<KeyFiles, LabError> {
    let key = match Algorithm::parse(algorithm) {
        Some(Algorithm::EdDsa) => ed25519()?,
        Some(Algorithm::Es256) => p256()?,
        Some(Algorithm::Hs256) => secret()?,
        Some(Algorithm::Rs256) | None => return Err(LabError::Algorithm(algorithm.to_owned())),
    };
    let kid = format!("lab-{:08x}", u32::from_be_bytes(random()?));
    let key = Jwk {
        kid: Some(kid.clone()),
        alg: Some(algorithm.to_owned()),
        ..key
    };
    let files = KeyFiles {
        public: directory.join(PUBLIC_FILE),
        private: directory.join(PRIVATE_FILE),
        kid,
    };
    std::fs::create_dir_all(directory).map_err(|source| LabError::File {
        file: directory.to_owned(),
        source,
    })?;
    for file in [&files.private, &files.public] {
        if file.exists() {
            return Err(LabError::File {
                file: file.clone(),
                source: io::ErrorKind::AlreadyExists.into(),
            });
        }
    }
    let public_mode = if key.k.is_some() { 0o600 } else { 0o644 };
    let public = Jwk {
        d: None,
        ..key.clone()
    };
    // The private file first: a public set without its private one could be installed and would lock everyone out.
    write_new(&files.private, key, 0o600)?;
    write_new(&files.public, public, public_mode)?;
    Ok(files)
}

/// Signs a token for `msisdn` that is good from now on for `lifetime`, with the key `kid` of the private set, or its
/// first one.
pub fn mint(
    private_jwks: &Path,
    msisdn: Msisdn,
    lifetime: Duration,
    audience: Option<&str>,
    kid: Option<&str>,
) -> Result<String, LabError> {
    let problem = |problem: String| LabError::Key {
        file: private_jwks.to_owned(),
        problem,
    };
    let json = std::fs::read(private_jwks).map_err(|source| LabError::File {
        file: private_jwks.to_owned(),
        source,
    })?;
    let set: JwkSet = serde_json::from_slice(&json)
        .map_err(|error| problem(format!("not a JSON Web Key Set: {error}")))?;
    let mut keys = set.keys.iter();
    let key = match kid {
        Some(kid) => keys.find(|key| key.kid.as_deref() == Some(kid)),
        None => keys.next(),
    };
    let key = key.ok_or_else(|| problem("no such key".to_owned()))?;
    let (algorithm, encoding) = key.encoding().map_err(problem)?;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let claims = Claims {
        sub: msisdn.digits().to_string(),
        iat: now,
        exp: now.saturating_add(lifetime.as_secs()),
        aud: audience,
    };
    let mut header = Header::new(algorithm);
    header.kid.clone_from(&key.kid);
    jsonwebtoken::encode(&header, &claims, &encoding).map_err(|_error| LabError::Crypto)
}

impl Jwk {
    fn encoding(&self) -> Result<(jsonwebtoken::Algorithm, EncodingKey), String> {
        let member = |name: &str, value: &Option<String>| decoded(name, value.as_deref());
        match (self.kty.as_str(), self.crv.as_deref()) {
            ("OKP", Some("Ed25519")) => {
                let (seed, public) = (member("d", &self.d)?, member("x", &self.x)?);
                let pkcs8 = Ed25519KeyPair::from_seed_and_public_key(&seed, &public)
                    .map_err(|_rejected| "`d` and `x` are no Ed25519 key pair".to_owned())?
                    .to_pkcs8()
                    .map_err(|_error| "the key pair cannot be encoded".to_owned())?;
                Ok((
                    jsonwebtoken::Algorithm::EdDSA,
                    EncodingKey::from_ed_der(pkcs8.as_ref()),
                ))
            }
            ("EC", Some("P-256")) => {
                let mut public = vec![4];
                public.extend(member("x", &self.x)?);
                public.extend(member("y", &self.y)?);
                let pkcs8 = EcdsaKeyPair::from_private_key_and_public_key(
                    &ECDSA_P256_SHA256_FIXED_SIGNING,
                    &member("d", &self.d)?,
                    &public,
                )
                .map_err(|_rejected| "`d`, `x` and `y` are no P-256 key pair".to_owned())?
                .to_pkcs8v1()
                .map_err(|_error| "the key pair cannot be encoded".to_owned())?;
                Ok((
                    jsonwebtoken::Algorithm::ES256,
                    EncodingKey::from_ec_der(pkcs8.as_ref()),
                ))
            }
            ("oct", _) => Ok((
                jsonwebtoken::Algorithm::HS256,
                EncodingKey::from_secret(&member("k", &self.k)?),
            )),
            _ => Err("not a key that can sign here: Ed25519, P-256 or a secret".to_owned()),
        }
    }
}

fn ed25519() -> Result<Jwk, LabError> {
    let pair = Ed25519KeyPair::generate().map_err(|_error| LabError::Crypto)?;
    let seed = pair.seed().map_err(|_error| LabError::Crypto)?;
    let seed: Curve25519SeedBin<'_> = seed.as_be_bytes().map_err(|_error| LabError::Crypto)?;
    Ok(Jwk {
        kty: "OKP".to_owned(),
        crv: Some("Ed25519".to_owned()),
        x: Some(encoded(pair.public_key().as_ref())),
        d: Some(encoded(seed.as_ref())),
        ..Jwk::default()
    })
}

fn p256() -> Result<Jwk, LabError> {
    let pair = EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING)
        .map_err(|_error| LabError::Crypto)?;
    let private: EcPrivateKeyBin<'_> = pair
        .private_key()
        .as_be_bytes()
        .map_err(|_error| LabError::Crypto)?;
    // An uncompressed point: 4, then the two coordinates.
    let point = pair.public_key().as_ref().get(1..).unwrap_or_default();
    let (x, y) = point.split_at(point.len() / 2);
    Ok(Jwk {
        kty: "EC".to_owned(),
        crv: Some("P-256".to_owned()),
        x: Some(encoded(x)),
        y: Some(encoded(y)),
        d: Some(encoded(private.as_ref())),
        ..Jwk::default()
    })
}

fn secret() -> Result<Jwk, LabError> {
    Ok(Jwk {
        kty: "oct".to_owned(),
        k: Some(encoded(&random::<32>()?)),
        ..Jwk::default()
    })
}

fn random<const BYTES: usize>() -> Result<[u8; BYTES], LabError> {
    let mut bytes = [0; BYTES];
    getrandom::fill(&mut bytes).map_err(|_error| LabError::Crypto)?;
    Ok(bytes)
}

fn encoded(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn write_new(file: &Path, key: Jwk, mode: u32) -> Result<(), LabError> {
    let failed = |source| LabError::File {
        file: file.to_owned(),
        source,
    };
    let mut json = serde_json::to_vec_pretty(&JwkSet { keys: vec![key] })
        .map_err(|error| failed(io::Error::other(error)))?;
    json.push(b'\n');
    let mut options = OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    let mut open = options.open(file).map_err(failed)?;
    open.write_all(&json).map_err(failed)
}
