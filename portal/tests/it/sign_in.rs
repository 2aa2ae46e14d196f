//! Signing in and out, how long a session lasts, and how many there may be.

use http::{Method, StatusCode, header};

use crate::browser::{ALICE, Setup, Site};
use crate::handset::{AUTHORIZATION, MSISDN, Order};

#[tokio::test]
async fn r69_a_pick_leads_to_the_sign_in_and_from_there_back_to_the_pick() {
    let site = Site::start().await;
    let mut browser = site.browser();
    let reply = browser.get("/contacts?after=9").await;
    assert_eq!(
        (reply.status, reply.location()),
        (StatusCode::SEE_OTHER, "/sign-in?next=contacts")
    );
    assert_eq!(
        site.handset.seen().len(),
        0,
        "no handset is asked before the sign-in"
    );
    let reply = browser
        .fill("/sign-in?next=contacts", "/sign-in", &ALICE)
        .await;
    assert_eq!(
        (reply.status, reply.location()),
        (StatusCode::SEE_OTHER, "/contacts")
    );
    browser
        .get("/")
        .await
        .says(&["+34600000001", "alice", "Sign out"]);
}

#[tokio::test]
async fn r69_the_handset_judges_user_and_password() {
    let site = Site::start().await;
    let mut browser = site.browser();
    let page = browser
        .sign_in(&[
            ("msisdn", MSISDN),
            ("user", "al\"ice"),
            ("password", "looking-glass"),
        ])
        .await;
    assert_eq!(page.status, StatusCode::UNAUTHORIZED);
    assert!(page.headers.contains_key(header::WWW_AUTHENTICATE));
    page.says(&[
        "The handset did not let you in",
        "value=\"al&quot;ice\"",
        "value=\"34600000001\"",
    ]);
    assert!(
        !page.text.contains("looking-glass"),
        "a password is never shown again"
    );
    assert_eq!(browser.get("/contacts").await.status, StatusCode::SEE_OTHER);
    let reply = browser.sign_in(&ALICE).await;
    assert_eq!(
        (reply.status, reply.location()),
        (StatusCode::SEE_OTHER, "/")
    );
    let seen = site.handset.seen();
    assert_eq!(seen[1].headers[header::AUTHORIZATION], AUTHORIZATION);
    assert_eq!(
        (seen[1].method.clone(), seen[1].target.as_str()),
        (Method::GET, "/34600000001/contacts?limit=1")
    );
}

#[tokio::test]
async fn a_number_is_taken_as_people_write_it_and_nonsense_never_reaches_a_handset() {
    let site = Site::start().await;
    let mut browser = site.browser();
    for (msisdn, user, words) in [
        ("", "alice", "5 to 15 digits"),
        ("0034600000001", "alice", "5 to 15 digits"),
        ("34600/../1", "alice", "5 to 15 digits"),
        (MSISDN, " ", "The user name is needed."),
        (MSISDN, "al:ice", "hold a colon"),
        (MSISDN, "al\r\nice", "line break"),
    ] {
        let page = browser
            .sign_in(&[
                ("msisdn", msisdn),
                ("user", user),
                ("password", "wonderland"),
            ])
            .await;
        assert_eq!(
            page.status,
            StatusCode::UNPROCESSABLE_ENTITY,
            "{msisdn} {user}"
        );
        page.says(&[words]);
    }
    assert_eq!(site.handset.seen().len(), 0);
    let typed = [
        ("msisdn", "+34 600-000 (001)"),
        ("user", "alice"),
        ("password", "wonderland"),
    ];
    assert_eq!(browser.sign_in(&typed).await.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn after_the_sign_in_only_pages_of_this_site_are_next() {
    let site = Site::start().await;
    for next in [
        "//evil.example",
        "https://evil.example",
        "/contacts",
        "notes",
        "contacts\r\nX: y",
    ] {
        let mut browser = site.browser();
        let inputs = browser
            .get("/sign-in")
            .await
            .form("/sign-in", &[ALICE.as_slice(), &[("next", next)]].concat());
        assert_eq!(
            browser.post("/sign-in", &inputs).await.location(),
            "/",
            "{next}"
        );
    }
}

#[tokio::test]
async fn somebody_who_may_not_see_contacts_may_still_sign_in() {
    let site = Site::start().await;
    site.handset.order(Some(Order::Answer(
        StatusCode::FORBIDDEN,
        vec![],
        String::new(),
    )));
    assert_eq!(
        site.browser().sign_in(&ALICE).await.status,
        StatusCode::SEE_OTHER
    );
}

#[tokio::test]
async fn failures_are_limited_for_a_source_and_come_back_with_time() {
    let site = Site::configured("[session]\nsign_ins_per_minute = 3").await;
    let mut browser = site.browser();
    let wrong = [("msisdn", MSISDN), ("user", "alice"), ("password", "wrong")];
    for _ in 0..3 {
        assert_eq!(
            browser.sign_in(&wrong).await.status,
            StatusCode::UNAUTHORIZED
        );
    }
    let page = browser.sign_in(&ALICE).await;
    assert_eq!(page.status, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(page.headers[header::RETRY_AFTER], "20");
    assert_eq!(site.handset.seen().len(), 3, "the handset is left in peace");
    site.pass(20);
    assert_eq!(browser.sign_in(&ALICE).await.status, StatusCode::SEE_OTHER);
    for _ in 0..5 {
        assert_eq!(
            site.browser().sign_in(&ALICE).await.status,
            StatusCode::SEE_OTHER,
            "successes do not count"
        );
    }
}

#[tokio::test]
async fn a_session_ends_when_idle_and_when_old_and_when_signed_out() {
    let site = Site::configured("[session]\nidle_limit_s = 60\nlifetime_s = 150").await;
    let mut alice = site.alice().await;
    let is_in = |status: StatusCode| status == StatusCode::OK;
    site.pass(59);
    assert!(is_in(alice.get("/contacts").await.status));
    site.pass(59);
    assert!(is_in(alice.get("/contacts").await.status), "use keeps it");
    site.pass(59);
    assert!(
        !is_in(alice.get("/contacts").await.status),
        "but not for ever"
    );
    let mut alice = site.alice().await;
    site.pass(60);
    let page = alice.get("/contacts").await;
    assert_eq!(page.location(), "/sign-in?next=contacts");
    let mut alice = site.alice().await;
    let stolen = alice.clone();
    let reply = alice.fill("/", "/sign-out", &[]).await;
    assert_eq!(
        (reply.status, reply.location()),
        (StatusCode::SEE_OTHER, "/")
    );
    assert!(
        reply.headers[header::SET_COOKIE]
            .to_str()
            .expect("text")
            .contains("Max-Age=0")
    );
    for mut who in [alice, stolen] {
        assert!(!is_in(who.get("/contacts").await.status));
    }
}

#[tokio::test]
async fn the_table_of_sessions_is_bounded_and_tells_when_it_is_full() {
    let site = Site::configured("[session]\nsessions_max = 1").await;
    let mut alice = site.alice().await;
    let page = site.browser().sign_in(&ALICE).await;
    assert_eq!(page.status, StatusCode::SERVICE_UNAVAILABLE);
    page.says(&["Every place is taken"]);
    alice.fill("/", "/sign-out", &[]).await;
    site.alice().await;
}

#[tokio::test]
async fn one_account_can_not_take_every_session() {
    let site = Site::start().await;
    let mut first = site.alice().await;
    let mut second = site.alice().await;
    for _ in 0..6 {
        site.pass(1);
        site.alice().await;
    }
    assert_eq!(
        first.get("/contacts").await.status,
        StatusCode::OK,
        "eight are fine"
    );
    site.pass(1);
    site.alice().await;
    assert_eq!(
        second.get("/contacts").await.status,
        StatusCode::SEE_OTHER,
        "the ninth ends the one idle longest"
    );
    assert_eq!(first.get("/contacts").await.status, StatusCode::OK);
}

#[tokio::test]
async fn the_cookie_is_hard_to_steal_and_new_at_every_sign_in() {
    for (config, name, secure) in [
        ("", "everline_portal", false),
        ("tls_in_front = true", "__Host-everline_portal", true),
    ] {
        let site = Site::with(Setup {
            config: config.to_owned(),
            ..Setup::default()
        })
        .await;
        let mut browser = site.browser();
        let form = browser.get("/sign-in").await;
        let before = browser.cookies.clone();
        let reply = browser
            .post("/sign-in", &form.form("/sign-in", &ALICE))
            .await;
        let cookie = reply.headers[header::SET_COOKIE].to_str().expect("text");
        assert!(cookie.starts_with(&format!("{name}=")), "{cookie}");
        assert!(
            cookie.contains("; Path=/; HttpOnly; SameSite=Strict"),
            "{cookie}"
        );
        assert_eq!(cookie.contains("; Secure"), secure, "{cookie}");
        assert_eq!(browser.cookies[name].len(), 43, "256 bits");
        assert_ne!(browser.cookies, before);
        assert_eq!(
            reply
                .headers
                .contains_key(header::STRICT_TRANSPORT_SECURITY),
            secure
        );
        browser.cookies = before;
        assert_eq!(
            browser.get("/contacts").await.status,
            StatusCode::SEE_OTHER,
            "the old cookie is worth nothing"
        );
    }
}

#[tokio::test]
async fn a_source_is_what_the_trusted_proxy_says_and_nothing_that_a_caller_writes() {
    for (config, other_source) in [
        ("trust_proxy = true", StatusCode::UNAUTHORIZED),
        ("trust_proxy = false", StatusCode::TOO_MANY_REQUESTS),
    ] {
        let site = Site::configured(&format!("{config}\n[session]\nsign_ins_per_minute = 2")).await;
        site.handset.order(Some(Order::Answer(
            StatusCode::UNAUTHORIZED,
            vec![],
            String::new(),
        )));
        let attempt = async |source, msisdn| {
            let mut browser = site.browser();
            browser.forwarded_for = Some(source);
            let typed = [("msisdn", msisdn), ("user", "alice"), ("password", "guess")];
            browser.sign_in(&typed).await.status
        };
        assert_eq!(
            attempt("203.0.113.1, 192.0.2.1", "34600000001").await,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(
            attempt("203.0.113.2, 192.0.2.1", "34600000002").await,
            StatusCode::UNAUTHORIZED
        );
        assert_eq!(
            attempt("203.0.113.3, 192.0.2.1", "34600000003").await,
            StatusCode::TOO_MANY_REQUESTS
        );
        assert_eq!(
            attempt("203.0.113.1, 192.0.2.2", "34600000004").await,
            other_source,
            "{config}"
        );
    }
}
