//! The owner's screen from outside: who gets through to it and who does not (R53, R66), and the simulated handset's controls.

mod support;

use everline_agent::owner::api::URLS;
use everline_agent::owner::controls;
use serde_json::{Value, json};
use support::owner::{ASKING, Asking};
use support::{Agent, Answer, Channel, Gateway, command, until};
use tokio::io::BufReader;
use tokio::net::TcpStream;

/// What a browser sends with the page's own requests, but for the cookie.
const OURS: &str = "Sec-Fetch-Site: same-origin\r\n";

/// One request as it stands here, with a Host of the screen's own address unless it has one.
async fn send(address: &str, start: &str, headers: &str, body: &str) -> Answer {
    let stream = TcpStream::connect(address).await.unwrap();
    let mut channel = Channel {
        stream: BufReader::new(stream),
    };
    let host = match headers.contains("Host: ") {
        true => String::new(),
        false => format!("Host: {address}\r\n"),
    };
    let length = body.len();
    let request = format!(
        "{start} HTTP/1.1\r\n{host}Connection: close\r\nContent-Length: {length}\r\n{headers}\r\n{body}"
    );
    channel.send(request.as_bytes()).await;
    channel.answer().await
}

/// Signs in as the address with the secret does, and gives the `Cookie` header of the page.
async fn cookie(handset: &Asking) -> String {
    let start = format!("GET /?secret={}", handset.owner.secret);
    let welcome = send(&handset.owner.address, &start, "", "").await;
    assert_eq!((welcome.status, welcome.header("location")), (303, "/"));
    let (pair, _) = welcome.header("set-cookie").split_once(';').unwrap();
    format!("Cookie: {pair}\r\n")
}

fn slug(answer: &Answer) -> String {
    let kind = answer.json()["type"].as_str().unwrap().to_owned();
    kind.replace("urn:everline:agent:", "")
}

#[tokio::test]
async fn r53_the_screen_is_on_loopback_alone() {
    let gateway = Gateway::start().await;
    for (listen, good) in [
        ("127.0.0.1:7080", true),
        ("[::1]:0", true),
        ("0.0.0.0:7080", false),
        ("192.0.2.1:7080", false),
        ("localhost:7080", false),
        ("127.0.0.1", false),
    ] {
        let users = "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n";
        let config = format!(
            "{users}[builtin]\ndatabase = \"handset.db\"\n[owner]\nlisten = \"{listen}\"\n"
        );
        let agent = Agent::prepare(&[&gateway], &config);
        let told = command(&["check", "--config"], &agent.path("agent.toml"));
        let words = String::from_utf8(told.stderr).unwrap();
        assert_eq!(told.status.success(), good, "{listen}: {words}");
        assert_eq!(
            words.contains(":11: owner.listen: expected"),
            !good,
            "{words}"
        );
    }
}

#[tokio::test]
async fn r53_r66_nothing_is_told_or_done_without_the_secret() {
    let handset = Asking::start("").await;
    let address = &handset.owner.address;
    let nowhere = [("/api/nowhere", "GET")];
    let origin = format!("Origin: http://{address}\r\n");
    let other = cookie(&Asking::start("").await).await;
    let theirs = other.split_once('=').unwrap().1;
    let forged = format!(
        "Cookie: everline_owner_{}={theirs}",
        address.split_once(':').unwrap().1
    );
    for (path, methods) in URLS.iter().chain(controls::URLS).chain(&nowhere) {
        let path = path
            .replace("{id}", "1")
            .replace("{user}", "alice")
            .replace("{name}", "alice");
        for method in methods.split(' ') {
            for headers in [
                origin.clone(),
                format!("{origin}{other}"),
                format!("{origin}{forged}"),
                format!("{origin}Authorization: Basic YWxpY2U6d29uZGVybGFuZA==\r\n"),
            ] {
                let refused = send(address, &format!("{method} {path}"), &headers, "{}").await;
                assert_eq!(
                    (refused.status, slug(&refused).as_str()),
                    (401, "unauthorized"),
                    "{method} {path} {headers}"
                );
            }
        }
    }
    let page = send(address, "GET /", "", "").await;
    assert!(page.status == 200 && page.body.contains("This handset is locked"));
    assert!(!page.body.contains("screen.js"));
}

#[tokio::test]
async fn r13_r53_the_secret_becomes_a_cookie_that_scripts_and_other_sites_do_not_get() {
    let mut handset = Asking::start("").await;
    let (address, secret) = (handset.owner.address.clone(), handset.owner.secret.clone());
    let port = address.split_once(':').unwrap().1;
    let origin = format!(
        "Origin: http://{address}\r\n{OURS}Content-Type: application/x-www-form-urlencoded\r\n"
    );
    let form = send(
        &address,
        "POST /sign-in",
        &origin,
        &format!("secret={secret}"),
    )
    .await;
    let by_address = send(&address, &format!("GET /?secret={secret}"), "", "").await;
    for welcome in [&form, &by_address] {
        assert_eq!((welcome.status, welcome.header("location")), (303, "/"));
        let set = welcome.header("set-cookie");
        assert!(set.starts_with(&format!("everline_owner_{port}=")), "{set}");
        assert!(
            set.ends_with("; Path=/; Max-Age=2592000; HttpOnly; SameSite=Strict"),
            "{set}"
        );
        assert!(!set.contains(&secret));
    }
    let cookie = cookie(&handset).await;
    let page = send(&address, "GET /", &cookie, "").await;
    assert!(page.body.contains("/screen.js"), "{page:?}");
    let prompts = send(&address, "GET /api/prompts", &format!("{cookie}{OURS}"), "").await;
    assert_eq!(
        (prompts.status, prompts.json()["prompts"].clone()),
        (200, json!([]))
    );
    // It outlives a restart.
    handset.kill_and_start().await;
    let moved = cookie.replace(port, handset.owner.address.split_once(':').unwrap().1);
    let prompts = send(&handset.owner.address, "GET /api/prompts", &moved, "").await;
    assert_eq!(prompts.status, 200);
    let out = send(
        &handset.owner.address,
        "POST /sign-out",
        &format!("Origin: http://{}\r\n", handset.owner.address),
        "",
    )
    .await;
    assert!(
        out.header("set-cookie").contains("=; Path=/; Max-Age=0"),
        "{out:?}"
    );
    // The remote API has no cookies.
    handset.owner.permit("alice", "*", "*").await;
    let list = handset.send("alice", "GET /contacts", "").await;
    assert_eq!((list.status, list.header("set-cookie")), (200, ""));
}

#[tokio::test]
async fn r53_r66_only_the_screens_own_page_is_heard() {
    let handset = Asking::start("").await;
    let address = handset.owner.address.clone();
    let port = address.split_once(':').unwrap().1;
    let cookie = cookie(&handset).await;
    let silence = r#"{"user": "alice", "seconds": 60}"#;
    let ours = format!("Origin: http://{address}\r\n{OURS}");
    for (start, headers, body, status, told) in [
        (
            "GET /",
            "Host: evil.example\r\n".to_owned(),
            "",
            421,
            "wrong-host",
        ),
        (
            "GET /api/prompts",
            format!("Host: handset.evil.example:{port}\r\n"),
            "",
            421,
            "wrong-host",
        ),
        (
            "GET /api/prompts",
            "Host: 127.0.0.1:1\r\n".to_owned(),
            "",
            421,
            "wrong-host",
        ),
        (
            "GET /api/prompts",
            format!("Host: {address}\r\nHost: evil.example\r\n"),
            "",
            421,
            "wrong-host",
        ),
        (
            "POST /api/silences",
            String::new(),
            silence,
            403,
            "wrong-origin",
        ),
        (
            "POST /api/silences",
            "Origin: http://evil.example\r\n".to_owned(),
            silence,
            403,
            "wrong-origin",
        ),
        (
            "POST /api/silences",
            "Origin: null\r\n".to_owned(),
            silence,
            403,
            "wrong-origin",
        ),
        (
            "POST /api/silences",
            "Origin: http://127.0.0.1:1\r\n".to_owned(),
            silence,
            403,
            "wrong-origin",
        ),
        (
            "POST /api/silences",
            format!("Origin: https://{address}\r\n"),
            silence,
            403,
            "wrong-origin",
        ),
        (
            "GET /api/prompts",
            "Sec-Fetch-Site: cross-site\r\n".to_owned(),
            "",
            403,
            "wrong-origin",
        ),
        (
            "GET /api/stream",
            "Sec-Fetch-Site: same-site\r\n".to_owned(),
            "",
            403,
            "wrong-origin",
        ),
        (
            "GET /?secret=0123456789abcdef",
            "Sec-Fetch-Site: cross-site\r\n".to_owned(),
            "",
            403,
            "wrong-origin",
        ),
        (
            "DELETE /api/access/1",
            format!("Sec-Fetch-Site: same-site\r\nOrigin: http://{address}\r\n"),
            "",
            403,
            "wrong-origin",
        ),
    ] {
        let refused = send(&address, start, &format!("{cookie}{headers}"), body).await;
        assert_eq!(
            (refused.status, slug(&refused).as_str()),
            (status, told),
            "{start} {headers}"
        );
    }
    let quiet = handset.owner.get("/api/prompts").await;
    assert_eq!(quiet["silenced"], json!([]), "nothing of it was done");
    // The page itself; a link that leads to it; its address by another name for loopback.
    for (start, headers, body) in [
        ("POST /api/silences", ours.clone(), silence),
        ("GET /api/prompts", OURS.to_owned(), ""),
        ("GET /", "Sec-Fetch-Site: cross-site\r\n".to_owned(), ""),
        ("GET /", format!("Host: LOCALHOST:{port}\r\n"), ""),
    ] {
        let done = send(&address, start, &format!("{cookie}{headers}"), body).await;
        assert_eq!(done.status, 200, "{start} {headers} {done:?}");
    }
}

#[tokio::test]
async fn r53_every_response_forbids_frames_inline_scripts_and_other_places() {
    let handset = Asking::start("").await;
    let cookie = cookie(&handset).await;
    for (start, headers) in [
        ("GET /", ""),
        ("GET /", cookie.as_str()),
        ("GET /screen.js", ""),
        ("GET /api/prompts", cookie.as_str()),
        ("GET /api/prompts", ""),
        ("GET /nowhere", ""),
        ("POST /", "Host: evil.example\r\n"),
    ] {
        let answer = send(&handset.owner.address, start, headers, "").await;
        let policy = answer.header("content-security-policy");
        for rule in [
            "default-src 'none'",
            "script-src 'self';",
            "style-src 'self';",
            "frame-ancestors 'none'",
            "base-uri 'none'",
            "require-trusted-types-for 'script'",
        ] {
            assert!(policy.contains(rule), "{start}: {policy}");
        }
        assert_eq!(answer.header("x-frame-options"), "DENY");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(answer.header("cache-control"), "no-store");
        assert_eq!(answer.header("access-control-allow-origin"), "");
    }
}

#[tokio::test]
async fn r53_wrong_secrets_are_slowed_and_the_owner_who_is_signed_in_goes_on() {
    let handset = Asking::start("").await;
    let address = &handset.owner.address;
    let cookie = cookie(&handset).await;
    let wrong = |n: u32| format!("GET /?secret=wrong-but-long-{n:04}");
    let mut refused = 0;
    let slowed = loop {
        let answer = send(address, &wrong(refused), "", "").await;
        if answer.status == 429 {
            break answer;
        }
        assert_eq!(answer.status, 403);
        assert!(answer.body.contains("That is not the owner’s secret"));
        refused += 1;
        assert!(refused < 50, "guessing goes on");
    };
    assert!(refused >= 10);
    let wait: u64 = slowed.header("retry-after").parse().unwrap();
    assert!((1..=4).contains(&wait));
    // Guessing in another way is slowed as well, and the right one is not told from a wrong one.
    let bearer = "Authorization: Bearer wrong-but-long-too\r\n";
    let script = send(address, "GET /api/prompts", bearer, "").await;
    assert_eq!(
        (script.status, slug(&script).as_str()),
        (429, "too-many-attempts")
    );
    let page = send(address, "GET /api/prompts", &cookie, "").await;
    assert_eq!(page.status, 200);
}

#[tokio::test]
async fn r53_r66_no_remote_caller_reaches_the_owners_api() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "*", "*").await;
    for (path, _) in URLS {
        let path = path
            .replace("{id}", "1")
            .replace("{user}", "alice")
            .replace("{name}", "alice");
        let answer = handset.send("alice", &format!("GET {path}"), "").await;
        assert_eq!(
            (answer.status, slug(&answer).as_str()),
            (404, "not-found"),
            "{path}"
        );
    }
    for path in ["/screen.js", "/sign-in", "/api/simulated", "/?secret=x"] {
        let answer = handset.send("alice", &format!("GET {path}"), "").await;
        assert!(
            !answer.body.contains("locked") && answer.header("set-cookie").is_empty(),
            "{path}"
        );
    }
}

#[tokio::test]
async fn r53_a_secret_that_others_can_read_is_refused_at_start() {
    use std::os::unix::fs::PermissionsExt;
    let gateway = Gateway::start().await;
    let mut agent = Agent::prepare(&[&gateway], ASKING);
    let path = agent.path("handset.owner.secret");
    std::fs::write(&path, "a-secret-that-the-owner-chose\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let told = command(&["run", "--config"], &agent.path("agent.toml"));
    assert_eq!(told.status.code(), Some(1));
    let words = String::from_utf8(told.stderr).unwrap();
    assert!(
        words.contains("can be read by others (mode 644): chmod 600 it"),
        "{words}"
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    agent.run();
    until("the owner's screen", || {
        agent.log().contains("screen is at http://127.0.0.1:")
    })
    .await;
    assert!(!agent.log().contains("a-secret-that-the-owner-chose"));
}

#[tokio::test]
async fn r53_the_agent_tells_its_owner_where_the_screen_is() {
    let handset = Asking::start("").await;
    let config = handset.agent.path("agent.toml");
    let told = command(&["owner", "--config"], &config);
    let words = String::from_utf8(told.stdout).unwrap();
    assert!(
        words.contains("screen  http://127.0.0.1:PORT/") && words.contains("handset.owner.secret"),
        "{words}"
    );
    assert!(!words.contains(&handset.owner.secret));
    let told = command(&["owner", "--secret", "--config"], &config);
    let words = String::from_utf8(told.stdout).unwrap();
    assert!(
        words.contains(&format!("/?secret={}", handset.owner.secret)),
        "{words}"
    );
}

async fn put(handset: &Asking, what: &str, body: Value) {
    let answer = handset
        .owner
        .call("PUT", &format!("/api/simulated/{what}"), &body)
        .await;
    assert_eq!(answer.status, 204, "{what}: {answer:?}");
}

#[tokio::test]
async fn r36_r37_r38_the_controls_change_what_the_handset_reports() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "*", "*").await;
    put(&handset, "charger", json!({"plugged": true})).await;
    put(&handset, "battery", json!({"percent": 42})).await;
    put(&handset, "technology", json!({"technology": "nr"})).await;
    put(&handset, "mode", json!({"mode": "vibrate"})).await;
    let state = handset.owner.get("/api/state").await;
    assert_eq!(state["battery"], json!({"percent": 42, "charging": true}));
    assert_eq!(state["coverage"]["technology"], "nr");
    let mode = handset.send("alice", "GET /state/mode", "").await;
    assert_eq!(mode.json()["mode"], "vibrate");
    put(&handset, "coverage", json!({"covered": false})).await;
    let coverage = handset.send("alice", "GET /state/coverage", "").await;
    assert_eq!(coverage.json()["bars"], 0, "{coverage:?}");
    put(&handset, "coverage", json!({"covered": true})).await;
    put(&handset, "sim", json!({"inside": false})).await;
    let state = handset.owner.get("/api/state").await;
    assert_eq!(
        (&state["sim"], &state["coverage"]["operator"]),
        (&Value::Null, &Value::Null)
    );

    for (what, body, told) in [
        ("battery", json!({"percent": 101}), "percent"),
        (
            "technology",
            json!({"technology": "lasers"}),
            "gsm, umts, lte, nr",
        ),
        (
            "mode",
            json!({"mode": "loud"}),
            "normal, high, silent, vibrate",
        ),
        (
            "charger",
            json!({"plugged": true, "colour": 1}),
            "unknown field `colour`",
        ),
    ] {
        let refused = handset
            .owner
            .call("PUT", &format!("/api/simulated/{what}"), &body)
            .await;
        assert_eq!((refused.status, slug(&refused).as_str()), (400, "bad-item"));
        assert!(refused.body.contains(told), "{}", refused.body);
    }
}

#[tokio::test]
async fn r32_a_call_comes_is_answered_or_declined_and_is_in_the_log() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "*", "*").await;
    for (from, how) in [
        (json!("+34600 123 456"), "answer"),
        (Value::Null, "hang-up"),
    ] {
        let came = handset
            .owner
            .call("POST", "/api/simulated/calls", &json!({"from": from}))
            .await;
        assert_eq!(
            (came.status, came.json()["became"].as_str()),
            (201, Some("rings"))
        );
        let again = handset
            .owner
            .call(
                "POST",
                "/api/simulated/calls",
                &json!({"from": "+34600765432"}),
            )
            .await;
        assert_eq!(again.json()["became"], "busy");
        let now = handset.owner.get("/api/simulated").await;
        assert_eq!(now["calls"][0]["state"], "ringing");
        assert_eq!(now["calls"][0]["number"].is_null(), from.is_null());
        let call = format!(
            "/api/simulated/calls/{}",
            came.json()["id"].as_str().unwrap()
        );
        let done = handset
            .owner
            .call("POST", &format!("{call}/{how}"), &Value::Null)
            .await;
        assert_eq!(done.status, 204);
        if how == "answer" {
            let now = handset.owner.get("/api/simulated").await;
            assert_eq!(now["calls"][0]["state"], "active");
            let ended = handset
                .owner
                .call("POST", &format!("{call}/hang-up"), &Value::Null)
                .await;
            assert_eq!(ended.status, 204);
        }
        for what in ["answer", "hang-up"] {
            let gone = handset
                .owner
                .call("POST", &format!("{call}/{what}"), &Value::Null)
                .await;
            assert_eq!((gone.status, slug(&gone).as_str()), (404, "not-found"));
        }
    }
    // The log is written behind the call's end.
    let mut log = Value::Null;
    for _ in 0..500 {
        let shown = handset.send("alice", "GET /incoming-calls", "").await;
        log = shown.json()["incoming-calls"].clone();
        if log.as_array().is_some_and(|calls| calls.len() == 2) {
            break;
        }
    }
    assert_eq!(log[0]["number"], "+34600123456", "{log}");
    assert_eq!(log[0]["outcome"], "answered", "{log}");
    assert_eq!(log[1]["number"], Value::Null, "{log}");
    assert_ne!(log[1]["outcome"], "answered", "{log}");
    let refused = handset
        .owner
        .call("POST", "/api/simulated/calls", &json!({"from": "Ada"}))
        .await;
    assert_eq!((refused.status, slug(&refused).as_str()), (400, "bad-item"));
}

#[tokio::test]
async fn r24_r25_r26_messages_that_come_are_kept() {
    let mut handset = Asking::start("").await;
    handset.owner.permit("alice", "*", "*").await;
    let long = "A long one: ¿qué tal? ".repeat(30);
    for (kind, body, list, field, text) in [
        (
            "sms",
            json!({"from": "+34600123456", "text": long}),
            "sms",
            "text",
            long.as_str(),
        ),
        (
            "sms",
            json!({"from": "Everbank", "text": "<script>"}),
            "sms",
            "number",
            "Everbank",
        ),
        (
            "mms",
            json!({"from": "+34600123456", "subject": "Look", "text": "At this", "picture": true}),
            "mms",
            "subject",
            "Look",
        ),
        (
            "email",
            json!({"from": "ada@example.com", "subject": "Engines", "text": "On them\nnow"}),
            "emails",
            "text",
            "On them\nnow",
        ),
    ] {
        let came = handset
            .owner
            .call("POST", &format!("/api/simulated/{kind}"), &body)
            .await;
        assert_eq!(came.status, 202, "{came:?}");
        let mut shown = Value::Null;
        for _ in 0..500 {
            shown = handset
                .send("alice", &format!("GET /{list}"), "")
                .await
                .json();
            if shown[list]
                .as_array()
                .unwrap()
                .iter()
                .any(|item| item[field] == *text)
            {
                break;
            }
        }
        let items = shown[list].as_array().unwrap();
        let item = items.iter().find(|item| item[field] == *text);
        let item = item.unwrap_or_else(|| panic!("{kind}: {shown}"));
        assert_eq!(
            (&item["direction"], &item["state"]),
            (&json!("in"), &json!("received"))
        );
        if kind == "mms" {
            assert!(item.to_string().contains("picture.jpg"), "{item}");
        }
    }
    for (kind, body) in [
        (
            "sms",
            json!({"from": "a name that is too long", "text": ""}),
        ),
        ("mms", json!({"from": "Ada", "text": "x"})),
        ("email", json!({"from": "Ada", "text": "x"})),
    ] {
        let refused = handset
            .owner
            .call("POST", &format!("/api/simulated/{kind}"), &body)
            .await;
        assert_eq!(
            (refused.status, slug(&refused).as_str()),
            (400, "bad-item"),
            "{kind}"
        );
    }
}
