//! Who is calling (R47, R49): Basic (RFC 7617) and Digest (RFC 7616) authentication of the remote users.
//!
//! | module | what it is |
//! |---|---|
//! | [`basic`], [`digest`] | the two schemes' grammar and arithmetic |
//! | [`nonces`] | Digest's nonces: timed, counted, never good for a count twice |
//! | [`lockout`] | guesses are slowed and locked out |
//! | [`users`] | the table of remote users, and the owner's ways to change it |
//! | [`password`] | Argon2id, one hash at a time |
//!
//! It comes before everything else: nothing is told to a stranger, not even which URLs there are. There are no sessions
//! (R13): every request proves anew who it comes from, and what was proven is remembered only to save the hashing.

pub mod basic;
pub mod digest;
pub mod lockout;
pub mod nonces;
pub mod password;
pub mod users;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::header::{AUTHORIZATION, FORWARDED, HOST, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Request};
use tokio::time::Instant;

use super::consent::Gate;
use super::prefix;
use super::problem::{Kind, Problem};
use super::store::Store;
use digest::{Algorithm, Answer};
use lockout::{Lock, Source};
use nonces::Nonces;
use password::{Busy, Hash, PasswordError, Verifier};
use users::{ChangeError, Configured, Kept, Users, whole_seconds};

/// What an answered request brings back for a caller that wants to go on (RFC 7616 section 3.5).
pub const AUTHENTICATION_INFO: HeaderName = HeaderName::from_static("authentication-info");

/// When to come again if others are being verified.
const BUSY_WAIT: Duration = Duration::from_secs(1);

/// What the configuration says of authentication.
#[derive(Debug, Clone)]
pub struct AuthenticationConfig {
    /// What callers are offered.
    pub schemes: Schemes,
    /// The users that the configuration names.
    pub users: Vec<Configured>,
}

/// What callers are offered; at least one of the first two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Schemes {
    /// HTTP Basic.
    pub basic: bool,
    /// HTTP Digest.
    pub digest: bool,
    /// MD5 beside SHA-256.
    pub md5: bool,
}

/// Who a request comes from, as its authentication says (R49); `None`: authentication is off.
#[derive(Debug, Clone)]
pub struct Caller(pub Option<Arc<str>>);

/// The address of a caller who reached the handset itself, and not through the gateway: an extension of a request.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub SocketAddr);

/// Authentication can't be made ready.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// No users.
    #[error("the users: {0}")]
    Users(#[from] ChangeError),
    /// No decoy, or no key.
    #[error("a password {0}")]
    Password(#[from] PasswordError),
    /// No key.
    #[error("no random key: {0}")]
    NoKey(#[from] getrandom::Error),
}

/// Whether callers have to say who they are; a clone is the same one.
#[derive(Debug, Clone)]
pub enum Authentication {
    /// Everybody who can reach the handset may do everything: said in the configuration in so many words.
    Off,
    /// They have to.
    On(Arc<Door>),
}

/// The users, and what was proven of them.
#[derive(Debug)]
pub struct Door {
    schemes: Schemes,
    /// Who may call.
    pub users: Users,
    verifier: Verifier,
    nonces: Mutex<Nonces>,
    opaque: String,
    /// Stands for the password of a name that no user has.
    decoy: String,
    /// Has the owner's audit log, in which lockouts stand.
    gate: Gate,
}

/// A caller who was let in, and the header that its answer has to carry.
#[derive(Debug)]
pub struct Admitted {
    /// Who.
    pub caller: Caller,
    /// For [`AUTHENTICATION_INFO`].
    pub info: Option<HeaderValue>,
}

impl Authentication {
    /// As configured; reads the users, and puts those of the configuration in.
    pub async fn open(
        store: &Store,
        config: Option<&AuthenticationConfig>,
        gate: &Gate,
    ) -> Result<Self, DoorError> {
        let Some(config) = config else {
            return Ok(Self::Off);
        };
        let schemes = config.schemes;
        let kept = Kept {
            sha256: schemes.digest,
            md5: schemes.digest && schemes.md5,
        };
        let users = Users::open(store, config.users.clone(), kept).await?;
        if users.is_empty() {
            tracing::warn!(
                "there is no user, so nobody can call: add a [[user]], or one on the owner's screen"
            );
        }
        let mut random = [0; 40];
        getrandom::fill(&mut random)?;
        let (opaque, decoy) = random.split_at(8);
        Ok(Self::On(Arc::new(Door {
            schemes,
            users,
            verifier: tokio::task::spawn_blocking(Verifier::new)
                .await
                .unwrap_or_else(|_ended| Verifier::new())?,
            nonces: Mutex::new(Nonces::new(Instant::now())?),
            opaque: digest::hex(opaque),
            decoy: digest::hex(decoy),
            gate: gate.clone(),
        })))
    }

    /// The users, for the owner to manage; `None`: authentication is off.
    pub fn users(&self) -> Option<&Users> {
        match self {
            Self::Off => None,
            Self::On(door) => Some(&door.users),
        }
    }

    /// Who sent this request, or what it is answered.
    pub async fn caller(&self, asked: Asked<'_>) -> Result<Admitted, Problem> {
        match self {
            Self::Off => Ok(Admitted {
                caller: Caller(None),
                info: None,
            }),
            Self::On(door) => door.caller(&asked).await,
        }
    }
}

/// What a request has to do with authentication.
#[derive(Debug)]
pub struct Asked<'a> {
    method: &'a str,
    target: &'a str,
    headers: &'a HeaderMap,
    source: Source,
}

impl<'a> Asked<'a> {
    /// Of this request.
    pub fn of<B>(request: &'a Request<B>) -> Self {
        let headers = request.headers();
        let peer = request.extensions().get::<Peer>();
        let address = peer
            .map(|peer| peer.0.ip())
            .or_else(|| forwarded_for(headers));
        Self {
            method: request.method().as_str(),
            target: request
                .uri()
                .path_and_query()
                .map_or("/", |target| target.as_str()),
            headers,
            source: address.map(Source::from).unwrap_or_default(),
        }
    }

    /// Whether the caller asked for this URL. What it saw has the prefix that the gateway took away, if it did, and may
    /// be in absolute form (RFC 7616 section 3.4.6).
    fn is_for(&self, uri: &str) -> bool {
        let absolute = uri
            .strip_prefix("http://")
            .or_else(|| uri.strip_prefix("https://"));
        let path = match absolute {
            None => uri,
            Some(rest) => {
                let (host, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
                let asked = self.headers.get(HOST).map(HeaderValue::as_bytes);
                if !asked.is_some_and(|asked| asked.eq_ignore_ascii_case(host.as_bytes())) {
                    return false;
                }
                path
            }
        };
        let Some(path) = path.strip_prefix(prefix(self.headers)) else {
            return false;
        };
        // Whoever asks for `/<msisdn>` or `http://host?x` asks for `/` of the handset.
        let bare = path.is_empty() || path.starts_with('?');
        path == self.target || (bare && self.target.strip_prefix('/') == Some(path))
    }
}

/// The caller's address as the gateway saw it: the last element of `Forwarded` is the gateway's own.
fn forwarded_for(headers: &HeaderMap) -> Option<IpAddr> {
    let chain = headers
        .get_all(FORWARDED)
        .iter()
        .next_back()?
        .to_str()
        .ok()?;
    let own = chain.rsplit(',').next()?.trim();
    let node = own.split(';').find_map(|pair| pair.strip_prefix("for="))?;
    let node = node.trim_matches('"');
    node.trim_start_matches('[')
        .trim_end_matches(']')
        .parse()
        .ok()
}

impl Door {
    async fn caller(&self, asked: &Asked<'_>) -> Result<Admitted, Problem> {
        let mut values = asked.headers.get_all(AUTHORIZATION).iter();
        let value = match (values.next(), values.next()) {
            (Some(value), None) => value.as_bytes(),
            (None, _) => {
                let wanted = match self.schemes {
                    Schemes {
                        basic: true,
                        digest: true,
                        ..
                    } => "Digest or Basic",
                    Schemes { digest: true, .. } => "Digest",
                    _ => "Basic",
                };
                return Err(self.refused(&format!(
                    "Say who you are: this handset wants HTTP {wanted} authentication."
                )));
            }
            (Some(_), Some(_)) => return Err(self.refused("There are two Authorization headers.")),
        };
        let scheme = |name: &str| {
            let (scheme, rest) = value.split_at_checked(name.len())?;
            let rest = rest.strip_prefix(b" ")?;
            scheme.eq_ignore_ascii_case(name.as_bytes()).then_some(rest)
        };
        match (scheme("Digest"), scheme("Basic")) {
            (Some(value), _) if self.schemes.digest => self.digest(value, asked),
            (_, Some(token)) if self.schemes.basic => self.basic(token, asked).await,
            _ => {
                Err(self
                    .refused("The Authorization header is not one of a scheme that is offered."))
            }
        }
    }

    async fn basic(&self, token: &[u8], asked: &Asked<'_>) -> Result<Admitted, Problem> {
        let (name, password) = basic::parse(token).ok_or_else(|| {
            self.refused("The Authorization header is not one of HTTP Basic authentication.")
        })?;
        self.let_try(&name, asked)?;
        let user = self.users.named(&name);
        let known = user
            .as_ref()
            .filter(|user| self.verifier.remembers(&name, &password, &user.hash));
        if known.is_none() {
            let turn = self
                .verifier
                .turn()
                .await
                .map_err(|Busy| wait(BUSY_WAIT, "Others are signing in at this moment."))?;
            // Those before may have failed.
            self.let_try(&name, asked)?;
            let hash = user.as_ref().map(|user| &user.hash);
            let verified = turn.verify(&name, password, hash).await;
            // The owner may have removed the user, kept it out or given it another password meanwhile.
            let still = self.users.named(&name).map(|user| user.hash.phc());
            if !verified || still != hash.map(Hash::phc) {
                return Err(self.failed(&name, user.is_some(), asked));
            }
        }
        let name = user.map(|user| user.name);
        self.succeeded(name, asked, None)
    }

    fn digest(&self, value: &[u8], asked: &Asked<'_>) -> Result<Admitted, Problem> {
        let now = Instant::now();
        let answer =
            Answer::parse(value, self.users.realm()).map_err(|fault| self.refused(fault.0))?;
        if answer.algorithm == Algorithm::Md5 && !self.schemes.md5 {
            return Err(self.refused("This algorithm was not offered."));
        }
        if !asked.is_for(&answer.uri) {
            return Err(
                self.refused("The uri of the Authorization header is not the one of the request.")
            );
        }
        // Before anything is compared: what is not answered to a nonce of ours tells a guesser nothing.
        let Some(nonce) = self.nonces().known(&answer.nonce, now) else {
            return Err(self.stale());
        };
        let user = self.users.answering(&answer.name, answer.algorithm);
        let (digest::Name::Plain(named) | digest::Name::Hashed(named)) = &answer.name;
        let name = user.as_ref().map_or(&**named, |user| &*user.name);
        self.let_try(name, asked)?;
        let kept = user.as_ref().and_then(|user| user.kept(answer.algorithm));
        let right = answer.is_right(kept.as_deref().unwrap_or(&self.decoy), asked.method);
        let Some(kept) = kept.filter(|_| right) else {
            return Err(self.failed(name, user.is_some(), asked));
        };
        let mut nonces = self.nonces();
        if !nonces.take(nonce, answer.count) {
            drop(nonces);
            return Err(self.stale());
        }
        let next = match nonces.is_old(nonce, now) {
            true => nonces.make(now).ok(),
            false => None,
        };
        drop(nonces);
        let info = answer.info(&kept, next.as_deref());
        self.succeeded(
            user.map(|user| user.name),
            asked,
            HeaderValue::try_from(info).ok(),
        )
    }

    fn nonces(&self) -> MutexGuard<'_, Nonces> {
        self.nonces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn let_try(&self, name: &str, asked: &Asked<'_>) -> Result<(), Problem> {
        match self
            .users
            .lockout()
            .wait(name, asked.source, Instant::now())
        {
            None => Ok(()),
            Some(left) => Err(wait(
                left,
                "Too many attempts with this name failed; the owner of the handset can lift this.",
            )),
        }
    }

    fn failed(&self, name: &str, known: bool, asked: &Asked<'_>) -> Problem {
        let lock = self
            .users
            .lockout()
            .failed(name, known, asked.source, Instant::now());
        // Without the name, which is personal, and may be anything where no user has it.
        match lock {
            Some(Lock::Source) => tracing::warn!(
                known,
                "a name is locked out where too many attempts with it failed"
            ),
            Some(Lock::Name) => tracing::warn!(
                known,
                "a name is locked out wherever it was not seen: attempts fail from many sources"
            ),
            None => {}
        }
        if lock.is_some() && known {
            self.gate.locked_out(name);
        }
        self.refused("The user name or the password is wrong.")
    }

    fn succeeded(
        &self,
        name: Option<Arc<str>>,
        asked: &Asked<'_>,
        info: Option<HeaderValue>,
    ) -> Result<Admitted, Problem> {
        let name = name.ok_or_else(|| self.refused("The user name or the password is wrong."))?;
        self.users
            .lockout()
            .succeeded(&name, asked.source, Instant::now());
        Ok(Admitted {
            caller: Caller(Some(name)),
            info,
        })
    }

    /// 401 with every challenge that there is.
    fn refused(&self, detail: &str) -> Problem {
        self.challenged(Problem::new(Kind::Unauthorized, detail), false)
    }

    /// 401 that says: the same again, with this nonce.
    fn stale(&self) -> Problem {
        let detail = "The nonce is too old, or was used for this count before: answer the new one.";
        self.challenged(Problem::new(Kind::Unauthorized, detail), true)
    }

    /// The strongest first: a caller that knows several takes the first that it knows.
    fn challenged(&self, mut problem: Problem, stale: bool) -> Problem {
        let Schemes { basic, digest, md5 } = self.schemes;
        let realm = self.users.realm();
        let offered = [(Algorithm::Sha256, digest), (Algorithm::Md5, digest && md5)];
        for (algorithm, _) in offered.into_iter().filter(|(_, offered)| *offered) {
            // Without the system's randomness nobody can be told a nonce.
            let Ok(nonce) = self.nonces().make(Instant::now()) else {
                continue;
            };
            let stale = if stale { ", stale=true" } else { "" };
            let challenge = format!(
                "Digest realm=\"{realm}\", qop=\"auth\", algorithm={}, nonce=\"{nonce}\", opaque=\"{}\", \
                 charset=UTF-8, userhash=true{stale}",
                algorithm.name(),
                self.opaque
            );
            if let Ok(challenge) = HeaderValue::try_from(challenge) {
                problem = problem.with_header(WWW_AUTHENTICATE, challenge);
            }
        }
        if basic {
            let challenge = format!("Basic realm=\"{realm}\", charset=\"UTF-8\"");
            if let Ok(challenge) = HeaderValue::try_from(challenge) {
                problem = problem.with_header(WWW_AUTHENTICATE, challenge);
            }
        }
        problem
    }
}

fn wait(left: Duration, detail: &str) -> Problem {
    let problem = Problem::new(Kind::TooManyAttempts, detail);
    problem.with_header(RETRY_AFTER, HeaderValue::from(whole_seconds(left)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked<'a>(target: &'a str, headers: &'a HeaderMap) -> Asked<'a> {
        Asked {
            method: "GET",
            target,
            headers,
            source: Source::default(),
        }
    }

    #[test]
    fn r11_r47_the_uri_is_the_one_that_the_caller_saw() {
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("34600000001.Example:8080"));
        let host_form = asked("/contacts?limit=1", &headers);
        assert!(host_form.is_for("/contacts?limit=1"));
        assert!(host_form.is_for("http://34600000001.example:8080/contacts?limit=1"));
        for other in [
            "/contacts",
            "/contacts?limit=2",
            "/notes",
            "",
            "http://evil/contacts?limit=1",
        ] {
            assert!(!host_form.is_for(other), "{other}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(HOST, HeaderValue::from_static("example"));
        headers.insert(
            "x-forwarded-prefix",
            HeaderValue::from_static("/34600000001"),
        );
        assert!(asked("/contacts", &headers).is_for("/34600000001/contacts"));
        assert!(asked("/contacts", &headers).is_for("http://example/34600000001/contacts"));
        assert!(!asked("/contacts", &headers).is_for("/contacts"));
        assert!(!asked("/contacts", &headers).is_for("/34600000002/contacts"));
        for (target, uri) in [
            ("/", "/34600000001"),
            ("/", "/34600000001/"),
            ("/?a=1", "/34600000001?a=1"),
        ] {
            assert!(asked(target, &headers).is_for(uri), "{uri}");
        }
        assert!(!asked("/", &headers).is_for("/346000000011"));
    }

    /// The user is deleted, and another one's password changed, while their own right passwords wait to be verified.
    #[tokio::test]
    async fn r47_r49_what_the_owner_takes_away_counts_for_who_is_being_verified() {
        use base64::Engine;
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("db"), super::super::resource::ALL).unwrap();
        let config = AuthenticationConfig {
            schemes: Schemes {
                basic: true,
                digest: false,
                md5: false,
            },
            users: Vec::new(),
        };
        let gate = Gate::open();
        let opened = Authentication::open(&store, Some(&config), &gate);
        let Authentication::On(door) = opened.await.unwrap() else {
            panic!("it is on")
        };
        for name in ["alice", "bob", "carol"] {
            door.users.add(name, "wonderland").await.unwrap();
        }
        let headers = ["alice", "bob", "carol"].map(|name| {
            let pair = format!("{name}:wonderland");
            let pair = base64::engine::general_purpose::STANDARD.encode(pair);
            let value = HeaderValue::try_from(format!("Basic {pair}")).unwrap();
            HeaderMap::from_iter([(AUTHORIZATION, value)])
        });
        let [alice, bob, carol] = &headers.each_ref().map(|headers| asked("/", headers));
        let first = door.verifier.turn().await.unwrap();
        let owner = async {
            tokio::task::yield_now().await;
            door.users.delete("alice").await.unwrap();
            door.users.set_password("bob", "another one").await.unwrap();
            drop(first);
        };
        let (alice, bob, carol, ()) = tokio::join!(
            door.caller(alice),
            door.caller(bob),
            door.caller(carol),
            owner
        );
        assert!(alice.is_err() && bob.is_err());
        assert_eq!(carol.unwrap().caller.0.as_deref(), Some("carol"));
    }

    #[test]
    fn r47_a_caller_is_where_the_gateway_saw_it() {
        let source = |chain: &'static str| {
            let mut headers = HeaderMap::new();
            headers.append(FORWARDED, HeaderValue::from_static("for=10.9.9.9"));
            headers.append(FORWARDED, HeaderValue::from_static(chain));
            forwarded_for(&headers).map(|address| address.to_string())
        };
        let told = "for=192.0.2.7;host=34600000001.localhost:8080;proto=http";
        assert_eq!(source(told).as_deref(), Some("192.0.2.7"));
        let told = "for=\"a,b\", for=1.1.1.1, for=\"[2001:db8::1]\";host=h;proto=http";
        assert_eq!(source(told).as_deref(), Some("2001:db8::1"));
        assert_eq!(source("for=_hidden;proto=http"), None);
        assert_eq!(forwarded_for(&HeaderMap::new()), None);
    }
}
