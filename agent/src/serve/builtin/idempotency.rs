//! Requests that may be sent twice and must be done once: the `Idempotency-Key` of everything that acts.
//!
//! A manager claims the key, looks whether it was used before, and writes what became of the request in the very
//! transaction that does it. So a key is remembered exactly if its request was done, whatever ends the agent: a caller
//! that heard nothing sends the same again and is told what the first one was. A request that failed is not remembered,
//! since nothing was done: the same key may try again.

use std::collections::HashSet;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use blake2::{Blake2s256, Digest};
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use rusqlite::{Connection, OptionalExtension, params};

use super::authentication::Caller;
use super::problem::{Kind, Problem};
use super::store::{Store, StoreError};

/// The header's name.
pub const HEADER: &str = "idempotency-key";

/// Bytes of a key at most.
pub const KEY_BYTES_MAX: usize = 255;

/// For how long a key is remembered.
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
#[derive(Clone, Default)]
pub struct Keys(Arc<Mutex<HashSet<Named>>>);

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
    /// Takes the key of this request, if it has one.
    pub fn claim(&self, caller: &Caller, parts: &Parts) -> Result<Claim, Problem> {
        let Some(key) = key(&parts.headers)? else {
            return Ok(Claim(None));
        };
        let named = (user(caller), key);
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if !held.insert(named.clone()) {
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
        let (user, key) = held.named.clone();
        let known = store
            .run(move |db| Ok(known(db.connection(), &user, &key)?))
            .await?;
        Ok(known.is_some())
    }

    /// Looks whether the key was used. `body` is the request's, or a digest of it where it was too long to hold.
    pub async fn look(self, store: &Store, body: &[u8]) -> Result<Seen, Problem> {
        let Some(Claimed { request, held }) = self.0 else {
            return Ok(Seen::First(Keyed(None)));
        };
        let request: [u8; 32] = request.chain_update(body).finalize().into();
        let (user, key) = held.named.clone();
        let known = store
            .run(move |db| Ok(known(db.connection(), &user, &key)?))
            .await?;
        match known {
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
        let (user, key) = &held.named;
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
                now_s()
            ])?;
        forget(connection, user)?;
        Ok(())
    }
}

/// The name under which a caller's keys and tasks are kept; empty while authentication is off.
pub fn user(caller: &Caller) -> Arc<str> {
    caller.0.clone().unwrap_or_default()
}

/// Seconds since 1970: keys are remembered across restarts, so this is the wall's clock.
fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
    })
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

fn known(
    connection: &Connection,
    user: &str,
    key: &str,
) -> rusqlite::Result<Option<([u8; 32], Outcome)>> {
    let sql = "SELECT request, status, location FROM idempotency
               WHERE user = ?1 AND key = ?2 AND at_s > ?3";
    let mut select = connection.prepare_cached(sql)?;
    select
        .query_row(params![user, key, now_s() - kept_s()], |row| {
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
fn forget(connection: &Connection, user: &str) -> rusqlite::Result<()> {
    connection
        .prepare_cached("DELETE FROM idempotency WHERE at_s <= ?1")?
        .execute([now_s() - kept_s()])?;
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

impl Drop for Held {
    fn drop(&mut self) {
        let mut held = self.keys.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.remove(&self.named);
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

    fn store(directory: &Path) -> Store {
        Store::open(&directory.join("db"), &[]).unwrap()
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
            let (store, keys) = (store(directory.path()), Keys::default());
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
        let (store, keys) = (store(directory.path()), Keys::default());
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
        let (store, keys) = (store(directory.path()), Keys::default());
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

    #[test]
    fn odd_keys_are_refused() {
        let long = "k".repeat(KEY_BYTES_MAX + 1);
        for key in ["", "two words", "\"\"", long.as_str()] {
            let refused = Keys::default().claim(&caller("alice"), &sent("POST /a", key));
            assert_eq!(slug(&refused.unwrap_err()), "bad-key", "{key:?}");
        }
    }

    #[tokio::test]
    async fn old_keys_and_too_many_of_one_user_are_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        let store = store(directory.path());
        let counted = store.run(|db| {
            let connection = &db.connection().transaction()?;
            let insert = "INSERT INTO idempotency (user, key, request, status, at_s) VALUES (?1, ?2, x'', 204, ?3)";
            connection.execute(insert, params!["bob", "old", now_s() - kept_s()])?;
            connection.execute(insert, params!["bob", "young", now_s()])?;
            for n in 0..KEYS_PER_USER_MAX {
                connection.execute(insert, params!["alice", n.to_string(), now_s()])?;
            }
            connection.execute(insert, params!["alice", "last", now_s()])?;
            forget(connection, "alice")?;
            let sql = "SELECT count(*) FROM idempotency WHERE user = 'bob'";
            let bobs: u32 = connection.query_row(sql, [], |row| row.get(0))?;
            let sql = "SELECT count(*), max(key = '0') FROM idempotency WHERE user = 'alice'";
            let alices: (u32, bool) = connection.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?)))?;
            Ok((bobs, alices))
        });
        assert_eq!(counted.await.unwrap(), (1, (KEYS_PER_USER_MAX, false)));
    }
}
