//! What the hardware can do, and SMS as they travel, through the embedded web server (R24, R29, R31).

mod support;

use everline_agent::gsm::sms;
use everline_agent::gsm::tpdu::Tpdu;
use serde_json::json;
use support::Answer;
use support::inside::{Inside, OPEN, QUICK};
use time::OffsetDateTime;

const TPDU: &str = "application/vnd.everline.sms-tpdu";

async fn handset() -> Inside {
    Inside::start(&format!("{OPEN}{QUICK}")).await
}

async fn post(handset: &Inside, path: &str, tpdus: &[u8]) -> Answer {
    let length = tpdus.len();
    let head = format!(
        "POST {path} HTTP/1.1\r\nHost: handset\r\nContent-Type: {TPDU}\r\nContent-Length: {length}\r\n\r\n"
    );
    let mut channel = handset.connect().await;
    channel.send(&[head.as_bytes(), tpdus].concat()).await;
    channel.answer().await
}

async fn as_tpdus(handset: &Inside, path: &str) -> Vec<u8> {
    let accept = format!("Accept: {TPDU}\r\n");
    let answer = handset.send(&format!("GET {path}"), &accept, "").await;
    assert_eq!(
        (answer.status, answer.header("content-type")),
        (200, TPDU),
        "{answer:?}"
    );
    answer.bytes
}

#[tokio::test]
async fn r17_the_capabilities_tell_what_the_hardware_has() {
    let handset = handset().await;
    let told = handset.get("/capabilities").await;
    assert_eq!((told.status, told.header("vary")), (200, "Accept"));
    let expected = json!({
        "battery": true, "coverage": true, "mode": true, "calls": true, "diversion": true, "sms": true, "mms": true,
        "email": true, "camera": true, "video": true, "video_s_max": 120, "sim": true,
    });
    assert_eq!(told.json(), expected);
    let xml = handset
        .send("GET /capabilities", "Accept: application/xml\r\n", "")
        .await;
    assert_eq!(xml.header("content-type"), "application/xml; charset=utf-8");
    assert!(
        xml.body.contains("<capabilities>") && xml.body.contains("<camera>true</camera>"),
        "{}",
        xml.body
    );
    assert!(
        xml.body.contains("<video_s_max>120</video_s_max>"),
        "{}",
        xml.body
    );
    let neither = handset
        .send("GET /capabilities", "Accept: image/png\r\n", "")
        .await;
    assert_eq!(neither.status, 406);
    let other = handset.send("DELETE /capabilities", "", "").await;
    assert_eq!(other.status, 405);
    assert!(other.header("allow").contains("GET"), "{other:?}");
    let options = handset.send("OPTIONS /capabilities", "", "").await;
    assert_eq!(
        (options.status, options.header("allow")),
        (204, "GET, HEAD, OPTIONS")
    );
}

#[tokio::test]
async fn r24_r29_an_sms_goes_in_and_out_as_its_tpdu() {
    let handset = handset().await;
    let at = OffsetDateTime::from_unix_timestamp(1_795_435_200).unwrap();
    let raw = sms::deliver("+34600123456", "¿Qué tal? 😀", 1, at)
        .unwrap()
        .concat();
    let added = post(&handset, "/sms", &raw).await;
    assert_eq!(added.status, 201, "{added:?}");
    let shown = added.json();
    assert_eq!(shown["number"], "+34600123456");
    assert_eq!(shown["text"], "¿Qué tal? 😀");
    assert_eq!(
        (&shown["at"], &shown["encoding"]),
        (&json!("2026-11-23T12:00:00Z"), &json!("ucs-2"))
    );
    let path = added.header("location").to_owned();
    assert_eq!(as_tpdus(&handset, &path).await, raw);

    let typed = json!({"direction": "out", "number": "600", "text": "a".repeat(161)}).to_string();
    let added = handset.post("/sms", &typed).await;
    assert_eq!(added.status, 201, "{added:?}");
    let written = as_tpdus(&handset, added.header("location")).await;
    let mut rest = written.as_slice();
    let mut parts = Vec::new();
    while !rest.is_empty() {
        let Ok(Tpdu::Submit(submit)) = Tpdu::take(&mut rest) else {
            panic!("{written:02x?}")
        };
        parts.push((submit.scheme, submit.data));
    }
    assert_eq!(parts.len(), 2);
    let text = sms::join(parts.iter().map(|(scheme, data)| (*scheme, data)));
    assert_eq!(text, "a".repeat(161));

    let cut = post(&handset, "/sms", &raw[..raw.len() - 1]).await;
    assert_eq!(cut.status, 400);
    assert_eq!(cut.json()["type"], "urn:everline:agent:bad-item");
    assert_eq!(
        cut.json()["detail"],
        "body: TPDU 1: it ends before it is complete"
    );
}

#[tokio::test]
async fn r24_r31_a_sim_card_keeps_what_one_tpdu_holds() {
    let handset = handset().await;
    let long = sms::compose("600", &"a".repeat(161), 1, true)
        .unwrap()
        .concat();
    let refused = post(&handset, "/sms?store=sim", &long).await;
    assert_eq!(refused.status, 422, "{refused:?}");
    assert_eq!(refused.json()["type"], "urn:everline:agent:does-not-fit");
    let detail = refused.json()["detail"].to_string();
    assert!(detail.contains("160 septets"), "{detail}");
    let short = sms::compose("600", &"a".repeat(160), 1, true)
        .unwrap()
        .concat();
    let added = post(&handset, "/sms?store=sim", &short).await;
    assert_eq!(
        (added.status, &added.json()["store"]),
        (201, &json!("sim")),
        "{added:?}"
    );
    assert_eq!(as_tpdus(&handset, added.header("location")).await, short);
}

#[tokio::test]
async fn r24_an_sms_that_came_in_parts_is_one_item() {
    let handset = handset().await;
    let long = "Everline ".repeat(30);
    assert_eq!(handset.device.receive_sms("BANK", &long), Ok(true));
    let item = handset.becomes("/sms/1", |item| item["parts"] == 2).await;
    assert_eq!(item["number"], "BANK");
    assert_eq!(
        item["text"].as_str().map(str::trim_end),
        Some(long.trim_end())
    );
    assert!(!as_tpdus(&handset, "/sms/1").await.is_empty());
}
