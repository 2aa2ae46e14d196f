//! Who is calling (R47, R49): HTTP Basic authentication (RFC 7617) against the users of the configuration.
//!
//! A password is held only as its Argon2id hash. Hashing takes tens of milliseconds by design, so it runs off the async
//! thread, one at a time, and what was proven once is remembered under a keyed hash that only this process knows.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Params, PasswordHasher, PasswordVerifier, Version};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use blake2::{Blake2s256, Digest};
use http::HeaderMap;
use http::header::AUTHORIZATION;
use tokio::sync::Semaphore;

use super::problem::{Kind, Problem};

/// Proven pairs of name and password that are remembered at most.
const PROVEN_MAX: usize = 64;

/// Longest `Authorization` value that is looked at, in bytes.
const CREDENTIALS_BYTES_MAX: usize = 2_048;

/// Memory and passes for a password that is configured in plain: of the pairs of equal strength that OWASP's Password
/// Storage Cheat Sheet recommends, one that a handset's memory hardly notices.
const MEMORY_KIB: u32 = 7_168;

/// See [`MEMORY_KIB`].
const PASSES: u32 = 5;

/// Memory of a configured hash at most, in KiB: a handset has to be able to spend it at each first sign-in.
const HASH_MEMORY_KIB_MAX: u32 = 65_536;

/// Passes of a configured hash at most.
const HASH_PASSES_MAX: u32 = 16;

/// What `password_hash` has to be.
const ARGON2ID: &str = "an Argon2id hash in PHC form (`$argon2id$v=19$m=…,t=…,p=…$salt$hash`)";

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Who a request comes from, as its authentication says (R49); `None`: authentication is off.
#[derive(Debug, Clone)]
pub struct Caller(pub Option<Arc<str>>);

/// A user who may call, with the hash of the password. `Debug` shows the name alone.
#[derive(Clone)]
pub struct User {
    name: Arc<str>,
    hash: Arc<PasswordHash>,
}

/// A password or a hash of the configuration that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// A well-formed hash of another kind, or without its salt or digest.
    #[error("is not {ARGON2ID}")]
    NotArgon2id,
    /// Not a PHC string.
    #[error("is not {ARGON2ID}: {0}")]
    NotPhc(#[from] argon2::password_hash::phc::Error),
    /// A PHC string whose parameters Argon2 does not have.
    #[error("is not {ARGON2ID}: {0}")]
    NotParams(#[from] argon2::password_hash::Error),
    /// A hash that a handset can't verify in reasonable time and memory.
    #[error("costs too much: at most m={HASH_MEMORY_KIB_MAX} (KiB), t={HASH_PASSES_MAX} and p=4")]
    TooCostly,
    /// The password can't be hashed.
    #[error("can't be hashed: {0}")]
    Unhashable(argon2::password_hash::Error),
    /// Parameters out of Argon2's range.
    #[error("can't be hashed: {0}")]
    OutOfRange(#[from] argon2::Error),
    /// The system gives no randomness.
    #[error("no random key: {0}")]
    NoKey(#[from] getrandom::Error),
}

impl User {
    /// A user whose password is configured in plain; hashes it, which takes a while.
    pub fn with_password(name: &str, password: &str) -> Result<Self, UserError> {
        let params = Params::new(MEMORY_KIB, PASSES, 1, None)?;
        Self::hashed(name, password, params)
    }

    fn hashed(name: &str, password: &str, params: Params) -> Result<Self, UserError> {
        let hash = Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
            .hash_password(password.as_bytes())
            .map_err(UserError::Unhashable)?;
        Ok(Self {
            name: name.into(),
            hash: Arc::new(hash),
        })
    }

    /// A user whose password is configured as a PHC string.
    pub fn with_hash(name: &str, phc: &str) -> Result<Self, UserError> {
        let hash = PasswordHash::new(phc)?;
        if hash.algorithm.as_str() != "argon2id" || hash.hash.is_none() || hash.salt.is_none() {
            return Err(UserError::NotArgon2id);
        }
        let params = Params::try_from(&hash)?;
        if params.m_cost() > HASH_MEMORY_KIB_MAX
            || params.t_cost() > HASH_PASSES_MAX
            || params.p_cost() > 4
        {
            return Err(UserError::TooCostly);
        }
        Ok(Self {
            name: name.into(),
            hash: Arc::new(hash),
        })
    }

    /// Who it is.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("User")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Whether callers have to say who they are.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// Everybody who can reach the handset may do everything: said in the configuration in so many words.
    Off,
    /// HTTP Basic.
    Basic(Arc<Users>),
}

/// The users, and what was proven of them.
pub struct Users {
    users: Vec<User>,
    /// Verified when no user has the name, so that the answer takes as long as for one who exists.
    decoy: User,
    key: [u8; 32],
    proven: Mutex<VecDeque<(Proof, usize)>>,
    /// One hash at a time: a guesser gets no more of the handset's memory than this.
    hashing: Semaphore,
}

type Proof = [u8; 32];

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("users", &self.users)
            .finish_non_exhaustive()
    }
}

impl Users {
    /// The users of the configuration. Hashes once, for the decoy.
    pub fn new(users: Vec<User>) -> Result<Self, UserError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        // As costly as the first user's.
        let params = match users.first() {
            Some(user) => Params::try_from(&*user.hash)?,
            None => Params::new(MEMORY_KIB, PASSES, 1, None)?,
        };
        Ok(Self {
            users,
            decoy: User::hashed("", "", params)?,
            key,
            proven: Mutex::default(),
            hashing: Semaphore::new(1),
        })
    }

    /// The position of the user who has this name and password.
    async fn verify(self: &Arc<Self>, name: &str, password: Vec<u8>) -> Option<usize> {
        let proof = self.proof(name, &password);
        if let Some(user) = self.remembered(&proof) {
            return Some(user);
        }
        let position = self.users.iter().position(|user| &*user.name == name);
        let known = position.and_then(|position| self.users.get(position));
        let hash = Arc::clone(&known.unwrap_or(&self.decoy).hash);
        let permit = self.hashing.acquire().await.ok()?;
        let verified = tokio::task::spawn_blocking(move || {
            // Compares in constant time.
            Argon2::default().verify_password(&password, &*hash).is_ok()
        });
        let verified = verified.await.unwrap_or(false);
        drop(permit);
        let user = position.filter(|_| verified)?;
        self.remember(proof, user);
        Some(user)
    }

    /// The key comes first and has a fixed length, and the name's length is in it: no two pairs look alike.
    fn proof(&self, name: &str, password: &[u8]) -> Proof {
        Blake2s256::new()
            .chain_update(self.key)
            .chain_update((name.len() as u64).to_le_bytes())
            .chain_update(name)
            .chain_update(password)
            .finalize()
            .into()
    }

    /// A caller can't steer the proofs' bytes, so how long the comparison takes tells nothing.
    fn remembered(&self, proof: &Proof) -> Option<usize> {
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven
            .iter()
            .find(|(known, _)| known == proof)
            .map(|(_, user)| *user)
    }

    fn remember(&self, proof: Proof, user: usize) {
        let mut proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        if proven.len() >= PROVEN_MAX {
            proven.pop_front();
        }
        proven.push_back((proof, user));
    }
}

impl Authentication {
    /// Who sent these headers, or the 401 for them.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Problem> {
        let Self::Basic(users) = self else {
            return Ok(Caller(None));
        };
        let Some(value) = headers.get(AUTHORIZATION) else {
            return Err(refused(
                "Say who you are: this handset wants HTTP Basic authentication.",
            ));
        };
        let Some((name, password)) = basic(value.as_bytes()) else {
            return Err(refused(
                "The Authorization header is not one of HTTP Basic authentication.",
            ));
        };
        match users.verify(&name, password).await {
            Some(user) => Ok(Caller(
                users.users.get(user).map(|user| Arc::clone(&user.name)),
            )),
            None => Err(refused("The user name or the password is wrong.")),
        }
    }
}

fn refused(detail: &str) -> Problem {
    Problem::new(Kind::Unauthorized, detail)
}

/// Name and password of an `Authorization: Basic …` value.
fn basic(value: &[u8]) -> Option<(String, Vec<u8>)> {
    if value.len() > CREDENTIALS_BYTES_MAX {
        return None;
    }
    let (scheme, token) = value.split_at_checked("Basic ".len())?;
    if !scheme.eq_ignore_ascii_case(b"Basic ") {
        return None;
    }
    let pair = BASE64.decode(token.trim_ascii()).ok()?;
    let colon = pair.iter().position(|b| *b == b':')?;
    let (name, password) = pair.split_at(colon);
    let name = std::str::from_utf8(name).ok()?.to_owned();
    Some((name, password.get(1..)?.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(value: &str) -> HeaderMap {
        HeaderMap::from_iter([(AUTHORIZATION, value.parse().unwrap())])
    }

    fn pair(pair: &str) -> HeaderMap {
        headers(&format!("Basic {}", BASE64.encode(pair)))
    }

    #[tokio::test]
    async fn r47_r49_the_right_password_names_the_caller_and_nothing_else_does() {
        let alice = User::with_password("alice", "wonder:länd").unwrap();
        let users = Arc::new(Users::new(vec![alice]).unwrap());
        let basic = Authentication::Basic(Arc::clone(&users));
        for _ in 0..2 {
            let caller = basic.caller(&pair("alice:wonder:länd")).await.unwrap();
            assert_eq!(caller.0.as_deref(), Some("alice"));
        }
        assert_eq!(
            users.proven.lock().unwrap().len(),
            1,
            "the second time is remembered"
        );
        for wrong in [
            "alice:wonderland",
            "alice:",
            "bob:wonder:länd",
            ":",
            "alice",
            "",
        ] {
            assert!(basic.caller(&pair(wrong)).await.is_err(), "{wrong:?}");
        }
        for wrong in ["Basic ???", "Bearer abc", "Basi", "basic"] {
            assert!(basic.caller(&headers(wrong)).await.is_err(), "{wrong:?}");
        }
        assert!(basic.caller(&HeaderMap::new()).await.is_err());
        assert!(
            Authentication::Off
                .caller(&HeaderMap::new())
                .await
                .unwrap()
                .0
                .is_none()
        );
    }

    #[test]
    fn r47_hashes_are_argon2id_and_affordable() {
        let phc = |params: &str| {
            format!(
                "$argon2id$v=19${params}$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
            )
        };
        assert!(User::with_hash("alice", &phc("m=65536,t=2,p=1")).is_ok());
        for costly in ["m=65537,t=2,p=1", "m=65536,t=17,p=1", "m=65536,t=2,p=5"] {
            let error = User::with_hash("alice", &phc(costly)).unwrap_err();
            assert!(matches!(error, UserError::TooCostly), "{costly}: {error}");
        }
        for wrong in [
            "wonderland",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ",
            "$2b$10$abc",
        ] {
            assert!(User::with_hash("alice", wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_user_prints_without_the_password() {
        let shown = format!("{:?}", User::with_password("alice", "wonderland").unwrap());
        assert_eq!(shown, "User { name: \"alice\", .. }");
    }
}
