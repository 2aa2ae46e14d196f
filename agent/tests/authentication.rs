//! Who is calling: R47 to R49, with callers made by hand and with curl.

mod support;

use aws_lc_rs::digest::{SHA256, digest};
use support::front::{Front, curl};
use support::{Agent, Answer, Gateway, Signaling};

/// Users of every kind: one whose name is not ASCII, and one with a hash alone (of `wonderland`).
const USERS: &str = "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n\
    [[user]]\nname = \"zoë\"\npassword = \"pässwörd\"\n\
    [[user]]\nname = \"hans\"\npassword_hash = \"$argon2id$v=19$m=256,t=1,p=1$c29tZXNhbHQ$HASH\"\n";

const BUILTIN: &str = "[consent]\nenabled = false\n[builtin]\ndatabase = \"handset.db\"\n";

/// The Argon2id hash of a password as it would stand in a configuration.
fn hash(password: &str) -> String {
    use argon2::{Algorithm, Argon2, Params, PasswordHasher, Version};
    let params = Params::new(256, 1, 1, None).unwrap();
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params);
    argon2
        .hash_password(password.as_bytes())
        .unwrap()
        .to_string()
}

fn users() -> String {
    let phc = "$argon2id$v=19$m=256,t=1,p=1$c29tZXNhbHQ$HASH";
    USERS.replace(phc, &hash("wonderland"))
}

async fn handset(top: &str) -> (Gateway, Agent, Signaling) {
    let gateway = Gateway::start().await;
    let agent = Agent::start(&[&gateway], &format!("{top}{}{BUILTIN}", users()));
    let signaling = gateway.registered().await;
    (gateway, agent, signaling)
}

fn basic(name: &str, password: &str) -> String {
    use base64::Engine;
    let pair = base64::engine::general_purpose::STANDARD.encode(format!("{name}:{password}"));
    format!("Authorization: Basic {pair}\r\n")
}

/// A caller that answers Digest challenges, written from the RFC.
struct Caller {
    name: &'static str,
    password: &'static str,
    realm: String,
    nonce: String,
    count: u32,
}

fn sha256(text: &str) -> String {
    let bytes = digest(&SHA256, text.as_bytes());
    bytes
        .as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A parameter of a challenge.
fn parameter<'a>(challenge: &'a str, name: &str) -> &'a str {
    let (_, rest) = challenge
        .split_once(&format!("{name}=\""))
        .unwrap_or_else(|| panic!("no {name} in {challenge}"));
    rest.split_once('"').unwrap().0
}

/// The Digest challenge of a 401, and whether it says that only the nonce was wrong.
fn challenge(answer: &Answer) -> (String, bool) {
    assert_eq!(answer.status, 401, "{answer:?}");
    let challenges = answer.headers("www-authenticate");
    let digest = challenges[0];
    assert!(
        digest.starts_with("Digest realm=\"handset-")
            && digest.contains("\", qop=\"auth\", algorithm=SHA-256, "),
        "{digest}"
    );
    (
        parameter(digest, "nonce").to_owned(),
        digest.contains("stale=true"),
    )
}

/// What the handset says that passwords are valid for.
fn realm(answer: &Answer) -> String {
    parameter(answer.headers("www-authenticate")[0], "realm").to_owned()
}

impl Caller {
    async fn challenged(
        gateway: &Gateway,
        signaling: &mut Signaling,
        name: &'static str,
        password: &'static str,
    ) -> Self {
        let answer = gateway.get(signaling, "/", "").await;
        let (nonce, stale) = challenge(&answer);
        assert!(!stale);
        Self {
            name,
            password,
            realm: realm(&answer),
            nonce,
            count: 0,
        }
    }

    /// The header for the next use of the nonce.
    fn header(&mut self, method: &str, uri: &str) -> String {
        self.count += 1;
        self.header_of("SHA-256", self.count, method, uri)
    }

    fn header_of(&self, algorithm: &str, count: u32, method: &str, uri: &str) -> String {
        let Self {
            name,
            password,
            realm,
            nonce,
            ..
        } = self;
        let mut key = sha256(&format!("{name}:{realm}:{password}"));
        if algorithm.ends_with("-sess") {
            key = sha256(&format!("{key}:{nonce}:mine"));
        }
        let request = sha256(&format!("{method}:{uri}"));
        let response = sha256(&format!("{key}:{nonce}:{count:08x}:mine:auth:{request}"));
        format!(
            "Authorization: Digest username=\"{name}\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"{uri}\", \
             algorithm={algorithm}, qop=auth, nc={count:08x}, cnonce=\"mine\", response=\"{response}\"\r\n"
        )
    }
}

#[tokio::test]
async fn r47_r49_callers_say_who_they_are() {
    let (gateway, agent, mut signaling) = handset("authentication = \"basic\"\n").await;
    for headers in [
        String::new(),
        basic("alice", "wonderlanx"),
        "Authorization: Bearer x\r\n".to_owned(),
    ] {
        for path in ["/contacts", "/", "/nowhere"] {
            // From another address each time: failures are not what this is about.
            let source = format!("Forwarded: for=192.0.2.{}\r\n", path.len());
            let refused = gateway
                .get(&mut signaling, path, &format!("{headers}{source}"))
                .await;
            assert_eq!(refused.status, 401);
            let challenge = format!("Basic realm=\"{}\", charset=\"UTF-8\"", realm(&refused));
            assert_eq!(refused.headers("www-authenticate"), [challenge]);
            assert_eq!(refused.json()["type"], "urn:everline:agent:unauthorized");
        }
    }
    for (name, password) in [
        ("alice", "wonderland"),
        ("zoë", "pässwörd"),
        ("hans", "wonderland"),
    ] {
        for _ in 0..2 {
            let menu = gateway
                .get(&mut signaling, "/", &basic(name, password))
                .await;
            assert_eq!(
                (menu.status, menu.json()["user"].as_str()),
                (200, Some(name))
            );
        }
    }
    let xml = format!("{}Accept: text/xml\r\n", basic("alice", "wonderland"));
    let xml = gateway.get(&mut signaling, "/", &xml).await;
    assert!(
        xml.body.contains("<handset user=\"alice\">"),
        "{}",
        xml.body
    );
    let log = agent.log();
    for secret in [
        "wonderland",
        "alice",
        &basic("alice", "wonderland")[22..30],
        "argon2",
    ] {
        assert!(!log.contains(secret), "{secret}: {log}");
    }
}

#[tokio::test]
async fn r47_curl_signs_in_with_either_scheme_and_in_both_forms_of_the_url() {
    let (gateway, agent, signaling) = handset("").await;
    let front = Front::start(gateway, signaling).await;
    for user in ["alice:wonderland", "zoë:pässwörd"] {
        let name = user.split(':').next().unwrap();
        for scheme in ["--basic", "--digest", "--anyauth"] {
            for url in [
                front.host_form("/"),
                front.path_form("/"),
                front.path_form(""),
                front.path_form("?x=y"),
            ] {
                let told = curl(&[scheme, "-u", user, &url]).await;
                assert_eq!(told.status, 200, "{scheme} {url}: {}", told.output);
                assert!(
                    told.output.contains(&format!("\"user\":\"{name}\"")),
                    "{}",
                    told.output
                );
                let digest = told
                    .output
                    .contains("authentication-info: qop=auth, rspauth=");
                assert_eq!(
                    digest,
                    scheme != "--basic",
                    "the strongest that curl knows: {}",
                    told.output
                );
            }
        }
    }
    let contacts = front.path_form("/contacts?limit=7");
    let json = [
        "--digest",
        "-u",
        "alice:wonderland",
        "-H",
        "Content-Type: application/json",
    ];
    let added = curl(
        &[
            &json[..],
            &["-d", r#"{"name":"Ada"}"#, &front.path_form("/contacts")],
        ]
        .concat(),
    )
    .await;
    assert_eq!(added.status, 201, "{}", added.output);
    let list = curl(&[&json[..3], &[&contacts]].concat()).await;
    assert!(list.output.contains("\"name\":\"Ada\""), "{}", list.output);
    let head = curl(&[&json[..3], &["-I", &contacts]].concat()).await;
    assert_eq!(head.status, 200);
    let gone = curl(
        &[
            &json[..3],
            &["-X", "DELETE", &front.host_form("/contacts/1")],
        ]
        .concat(),
    )
    .await;
    assert_eq!(gone.status, 204, "{}", gone.output);
    let wrong = curl(&["--digest", "-u", "alice:looking-glass", &contacts]).await;
    assert_eq!(wrong.status, 401);
    assert!(!agent.log().contains("alice"));
}

#[tokio::test]
async fn r47_a_digest_answer_is_good_for_one_request_once() {
    let (gateway, _agent, mut signaling) = handset("").await;
    let mut alice = Caller::challenged(&gateway, &mut signaling, "alice", "wonderland").await;
    let sent = alice.header("GET", "/");
    let answer = gateway.get(&mut signaling, "/", &sent).await;
    assert_eq!(
        (answer.status, answer.json()["user"].as_str()),
        (200, Some("alice"))
    );
    let key = sha256(&format!("alice:{}:wonderland", alice.realm));
    let proof = sha256(&format!(
        "{key}:{}:00000001:mine:auth:{}",
        alice.nonce,
        sha256(":/")
    ));
    let info = answer.header("authentication-info");
    assert_eq!(
        info,
        format!("qop=auth, rspauth=\"{proof}\", cnonce=\"mine\", nc=00000001")
    );

    // Whoever overheard it has nothing: not for the same request again, not for another.
    let (fresh, stale) = challenge(&gateway.get(&mut signaling, "/", &sent).await);
    assert!(stale && fresh != alice.nonce);
    assert!(
        !challenge(
            &gateway
                .get(&mut signaling, "/contacts", &alice.header("GET", "/"))
                .await
        )
        .1
    );
    assert!(
        !challenge(
            &gateway
                .send(
                    &mut signaling,
                    "DELETE /contacts/1",
                    &alice.header("GET", "/contacts/1"),
                    ""
                )
                .await
        )
        .1
    );
    // Requests overtake each other.
    for count in [9, 7, 8] {
        let header = alice.header_of("SHA-256", count, "GET", "/");
        assert_eq!(gateway.get(&mut signaling, "/", &header).await.status, 200);
    }
    let header = alice.header_of("SHA-256", 7, "GET", "/");
    assert!(challenge(&gateway.get(&mut signaling, "/", &header).await).1);
    let header = alice.header_of("SHA-256-sess", 10, "GET", "/");
    assert_eq!(gateway.get(&mut signaling, "/", &header).await.status, 200);
}

#[tokio::test]
async fn r47_a_nonce_of_an_earlier_run_is_stale_and_a_new_one_is_at_hand() {
    let (gateway, mut agent, mut signaling) = handset("").await;
    let mut alice = Caller::challenged(&gateway, &mut signaling, "alice", "wonderland").await;
    agent.kill();
    drop(signaling);
    agent.run();
    let mut signaling = gateway.registered().await;
    let header = alice.header("GET", "/");
    let (nonce, stale) = challenge(&gateway.get(&mut signaling, "/", &header).await);
    assert!(stale);
    alice = Caller {
        nonce,
        count: 0,
        ..alice
    };
    let header = alice.header("GET", "/");
    assert_eq!(gateway.get(&mut signaling, "/", &header).await.status, 200);
    // The users are those of the database; nothing of them was lost.
    let hans = gateway
        .get(&mut signaling, "/", &basic("hans", "wonderland"))
        .await;
    assert_eq!(hans.status, 200);
}

#[tokio::test]
async fn r47_what_is_not_offered_is_not_taken() {
    let (gateway, _agent, mut signaling) = handset("authentication = \"digest basic\"\n").await;
    let offered = gateway.get(&mut signaling, "/", "").await;
    let offered = offered.headers("www-authenticate");
    assert_eq!(offered.len(), 2);
    assert!(
        offered[0].starts_with("Digest ") && offered[1].starts_with("Basic "),
        "{offered:?}"
    );
    let alice = Caller::challenged(&gateway, &mut signaling, "alice", "wonderland").await;
    let md5 = alice.header_of("MD5", 1, "GET", "/");
    let refused = gateway.get(&mut signaling, "/", &md5).await;
    assert!(refused.body.contains("was not offered"), "{}", refused.body);
    // A hash alone is no password to compute an answer with.
    let mut hans = Caller::challenged(&gateway, &mut signaling, "hans", "wonderland").await;
    let header = hans.header("GET", "/");
    assert!(!challenge(&gateway.get(&mut signaling, "/", &header).await).1);
    let two = format!(
        "{}{}",
        basic("alice", "wonderland"),
        basic("alice", "wonderland")
    );
    assert_eq!(gateway.get(&mut signaling, "/", &two).await.status, 401);
}

#[tokio::test]
async fn r47_md5_is_offered_only_in_words() {
    let alice = "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n";
    let gateway = Gateway::start().await;
    let config = format!("authentication = \"digest\"\ndigest_md5 = true\n{alice}{BUILTIN}");
    let _agent = Agent::start(&[&gateway], &config);
    let mut signaling = gateway.registered().await;
    let offered = gateway.get(&mut signaling, "/", "").await;
    let realm = realm(&offered);
    let offered = offered.headers("www-authenticate");
    assert!(
        offered.len() == 2 && offered[1].contains("algorithm=MD5,"),
        "{offered:?}"
    );
    let refused = gateway
        .get(&mut signaling, "/", &basic("alice", "wonderland"))
        .await;
    assert_eq!(refused.status, 401, "Basic is not offered");
    let (key, request) = (md5(&format!("alice:{realm}:wonderland")), md5("GET:/"));
    let nonce = parameter(offered[1], "nonce");
    let response = md5(&format!("{key}:{nonce}:00000001:mine:auth:{request}"));
    let header = format!(
        "Authorization: Digest username=\"alice\", realm=\"{realm}\", nonce=\"{nonce}\", uri=\"/\", \
         qop=auth, nc=00000001, cnonce=\"mine\", response=\"{response}\"\r\n"
    );
    assert_eq!(gateway.get(&mut signaling, "/", &header).await.status, 200);
}

/// By another program than the agent's own.
fn md5(text: &str) -> String {
    use std::io::Write;
    use std::process::{Command, Stdio};
    let mut child = Command::new("md5sum")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child
        .stdin
        .take()
        .unwrap()
        .write_all(text.as_bytes())
        .unwrap();
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    output.split_whitespace().next().unwrap().to_owned()
}

#[tokio::test]
async fn r47_guessing_is_slowed_where_it_comes_from() {
    let (gateway, agent, mut signaling) = handset("").await;
    let here = "Forwarded: for=10.0.0.1, for=192.0.2.1;host=h;proto=http\r\n";
    let there = "Forwarded: for=192.0.2.2;host=h;proto=http\r\n";
    let right = basic("alice", "wonderland");
    for (name, known) in [("alice", true), ("nobody", false)] {
        for guess in 0..4 {
            let wrong = format!("{}{here}", basic(name, &format!("guess{guess}")));
            assert_eq!(
                gateway.get(&mut signaling, "/", &wrong).await.status,
                401,
                "{known}"
            );
        }
        let too_soon = gateway
            .get(
                &mut signaling,
                "/",
                &format!("{}{here}", basic(name, "wonderland")),
            )
            .await;
        assert_eq!(
            (too_soon.status, too_soon.header("retry-after")),
            (429, "1"),
            "even the right one"
        );
        assert_eq!(
            too_soon.json()["type"],
            "urn:everline:agent:too-many-attempts"
        );
    }
    let elsewhere = gateway
        .get(&mut signaling, "/", &format!("{right}{there}"))
        .await;
    assert_eq!(elsewhere.status, 200, "a stranger slows himself down alone");
    // The wait is over: the right password clears what failed.
    let until = std::time::Instant::now() + support::DEADLINE;
    loop {
        let answer = gateway
            .get(&mut signaling, "/", &format!("{right}{here}"))
            .await;
        if answer.status == 200 {
            break;
        }
        assert!(
            answer.status == 429 && std::time::Instant::now() < until,
            "{answer:?}"
        );
    }
    for guess in 0..3 {
        let wrong = format!("{}{here}", basic("alice", &format!("guess{guess}")));
        assert_eq!(gateway.get(&mut signaling, "/", &wrong).await.status, 401);
    }
    assert!(!agent.log().contains("alice") && !agent.log().contains("nobody"));
}

#[tokio::test]
async fn r47_a_flood_of_guesses_is_refused_without_taking_the_handset() {
    let (gateway, agent, mut signaling) = handset("").await;
    let mut channels = Vec::new();
    for _ in 0..60 {
        signaling.signal().await;
        channels.push(gateway.channel().await.0);
    }
    for (n, channel) in channels.iter_mut().enumerate() {
        let guess = basic(&format!("user{n}"), "x");
        let request =
            format!("GET / HTTP/1.1\r\nHost: h\r\nForwarded: for=10.0.0.{n}\r\n{guess}\r\n");
        channel.send(request.as_bytes()).await;
    }
    let (mut wrong, mut busy) = (0, 0);
    for channel in &mut channels {
        let answer = channel.answer().await;
        match answer.status {
            401 => wrong += 1,
            429 => {
                assert_eq!(answer.header("retry-after"), "1");
                busy += 1;
            }
            other => panic!("{other}: {answer:?}"),
        }
    }
    assert_eq!(wrong + busy, 60);
    assert!(
        wrong >= 1 && busy >= 1,
        "{wrong} were looked at, {busy} were not"
    );
    let right = gateway
        .get(&mut signaling, "/", &basic("alice", "wonderland"))
        .await;
    assert_eq!(right.status, 200, "{right:?}");
    assert!(
        agent.memory_peak_kib() < 120 * 1024,
        "{} KiB",
        agent.memory_peak_kib()
    );
}

#[tokio::test]
async fn r49_users_follow_the_configuration_until_the_owner_changes_them() {
    let gateway = Gateway::start().await;
    let user = |name: &str, password: &str| {
        format!("[[user]]\nname = \"{name}\"\npassword = \"{password}\"\n")
    };
    let config = |users: &[String]| format!("{}{BUILTIN}", users.concat());
    let mut agent = Agent::start(
        &[&gateway],
        &config(&[user("alice", "one"), user("bob", "two")]),
    );
    let mut signaling = gateway.registered().await;
    for (name, password) in [("alice", "one"), ("bob", "two")] {
        let answer = gateway
            .get(&mut signaling, "/", &basic(name, password))
            .await;
        assert_eq!(answer.status, 200);
    }
    agent.kill();
    drop(signaling);
    agent.configure(
        &[&gateway],
        &config(&[user("alice", "changed"), user("carol", "three")]),
    );
    agent.run();
    let mut signaling = gateway.registered().await;
    for (name, password, status) in [
        ("alice", "changed", 200),
        ("carol", "three", 200),
        ("alice", "one", 401),
        ("bob", "two", 401),
    ] {
        let answer = gateway
            .get(&mut signaling, "/", &basic(name, password))
            .await;
        assert_eq!(answer.status, status, "{name}");
    }
    let mut carol = Caller::challenged(&gateway, &mut signaling, "carol", "three").await;
    let header = carol.header("GET", "/");
    assert_eq!(gateway.get(&mut signaling, "/", &header).await.status, 200);
}

#[tokio::test]
async fn r47_the_check_tells_who_can_not_use_digest() {
    let gateway = Gateway::start().await;
    let agent = Agent::prepare(&[&gateway], &format!("{}{BUILTIN}", users()));
    let told = support::command(&["check", "--config"], &agent.path("agent.toml"));
    assert!(told.status.success());
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains("note: user.password_hash: is good for Basic alone"),
        "{told}"
    );
    agent.configure(
        &[&gateway],
        &format!("authentication = \"digest\"\n{}{BUILTIN}", users()),
    );
    let told = support::command(&["check", "--config"], &agent.path("agent.toml"));
    assert_eq!(told.status.code(), Some(2));
    let told = String::from_utf8(told.stderr).unwrap();
    assert!(
        told.contains("user.password_hash: is good for Basic alone; add"),
        "{told}"
    );
}

/// A gateway's path form makes all handsets one server to a browser, and the password of one is not the other's to hear.
#[tokio::test]
async fn r11_r47_each_handset_has_a_realm_of_its_own_and_keeps_it() {
    let (first, mut agent, mut signaling) = handset("").await;
    let (second, _other, mut others) = handset("").await;
    let ours = realm(&first.get(&mut signaling, "/", "").await);
    let theirs = second.get(&mut others, "/", "").await;
    assert_ne!(ours, realm(&theirs));
    // An answer to one handset's challenge is nothing to another that knows the same user with the same password.
    let mut alice = Caller::challenged(&first, &mut signaling, "alice", "wonderland").await;
    alice.nonce = challenge(&theirs).0;
    let header = alice.header("GET", "/");
    let refused = second.get(&mut others, "/", &header).await;
    assert!(!challenge(&refused).1);
    agent.kill();
    drop(signaling);
    agent.run();
    let mut signaling = first.registered().await;
    assert_eq!(realm(&first.get(&mut signaling, "/", "").await), ours);
}
