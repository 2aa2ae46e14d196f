//! Passwords as they are kept: Argon2id hashes in PHC form, and how one is made and verified (R47).
//!
//! Hashing takes tens of milliseconds and megabytes by design, so it runs off the async thread, one at a time, and only
//! a few wait for their turn: a flood of guesses gets no more of the handset's memory or time than that. What was proven
//! once is remembered under a keyed hash that only this process knows.

use std::collections::VecDeque;
use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use argon2::password_hash::phc::PasswordHash;
use argon2::{Algorithm, Argon2, Block, Params, Version};
use aws_lc_rs::constant_time;
use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD as BASE64;
use blake2::{Blake2s256, Digest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory and passes for a password that comes in plain: of the pairs of equal strength that OWASP's Password Storage
/// Cheat Sheet recommends, one that a handset's memory hardly notices.
const MEMORY_KIB: u32 = 7_168;

/// See [`MEMORY_KIB`].
const PASSES: u32 = 5;

/// Bytes of a salt.
const SALT_BYTES: usize = 16;

/// Blocks of 1 KiB that a hash is given room for at least: see [`argon2id`].
const ROOM_BLOCKS: usize = 40 * 1_024;

/// Memory of a configured hash at most, in KiB: a handset has to be able to spend it at each first sign-in.
const HASH_MEMORY_KIB_MAX: u32 = 65_536;

/// Passes of a configured hash at most.
const HASH_PASSES_MAX: u32 = 16;

/// Attempts that wait for the one that is being hashed at most.
const WAITING_MAX: usize = 8;

/// Proven pairs of name and password that are remembered at most.
const PROVEN_MAX: usize = 64;

/// What `password_hash` has to be.
const ARGON2ID: &str = "an Argon2id hash in PHC form (`$argon2id$v=19$m=…,t=…,p=…$salt$hash`)";

/// A password or a hash that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
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
    /// Parameters out of Argon2's range.
    #[error("can't be hashed: {0}")]
    OutOfRange(#[from] argon2::Error),
    /// The system gives no randomness.
    #[error("no random key: {0}")]
    NoKey(#[from] getrandom::Error),
}

/// A password's hash; a clone is the same one. `Debug` shows nothing of it.
#[derive(Clone)]
pub struct Hash(Arc<PasswordHash>);

impl Hash {
    /// Hashes a password, which takes a while.
    pub fn of(password: &str) -> Result<Self, PasswordError> {
        let (mut salt, mut hash) = ([0; SALT_BYTES], [0; Params::DEFAULT_OUTPUT_LEN]);
        getrandom::fill(&mut salt)?;
        let params = Params::new(MEMORY_KIB, PASSES, 1, Some(hash.len()))?;
        argon2id(
            params,
            Version::V0x13,
            password.as_bytes(),
            &salt,
            &mut hash,
        )?;
        let (salt, hash) = (BASE64.encode(salt), BASE64.encode(hash));
        Self::parse(&format!(
            "$argon2id$v=19$m={MEMORY_KIB},t={PASSES},p=1${salt}${hash}"
        ))
    }

    /// Reads a PHC string.
    pub fn parse(phc: &str) -> Result<Self, PasswordError> {
        let hash = PasswordHash::new(phc)?;
        if hash.algorithm.as_str() != "argon2id" || hash.hash.is_none() || hash.salt.is_none() {
            return Err(PasswordError::NotArgon2id);
        }
        let params = Params::try_from(&hash)?;
        if params.m_cost() > HASH_MEMORY_KIB_MAX
            || params.t_cost() > HASH_PASSES_MAX
            || params.p_cost() > 4
        {
            return Err(PasswordError::TooCostly);
        }
        Ok(Self(Arc::new(hash)))
    }

    /// As a PHC string.
    pub fn phc(&self) -> String {
        self.0.to_string()
    }

    /// Whether it is this password's; takes a while, and compares in constant time.
    pub fn verify(&self, password: &[u8]) -> bool {
        let (Some(salt), Some(hash)) = (&self.0.salt, &self.0.hash) else {
            return false;
        };
        let version = self.0.version.unwrap_or(Version::V0x13.into());
        let (Ok(version), Ok(params)) = (Version::try_from(version), Params::try_from(&*self.0))
        else {
            return false;
        };
        let mut found = vec![0; hash.len()];
        argon2id(params, version, password, salt, &mut found).is_ok()
            && constant_time::verify_slices_are_equal(&found, hash.as_bytes()).is_ok()
    }
}

/// Argon2id, in memory that goes back to the system at once.
///
/// The room that is asked for is larger than what malloc ever keeps for later (32 MiB in glibc); what is beyond the
/// parameters is never touched, and so never there. Otherwise an idle handset would hold the last hash's megabytes.
fn argon2id(
    params: Params,
    version: Version,
    password: &[u8],
    salt: &[u8],
    hash: &mut [u8],
) -> Result<(), argon2::Error> {
    let blocks = params.block_count();
    let mut memory = Vec::with_capacity(blocks.max(ROOM_BLOCKS));
    memory.resize(blocks, Block::default());
    Argon2::new(Algorithm::Argon2id, version, params).hash_password_into_with_memory(
        password,
        salt,
        hash,
        memory.as_mut_slice(),
    )
}

impl fmt::Debug for Hash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hash(…)")
    }
}

/// As many attempts wait already as may.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Busy;

type Proof = [u8; 32];

/// Verifies, one at a time, and remembers what was proven.
pub struct Verifier {
    /// Verified when no user has the name, so that the answer takes as long as for one who exists.
    decoy: Hash,
    key: [u8; 32],
    proven: Mutex<VecDeque<Proof>>,
    turn: Arc<Semaphore>,
    waiting: AtomicUsize,
}

impl fmt::Debug for Verifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Verifier(…)")
    }
}

/// The turn of one attempt; the next one's begins when it is dropped.
#[derive(Debug)]
pub struct Turn<'a> {
    verifier: &'a Verifier,
    permit: OwnedSemaphorePermit,
}

impl Verifier {
    /// Hashes once, for the decoy.
    pub fn new() -> Result<Self, PasswordError> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        Ok(Self {
            decoy: Hash::of("")?,
            key,
            proven: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: AtomicUsize::new(0),
        })
    }

    /// Waits for a turn to verify, unless too many do.
    pub async fn turn(&self) -> Result<Turn<'_>, Busy> {
        let waiting = Waiting::new(&self.waiting).ok_or(Busy)?;
        let permit = Arc::clone(&self.turn)
            .acquire_owned()
            .await
            .map_err(|_closed| Busy)?;
        drop(waiting);
        Ok(Turn {
            verifier: self,
            permit,
        })
    }

    /// Whether this pair was proven before, against this very hash.
    pub fn remembers(&self, name: &str, password: &[u8], hash: &Hash) -> bool {
        let proof = self.proof(name, password, hash);
        // A caller can't steer the proofs' bytes, so how long the comparison takes tells nothing.
        let proven = self.proven.lock().unwrap_or_else(PoisonError::into_inner);
        proven.contains(&proof)
    }

    /// The key comes first and has a fixed length, and the lengths of the next two are in it: no two look alike. With
    /// the hash in it, a proof is worth nothing once the password was changed.
    fn proof(&self, name: &str, password: &[u8], hash: &Hash) -> Proof {
        let phc = hash.phc();
        Blake2s256::new()
            .chain_update(self.key)
            .chain_update((name.len() as u64).to_le_bytes())
            .chain_update(name)
            .chain_update((phc.len() as u64).to_le_bytes())
            .chain_update(phc)
            .chain_update(password)
            .finalize()
            .into()
    }
}

impl Turn<'_> {
    /// Whether the user with this hash has this password; `None`: no user has the name, and the answer is no.
    pub async fn verify(self, name: &str, password: Vec<u8>, hash: Option<&Hash>) -> bool {
        let Self { verifier, permit } = self;
        let proof = hash.map(|hash| verifier.proof(name, &password, hash));
        let hash = hash.unwrap_or(&verifier.decoy).clone();
        let verified = tokio::task::spawn_blocking(move || {
            // Its caller may go away: the turn lasts as long as the work does.
            let _permit = permit;
            hash.verify(&password)
        });
        let verified = verified.await.unwrap_or(false);
        let Some(proof) = proof.filter(|_| verified) else {
            return false;
        };
        let mut proven = verifier
            .proven
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !proven.contains(&proof) {
            if proven.len() >= PROVEN_MAX {
                proven.pop_front();
            }
            proven.push_back(proof);
        }
        true
    }
}

/// One of those who wait; counted until dropped, also when its caller goes away.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn new(count: &'a AtomicUsize) -> Option<Self> {
        let more = |waiting| (waiting < WAITING_MAX).then_some(waiting + 1);
        let counted = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more);
        // Made only where it was counted: what is dropped counts down.
        counted.is_ok().then(|| Self(count))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn r47_a_proof_is_of_one_name_one_password_and_one_hash() {
        let verifier = Verifier::new().unwrap();
        let (hash, other) = (Hash::of("wonder").unwrap(), Hash::of("wonder").unwrap());
        assert!(!verifier.remembers("alice", b"wonder", &hash));
        let verify = async |name: &str, password: &[u8], hash: Option<&Hash>| {
            let turn = verifier.turn().await.unwrap();
            turn.verify(name, password.to_vec(), hash).await
        };
        for _ in 0..2 {
            assert!(verify("alice", b"wonder", Some(&hash)).await);
        }
        assert!(!verify("alice", b"wander", Some(&hash)).await);
        assert!(!verify("nobody", b"", None).await, "the decoy is no way in");
        assert_eq!(verifier.proven.lock().unwrap().len(), 1);
        assert!(verifier.remembers("alice", b"wonder", &hash));
        assert!(!verifier.remembers("alicew", b"onder", &hash));
        assert!(
            !verifier.remembers("alice", b"wonder", &other),
            "the password was set anew"
        );
    }

    #[tokio::test]
    async fn r47_only_a_few_guesses_wait_for_their_turn() {
        let verifier = Verifier::new().unwrap();
        let first = verifier.turn().await.unwrap();
        let mut waiting: Vec<_> = (0..WAITING_MAX)
            .map(|_| Box::pin(verifier.turn()))
            .collect();
        for turn in &mut waiting {
            assert!(now(turn).await.is_none());
        }
        for _ in 0..3 {
            assert_eq!(verifier.turn().await.unwrap_err(), Busy);
        }
        // A caller that goes away makes room, and so does a turn that ends.
        drop(waiting.pop());
        let mut next = Box::pin(verifier.turn());
        assert!(now(&mut next).await.is_none());
        drop(first);
        assert!(now(&mut waiting[0]).await.is_some_and(|turn| turn.is_ok()));
        drop((waiting, next));
        assert!(verifier.turn().await.is_ok());
        assert_eq!(verifier.waiting.load(Ordering::Relaxed), 0);
    }

    /// What the future gives now, if it gives something.
    async fn now<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
        std::future::poll_fn(|context| {
            std::task::Poll::Ready(match std::pin::Pin::new(&mut *future).poll(context) {
                std::task::Poll::Ready(output) => Some(output),
                std::task::Poll::Pending => None,
            })
        })
        .await
    }

    #[test]
    fn r47_another_reader_of_phc_strings_agrees() {
        use argon2::password_hash::PasswordVerifier;
        let phc = Hash::of("wonder").unwrap().phc();
        assert_ne!(phc, Hash::of("wonder").unwrap().phc(), "each has its salt");
        let read = PasswordHash::new(&phc).unwrap();
        assert!(Argon2::default().verify_password(b"wonder", &read).is_ok());
        assert!(Argon2::default().verify_password(b"wander", &read).is_err());
    }

    #[test]
    fn r47_hashes_are_argon2id_and_affordable() {
        let phc = |params: &str| {
            format!(
                "$argon2id$v=19${params}$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"
            )
        };
        let good = Hash::parse(&phc("m=65536,t=2,p=1")).unwrap();
        assert_eq!(good.phc(), phc("m=65536,t=2,p=1"));
        // It is the reference implementation's test vector.
        assert!(good.verify(b"password") && !good.verify(b"passworx"));
        for costly in ["m=65537,t=2,p=1", "m=65536,t=17,p=1", "m=65536,t=2,p=5"] {
            let error = Hash::parse(&phc(costly)).unwrap_err();
            assert!(
                matches!(error, PasswordError::TooCostly),
                "{costly}: {error}"
            );
        }
        for wrong in [
            "wonderland",
            "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHQ",
            "$2b$10$abc",
        ] {
            assert!(Hash::parse(wrong).is_err(), "{wrong}");
        }
    }
}
