//! The personal data manager through the gateway: R16 to R30, every resource alike.

mod support;

use std::collections::BTreeSet;

use everline_agent::serve::builtin::resource::{self, Action, Manager};
use serde_json::{Value as Json, json};
use support::handset::{Handset, JSON, says};

const XML: &str = "Accept: application/xml\r\nContent-Type: application/xml\r\n";

/// One kind of data: how an item of it is sent, and what it says then.
struct Kind {
    name: &'static str,
    /// Its first way: JSON, or for a file the bytes with their type.
    sent: (&'static str, String),
    /// The same in XML; `None` for a file.
    xml: Option<&'static str>,
    /// Fields that it says then.
    says: Json,
    /// And what its XML holds.
    shows: &'static str,
}

fn kinds() -> Vec<Kind> {
    let data = |name, says: Json, xml, shows| Kind {
        name,
        sent: (JSON, says.to_string()),
        xml: Some(xml),
        says,
        shows,
    };
    let file = |name, headers, bytes: &str, says, shows| Kind {
        name,
        sent: (headers, bytes.to_owned()),
        xml: None,
        says,
        shows,
    };
    let at = "2026-11-23T12:00:00Z";
    vec![
        data(
            "contacts",
            json!({"name": "Ada <&>", "phones": [{"type": "cell", "number": "+34600123456"}], "birthday": "1815-12-10"}),
            "<contact><name>Ada &lt;&amp;&gt;</name><phone type=\"cell\">+34600123456</phone><birthday>1815-12-10</birthday></contact>",
            "<name>Ada &lt;&amp;&gt;</name><phone type=\"cell\">+34600123456</phone>",
        ),
        data(
            "notes",
            json!({"title": "Shop", "text": "Milk\nBread", "at": at}),
            "<note><title>Shop</title><text>Milk\nBread</text><at>2026-11-23T12:00:00Z</at></note>",
            "<title>Shop</title><text>Milk\nBread</text>",
        ),
        data(
            "calendar",
            json!({"kind": "event", "title": "Tea", "begins": at, "ends": "2026-11-23T13:00:00Z", "all_day": false,
                   "attendees": ["ada@example.com", "bob@example.com"], "alarm_min": 15}),
            "<entry><kind>event</kind><title>Tea</title><begins>2026-11-23T12:00:00Z</begins><ends>2026-11-23T13:00:00Z</ends>\
             <all_day>false</all_day><attendee>ada@example.com</attendee><attendee>bob@example.com</attendee>\
             <alarm_min>15</alarm_min></entry>",
            "<attendee>ada@example.com</attendee><attendee>bob@example.com</attendee><alarm_min>15</alarm_min>",
        ),
        file(
            "images",
            "Content-Type: image/gif\r\nContent-Disposition: attachment; filename=\"dot.gif\"\r\n",
            "GIF89a\u{3}\0\u{2}\0\0\0\0;",
            json!({"media_type": "image/gif", "file_name": "dot.gif", "bytes": 14, "width": 3, "height": 2}),
            "<media_type>image/gif</media_type><bytes>14</bytes>",
        ),
        file(
            "sounds",
            "Content-Type: audio/wav\r\n",
            "RIFF\u{24}\0\0\0WAVEfmt \u{10}\0\0\0\u{1}\0\u{1}\0\u{40}\u{1f}\0\0\u{40}\u{1f}\0\0\u{1}\0\u{8}\0data\0\0\0\0",
            json!({"media_type": "audio/wav", "bytes": 44}),
            "<media_type>audio/wav</media_type><bytes>44</bytes>",
        ),
        file(
            "videos",
            "Content-Type: video/mp4\r\n",
            "\0\0\0\u{14}ftypmp42\0\0\0\0mp42",
            json!({"media_type": "video/mp4", "bytes": 20}),
            "<media_type>video/mp4</media_type><bytes>20</bytes>",
        ),
        data(
            "sms",
            json!({"direction": "in", "number": "+34600123456", "text": "Hello\nyou", "at": at}),
            "<message><direction>in</direction><number>+34600123456</number><text>Hello\nyou</text><at>2026-11-23T12:00:00Z</at></message>",
            "<at>2026-11-23T12:00:00Z</at><state>read</state><parts>1</parts><encoding>gsm-7</encoding>",
        ),
        data(
            "mms",
            json!({"direction": "out", "to": ["+34600123456", "ada@example.com"], "subject": "Look", "text": "There", "at": at}),
            "<message><direction>out</direction><to>+34600123456</to><to>ada@example.com</to><subject>Look</subject>\
             <text>There</text><at>2026-11-23T12:00:00Z</at></message>",
            "<to>+34600123456</to><to>ada@example.com</to><subject>Look</subject>",
        ),
        data(
            "emails",
            json!({"direction": "in", "from": "Ada <ada@example.com>", "to": ["me@example.com"], "subject": "Tea", "text": "At 5?", "at": at}),
            "<email><direction>in</direction><from>Ada &lt;ada@example.com&gt;</from><to>me@example.com</to><subject>Tea</subject>\
             <text>At 5?</text><at>2026-11-23T12:00:00Z</at></email>",
            "<from>Ada &lt;ada@example.com&gt;</from><to>me@example.com</to>",
        ),
    ]
}

#[tokio::test]
async fn r18_r19_r20_r21_r22_r23_r24_r25_r26_every_kind_of_data_is_listed_shown_added_and_deleted()
{
    let kinds = kinds();
    let told: BTreeSet<_> = kinds.iter().map(|kind| kind.name).collect();
    let there = resource::ALL
        .iter()
        .filter(|r| r.manager == Manager::PersonalData && r.is_collection() && r.has(Action::Add));
    assert_eq!(told, there.map(|r| r.name).collect());
    let mut handset = Handset::start().await;
    for kind in &kinds {
        let Kind {
            name, says: fields, ..
        } = kind;
        let item = resource::ALL.iter().find(|r| r.name == *name).unwrap().item;
        let list = format!("/{name}");
        let (headers, body) = &kind.sent;
        // R29, and R28 of what was added.
        let added = handset.send(&format!("POST {list}"), headers, body).await;
        let one = format!("/{name}/1");
        assert_eq!(
            (added.status, added.header("location")),
            (201, &*one),
            "{}",
            added.body
        );
        let shown = added.json();
        assert!(says(&shown, fields), "{shown}");
        assert_eq!(
            (&shown["id"], &shown["store"]),
            (&json!("1"), &json!("phone"))
        );
        assert_eq!(handset.get(&one, "").await.json(), shown);
        let xml = handset.get(&one, "Accept: application/xml\r\n").await;
        assert_eq!(xml.header("content-type"), "application/xml; charset=utf-8");
        let begins = format!("<{item} id=\"1\" store=\"phone\">");
        assert!(
            xml.body.contains(&begins) && xml.body.contains(kind.shows),
            "{}",
            xml.body
        );
        // R29 in XML.
        if let Some(body) = kind.xml {
            let added = handset.send(&format!("POST {list}"), XML, body).await;
            assert_eq!(
                (added.status, added.header("location")),
                (201, &*format!("/{name}/2")),
                "{}",
                added.body
            );
            let second = handset.get(&format!("/{name}/2"), "").await.json();
            assert!(says(&second, fields), "{second}");
            handset.send(&format!("DELETE /{name}/2"), "", "").await;
        }
        // R27 in both forms.
        let whole = handset.get(&list, "").await.json();
        assert_eq!(whole, json!({*name: [shown], "next": null}));
        let whole = handset.get(&list, "Accept: text/xml\r\n").await;
        let (root, end) = (format!("<{name}>"), format!("</{name}>"));
        assert!(
            whole.body.contains(&root) && whole.body.contains(&end),
            "{}",
            whole.body
        );
        assert!(
            whole.body.contains(&begins) && whole.body.contains(kind.shows),
            "{}",
            whole.body
        );
        // R30.
        let deleted = handset.send(&format!("DELETE {one}"), "", "").await;
        assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
        for start in ["GET", "DELETE"] {
            let gone = handset.send(&format!("{start} {one}"), "", "").await;
            assert_eq!(
                (gone.status, &gone.json()["type"]),
                (404, &json!("urn:everline:agent:not-found"))
            );
        }
        assert!(handset.ids(&list).await.is_empty());
    }
}

#[tokio::test]
async fn r16_r17_every_kind_refuses_what_does_not_fit_it() {
    let mut handset = Handset::start().await;
    for resource in resource::ALL
        .iter()
        .filter(|r| r.manager == Manager::PersonalData && r.is_collection())
    {
        let name = resource.name;
        for path in [format!("/{name}"), format!("/{name}/1")] {
            let refused = handset.get(&path, "Accept: chemical/x-pdb\r\n").await;
            assert_eq!(refused.status, 406);
            let told = refused.json()["detail"].as_str().unwrap().to_owned();
            for form in resource.forms {
                let there = form.list.is_some() || path.ends_with("/1");
                assert_eq!(told.contains(form.media_type), there, "{told}");
            }
            assert!(told.contains("application/json, application/xml"), "{told}");
            let options = handset.send(&format!("OPTIONS {path}"), "", "").await;
            let allowed: Vec<_> = options
                .header("allow")
                .split(", ")
                .map(str::to_owned)
                .collect();
            for method in ["GET", "POST", "PUT", "PATCH", "DELETE"] {
                let answer = handset.send(&format!("{method} {path}"), "", "").await;
                let has = allowed.iter().any(|m| m == method);
                assert_eq!(answer.status != 405, has, "{method} {path}");
                if !has {
                    assert_eq!(
                        answer.header("allow").replace(", ", ","),
                        allowed.join(","),
                        "{method} {path}"
                    );
                }
            }
        }
        if !resource.has(Action::Add) || resource.content.is_some() {
            continue;
        }
        let given = resource.fields.iter().filter(|field| field.given);
        for field in given {
            let refused = handset
                .add(&format!("/{name}"), &json!({field.name: "1"}))
                .await;
            let problem = refused.json();
            assert_eq!(
                (refused.status, &problem["field"]),
                (400, &json!(field.name))
            );
        }
        let refused = handset
            .add(&format!("/{name}"), &json!({"colour": "1"}))
            .await;
        assert_eq!(
            (refused.status, &refused.json()["field"]),
            (400, &json!("colour"))
        );
        let refused = handset
            .add(&format!("/{name}?store=cloud"), &json!({}))
            .await;
        assert_eq!(
            (refused.status, &refused.json()["type"]),
            (400, &json!("urn:everline:agent:bad-query"))
        );
    }
    for (name, body, field) in [
        ("notes", json!({"at": "2026-11-23T12:00:00Z"}), "text"),
        ("calendar", json!({"title": "Tea"}), "begins"),
        (
            "calendar",
            json!({"title": "Tea", "begins": "tomorrow"}),
            "begins",
        ),
        ("calendar", json!({"kind": "party", "title": "Tea"}), "kind"),
        ("sms", json!({"text": "Hi"}), "number"),
        (
            "sms",
            json!({"number": "1", "text": "é".repeat(40_000)}),
            "text",
        ),
        ("emails", json!({"to": "ada@example.com"}), "to"),
    ] {
        let refused = handset.add(&format!("/{name}"), &body).await;
        assert_eq!(
            (refused.status, &refused.json()["field"]),
            (400, &json!(field)),
            "{}",
            refused.body
        );
    }
    let task = json!({"kind": "task", "title": "Shop"});
    assert_eq!(
        handset.add("/calendar", &task).await.status,
        201,
        "a task needs no time"
    );
}

#[tokio::test]
async fn r27_r28_what_a_caller_has_already_is_not_sent_again() {
    let mut handset = Handset::start().await;
    let ada = json!({"name": "Ada"});
    let added = handset.add("/contacts", &ada).await;
    handset.add("/contacts", &json!({"name": "Bob"})).await;
    assert_eq!(
        handset.get("/contacts/1", "").await.header("etag"),
        added.header("etag")
    );
    for path in ["/contacts/1", "/contacts", "/contacts?limit=1"] {
        let mut tags = BTreeSet::new();
        for accept in [
            "application/json",
            "application/xml",
            "text/vcard",
            "application/jscontact+json",
        ] {
            let accept = format!("Accept: {accept}\r\n");
            let tag = handset.get(path, &accept).await.header("etag").to_owned();
            let known = handset
                .get(path, &format!("{accept}If-None-Match: {tag}\r\n"))
                .await;
            assert_eq!(
                (known.status, known.body.as_str()),
                (304, ""),
                "{path} {accept}"
            );
            assert_eq!(
                (
                    known.header("etag"),
                    known.header("vary"),
                    known.header("cache-control")
                ),
                (&*tag, "Accept", "no-store")
            );
            tags.insert(tag);
        }
        assert_eq!(tags.len(), 4, "{tags:?}");
        for tag in &tags {
            let other = handset
                .get(
                    path,
                    &format!("Accept: text/xml\r\nIf-None-Match: {tag}x\r\n"),
                )
                .await;
            assert_eq!(other.status, 200);
        }
    }
    // Every change of a list changes its tag, and no other list's.
    let mut tags = BTreeSet::new();
    let notes = handset.get("/notes", "").await.header("etag").to_owned();
    for change in [
        "",
        "POST /contacts",
        "DELETE /contacts/1",
        "POST /contacts?store=sim",
    ] {
        if !change.is_empty() {
            let body = json!({"name": "Cy", "phones": [{"number": "1"}]}).to_string();
            let changed = handset.send(change, JSON, &body).await;
            assert!(changed.status < 300, "{change}: {}", changed.body);
        }
        tags.insert(handset.get("/contacts", "").await.header("etag").to_owned());
    }
    assert_eq!(tags.len(), 4, "{tags:?}");
    assert_eq!(handset.get("/notes", "").await.header("etag"), notes);
}

#[tokio::test]
async fn r30_a_delete_can_be_bound_to_what_was_read() {
    let mut handset = Handset::start().await;
    let tag = handset
        .add("/contacts", &json!({"name": "Ada"}))
        .await
        .header("etag")
        .to_owned();
    let stale = tag.replacen(|c: char| c.is_ascii_hexdigit(), "z", 1);
    for wrong in [&*stale, "\"x\"", "W/\"x\""] {
        let refused = handset
            .send("DELETE /contacts/1", &format!("If-Match: {wrong}\r\n"), "")
            .await;
        assert_eq!(
            (refused.status, &refused.json()["type"]),
            (412, &json!("urn:everline:agent:changed"))
        );
    }
    let vcard = handset.get("/contacts/1", "Accept: text/vcard\r\n").await;
    let headers = format!("If-Match: {stale}, {}\r\n", vcard.header("etag"));
    assert_eq!(
        handset
            .send("DELETE /contacts/1", &headers, "")
            .await
            .status,
        204
    );
    assert_eq!(
        handset
            .send("DELETE /contacts/1", "If-Match: *\r\n", "")
            .await
            .status,
        404
    );
}

#[tokio::test]
async fn r29_r30_a_key_makes_it_happen_once() {
    let mut handset = Handset::start().await;
    let headers = format!("{JSON}Idempotency-Key: one\r\n");
    let body = r#"{"name":"Ada"}"#;
    let first = handset.send("POST /contacts", &headers, body).await;
    let again = handset.send("POST /contacts", &headers, body).await;
    assert_eq!(
        (again.status, again.header("location")),
        (201, "/contacts/1")
    );
    assert_eq!(again.json(), first.json());
    let other = handset
        .send("POST /contacts", &headers, r#"{"name":"Bob"}"#)
        .await;
    assert_eq!(
        (other.status, &other.json()["type"]),
        (422, &json!("urn:everline:agent:key-reused"))
    );
    let delete = "Idempotency-Key: two\r\n";
    for _ in 0..2 {
        assert_eq!(
            handset.send("DELETE /contacts/1", delete, "").await.status,
            204
        );
    }
    // The item is gone: what is left is where it was.
    let again = handset.send("POST /contacts", &headers, body).await;
    assert_eq!(
        (again.status, again.header("location"), &*again.body),
        (201, "/contacts/1", "")
    );
    assert!(handset.ids("/contacts").await.is_empty());
    // A refusal is not remembered.
    let headers = format!("{JSON}Idempotency-Key: three\r\n");
    assert_eq!(
        handset.send("POST /contacts", &headers, "{}").await.status,
        400
    );
    assert_eq!(
        handset.send("POST /contacts", &headers, body).await.status,
        201
    );
    // A file counts by its bytes.
    let gif = "Content-Type: image/gif\r\nIdempotency-Key: four\r\n";
    for bytes in ["GIF89a\u{3}\0\u{2}\0\0\0\0;", "GIF89a\u{3}\0\u{2}\0\0\0\0;"] {
        let added = handset.send("POST /images", gif, bytes).await;
        assert_eq!((added.status, added.header("location")), (201, "/images/1"));
    }
    let other = handset
        .send("POST /images", gif, "GIF89a\u{4}\0\u{2}\0\0\0\0;")
        .await;
    assert_eq!(other.status, 422);
    assert_eq!(handset.ids("/images").await, ["1"]);
}

#[tokio::test]
async fn r27_a_list_is_also_a_file_of_cards() {
    let mut handset = Handset::start().await;
    let card = "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Ada\r\nX-MOOD:curious\r\nEND:VCARD\r\n";
    let vcard = "Content-Type: text/vcard\r\nAccept: text/vcard\r\n";
    let added = handset.send("POST /contacts", vcard, card).await;
    assert_eq!(
        added.header("content-type"),
        "text/vcard; version=4.0; charset=utf-8"
    );
    handset.add("/contacts", &json!({"name": "Bob"})).await;
    let list = handset
        .get(
            "/contacts",
            "Accept: text/vcard, application/json;q=0.5\r\n",
        )
        .await;
    assert_eq!(list.body.matches("BEGIN:VCARD").count(), 2);
    assert!(
        list.body.contains("X-MOOD:curious") && list.body.contains("FN:Bob"),
        "{}",
        list.body
    );
    let page = handset
        .get("/contacts?limit=1", "Accept: text/vcard\r\n")
        .await;
    assert_eq!(
        page.header("link"),
        "</contacts?after=1&limit=1>; rel=\"next\""
    );
    let cards = handset
        .get("/contacts", "Accept: application/jscontact+json\r\n")
        .await;
    assert_eq!(cards.json().as_array().unwrap().len(), 2, "{}", cards.body);
}
