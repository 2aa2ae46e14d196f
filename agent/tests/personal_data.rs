//! The personal data manager through the gateway: R18 to R35, every resource alike.

mod support;

use std::collections::BTreeSet;

use everline_agent::serve::builtin::personal_data::PAGE_BYTES_MAX;
use everline_agent::serve::builtin::resource::{
    self, Action, Item, Manager, PHONE, Resource, Value,
};
use everline_agent::serve::builtin::store::{Store, StoreError, items};
use serde_json::{Value as Json, json};
use support::inside::{Inside, OPEN};
use support::{Agent, Answer, Gateway, Signaling};

const JSON: &str = "Content-Type: application/json\r\n";
const XML: &str = "Accept: application/xml\r\nContent-Type: application/xml\r\n";

/// A handset that anyone may call, registered.
struct Handset {
    gateway: Gateway,
    agent: Agent,
    signaling: Signaling,
}

impl Handset {
    async fn start() -> Self {
        Self::with(|_| {}).await
    }

    /// With what `fill` makes of the directory before the agent starts.
    async fn with(fill: impl FnOnce(&Agent)) -> Self {
        let gateway = Gateway::start().await;
        let mut agent = Agent::prepare(&[&gateway], OPEN);
        fill(&agent);
        agent.run();
        let signaling = gateway.registered().await;
        Self {
            gateway,
            agent,
            signaling,
        }
    }

    async fn get(&mut self, path: &str, headers: &str) -> Answer {
        self.gateway.get(&mut self.signaling, path, headers).await
    }

    async fn send(&mut self, start: &str, headers: &str, body: &str) -> Answer {
        let signaling = &mut self.signaling;
        self.gateway.send(signaling, start, headers, body).await
    }

    async fn add(&mut self, path: &str, body: &Json) -> Answer {
        let start = format!("POST {path}");
        self.send(&start, JSON, &body.to_string()).await
    }

    /// The ids that a list has.
    async fn ids(&mut self, path: &str) -> Vec<String> {
        let list = self.get(path, "").await;
        assert_eq!(list.status, 200, "{path}: {}", list.body);
        let name = path.split('?').next().unwrap().trim_start_matches('/');
        let list = list.json();
        let items = list[name].as_array().unwrap().iter();
        items
            .map(|item| item["id"].as_str().unwrap().to_owned())
            .collect()
    }
}

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

/// Whether `whole` says all that `part` says.
fn says(whole: &Json, part: &Json) -> bool {
    let fields = part.as_object().unwrap();
    fields.iter().all(|(name, value)| whole[name] == *value)
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

/// Fills a memory before the agent starts.
fn bulk(
    agent: &Agent,
    resource: &'static Resource,
    count: u32,
    make: impl Fn(u32) -> Item + Send + 'static,
) {
    let store = Store::open(&agent.path("handset.db"), resource::ALL).unwrap();
    let filled = async move {
        let fill = store.run(move |db| {
            db.transaction(|db| {
                let memory = resource.memory(PHONE).unwrap();
                for n in 1..=count {
                    let item = resource.check(make(n)).unwrap();
                    items::add(db, resource, memory, memory.items_max, item, None)?;
                }
                Ok(())
            })
        });
        fill.await
    };
    // A test waits for nothing else meanwhile; its own runtime must not be waited in.
    let done = std::thread::spawn(|| {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        runtime.unwrap().block_on(filled)
    });
    let done: Result<(), StoreError> = done.join().unwrap();
    done.unwrap();
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
