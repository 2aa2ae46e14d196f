//! What is in the phone and what on the SIM card, the call logs, and lists that are long: R27, R31 to R35.

mod support;

use everline_agent::serve::builtin::personal_data::PAGE_BYTES_MAX;
use everline_agent::serve::builtin::resource::{self, Value};
use serde_json::json;
use support::Agent;
use support::handset::{Handset, JSON, bulk, says};
use support::inside::{Inside, OPEN};

#[tokio::test]
async fn r31_contacts_and_sms_are_in_the_phone_and_on_the_sim_card() {
    let mut handset = Handset::start().await;
    for (name, body) in [
        (
            "contacts",
            json!({"name": "Ada", "phones": [{"type": "cell", "number": "+34600123456"}]}),
        ),
        ("sms", json!({"number": "+34600123456", "text": "Hi"})),
    ] {
        handset.add(&format!("/{name}"), &body).await;
        let added = handset.add(&format!("/{name}?store=sim"), &body).await;
        assert_eq!(
            (added.status, &added.json()["store"]),
            (201, &json!("sim")),
            "{}",
            added.body
        );
        // Lists cover both memories, or the one that is asked for.
        assert_eq!(handset.ids(&format!("/{name}")).await, ["1", "2"]);
        assert_eq!(handset.ids(&format!("/{name}?store=phone")).await, ["1"]);
        assert_eq!(handset.ids(&format!("/{name}?store=sim")).await, ["2"]);
        let xml = handset
            .get(&format!("/{name}/2"), "Accept: text/xml\r\n")
            .await;
        assert!(xml.body.contains("id=\"2\" store=\"sim\""), "{}", xml.body);
        // From one memory to the other, and back.
        for (query, from, store) in [("store=sim&from=", 1, "sim"), ("from=", 2, "phone")] {
            let start = format!("POST /{name}?{query}/{name}/{from}");
            let copied = handset.send(&start, "", "").await;
            let shown = copied.json();
            assert_eq!(
                (copied.status, &shown["store"]),
                (201, &json!(store)),
                "{shown}"
            );
            assert!(says(&shown, &body), "{shown}");
        }
        assert_eq!(handset.ids(&format!("/{name}?store=sim")).await, ["2", "3"]);
        let wrong = handset
            .send(&format!("POST /{name}?from=/notes/1"), "", "")
            .await;
        assert_eq!(
            (wrong.status, &wrong.json()["type"]),
            (400, &json!("urn:everline:agent:bad-query"))
        );
        let none = handset
            .send(&format!("POST /{name}?from=/{name}/99"), "", "")
            .await;
        assert_eq!(none.status, 404);
        // A page's next page is of the same memory.
        let page = handset
            .get(&format!("/{name}?store=sim&limit=1"), "")
            .await
            .json();
        assert_eq!(
            page["next"],
            json!(format!("/{name}?after=2&limit=1&store=sim"))
        );
    }
    for name in [
        "notes",
        "calendar",
        "images",
        "mms",
        "emails",
        "incoming-calls",
    ] {
        let refused = handset.get(&format!("/{name}?store=sim"), "").await;
        assert_eq!(refused.status, 400);
        let told = refused.json()["detail"].as_str().unwrap().to_owned();
        assert!(told.contains("are kept in phone alone"), "{told}");
    }
}

#[tokio::test]
async fn r18_r31_a_card_with_more_than_a_record_holds_is_not_cut_down_to_it() {
    const VCARD: &str = "Content-Type: text/vcard\r\n";
    const JSCONTACT: &str = "Content-Type: application/jscontact+json\r\n";
    let mut handset = Handset::start().await;
    let card = |more: &str| {
        format!(
            "BEGIN:VCARD\r\nVERSION:3.0\r\nFN:Ada\r\nN:;Ada;;;\r\nTEL;TYPE=CELL:+34600123456\r\n{more}END:VCARD\r\n"
        )
    };
    let picture = card("PHOTO;ENCODING=b;TYPE=JPEG:/9j/4AA=\r\n");
    let added = handset.send("POST /contacts", VCARD, &picture).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let copied = handset
        .send("POST /contacts?store=sim&from=/contacts/1", "", "")
        .await;
    let sent = handset
        .send("POST /contacts?store=sim", VCARD, &picture)
        .await;
    for refused in [copied, sent] {
        let told = refused.json();
        assert_eq!(
            (refused.status, &told["field"]),
            (422, &json!("PHOTO")),
            "{told}"
        );
        let detail = told["detail"].as_str().unwrap();
        assert!(detail.contains("a name and a number would fit"), "{detail}");
    }
    let js = r#"{"@type": "Card", "version": "1.0", "uid": "1", "name": {"full": "Ada"},
        "phones": {"a": {"number": "600"}}, "keywords": {"friends": true}}"#;
    let refused = handset
        .send("POST /contacts?store=sim", JSCONTACT, js)
        .await;
    assert_eq!(refused.json()["field"], "CATEGORIES", "{}", refused.body);
    let plain = card("REV:20261123T120000Z\r\nUID:7\r\n");
    let fits = handset
        .send("POST /contacts?store=sim", VCARD, &plain)
        .await;
    assert_eq!(fits.status, 201, "{}", fits.body);
}

#[tokio::test]
async fn r17_r31_what_the_sim_card_has_no_room_for_is_told_with_what_would_fit() {
    let mut handset = Handset::start().await;
    let phone = |number: &str| json!([{"type": "cell", "number": number}]);
    for (name, body, field, told) in [
        (
            "contacts",
            json!({"name": "Augusta Ada King Lovelace", "phones": phone("1")}),
            "name",
            "\"Augusta Ada King L\" would fit",
        ),
        (
            "contacts",
            json!({"name": "Ada"}),
            "phones",
            "must have one number",
        ),
        (
            "contacts",
            json!({"name": "Ada", "phones": [{"number": "1"}, {"number": "2"}]}),
            "phones",
            "has one",
        ),
        (
            "contacts",
            json!({"name": "Ada", "phones": phone("123456789012345678901")}),
            "phones[0].number",
            "room for 20",
        ),
        (
            "contacts",
            json!({"name": "Ada", "phones": phone("1"), "note": "x"}),
            "note",
            "a name and a number would fit",
        ),
        (
            "contacts",
            json!({"name": "Ada", "phones": phone("1"), "emails": [{"address": "a@example.com"}]}),
            "emails",
            "a name and a number would fit",
        ),
        (
            "sms",
            json!({"number": "1", "text": "x".repeat(161)}),
            "text",
            "160 septets of the GSM alphabet would fit",
        ),
        (
            "sms",
            json!({"number": "1", "text": "ж".repeat(71)}),
            "text",
            "70 UCS-2 units would fit",
        ),
    ] {
        let refused = handset.add(&format!("/{name}?store=sim"), &body).await;
        let problem = refused.json();
        assert_eq!(
            (refused.status, &problem["type"]),
            (422, &json!("urn:everline:agent:does-not-fit")),
            "{problem}"
        );
        assert_eq!(problem["field"], field);
        assert!(
            problem["detail"].as_str().unwrap().contains(told),
            "{problem}"
        );
        // The phone takes it, and so it stays whole when it can't be copied.
        if !body["phones"].is_null() || name == "sms" {
            let added = handset.add(&format!("/{name}"), &body).await;
            assert_eq!(added.status, 201, "{}", added.body);
            let start = format!("POST /{name}?store=sim&from={}", added.header("location"));
            assert_eq!(handset.send(&start, "", "").await.status, 422);
        }
    }
    assert!(handset.ids("/contacts?store=sim").await.is_empty());
    let message = json!({"number": "1", "text": "x"});
    for _ in 0..30 {
        assert_eq!(handset.add("/sms?store=sim", &message).await.status, 201);
    }
    let full = handset.add("/sms?store=sim", &message).await;
    assert_eq!(
        (full.status, &full.json()["type"]),
        (507, &json!("urn:everline:agent:store-full"))
    );
    assert!(
        full.body.contains("The SIM card has room for 30 sms"),
        "{}",
        full.body
    );
    let ids = handset.ids("/sms?store=sim").await;
    handset
        .send(&format!("DELETE /sms/{}", ids[0]), "", "")
        .await;
    assert_eq!(handset.add("/sms?store=sim", &message).await.status, 201);
}

#[tokio::test]
async fn r17_r31_without_a_sim_card_there_is_only_what_is_in_the_phone() {
    let handset = Inside::start(OPEN).await;
    let ada = r#"{"name":"Ada","phones":[{"number":"1"}]}"#;
    for path in ["/contacts", "/contacts?store=sim"] {
        assert_eq!(handset.post(path, ada).await.status, 201);
    }
    handset.device.set_sim(false);
    let list = handset.get("/contacts").await.json();
    assert_eq!(list["contacts"].as_array().unwrap().len(), 1);
    for start in [
        "GET /contacts?store=sim",
        "POST /contacts?store=sim",
        "POST /contacts?from=/contacts/2",
        "GET /contacts/2",
        "DELETE /contacts/2",
    ] {
        let refused = handset.send(start, JSON, ada).await;
        assert_eq!(
            (refused.status, &refused.json()["type"]),
            (409, &json!("urn:everline:agent:no-sim")),
            "{start}"
        );
    }
    handset.device.set_sim(true);
    let list = handset.get("/contacts").await.json();
    assert_eq!(
        list["contacts"].as_array().unwrap().len(),
        2,
        "what is on the card is there again"
    );
}

/// Calls of a log, as the handset writes them down.
fn log_calls(agent: &Agent, name: &'static str, calls: u32) {
    let resource = resource::ALL.iter().find(|r| r.name == name).unwrap();
    bulk(agent, resource, calls, |n| {
        let mut call = resource.blank();
        resource.put(&mut call, "number", Value::Text(format!("+3460000{n:04}")));
        resource.put(
            &mut call,
            "at",
            Value::Text("2026-11-23T12:00:00Z".to_owned()),
        );
        resource.put(&mut call, "outcome", Value::Text("answered".to_owned()));
        resource.put(&mut call, "length_s", Value::Number(n.into()));
        call
    });
}

#[tokio::test]
async fn r32_r33_r34_r35_the_call_logs_are_read_and_deleted_and_nobody_adds_to_them() {
    let logs = ["incoming-calls", "outgoing-calls"];
    let fill = |agent: &Agent| logs.iter().for_each(|name| log_calls(agent, name, 3));
    let mut handset = Handset::with(fill).await;
    for name in logs {
        let list = format!("/{name}");
        let shown = handset.get(&format!("{list}/2"), "").await.json();
        let says = json!({"id": "2", "store": "phone", "number": "+34600000002", "at": "2026-11-23T12:00:00Z",
                          "outcome": "answered", "length_s": 2});
        assert_eq!(shown, says);
        let xml = handset.get(&list, "Accept: application/xml\r\n").await;
        assert!(xml.body.contains(&format!("<{name}>")), "{}", xml.body);
        assert!(
            xml.body
                .contains("<outcome>answered</outcome><length_s>2</length_s></call>"),
            "{}",
            xml.body
        );
        assert_eq!(
            handset.ids(&format!("{list}?order=newest")).await,
            ["3", "2", "1"]
        );
        let added = handset.add(&list, &json!({})).await;
        assert_eq!(
            (added.status, added.header("allow").replace(", ", ",")),
            (405, "GET,HEAD,DELETE,OPTIONS".to_owned())
        );
        assert_eq!(
            handset
                .send(&format!("DELETE {list}/2"), "", "")
                .await
                .status,
            204
        );
        assert_eq!(handset.ids(&list).await, ["1", "3"]);
        let tag = handset.get(&list, "").await.header("etag").to_owned();
        handset.send(&format!("DELETE {list}/1"), "", "").await;
        let changed = handset
            .send(
                &format!("DELETE {list}"),
                &format!("If-Match: {tag}\r\n"),
                "",
            )
            .await;
        assert_eq!(changed.status, 412);
        assert_eq!(
            handset.send(&format!("DELETE {list}"), "", "").await.status,
            204
        );
        assert!(handset.ids(&list).await.is_empty());
    }
}

#[tokio::test]
async fn r27_ten_thousand_contacts_and_fifty_thousand_sms_are_walked_in_bounded_memory() {
    const CONTACTS: u32 = 10_000;
    const MESSAGES: u32 = 50_000;
    // What the pages of either list together would take is far more than this.
    const GROWTH_KIB_MAX: u64 = 12 * 1024;
    let named = |name: &str| *resource::ALL.iter().find(|r| r.name == name).unwrap();
    let (contacts, sms) = (named("contacts"), named("sms"));
    let mut handset = Handset::with(|agent| {
        bulk(agent, contacts, CONTACTS, move |n| {
            let mut item = contacts.blank();
            contacts.put(&mut item, "name", Value::Text(format!("N{n}")));
            contacts.put(&mut item, "note", Value::Text("x".repeat(2_000)));
            item
        });
        bulk(agent, sms, MESSAGES, move |n| {
            let mut item = sms.blank();
            sms.put(&mut item, "number", Value::Text(format!("{n}")));
            sms.put(&mut item, "text", Value::Text("y".repeat(160)));
            item
        });
    })
    .await;
    handset.get("/contacts?limit=1", "").await;
    let before = handset.agent.memory_peak_kib();
    for (name, field, count, order, accept) in [
        ("contacts", "name", CONTACTS, "", ""),
        (
            "contacts",
            "name",
            CONTACTS,
            "order=newest",
            "Accept: application/xml\r\n",
        ),
        ("sms", "number", MESSAGES, "", ""),
        ("sms", "number", MESSAGES, "order=newest", ""),
    ] {
        let mut next = Some(format!("/{name}?{order}"));
        let (mut seen, mut longest) = (0, 0);
        while let Some(path) = next {
            let page = handset.get(&path, accept).await;
            assert_eq!(page.status, 200);
            longest = longest.max(page.body.len());
            let link = page.header("link").strip_prefix('<');
            next = link.map(|link| link.split('>').next().unwrap().to_owned());
            if !accept.is_empty() {
                seen += page.body.matches("<contact ").count();
                continue;
            }
            let page = page.json();
            assert_eq!(page["next"].as_str(), next.as_deref());
            for item in page[name].as_array().unwrap() {
                seen += 1;
                let n = match order {
                    "" => seen,
                    _ => count as usize + 1 - seen,
                };
                let said = item[field].as_str().unwrap().trim_start_matches('N');
                assert_eq!(said, n.to_string());
            }
        }
        assert_eq!(seen, count as usize, "{name} {order}");
        assert!(
            longest < 2 * PAGE_BYTES_MAX,
            "{name}: a page of {longest} bytes"
        );
    }
    let growth = handset.agent.memory_peak_kib() - before;
    assert!(growth < GROWTH_KIB_MAX, "the agent grew by {growth} KiB");
    // A page from the middle is found at once, wherever it is: the index, and not the list, is read.
    let late = handset.get("/sms?after=49998&limit=2", "").await.json();
    assert_eq!(late["sms"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn r52_r61_who_may_not_read_or_delete_is_not_told_whether_it_is_there() {
    // bob may add, and nothing else.
    let config = "[[user]]\nname = \"bob\"\npassword = \"wonderland\"\n[builtin]\ndatabase = \"handset.db\"\n\
        [[grant]]\nuser = \"bob\"\nactions = [\"add\"]\n\
        [[grant]]\nuser = \"bob\"\nactions = [\"get\", \"delete\", \"list\", \"delete-all\"]\naccess = \"permanently-denied\"\n";
    let handset = Inside::start(config).await;
    // bob:wonderland
    let bob = "Authorization: Basic Ym9iOndvbmRlcmxhbmQ=\r\n";
    let headers = format!("{bob}{JSON}");
    let added = handset
        .send("POST /contacts", &headers, r#"{"name":"Ada"}"#)
        .await;
    assert_eq!(added.status, 201, "{}", added.body);
    let mut told = Vec::new();
    for start in [
        "GET /contacts/1",
        "GET /contacts/2",
        "DELETE /contacts/1",
        "DELETE /contacts/2",
        "GET /contacts",
        "POST /contacts?from=/contacts/1",
        "POST /contacts?from=/contacts/2",
        "DELETE /incoming-calls",
    ] {
        let refused = handset.send(start, bob, "").await;
        assert_eq!(refused.status, 403, "{start}");
        told.push(refused.body);
    }
    // Nor in what form.
    let gif = format!("{bob}Content-Type: image/gif\r\n");
    let bytes = "GIF89a\u{3}\0\u{2}\0\0\0\0;";
    assert_eq!(handset.send("POST /images", &gif, bytes).await.status, 201);
    for path in ["/images/1", "/images/2"] {
        let headers = format!("{bob}Accept: image/gif\r\n");
        let refused = handset.send(&format!("GET {path}"), &headers, "").await;
        assert_eq!(refused.status, 403, "{path}");
        told.push(refused.body);
    }
    told.dedup();
    assert_eq!(told.len(), 1, "{told:?}");
}

#[tokio::test]
async fn r29_who_announces_much_and_sends_little_keeps_nobody_out() {
    let handset = Inside::start(OPEN).await;
    let mut slow = Vec::new();
    for resource in ["contacts", "emails", "mms"] {
        for _ in 0..20 {
            let mut channel = handset.connect().await;
            let head = format!(
                "POST /{resource} HTTP/1.1\r\nHost: h\r\n{JSON}Content-Length: 1000000\r\n\r\n{{"
            );
            channel.send(head.as_bytes()).await;
            slow.push(channel);
        }
    }
    let mut last = slow.pop().unwrap();
    last.send(&vec![b' '; 999_998]).await;
    last.send(b"}").await;
    assert_eq!(last.answer().await.status, 201, "a long body comes whole");
    assert_eq!(
        handset.post("/contacts", r#"{"name":"Ada"}"#).await.status,
        201
    );
}
