//! Requests that may be sent twice and must be done once: the `Idempotency-Key` of everything that acts.
//!
//! A manager claims the key, looks whether it was used before, and writes what became of the request in the very
//! transaction that does it. So a key is remembered exactly if its request was done, whatever ends the agent: a caller
//! that heard nothing sends the same again and is told what the first one was. A request that failed is not remembered,
//! since nothing was done: the same key may try again.
//!
//! A key's age is counted in time that agents ran, and not by the wall's clock: one that is set right after a start, or
//! by whoever can, must not make a key forgotten, and a message go twice.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use blake2::{Blake2s256, Digest};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::time::Instant;

use super::authentication::Caller;
use super::problem::{Kind, Problem};
use super::store::{Store, StoreError};

/// The header's name.
pub const HEADER: &str = "idempotency-key";

/// Bytes of a key at most.
pub const KEY_BYTES_MAX: usize = 255;

/// For how long a key is remembered, while an agent runs.
pub const KEPT: Duration = Duration::from_secs(24 * 60 * 60);

/// Keys of one user that are remembered at most; the oldest go first.
pub const KEYS_PER_USER_MAX: u32 = 10_000;

/// Its table.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS idempotency (
        id INTEGER PRIMARY KEY,
        user TEXT NOT NULL,
        key TEXT NOT NULL,
        request BLOB NOT NULL,
        status INTEGER NOT NULL,
        location TEXT,
        at_s INTEGER NOT NULL
    ) STRICT;
    CREATE UNIQUE INDEX IF NOT EXISTS idempotency_key ON idempotency (user, key);
    CREATE INDEX IF NOT EXISTS idempotency_user ON idempotency (user, id);
    CREATE INDEX IF NOT EXISTS idempotency_at ON idempotency (at_s);";

/// The keys whose requests are being done; a clone is the same ones.
#[derive(Clone)]
pub struct Keys(Arc<Shared>);

struct Shared {
    held: Mutex<HashSet<Named>>,
    began: Instant,
    /// How old the newest key was made when this agent began.
    before_s: i64,
}

/// Whose key, and the key.
type Named = (Arc<str>, Arc<str>);

/// A key that no other request uses until this is dropped; or no key at all, which asks for nothing.
#[derive(Debug)]
pub struct Claim(Option<Claimed>);

#[derive(Debug)]
struct Claimed {
    request: Blake2s256,
    held: Held,
}

/// What is known of a key.
#[derive(Debug)]
pub enum Seen {
    /// Nothing: the request is to be done, and remembered in the same transaction.
    First(Keyed),
    /// The same request was done: this became of it, and is to be told again.
    Again(Outcome),
}

/// What became of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its status.
    pub status: StatusCode,
    /// Where what it made can be read, as this handset names it: `/contacts/7`, without the gateway's prefix.
    pub location: Option<String>,
}

/// Writes what becomes of a request; without a key it does nothing.
#[derive(Debug)]
pub struct Keyed(Option<(Held, [u8; 32])>);

impl Keys {
    /// Goes on counting where the last agent wrote its last key.
    pub async fn open(store: &Store) -> Result<Self, StoreError> {
        let newest = "SELECT coalesce(max(at_s), 0) FROM idempotency";
        let before_s =
            store.run(|db| Ok(db.connection().query_row(newest, [], |row| row.get(0))?));
        Ok(Self(Arc::new(Shared {
            held: Mutex::default(),
            began: Instant::now(),
            before_s: before_s.await?,
        })))
    }

    /// Seconds that agents ran.
    fn now_s(&self) -> i64 {
        let ran_s = i64::try_from(self.0.began.elapsed().as_secs()).unwrap_or(i64::MAX);
        self.0.before_s.saturating_add(ran_s)
    }

    fn held(&self) -> MutexGuard<'_, HashSet<Named>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the key of this request, if it has one.
    pub fn claim(&self, caller: &Caller, parts: &Parts) -> Result<Claim, Problem> {
        let Some(key) = key(&parts.headers)? else {
            return Ok(Claim(None));
        };
        let named = (user(caller), key);
        if !self.held().insert(named.clone()) {
            return Err(Problem::new(
                Kind::InProgress,
                "The first request with this Idempotency-Key is still being done. Send this one again later.",
            ));
        }
        let target = parts.uri.path_and_query().map_or("", |t| t.as_str());
        let form = parts.headers.get(CONTENT_TYPE);
        let mut request = Blake2s256::new();
        for part in [
            parts.method.as_str().as_bytes(),
            target.as_bytes(),
            form.map_or(b"", |value| value.as_bytes()),
        ] {
            // Each with its length: no two requests look alike.
            request.update((part.len() as u64).to_le_bytes());
            request.update(part);
        }
        Ok(Claim(Some(Claimed {
            request,
            held: Held {
                keys: self.clone(),
                named,
            },
        })))
    }
}

impl Claim {
    /// Whether the key came with a request that was done, this one or another: known before a long body is there.
    pub async fn is_used(&self, store: &Store) -> Result<bool, Problem> {
        let Some(Claimed { held, .. }) = &self.0 else {
            return Ok(false);
        };
        Ok(held.known(store).await?.is_some())
    }

    /// Looks whether the key was used. `body` is the request's, or a digest of it where it was too long to hold.
    pub async fn look(self, store: &Store, body: &[u8]) -> Result<Seen, Problem> {
        let Some(Claimed { request, held }) = self.0 else {
            return Ok(Seen::First(Keyed(None)));
        };
        let request: [u8; 32] = request.chain_update(body).finalize().into();
        match held.known(store).await? {
            None => Ok(Seen::First(Keyed(Some((held, request))))),
            Some((known, outcome)) if known == request => Ok(Seen::Again(outcome)),
            Some(_) => Err(Problem::new(
                Kind::KeyReused,
                "This Idempotency-Key came with another request before. Use a new key for each thing to be done.",
            )),
        }
    }
}

impl Keyed {
    /// Remembers what becomes of the request; to be called in the transaction that does it.
    pub fn remember(
        &self,
        connection: &Connection,
        status: StatusCode,
        location: Option<&str>,
    ) -> Result<(), StoreError> {
        let Some((held, request)) = &self.0 else {
            return Ok(());
        };
        let ((user, key), now_s) = (&held.named, held.keys.now_s());
        connection
            .prepare_cached(
                "INSERT OR REPLACE INTO idempotency (user, key, request, status, location, at_s)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            )?
            .execute(params![
                user,
                key,
                request,
                status.as_u16(),
                location,
                now_s
            ])?;
        forget(connection, user, now_s)?;
        Ok(())
    }
}

/// The name under which a caller's keys and tasks are kept; empty while authentication is off.
pub fn user(caller: &Caller) -> Arc<str> {
    caller.0.clone().unwrap_or_default()
}

/// A user was taken away: whoever gets the name later begins with nothing.
pub fn forget_user(connection: &Connection, user: &str) -> Result<(), StoreError> {
    connection.execute("DELETE FROM idempotency WHERE user = ?1", [user])?;
    Ok(())
}

fn kept_s() -> i64 {
    i64::try_from(KEPT.as_secs()).unwrap_or(i64::MAX)
}

/// The key in the header. A structured string, as the draft has it, names the same key as its bare text.
fn key(headers: &HeaderMap) -> Result<Option<Arc<str>>, Problem> {
    let mut values = headers.get_all(HEADER).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let text = value.to_str().unwrap_or_default().trim();
    let text = text
        .strip_prefix('"')
        .and_then(|text| text.strip_suffix('"'))
        .unwrap_or(text);
    let good = (1..=KEY_BYTES_MAX).contains(&text.len())
        && text.bytes().all(|b| b.is_ascii_graphic())
        && values.next().is_none();
    if !good {
        let detail = format!(
            "Idempotency-Key: must be one value of 1 to {KEY_BYTES_MAX} visible ASCII characters."
        );
        return Err(Problem::new(Kind::BadKey, detail));
    }
    Ok(Some(text.into()))
}

/// The digest of the request that came with a key, and what became of it.
type Known = ([u8; 32], Outcome);

fn known(
    connection: &Connection,
    (user, key): (&str, &str),
    now_s: i64,
) -> rusqlite::Result<Option<Known>> {
    let sql = "SELECT request, status, location FROM idempotency
               WHERE user = ?1 AND key = ?2 AND at_s > ?3";
    let mut select = connection.prepare_cached(sql)?;
    select
        .query_row(params![user, key, now_s - kept_s()], |row| {
            let status: u16 = row.get(1)?;
            let outcome = Outcome {
                status: StatusCode::from_u16(status).unwrap_or(StatusCode::OK),
                location: row.get(2)?,
            };
            Ok((row.get(0)?, outcome))
        })
        .optional()
}

/// Lets go of what is too old, of everybody, and of what is too much, of this user.
fn forget(connection: &Connection, user: &str, now_s: i64) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM idempotency WHERE at_s <= ?1")?
        .execute([now_s - kept_s()])?;
    connection
        .prepare_cached(
            "DELETE FROM idempotency WHERE user = ?1 AND id <= (
                 SELECT id FROM idempotency WHERE user = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )?
        .execute(params![user, KEYS_PER_USER_MAX])?;
    Ok(())
}

/// The right to a key; given back when dropped.
struct Held {
    keys: Keys,
    named: Named,
}

impl Held {
    async fn known(&self, store: &Store) -> Result<Option<Known>, StoreError> {
        let ((user, key), now_s) = (self.named.clone(), self.keys.now_s());
        let known = store.run(move |db| Ok(known(db.connection(), (&user, &key), now_s)?));
        known.await
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.keys.held().remove(&self.named);
    }
}

/// Keys are the callers' own; logs get none.
impl fmt::Debug for Held {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Held(…)")
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(…)")
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use http::Request;

    use super::*;

    async fn opened(directory: &Path) -> (Store, Keys) {
        let store = Store::open(&directory.join("db"), &[]).unwrap();
        let keys = Keys::open(&store).await.unwrap();
        (store, keys)
    }

    fn sent(start: &str, key: &str) -> Parts {
        let (method, path) = start.split_once(' ').unwrap();
        let request = Request::builder().method(method).uri(path);
        request.header(HEADER, key).body(()).unwrap().into_parts().0
    }

    fn caller(name: &str) -> Caller {
        Caller(Some(name.into()))
    }

    async fn remembered(store: &Store, keyed: Keyed, location: &'static str) {
        let work = store
            .run(move |db| keyed.remember(db.connection(), StatusCode::CREATED, Some(location)));
        work.await.unwrap();
    }

    fn slug(problem: &Problem) -> &'static str {
        problem.kind().told().1
    }

    #[tokio::test]
    async fn a_key_is_done_once_and_its_outcome_is_told_again_after_a_restart() {
        let directory = tempfile::tempdir().unwrap();
        let add = sent("POST /contacts", "k1");
        {
            let (store, keys) = opened(directory.path()).await;
            let claim = keys.claim(&caller("alice"), &add).unwrap();
            let busy = keys.claim(&caller("alice"), &add).unwrap_err();
            assert_eq!(slug(&busy), "in-progress");
            assert!(
                keys.claim(&caller("bob"), &add).is_ok(),
                "bob's key is another one"
            );
            let Seen::First(keyed) = claim.look(&store, b"Ada").await.unwrap() else {
                panic!("nothing was done yet");
            };
            remembered(&store, keyed, "/contacts/7").await;
        }
        let (store, keys) = opened(directory.path()).await;
        let look = async |start, key, body: &[u8]| {
            let claim = keys.claim(&caller("alice"), &sent(start, key)).unwrap();
            claim.look(&store, body).await
        };
        for key in ["k1", "\"k1\""] {
            let Seen::Again(outcome) = look("POST /contacts", key, b"Ada").await.unwrap() else {
                panic!("it was done");
            };
            assert_eq!(outcome.location.as_deref(), Some("/contacts/7"));
            assert_eq!(outcome.status, StatusCode::CREATED);
        }
        for (start, body) in [
            ("POST /contacts", b"Bob"),
            ("POST /notes", b"Ada"),
            ("DELETE /contacts", b"Ada"),
            ("POST /contacts?store=sim", b"Ada"),
        ] {
            let reused = look(start, "k1", body).await.unwrap_err();
            assert_eq!(slug(&reused), "key-reused", "{start}");
        }
        assert!(matches!(
            look("POST /contacts", "k2", b"Ada").await,
            Ok(Seen::First(_))
        ));
    }

    #[tokio::test]
    async fn a_request_that_failed_or_has_no_key_leaves_nothing() {
        let directory = tempfile::tempdir().unwrap();
        let (store, keys) = opened(directory.path()).await;
        for _ in 0..2 {
            let claim = keys.claim(&caller("alice"), &sent("POST /a", "k")).unwrap();
            assert!(matches!(claim.look(&store, b"").await, Ok(Seen::First(_))));
        }
        let bare = Request::post("/a").body(()).unwrap().into_parts().0;
        for _ in 0..2 {
            let claim = keys.claim(&caller("alice"), &bare).unwrap();
            let Ok(Seen::First(keyed)) = claim.look(&store, b"").await else {
                panic!("no key, nothing to remember");
            };
            remembered(&store, keyed, "/a/1").await;
        }
    }

    #[tokio::test]
    async fn odd_keys_are_refused() {
        let directory = tempfile::tempdir().unwrap();
        let (_store, keys) = opened(directory.path()).await;
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for key in ["", "two words", "\"\"", long.as_str()] {
            let refused = keys.claim(&caller("alice"), &sent("POST /a", key));
            assert_eq!(slug(&refused.unwrap_err()), "bad-key", "{key:?}");
        }
    }

    #[tokio::test]
    async fn old_keys_and_too_many_of_one_user_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let (store, _keys) = opened(directory.path()).await;
        let counted = store.run(|db| {
            let now_s = 2 * kept_s();
            let connection = &db.connection().transaction()?;
            let insert = "INSERT INTO idempotency (user, key, request, status, at_s) VALUES (?1, ?2, x'', 204, ?3)";
            connection.execute(insert, params!["bob", "old", now_s - kept_s()])?;
            connection.execute(insert, params!["bob", "young", now_s])?;
            for n in 0..KEYS_PER_USER_MAX {
                connection.execute(insert, params!["alice", n.to_string(), now_s])?;
            }
            connection.execute(insert, params!["alice", "last", now_s])?;
            forget(connection, "alice", now_s)?;
            let sql = "SELECT count(*) FROM idempotency WHERE user = 'bob'";
            let bobs: u32 = connection.query_row(sql, [], |row| row.get(0))?;
            let sql = "SELECT count(*), max(key = '0') FROM idempotency WHERE user = 'alice'";
            let alices: (u32, bool) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok((bobs, alices))
        });
        assert_eq!(counted.await.unwrap(), (1, (KEYS_PER_USER_MAX, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_grows_old_while_an_agent_runs_whatever_the_walls_clock_shows() {
        let directory = tempfile::tempdir().unwrap();
        let post = sent("POST /a", "k");
        let of_alice = async |keys: &Keys, store: &Store| {
            let claim = keys.claim(&caller("alice"), &post).unwrap();
            claim.look(store, b"").await.unwrap()
        };
        let (store, keys) = opened(directory.path()).await;
        let Seen::First(keyed) = of_alice(&keys, &store).await else {
            panic!("nothing was done yet");
        };
        remembered(&store, keyed, "/a/1").await;
        let newest = store.run(|db| {
            let newest = "SELECT max(at_s) FROM idempotency";
            Ok(db
                .connection()
                .query_row(newest, [], |row| row.get::<_, i64>(0))?)
        });
        assert_eq!(newest.await.unwrap(), 0, "it is no date");
        // However long the handset was off.
        let (store, keys) = opened(directory.path()).await;
        tokio::time::advance(KEPT - Duration::from_secs(1)).await;
        assert!(matches!(of_alice(&keys, &store).await, Seen::Again(_)));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(matches!(of_alice(&keys, &store).await, Seen::First(_)));
    }

    #[tokio::test]
    async fn r49_whoever_gets_the_name_of_a_user_who_is_gone_begins_with_no_keys() {
        let directory = tempfile::tempdir().unwrap();
        let (store, keys) = opened(directory.path()).await;
        let post = sent("POST /a", "k");
        for user in ["alice", "bob"] {
            let claim = keys.claim(&caller(user), &post).unwrap();
            let Ok(Seen::First(keyed)) = claim.look(&store, b"").await else {
                panic!("each has its own");
            };
            remembered(&store, keyed, "/a/1").await;
        }
        let gone = store.run(|db| forget_user(db.connection(), "alice"));
        gone.await.unwrap();
        for (user, again) in [("alice", false), ("bob", true)] {
            let claim = keys.claim(&caller(user), &post).unwrap();
            let seen = claim.look(&store, b"").await.unwrap();
            assert_eq!(matches!(seen, Seen::Again(_)), again, "{user}");
        }
    }
}
