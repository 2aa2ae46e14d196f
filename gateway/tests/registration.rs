//! Registration and keeping alive as a handset meets them, with each refusal code (PROTOCOL 3.1 and 3.2).

mod harness;

use everline_protocol::{HandsetEvent, RefusalCode};
use harness::handset::{Options, TestHandset};
use harness::{Lab, ONE, TWO, until, within};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// What the gateway says to these bytes until it closes.
async fn say(lab: &Lab, bytes: &str) -> String {
    let mut socket = TcpStream::connect(lab.addresses().signaling)
        .await
        .expect("the gateway listens");
    socket
        .write_all(bytes.as_bytes())
        .await
        .expect("the gateway reads");
    let mut said = String::new();
    within("the close", socket.read_to_string(&mut said))
        .await
        .expect("lines of text");
    said
}

#[tokio::test]
async fn g3_g5_a_handset_registers_and_is_known_until_it_leaves() {
    let lab = Lab::start();
    let handset = lab.handset(ONE).await;
    assert_eq!(handset.timeout_s, 300);
    let row = until("the row", async || {
        lab.gateway.shared().store.row(harness::msisdn(ONE)).await
    })
    .await;
    assert_eq!((row.session, row.left), (handset.session, None));
    handset.bye().await;
    let left = until("the departure", async || {
        lab.gateway
            .shared()
            .store
            .row(harness::msisdn(ONE))
            .await?
            .left
    })
    .await;
    assert_eq!(left.name(), "bye");
    lab.stop().await;
}

#[tokio::test]
async fn g5_keepalive_comes_when_the_timeout_ends_and_its_answer_restarts_the_timer() {
    let lab = Lab::start();
    let options = Options::new(ONE, lab.home.token(ONE)).timeout_s(1);
    let mut handset = TestHandset::register(lab.addresses(), options).await;
    assert_eq!(handset.timeout_s, 1);
    for _ in 0..2 {
        assert_eq!(handset.event().await, HandsetEvent::KeepAlive);
    }
    assert_eq!(lab.gateway.shared().directory.sessions(), 1);
}

#[tokio::test]
async fn g5_the_timeout_is_clamped_into_the_configured_range() {
    let lab = Lab::start_with(|config| {
        (
            config.signaling.timeout_min_s,
            config.signaling.timeout_max_s,
        ) = (20, 40);
    });
    for (asked, given) in [(1, 20), (30, 30), (86_400, 40)] {
        let options = Options::new(ONE, lab.home.token(ONE)).timeout_s(asked);
        assert_eq!(
            TestHandset::register(lab.addresses(), options)
                .await
                .timeout_s,
            given
        );
    }
}

#[tokio::test]
async fn a_handset_that_does_not_answer_keepalive_is_dead() {
    let lab = Lab::start();
    let mut socket = TcpStream::connect(lab.addresses().signaling)
        .await
        .expect("the gateway listens");
    let connect = format!(
        "CONNECT version=1 msisdn={ONE} timeout=1 token={}\r\nWAITING\r\n",
        lab.home.token(ONE)
    );
    socket
        .write_all(connect.as_bytes())
        .await
        .expect("the gateway reads");
    let mut said = String::new();
    within("the close", socket.read_to_string(&mut said))
        .await
        .expect("lines of text");
    assert!(
        said.starts_with("CONNREGISTERED ") && said.ends_with("KEEPALIVE\r\n"),
        "{said}"
    );
    assert_eq!(lab.gateway.shared().directory.sessions(), 0);
}

#[tokio::test]
async fn each_way_to_be_refused_has_its_code() {
    let lab = Lab::start();
    let token = lab.home.token(ONE);
    for (line, code) in [
        (
            format!("CONNECT version=2 msisdn={ONE} timeout=300 token={token}"),
            "bad-version",
        ),
        (
            format!("CONNECT version=1 msisdn=0123 timeout=300 token={token}"),
            "bad-msisdn",
        ),
        (
            format!("CONNECT version=1 msisdn={ONE} timeout=0 token={token}"),
            "bad-timeout",
        ),
        (
            format!("CONNECT version=1 msisdn={TWO} timeout=300 token={token}"),
            "bad-token",
        ),
        (
            format!("CONNECT version=1 msisdn={ONE} timeout=300 token=e30.e30."),
            "bad-token",
        ),
        (
            format!("CONNECT version=1 msisdn={ONE} timeout=300"),
            "bad-token",
        ),
    ] {
        let said = say(&lab, &format!("{line}\r\n")).await;
        assert!(
            said.starts_with(&format!("CONNREFUSED code={code}")),
            "{line}: {said}"
        );
    }
    assert_eq!(lab.gateway.shared().directory.sessions(), 0);
    lab.stop().await;
}

#[tokio::test]
async fn what_is_no_connect_is_a_protocol_error() {
    let lab = Lab::start();
    for (bytes, code) in [
        ("HELLO you=1\r\n".to_owned(), "unknown-verb"),
        ("WAITING\r\n".to_owned(), "unexpected-verb"),
        ("CONNECT version=1 version=1\r\n".to_owned(), "bad-line"),
        ("CONNECT ".to_owned() + &"a".repeat(3000), "line-too-long"),
    ] {
        let said = say(&lab, &bytes).await;
        assert!(
            said.starts_with(&format!("ERROR code={code}")),
            "{bytes:.40}: {said}"
        );
    }
}

#[tokio::test]
async fn full_refuses_one_more_but_never_a_handset_that_is_already_there() {
    let lab = Lab::start_with(|config| config.signaling.sessions_max = 1);
    let _one = lab.handset(ONE).await;
    let refused =
        TestHandset::try_register(lab.addresses(), Options::new(TWO, lab.home.token(TWO))).await;
    assert_eq!(
        refused.err().map(|refusal| refusal.code),
        Some(RefusalCode::Full)
    );
    let _again = lab.handset(ONE).await;
}

#[tokio::test]
async fn overloaded_refuses_and_says_when_to_come_back() {
    let lab = Lab::start_with(|config| {
        config.signaling.registrations_per_s_max = 1;
        config.signaling.retry_after_s = 7;
    });
    let refusal = until("a refusal", async || {
        let options = Options::new(ONE, lab.home.token(ONE));
        TestHandset::try_register(lab.addresses(), options)
            .await
            .err()
    });
    let refusal = refusal.await;
    assert_eq!(refusal.code, RefusalCode::Overloaded);
    // Spread, so that those refused together do not come back together.
    assert!(
        refusal
            .retry_after_s
            .is_some_and(|seconds| (7..=14).contains(&seconds)),
        "{refusal:?}"
    );
}

#[tokio::test]
async fn a_connection_that_says_nothing_is_closed() {
    let lab = Lab::start_with(|config| {
        config.signaling.connect_timeout = std::time::Duration::from_millis(100);
    });
    assert!(
        say(&lab, "CONN")
            .await
            .starts_with("ERROR code=connect-timeout")
    );
}
