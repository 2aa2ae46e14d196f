//! The owner's secret: made once, kept in a file that only its owner reads, and the cookie that stands for it.
//!
//! The cookie holds no state here: it is the moment of signing in under a keyed hash of the secret. It outlives a
//! restart, and ends after [`COOKIE_LIFE_S`] or when the file holds another secret.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use blake2::{Blake2s256, Digest};

/// Shortest secret that an owner may choose, in characters.
const CHARS_MIN: usize = 16;

/// Longest, in characters; more is not even read.
const CHARS_MAX: usize = 256;

/// Random bytes of a secret that is made here.
const RANDOM_BYTES: usize = 32;

/// How long a browser stays signed in, in seconds: 30 days.
pub const COOKIE_LIFE_S: u64 = 30 * 86_400;

/// A secret file that can't be used.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It can't be read or made.
    #[error("the owner's secret {}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Others than its owner can read it.
    #[error("the owner's secret {} can be read by others (mode {mode:03o}): chmod 600 it, or delete it to get a new one", path.display())]
    Open {
        /// Which file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// It holds no secret.
    #[error(
        "the owner's secret {} is not one line of {CHARS_MIN} to {CHARS_MAX} letters, digits or `-._~`: \
         delete it to get a new one",
        path.display()
    )]
    Unfit {
        /// Which file.
        path: PathBuf,
    },
    /// The system gives no randomness.
    #[error("no random secret: {0}")]
    NoRandom(#[from] getrandom::Error),
}

/// The owner's secret. `Debug` never shows it.
#[derive(Clone)]
pub struct Secret {
    text: String,
    key: [u8; 32],
}

impl Secret {
    /// Reads the file, or makes it.
    pub fn open(path: &Path) -> Result<Self, SecretError> {
        match Self::read(path)? {
            Some(secret) => Ok(secret),
            None => Self::make(path),
        }
    }

    /// Reads the file; `None`: there is none.
    pub fn read(path: &Path) -> Result<Option<Self>, SecretError> {
        let failed = |source| SecretError::File {
            path: path.to_owned(),
            source,
        };
        let mut file = match fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(failed(error)),
        };
        let mode = file.metadata().map_err(failed)?.permissions().mode() & 0o777;
        if mode & 0o077 != 0 {
            let path = path.to_owned();
            return Err(SecretError::Open { path, mode });
        }
        let mut bytes = Vec::new();
        let limit = CHARS_MAX as u64 + 2;
        let read = Read::by_ref(&mut file).take(limit).read_to_end(&mut bytes);
        read.map_err(failed)?;
        let text = str::from_utf8(&bytes).unwrap_or_default().trim();
        if !is_secret(text) {
            let path = path.to_owned();
            return Err(SecretError::Unfit { path });
        }
        Ok(Some(Self::new(text)))
    }

    /// Under another name first: a file of this name is whole, whenever the power fails.
    fn make(path: &Path) -> Result<Self, SecretError> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random)?;
        let text = URL_SAFE_NO_PAD.encode(random);
        let unfinished = path.with_added_extension("new");
        let write = || {
            // One that was left behind may have been made under other permissions.
            match fs::remove_file(&unfinished) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
            let mut options = OpenOptions::new();
            let mut file = options
                .write(true)
                .create_new(true)
                .mode(0o600)
                .open(&unfinished)?;
            writeln!(file, "{text}")?;
            file.sync_all()?;
            fs::rename(&unfinished, path)
        };
        write().map_err(|source| SecretError::File {
            path: path.to_owned(),
            source,
        })?;
        Ok(Self::new(&text))
    }

    fn new(text: &str) -> Self {
        let key = Blake2s256::new()
            .chain_update("everline owner's screen, key of the cookie\0")
            .chain_update(text)
            .finalize();
        Self {
            text: text.to_owned(),
            key: key.into(),
        }
    }

    /// As it is typed.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Whether this is the secret. It takes as long for a nearly right one as for any other.
    pub fn is(&self, offered: &str) -> bool {
        offered.len() <= CHARS_MAX && self.hash(&[offered]) == self.hash(&[&self.text])
    }

    /// What a browser that signs in now gets, `now` in seconds since 1970.
    pub fn cookie(&self, now: u64) -> String {
        let moment = now.to_string();
        let hash = URL_SAFE_NO_PAD.encode(self.hash(&["cookie", &moment]));
        format!("{moment}.{hash}")
    }

    /// Whether it is a cookie of this secret that is not too old.
    pub fn admits(&self, cookie: &str, now: u64) -> bool {
        let Some((moment, _)) = cookie.split_once('.') else {
            return false;
        };
        let Ok(moment) = moment.parse::<u64>() else {
            return false;
        };
        // A clock that was set back makes no cookie live longer than its life.
        let fresh = now.abs_diff(moment) < COOKIE_LIFE_S;
        fresh && self.hash(&[cookie]) == self.hash(&[&self.cookie(moment)])
    }

    /// Only who has the secret can work towards a hash, so comparing two of them may end at the first difference.
    fn hash(&self, parts: &[&str]) -> [u8; 32] {
        let mut hash = Blake2s256::new().chain_update(self.key);
        for part in parts {
            hash.update(part);
            hash.update([0]);
        }
        hash.finalize().into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// What stands in a URL as it is: the first visit is `/?secret=…`.
fn is_secret(text: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~');
    (CHARS_MIN..=CHARS_MAX).contains(&text.len()) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r53_a_secret_is_made_once_and_is_its_owners_alone() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("owner.secret");
        let made = Secret::open(&path).unwrap();
        assert_eq!(made.text().len(), 43);
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(Secret::open(&path).unwrap().text(), made.text());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
        assert!(!format!("{made:?}").contains(made.text()));

        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        let refused = Secret::open(&path).unwrap_err().to_string();
        assert!(refused.contains("chmod 600"), "{refused}");
    }

    #[test]
    fn r53_a_secret_that_an_owner_chose_is_long_enough_for_one() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("owner.secret");
        for (text, fit) in [
            ("sixteen-letters-\n", true),
            ("fifteen-letters", false),
            ("with a space in it", false),
            ("", false),
            (&"a".repeat(CHARS_MAX), true),
            (&"a".repeat(CHARS_MAX + 1), false),
        ] {
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
            assert_eq!(Secret::open(&path).is_ok(), fit, "{text:?}");
        }
    }

    #[test]
    fn r53_a_cookie_is_good_for_its_secret_and_its_time() {
        let (ours, other) = (Secret::new("our own secret"), Secret::new("another one"));
        let now = 1_800_000_000;
        let cookie = ours.cookie(now);
        assert!(ours.admits(&cookie, now) && ours.admits(&cookie, now + COOKIE_LIFE_S - 1));
        assert!(!ours.admits(&cookie, now + COOKIE_LIFE_S));
        assert!(!ours.admits(&cookie, now - COOKIE_LIFE_S));
        assert!(!other.admits(&cookie, now));
        let (_, hash) = cookie.split_once('.').unwrap();
        for forged in [
            &format!("{}.{hash}", now + 1),
            &format!("0{cookie}"),
            &format!("{cookie} "),
            "",
            ".",
            "1800000000.",
        ] {
            assert!(!ours.admits(forged, now), "{forged}");
        }
        assert!(ours.is("our own secret") && !ours.is("our own secre") && !ours.is(""));
    }
}
