//! The remote users (R47, R49): who may call, in a table of the handset's database, and the owner's ways to change it.
//!
//! The configuration is the beginning: a `[[user]]` that is new there, or whose password changed there, is put into the
//! table at start; one that was taken out there goes out here, unless the owner has set its password since. Everything
//! else is the owner's: what is changed on the owner's screen stays, a user deleted there does not come back.
//!
//! A password is kept as its Argon2id hash. For Digest the scheme's own hash is kept beside it, which is as good as the
//! password for this handset and no other, because each has a realm of its own; where Digest is off there is none. The
//! file is the owner's alone.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::Serialize;
use time::OffsetDateTime;
use tokio::sync::OwnedMutexGuard;
use tokio::time::Instant;

use super::super::consent::access;
use super::super::store::{Store, StoreError};
use super::super::{idempotency, tasks};
use super::digest::{Algorithm, Name, hex};
use super::lockout::Lockout;
use super::password::{Hash, PasswordError};

/// The tables: the users, what the configuration said when it was last put in, and what passwords are valid for.
pub const SCHEMA: &str = "
CREATE TABLE IF NOT EXISTS users (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    digest_sha256 TEXT,
    digest_md5 TEXT,
    owned INTEGER NOT NULL,
    disabled INTEGER NOT NULL DEFAULT 0,
    created_s INTEGER NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS configured_users (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS realm (name TEXT NOT NULL) STRICT;";

/// Users at most: the table is held in memory, too.
pub const USERS_MAX: usize = 256;

/// Longest name that the owner can give, in characters.
pub const NAME_CHARS_MAX: usize = 64;

/// Shortest and longest password that the owner can give, in characters.
pub const PASSWORD_CHARS_MIN: usize = 8;
/// See [`PASSWORD_CHARS_MIN`].
pub const PASSWORD_CHARS_MAX: usize = 128;

/// A user as the configuration has it. `Debug` shows the name alone.
#[derive(Clone)]
pub struct Configured {
    /// Who.
    pub name: String,
    /// How it is proven.
    pub secret: Secret,
}

/// What the configuration says of a password.
#[derive(Clone)]
pub enum Secret {
    /// In plain.
    Password(String),
    /// Its Argon2id hash: good for Basic alone.
    Hash(Hash),
}

impl fmt::Debug for Configured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Configured")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// What is kept for Digest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Kept {
    /// For SHA-256.
    pub sha256: bool,
    /// For MD5.
    pub md5: bool,
}

/// One user as the owner sees it.
#[derive(Debug, Clone, Serialize)]
pub struct Listed {
    /// Who.
    pub name: String,
    /// When it was added, in seconds since 1970.
    pub created_s: i64,
    /// Whether the owner added it or set its password; else it is as the configuration has it.
    pub owned: bool,
    /// Whether it may not sign in.
    pub disabled: bool,
    /// Whether it can sign in with Digest.
    pub digest: bool,
    /// Attempts with its name that failed lately, from wherever.
    pub failures: u32,
    /// Seconds for which it is locked out somewhere; null: nowhere.
    pub locked_s: Option<u64>,
}

/// Why the owner's change was not made.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// Another one has the name.
    #[error("there is a user of this name already")]
    Taken,
    /// Nobody has the name.
    #[error("there is no user of this name")]
    Unknown,
    /// No name.
    #[error(
        "a name has 1 to {NAME_CHARS_MAX} characters, no colon, and no white space at its ends"
    )]
    BadName,
    /// No password.
    #[error(
        "a password has {PASSWORD_CHARS_MIN} to {PASSWORD_CHARS_MAX} characters, and no control characters"
    )]
    BadPassword,
    /// As many users as may be.
    #[error("there are {USERS_MAX} users, which is as many as there may be")]
    Full,
    /// The password can't be hashed.
    #[error("the password {0}")]
    Password(#[from] PasswordError),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// One user in memory.
#[derive(Debug, Clone)]
pub struct User {
    /// Who.
    pub name: Arc<str>,
    /// Of the password.
    pub hash: Hash,
    sha256: Option<Arc<str>>,
    md5: Option<Arc<str>>,
    /// The name as callers hide it.
    name_sha256: String,
    owned: bool,
    disabled: bool,
    created_s: i64,
}

impl User {
    /// What stands for the password with this function.
    pub fn kept(&self, algorithm: Algorithm) -> Option<Arc<str>> {
        match algorithm {
            Algorithm::Sha256 => self.sha256.clone(),
            Algorithm::Md5 => self.md5.clone(),
        }
    }
}

/// The users. What changes goes into the database first, and counts from then on.
///
/// A change that was begun is made to its end, in the database and in memory, also if the owner's browser goes away
/// meanwhile: a user who was deleted there must not go on here until the next start.
#[derive(Debug)]
pub struct Users {
    store: Store,
    kept: Kept,
    /// What passwords are valid for: this handset. A browser that talks to several through one gateway, which are all one
    /// server to it, does not give one the password of another.
    realm: Arc<str>,
    users: Table,
    /// Changes are made one after the other, so that memory follows the database.
    changing: Arc<tokio::sync::Mutex<()>>,
    lockout: Mutex<Lockout>,
}

type Table = Arc<RwLock<BTreeMap<Arc<str>, User>>>;

impl Users {
    /// Brings the table and the configuration together, and reads it.
    pub async fn open(
        store: &Store,
        configured: Vec<Configured>,
        kept: Kept,
    ) -> Result<Self, ChangeError> {
        let now_s = OffsetDateTime::now_utc().unix_timestamp();
        let users = store.run(move |database| {
            let transaction = database.connection().transaction()?;
            let realm = match realm(&transaction)? {
                Ok(realm) => realm,
                Err(error) => return Ok(Err(error)),
            };
            if let Err(error) = configure(&transaction, &configured, kept, &realm, now_s)? {
                return Ok(Err(error));
            }
            let users = read(&transaction, &realm)?;
            transaction.commit()?;
            Ok(Ok((realm, users)))
        });
        let (realm, users) = users.await??;
        Ok(Self {
            store: store.clone(),
            kept,
            realm: realm.into(),
            users: Arc::new(RwLock::new(users)),
            changing: Arc::default(),
            lockout: Mutex::default(),
        })
    }

    /// The user of this name who may sign in.
    pub fn named(&self, name: &str) -> Option<User> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.get(name).filter(|user| !user.disabled).cloned()
    }

    /// The user whom a Digest answer names.
    pub fn answering(&self, name: &Name, algorithm: Algorithm) -> Option<User> {
        let hash = match name {
            Name::Plain(name) => return self.named(name),
            Name::Hashed(hash) => hash,
        };
        let realm = self.realm();
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let mut able = users.values().filter(|user| !user.disabled);
        let found = match algorithm {
            Algorithm::Sha256 => able.find(|user| user.name_sha256 == *hash),
            Algorithm::Md5 => able.find(|user| algorithm.of_name(&user.name, realm) == *hash),
        };
        found.cloned()
    }

    /// What passwords are valid for.
    pub fn realm(&self) -> &str {
        &self.realm
    }

    /// What failed lately.
    pub fn lockout(&self) -> MutexGuard<'_, Lockout> {
        self.lockout.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether there is nobody who could call.
    pub fn is_empty(&self) -> bool {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.is_empty()
    }

    /// All of them, in the order of their names.
    pub fn list(&self) -> Vec<Listed> {
        let now = Instant::now();
        let lockout = self.lockout();
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        let listed = users.values().map(|user| Listed {
            name: user.name.to_string(),
            created_s: user.created_s,
            owned: user.owned,
            disabled: user.disabled,
            digest: user.sha256.is_some(),
            failures: lockout.failures(&user.name, now),
            locked_s: lockout
                .locked(&user.name, now)
                .map(|left| left.as_secs().max(1)),
        });
        listed.collect()
    }

    /// The owner adds a user.
    pub async fn add(&self, name: &str, password: &str) -> Result<(), ChangeError> {
        if !is_name(name) {
            return Err(ChangeError::BadName);
        }
        let one = self.change().await;
        {
            let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
            if users.contains_key(name) {
                return Err(ChangeError::Taken);
            }
            if users.len() >= USERS_MAX {
                return Err(ChangeError::Full);
            }
        }
        let created_s = OffsetDateTime::now_utc().unix_timestamp();
        self.put(self.hashed(name, password, false, created_s).await?, one)
            .await?;
        self.lockout().forget(name);
        Ok(())
    }

    /// The owner gives a user another password; the old one is void at once, and so are the user's locks.
    pub async fn set_password(&self, name: &str, password: &str) -> Result<(), ChangeError> {
        let one = self.change().await;
        let User {
            disabled,
            created_s,
            ..
        } = self.any(name).ok_or(ChangeError::Unknown)?;
        let user = self.hashed(name, password, disabled, created_s).await?;
        self.put(user, one).await?;
        self.lockout().unlock(name);
        Ok(())
    }

    /// The owner keeps a user out for a while, or lets it in again.
    pub async fn set_disabled(&self, name: &str, disabled: bool) -> Result<(), ChangeError> {
        let one = self.change().await;
        let user = self.any(name).ok_or(ChangeError::Unknown)?;
        self.put(User { disabled, ..user }, one).await
    }

    /// The owner removes a user, and what was allowed to it.
    pub async fn delete(&self, name: &str) -> Result<(), ChangeError> {
        let one = self.change().await;
        self.any(name).ok_or(ChangeError::Unknown)?;
        let (deleted, users) = (name.to_owned(), Arc::clone(&self.users));
        let run = self.store.run(move |database| {
            let _one = one;
            let transaction = database.connection().transaction()?;
            remove(&transaction, &deleted)?;
            transaction.commit()?;
            let mut users = users.write().unwrap_or_else(PoisonError::into_inner);
            users.remove(&*deleted);
            Ok(())
        });
        run.await?;
        self.lockout().forget(name);
        Ok(())
    }

    /// The owner lifts a user's locks.
    pub fn unlock(&self, name: &str) -> Result<(), ChangeError> {
        self.any(name).ok_or(ChangeError::Unknown)?;
        self.lockout().unlock(name);
        Ok(())
    }

    fn any(&self, name: &str) -> Option<User> {
        let users = self.users.read().unwrap_or_else(PoisonError::into_inner);
        users.get(name).cloned()
    }

    async fn hashed(
        &self,
        name: &str,
        password: &str,
        disabled: bool,
        created_s: i64,
    ) -> Result<User, ChangeError> {
        if !is_password(password) {
            return Err(ChangeError::BadPassword);
        }
        let plain = password.to_owned();
        let hash = tokio::task::spawn_blocking(move || Hash::of(&plain)).await;
        let hash = hash.map_err(|_ended| StoreError::Stopped)??;
        let digests = self.kept.digests(name, &self.realm, password);
        let rest = (true, disabled, created_s);
        Ok(User::new(name, &self.realm, hash, digests, rest))
    }

    /// The turn of one change, which goes with it to the database.
    async fn change(&self) -> OwnedMutexGuard<()> {
        Arc::clone(&self.changing).lock_owned().await
    }

    async fn put(&self, user: User, one: OwnedMutexGuard<()>) -> Result<(), ChangeError> {
        let users = Arc::clone(&self.users);
        let run = self.store.run(move |database| {
            let _one = one;
            write(database.connection(), &user)?;
            let mut users = users.write().unwrap_or_else(PoisonError::into_inner);
            users.insert(Arc::clone(&user.name), user);
            Ok(())
        });
        Ok(run.await?)
    }
}

type Digests = (Option<String>, Option<String>);

impl Kept {
    fn digests(self, name: &str, realm: &str, password: &str) -> Digests {
        let of = |kept: bool, algorithm: Algorithm| {
            kept.then(|| algorithm.of_password(name, realm, password))
        };
        (
            of(self.sha256, Algorithm::Sha256),
            of(self.md5, Algorithm::Md5),
        )
    }
}

impl User {
    fn new(
        name: &str,
        realm: &str,
        hash: Hash,
        (sha256, md5): Digests,
        (owned, disabled, created_s): (bool, bool, i64),
    ) -> Self {
        Self {
            name: name.into(),
            hash,
            sha256: sha256.map(Into::into),
            md5: md5.map(Into::into),
            name_sha256: Algorithm::Sha256.of_name(name, realm),
            owned,
            disabled,
            created_s,
        }
    }
}

fn is_name(name: &str) -> bool {
    let length = name.chars().count();
    let odd = |c: char| c == ':' || c.is_control();
    (1..=NAME_CHARS_MAX).contains(&length) && !name.contains(odd) && name.trim() == name
}

fn is_password(password: &str) -> bool {
    let length = password.chars().count();
    (PASSWORD_CHARS_MIN..=PASSWORD_CHARS_MAX).contains(&length)
        && !password.contains(char::is_control)
}

/// The realm, which is made with the table and stays. The inner error is a missing one's.
fn realm(transaction: &Transaction<'_>) -> Result<Result<String, PasswordError>, StoreError> {
    let known = transaction.query_row("SELECT name FROM realm", [], |row| row.get(0));
    if let Some(known) = known.optional()? {
        return Ok(Ok(known));
    }
    let mut random = [0; 4];
    if let Err(error) = getrandom::fill(&mut random) {
        return Ok(Err(error.into()));
    }
    // Not the handset's number, which is nobody's business who may not call.
    let realm = format!("handset-{}", hex(&random));
    transaction.execute("INSERT INTO realm (name) VALUES (?1)", [&realm])?;
    // What was kept for Digest was for another one.
    transaction.execute(
        "UPDATE users SET digest_sha256 = NULL, digest_md5 = NULL",
        [],
    )?;
    Ok(Ok(realm))
}

/// Puts into the table what the configuration has newly to say. The inner error is a password's.
fn configure(
    transaction: &Transaction<'_>,
    configured: &[Configured],
    kept: Kept,
    realm: &str,
    now_s: i64,
) -> Result<Result<(), PasswordError>, StoreError> {
    let said = pairs(transaction, "SELECT name, hash FROM configured_users")?;
    let users = pairs(transaction, "SELECT name, hash FROM users WHERE NOT owned")?;
    for Configured { name, secret } in configured {
        let before = said.get(name);
        let same = before.is_some_and(|before| secret.is(before));
        let hash = match (before, secret) {
            (Some(before), _) if same => before.clone(),
            (_, Secret::Hash(hash)) => hash.phc(),
            (_, Secret::Password(password)) => match Hash::of(password) {
                Ok(hash) => hash.phc(),
                Err(error) => return Ok(Err(error)),
            },
        };
        // What the owner deleted or changed stays so; but for Digest, turned on since, the password is at hand again.
        if same && users.get(name) != Some(&hash) {
            continue;
        }
        let (sha256, md5) = match secret {
            Secret::Password(password) => kept.digests(name, realm, password),
            Secret::Hash(_) => (None, None),
        };
        transaction.execute(
            "INSERT INTO users (name, hash, digest_sha256, digest_md5, owned, created_s) VALUES (?1, ?2, ?3, ?4, 0, ?5)
             ON CONFLICT (name) DO UPDATE SET hash = ?2, digest_sha256 = ?3, digest_md5 = ?4, owned = 0",
            params![name, hash, sha256, md5, now_s],
        )?;
        let sql = "INSERT OR REPLACE INTO configured_users (name, hash) VALUES (?1, ?2)";
        transaction.execute(sql, params![name, hash])?;
    }
    let names: HashSet<_> = configured.iter().map(|user| &user.name).collect();
    for name in said.keys().filter(|name| !names.contains(name)) {
        if users.contains_key(name) {
            remove(transaction, name)?;
        }
        transaction.execute("DELETE FROM configured_users WHERE name = ?1", [name])?;
    }
    // What Digest does not need is not kept.
    if !kept.sha256 {
        transaction.execute("UPDATE users SET digest_sha256 = NULL", [])?;
    }
    if !kept.md5 {
        transaction.execute("UPDATE users SET digest_md5 = NULL", [])?;
    }
    Ok(Ok(()))
}

impl Secret {
    /// Whether it is what was put in before as this hash.
    fn is(&self, before: &str) -> bool {
        match (self, Hash::parse(before)) {
            (Self::Password(password), Ok(before)) => before.verify(password.as_bytes()),
            (Self::Hash(hash), _) => hash.phc() == before,
            (Self::Password(_), Err(_)) => false,
        }
    }
}

fn pairs(
    transaction: &Transaction<'_>,
    sql: &str,
) -> Result<BTreeMap<String, String>, rusqlite::Error> {
    let mut select = transaction.prepare(sql)?;
    let rows = select.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    rows.collect()
}

fn read(
    transaction: &Transaction<'_>,
    realm: &str,
) -> Result<BTreeMap<Arc<str>, User>, StoreError> {
    let mut select = transaction.prepare(
        "SELECT name, hash, digest_sha256, digest_md5, owned, disabled, created_s FROM users ORDER BY name LIMIT ?1",
    )?;
    let rows = select.query_map([i64::try_from(USERS_MAX).unwrap_or(i64::MAX)], |row| {
        let (name, hash): (String, String) = (row.get(0)?, row.get(1)?);
        let rest = (row.get(4)?, row.get(5)?, row.get(6)?);
        Ok((name, hash, (row.get(2)?, row.get(3)?), rest))
    })?;
    let mut users = BTreeMap::new();
    for row in rows {
        let (name, hash, digests, rest) = row?;
        match Hash::parse(&hash) {
            Ok(hash) => {
                let user = User::new(&name, realm, hash, digests, rest);
                users.insert(Arc::clone(&user.name), user);
            }
            // Some other program wrote it: nobody signs in with it.
            Err(error) => {
                tracing::warn!(%error, "a user's hash can't be read, and the user is passed over");
            }
        }
    }
    Ok(users)
}

fn write(connection: &Connection, user: &User) -> Result<(), StoreError> {
    connection.execute(
        "INSERT OR REPLACE INTO users (name, hash, digest_sha256, digest_md5, owned, disabled, created_s)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        params![
            &*user.name,
            user.hash.phc(),
            user.sha256.as_deref(),
            user.md5.as_deref(),
            user.owned,
            user.disabled,
            user.created_s,
        ],
    )?;
    Ok(())
}

fn remove(transaction: &Transaction<'_>, name: &str) -> Result<(), StoreError> {
    transaction.execute("DELETE FROM users WHERE name = ?1", [name])?;
    idempotency::forget_user(transaction, name)?;
    tasks::forget_user(transaction, name)?;
    access::forget_user(transaction, name)
}

/// How long a user has to wait, in whole seconds, for `Retry-After`.
pub fn whole_seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

#[cfg(test)]
mod tests;
