//! What an item is at a moment: the tag of one that the handset itself changes, and what a copy has of it (R28 to R31).

mod support;

use support::handset::Handset;
use support::inside::{Inside, OPEN};

#[tokio::test]
async fn r28_r30_an_item_that_the_handset_changes_has_another_tag() {
    // Long enough from the message's way to its delivery to be looked at in between.
    let device = "[device]\nkind = \"simulated\"\nsend_ms = 5\ndelivery_ms = 2000\n";
    let handset = Inside::start(&format!("{OPEN}{device}")).await;
    let task = handset
        .done("send-sms", r#"{"number": "600000021", "text": "x"}"#)
        .await;
    assert_eq!(task["result"], "/sms/1");
    let tags = async || {
        let (item, list) = (handset.get("/sms/1").await, handset.get("/sms").await);
        let state = item.json()["state"].as_str().unwrap().to_owned();
        let [item, list] = [item, list].map(|answer| answer.header("etag").to_owned());
        (state, item, list)
    };
    let (state, item, list) = tags().await;
    assert_eq!(state, "sent");
    handset
        .becomes("/sms/1", |sms| sms["state"] == "delivered")
        .await;
    for (path, known) in [("/sms/1", &item), ("/sms", &list)] {
        let headers = format!("If-None-Match: {known}\r\n");
        let told = handset.send(&format!("GET {path}"), &headers, "").await;
        assert_eq!(told.status, 200, "{path}");
        assert!(told.body.contains("delivered"), "{path}: {}", told.body);
    }
    let (_, now, _) = tags().await;
    for (tag, status) in [(item, 412), (now, 204)] {
        let headers = format!("If-Match: {tag}\r\n");
        let deleted = handset.send("DELETE /sms/1", &headers, "").await;
        assert_eq!(deleted.status, status, "{tag}");
    }
}

#[tokio::test]
async fn r29_r31_a_copy_has_all_that_was_sent() {
    let mut handset = Handset::start().await;
    let card =
        "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ada\r\nTEL:1815\r\nX-MOOD:curious\r\nEND:VCARD\r\n";
    let vcard = "Content-Type: text/vcard\r\n";
    let added = handset.send("POST /contacts", vcard, card).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let start = "POST /contacts?from=/contacts/1";
    let copied = handset.send(start, "", "").await;
    let copy = copied.header("location");
    assert_eq!((copied.status, copy), (201, "/contacts/2"));
    // They are two from now on.
    assert_eq!(handset.send("DELETE /contacts/1", "", "").await.status, 204);
    let told = handset.get("/contacts/2", "Accept: text/vcard\r\n").await;
    assert_eq!(told.body, card, "the copy has bytes of its own");
}
