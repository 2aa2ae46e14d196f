//! The embedded web server through the gateway: R11 to R18, R27 to R30, R47 and R49.

mod support;

use serde_json::json;
use support::{Agent, Gateway, MSISDN, Signaling};

const OPEN: &str = "authentication = \"none\"\n[builtin]\ndatabase = \"handset.db\"\nimport = [\"contacts.vcf\"]\n[consent]\nenabled = false\n";

const JSON: &str = "Content-Type: application/json\r\n";

/// A handset that anyone may call, registered.
async fn handset() -> (Gateway, Agent, Signaling) {
    handset_with("").await
}

async fn handset_with(vcards: &str) -> (Gateway, Agent, Signaling) {
    let gateway = Gateway::start().await;
    let mut agent = Agent::prepare(&[&gateway], OPEN);
    std::fs::write(agent.path("contacts.vcf"), vcards).unwrap();
    agent.run();
    let signaling = gateway.registered().await;
    (gateway, agent, signaling)
}

#[tokio::test]
async fn r12_r14_r16_contacts_are_added_shown_listed_and_deleted_as_json() {
    let (gateway, _agent, mut signaling) = handset().await;
    let empty = gateway.get(&mut signaling, "/contacts", "").await;
    assert_eq!(empty.body, r#"{"contacts":[],"next":null}"#);

    let ada = r#"{"name": " Ada Lovelace", "phones": [{"type": "cell", "number": "+34600123456"}, {"number": "1"}],
        "emails": [{"type": "home", "address": "ada@example.com"}], "organization": "AE", "note": "Likes\nnumbers"}"#;
    let added = gateway
        .send(&mut signaling, "POST /contacts", JSON, ada)
        .await;
    assert_eq!(
        (added.status, added.header("location")),
        (201, "/contacts/1")
    );
    let shown = json!({
        "id": "1", "store": "phone", "name": "Ada Lovelace",
        "phones": [{"type": "cell", "number": "+34600123456"}, {"type": "other", "number": "1"}],
        "emails": [{"type": "home", "address": "ada@example.com"}],
        "organization": "AE", "note": "Likes\nnumbers", "addresses": [],
    });
    assert_eq!(added.json(), shown);

    let one = gateway.get(&mut signaling, "/contacts/1", "").await;
    assert_eq!((one.status, one.json()), (200, shown.clone()));
    assert_eq!(one.header("content-type"), "application/json");
    assert_eq!(
        (one.header("cache-control"), one.header("vary")),
        ("no-store", "Accept")
    );
    let list = gateway.get(&mut signaling, "/contacts", "").await;
    assert_eq!(list.json(), json!({"contacts": [shown], "next": null}));

    let deleted = gateway
        .send(&mut signaling, "DELETE /contacts/1", "", "")
        .await;
    assert_eq!((deleted.status, deleted.body.as_str()), (204, ""));
    for start in ["DELETE /contacts/1", "GET /contacts/1"] {
        let gone = gateway.send(&mut signaling, start, "", "").await;
        assert_eq!(
            (gone.status, gone.json()["type"].as_str()),
            (404, Some("urn:everline:agent:not-found"))
        );
    }
    let again = gateway
        .send(&mut signaling, "POST /contacts", JSON, r#"{"name":"Bob"}"#)
        .await;
    assert_eq!(
        again.header("location"),
        "/contacts/2",
        "a URL names one item for good"
    );
    assert_eq!(again.json()["phones"], json!([]));
}

#[tokio::test]
async fn r16_r27_r29_contacts_are_added_shown_and_listed_as_xml() {
    let (gateway, _agent, mut signaling) = handset().await;
    let xml = "Accept: application/xml\r\nContent-Type: application/xml; charset=utf-8\r\n";
    let body = "<?xml version=\"1.0\"?>\n<!-- me -->\n<contact>\n <name>Ada &amp; &#67;o</name>\
        <phone type=\"c&quot;ell\">1</phone><phone>2</phone><note><![CDATA[<b>]]></note>\n</contact>";
    let added = gateway
        .send(&mut signaling, "POST /contacts", xml, body)
        .await;
    assert_eq!(
        (added.status, added.header("location")),
        (201, "/contacts/1")
    );
    assert_eq!(
        added.header("content-type"),
        "application/xml; charset=utf-8"
    );
    let item = "<contact id=\"1\" store=\"phone\"><name>Ada &amp; Co</name><phone type=\"c&quot;ell\">1</phone>\
        <phone type=\"other\">2</phone><note>&lt;b&gt;</note></contact>\n";
    assert_eq!(
        added.body,
        format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{item}")
    );
    gateway
        .send(&mut signaling, "POST /contacts", JSON, r#"{"name":"Bob"}"#)
        .await;
    let list = gateway
        .get(
            &mut signaling,
            "/contacts?limit=1",
            "Accept: text/xml;q=0.9, application/json;q=0.8\r\n",
        )
        .await;
    assert_eq!(
        list.body,
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
             <contacts next=\"/contacts?after=1&amp;limit=1\">\n{item}</contacts>\n"
        )
    );
}

#[tokio::test]
async fn r29_a_vcard_can_be_added() {
    let (gateway, _agent, mut signaling) = handset().await;
    let vcard = "Content-Type: text/vcard\r\n";
    let card = "BEGIN:VCARD\r\nVERSION:4.0\r\nFN:Zoë\r\nTEL;VALUE=uri;TYPE=\"voice,home\":tel:+44\r\n\
        ORG:Ltd;Sales\r\nEMAIL;TYPE=work:z@example.com\r\nEND:VCARD\r\n";
    let added = gateway
        .send(&mut signaling, "POST /contacts", vcard, card)
        .await;
    assert_eq!(added.status, 201);
    assert_eq!(
        added.json(),
        json!({"id": "1", "store": "phone", "name": "Zoë", "phones": [{"type": "home", "number": "+44"}],
               "emails": [{"type": "work", "address": "z@example.com"}], "organization": "Ltd, Sales", "addresses": []})
    );
    for (body, told) in [
        ("", "holds no card"),
        ("BEGIN:VCARD\nFN:A\n", "line 1: this card has no END:VCARD"),
        (&card.repeat(2), "one card at a time"),
        ("BEGIN:VCARD\nTEL:1\nEND:VCARD\n", "name: is required"),
    ] {
        let refused = gateway
            .send(&mut signaling, "POST /contacts", vcard, body)
            .await;
        assert_eq!(refused.status, 400);
        assert!(refused.body.contains(told), "{}", refused.body);
    }
}

#[tokio::test]
async fn r17_a_body_that_does_not_fit_is_told_by_field() {
    let (gateway, _agent, mut signaling) = handset().await;
    let cases = [
        ("{", "body", "is not JSON"),
        ("[]", "body", "must be one JSON object"),
        ("{}", "name", "is required"),
        (r#"{"name": 1}"#, "name", "must be text"),
        (
            r#"{"name": "A", "phone": "1"}"#,
            "phone",
            "is not a field here",
        ),
        (r#"{"name": "A", "id": "1"}"#, "id", "is not a field here"),
        (r#"{"name": "A", "phones": {}}"#, "phones", "must be a list"),
        (
            r#"{"name": "A", "phones": [1]}"#,
            "phones[0]",
            "must be an object",
        ),
        (
            r#"{"name": "A", "phones": [{"number": "1"}, {"type": "x"}]}"#,
            "phones[1].number",
            "must not be blank",
        ),
        (
            r#"{"name": "A", "emails": [{"number": "1"}]}"#,
            "emails[0].number",
            "is not a field here",
        ),
        (r#"{"name": "A\u0000"}"#, "name", "control character"),
    ];
    for (body, field, told) in cases {
        let refused = gateway
            .send(&mut signaling, "POST /contacts", JSON, body)
            .await;
        let problem = refused.json();
        assert_eq!(refused.status, 400, "{body}");
        assert_eq!(refused.header("content-type"), "application/problem+json");
        assert_eq!(problem["type"], "urn:everline:agent:bad-item");
        assert_eq!(problem["field"], field, "{body}");
        assert!(
            problem["detail"].as_str().unwrap().contains(told),
            "{problem}"
        );
    }
    let xml = "Content-Type: application/xml\r\nAccept: application/xml\r\n";
    let cases = [
        ("<contact><name>A</contact>", "well-formed"),
        ("<contact/>", "name: is required"),
        ("<person/>", "must be one &lt;contact&gt;"),
        (
            "<contact><name>A</name><name>B</name></contact>",
            "name: is there twice",
        ),
        ("<contact><name><b>A</b></name></contact>", "must hold text"),
        ("<contact id='1'><name>A</name></contact>", "no attributes"),
        (
            "<contact><name>A</name><phone kind='x'>1</phone></contact>",
            "kind: is not a field",
        ),
        (
            "<!DOCTYPE contact [<!ENTITY e 'x'>]><contact><name>&e;</name></contact>",
            "document type",
        ),
        ("<contact><name>&e;</name></contact>", "entity"),
        ("<contact><name>A</name></contact><contact/>", "must be one"),
        ("<contact>A</contact>", "outside of its fields"),
        ("<contact><name>A", "is cut off"),
        ("", "must be one"),
    ];
    for (body, told) in cases {
        let refused = gateway
            .send(&mut signaling, "POST /contacts", xml, body)
            .await;
        assert_eq!(refused.status, 400, "{body}");
        assert_eq!(
            refused.header("content-type"),
            "application/problem+xml; charset=utf-8"
        );
        assert!(refused.body.contains(told), "{body}: {}", refused.body);
    }
    let list = gateway.get(&mut signaling, "/contacts", "").await;
    assert_eq!(
        list.json()["contacts"],
        json!([]),
        "nothing of it was added"
    );
}

#[tokio::test]
async fn r17_what_is_not_there_is_told_in_one_form() {
    let (gateway, _agent, mut signaling) = handset().await;
    let long = format!(
        "{{\"name\": \"A\", \"note\": \"{}\"}}",
        "x".repeat(1024 * 1024)
    );
    let png = "Accept: image/png\r\n";
    let cases = [
        ("GET /nowhere", "", "", 404, "not-found", ""),
        ("GET /contacts/", "", "", 404, "not-found", ""),
        ("GET /contacts/x", "", "", 404, "not-found", ""),
        ("GET /contacts/%FF%00", "", "", 404, "not-found", ""),
        ("GET /contacts/01", "", "", 404, "not-found", ""),
        (
            "GET /contacts/99999999999999999999",
            "",
            "",
            404,
            "not-found",
            "",
        ),
        (
            "PUT /contacts",
            "",
            "",
            405,
            "method-not-allowed",
            "GET,HEAD,POST,OPTIONS",
        ),
        (
            "DELETE /contacts",
            "",
            "",
            405,
            "method-not-allowed",
            "GET,HEAD,POST,OPTIONS",
        ),
        (
            "POST /contacts/1",
            "",
            "",
            405,
            "method-not-allowed",
            "GET,HEAD,DELETE,OPTIONS",
        ),
        (
            "POST /",
            "",
            "",
            405,
            "method-not-allowed",
            "GET,HEAD,OPTIONS",
        ),
        ("GET /contacts", png, "", 406, "not-acceptable", ""),
        ("GET /", png, "", 406, "not-acceptable", ""),
        (
            "POST /contacts",
            "",
            "{}",
            415,
            "unsupported-media-type",
            "",
        ),
        (
            "POST /contacts",
            "Content-Type: text/plain\r\n",
            "{}",
            415,
            "unsupported-media-type",
            "",
        ),
        ("POST /contacts", JSON, &long, 413, "too-large", ""),
        ("GET /contacts?limit=0", "", "", 400, "bad-query", ""),
        ("GET /contacts?limit=1001", "", "", 400, "bad-query", ""),
        ("GET /contacts?after=x", "", "", 400, "bad-query", ""),
    ];
    for (start, headers, body, status, slug, allow) in cases {
        let answer = gateway.send(&mut signaling, start, headers, body).await;
        assert_eq!(answer.status, status, "{start}");
        let problem = answer.json();
        assert_eq!(
            problem["type"],
            format!("urn:everline:agent:{slug}"),
            "{start}"
        );
        assert_eq!(problem["status"], status);
        assert!(
            problem["detail"]
                .as_str()
                .is_some_and(|detail| detail.len() > 10)
        );
        assert_eq!(answer.header("allow").replace(", ", ","), allow, "{start}");
    }
    // An Accept that can't be served stops an item before it is added.
    let headers = format!("{png}{JSON}");
    let refused = gateway
        .send(
            &mut signaling,
            "POST /contacts",
            &headers,
            r#"{"name":"A"}"#,
        )
        .await;
    assert_eq!(refused.status, 406);
    assert_eq!(
        gateway.get(&mut signaling, "/contacts", "").await.json()["contacts"],
        json!([])
    );
}

#[tokio::test]
async fn head_and_options_are_answered() {
    let (gateway, _agent, mut signaling) = handset().await;
    for (path, methods) in [
        ("/", "GET, HEAD, OPTIONS"),
        ("/contacts", "GET, HEAD, POST, OPTIONS"),
        ("/contacts/1", "GET, HEAD, DELETE, OPTIONS"),
    ] {
        let options = gateway
            .send(&mut signaling, &format!("OPTIONS {path}"), "", "")
            .await;
        assert_eq!((options.status, options.header("allow")), (204, methods));
    }
    let id = signaling.signal().await;
    let (mut channel, named) = gateway.channel().await;
    assert_eq!(id, named);
    channel
        .send(b"HEAD /contacts HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    let mut raw = String::new();
    support::soon(
        "the head",
        tokio::io::AsyncReadExt::read_to_string(&mut channel.stream, &mut raw),
    )
    .await
    .unwrap();
    assert!(
        raw.starts_with("HTTP/1.1 200 OK\r\n") && raw.ends_with("\r\n\r\n"),
        "{raw}"
    );
    assert!(raw.contains("content-length: 27\r\n"), "{raw}");
}

#[tokio::test]
async fn r27_a_long_list_comes_in_pages() {
    let cards: String = (0..1005)
        .map(|n| format!("BEGIN:VCARD\nVERSION:3.0\nFN:N{n}\nEND:VCARD\n"))
        .collect();
    let (gateway, _agent, mut signaling) = handset_with(&cards).await;
    let mut path = "/contacts".to_owned();
    let (mut names, mut pages) = (Vec::new(), Vec::new());
    loop {
        let page = gateway.get(&mut signaling, &path, "").await.json();
        let items = page["contacts"].as_array().unwrap();
        pages.push(items.len());
        names.extend(
            items
                .iter()
                .map(|item| item["name"].as_str().unwrap().to_owned()),
        );
        match page["next"].as_str() {
            Some(next) => next.clone_into(&mut path),
            None => break,
        }
    }
    assert_eq!(pages, [1000, 5]);
    assert!(
        names
            .iter()
            .enumerate()
            .all(|(n, name)| *name == format!("N{n}"))
    );
    let two = gateway
        .get(&mut signaling, "/contacts?after=3&limit=2", "")
        .await
        .json();
    assert_eq!(two["next"], "/contacts?after=5&limit=2");
    let last = gateway
        .get(&mut signaling, "/contacts?after=1003&limit=2", "")
        .await
        .json();
    assert_eq!(last["next"], json!(null));
}

#[tokio::test]
async fn r11_links_fit_the_form_of_the_url_that_was_used() {
    let (gateway, _agent, mut signaling) = handset().await;
    let path_form = format!("X-Forwarded-Prefix: /{MSISDN}\r\n");
    let headers = format!("{path_form}{JSON}");
    let added = gateway
        .send(
            &mut signaling,
            "POST /contacts",
            &headers,
            r#"{"name":"A"}"#,
        )
        .await;
    assert_eq!(added.header("location"), format!("/{MSISDN}/contacts/1"));
    gateway
        .send(&mut signaling, "POST /contacts", JSON, r#"{"name":"B"}"#)
        .await;
    let list = gateway
        .get(&mut signaling, "/contacts?limit=1", &path_form)
        .await
        .json();
    assert_eq!(list["next"], format!("/{MSISDN}/contacts?after=1&limit=1"));
    let menu = gateway.get(&mut signaling, "/", &path_form).await.json();
    let resources = menu["resources"].as_array().unwrap();
    assert!(resources.iter().all(|resource| {
        let href = resource["href"].as_str().unwrap();
        href.starts_with(&format!("/{MSISDN}/"))
    }));
    assert_eq!(
        resources[0],
        json!({"name": "contacts", "href": format!("/{MSISDN}/contacts")})
    );
    let forged = gateway
        .get(
            &mut signaling,
            "/",
            "X-Forwarded-Prefix: //evil.example\r\n",
        )
        .await
        .json();
    assert_eq!(forged["resources"][0]["href"], "/contacts");
}

#[tokio::test]
async fn r47_r49_callers_say_who_they_are() {
    let gateway = Gateway::start().await;
    let config = "[[user]]\nname = \"alice\"\npassword = \"wonderland\"\n[builtin]\ndatabase = \"handset.db\"\n[consent]\nenabled = false\n";
    let agent = Agent::start(&[&gateway], config);
    let mut signaling = gateway.registered().await;
    // alice:wonderland, alice:wonderlanx
    let (right, wrong) = ("YWxpY2U6d29uZGVybGFuZA==", "YWxpY2U6d29uZGVybGFueA==");
    for headers in [
        String::new(),
        format!("Authorization: Basic {wrong}\r\n"),
        "Authorization: Bearer x\r\n".to_owned(),
    ] {
        for path in ["/contacts", "/", "/nowhere"] {
            let refused = gateway.get(&mut signaling, path, &headers).await;
            assert_eq!(refused.status, 401);
            let challenges = refused.headers("www-authenticate");
            assert!(
                challenges
                    .iter()
                    .any(|one| one.starts_with("Basic realm=\"handset-"))
            );
            assert_eq!(refused.json()["type"], "urn:everline:agent:unauthorized");
        }
    }
    let headers = format!("Authorization: Basic {right}\r\n");
    let menu = gateway.get(&mut signaling, "/", &headers).await;
    assert_eq!(
        (menu.status, menu.json()["user"].as_str()),
        (200, Some("alice"))
    );
    assert_eq!(
        gateway
            .get(&mut signaling, "/contacts", &headers)
            .await
            .status,
        200
    );
    let xml = gateway
        .get(
            &mut signaling,
            "/",
            &format!("{headers}Accept: text/xml\r\n"),
        )
        .await;
    assert!(
        xml.body
            .contains("<handset user=\"alice\"><resource name=\"contacts\" href=\"/contacts\"/>")
    );
    let log = agent.log();
    assert!(
        !log.contains("wonderland") && !log.contains(right) && !log.contains("alice"),
        "{log}"
    );
}

#[tokio::test]
async fn r27_vcards_are_imported_once_and_a_broken_one_is_told() {
    let cards = "BEGIN:VCARD\nVERSION:2.1\nN;CHARSET=UTF-8;ENCODING=QUOTED-PRINTABLE:Mu=C3=B1oz;Jos=C3=A9;;;\n\
        TEL;CELL:600\nX-MOOD:curious\nEND:VCARD\nBEGIN:VCARD\nthis is broken\nEND:VCARD\nBEGIN:VCARD\nVERSION:3.0\nTEL:1\nEND:VCARD\n\
        BEGIN:VCARD\nVERSION:3.0\nFN:Bob\nEND:VCARD\n";
    let (gateway, mut agent, mut signaling) = handset_with(cards).await;
    let names = |list: serde_json::Value| -> Vec<String> {
        let items = list["contacts"].as_array().unwrap().iter();
        items
            .map(|item| item["name"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(
        names(gateway.get(&mut signaling, "/contacts", "").await.json()),
        ["José Muñoz", "Bob"]
    );
    let card = gateway
        .get(&mut signaling, "/contacts/1", "Accept: text/vcard\r\n")
        .await;
    assert!(
        card.body.contains("X-MOOD:curious"),
        "what has no field is kept: {}",
        card.body
    );
    let log = agent.log();
    assert!(log.contains("contacts.vcf:8: card passed over"), "{log}");
    assert!(
        log.contains("contacts.vcf:10: card passed over: name: is required"),
        "{log}"
    );
    // Started anew: nothing is doubled, and what the owner deleted does not come back.
    gateway
        .send(&mut signaling, "DELETE /contacts/2", "", "")
        .await;
    agent.kill();
    drop(signaling);
    agent.run();
    let mut signaling = gateway.registered().await;
    assert_eq!(
        names(gateway.get(&mut signaling, "/contacts", "").await.json()),
        ["José Muñoz"]
    );
    // With one more card in the file, only that one is added.
    std::fs::write(agent.path("contacts.vcf"), cards.replace("FN:Bob", "FN:Cy")).unwrap();
    agent.kill();
    drop(signaling);
    agent.run();
    let mut signaling = gateway.registered().await;
    assert_eq!(
        names(gateway.get(&mut signaling, "/contacts", "").await.json()),
        ["José Muñoz", "Cy"]
    );
}

#[tokio::test]
async fn r29_an_acknowledged_add_outlives_a_kill() {
    let (gateway, mut agent, mut signaling) = handset().await;
    for n in 0..20 {
        let body = format!("{{\"name\": \"N{n}\"}}");
        assert_eq!(
            gateway
                .send(&mut signaling, "POST /contacts", JSON, &body)
                .await
                .status,
            201
        );
        if n % 5 == 4 {
            agent.kill();
            drop(signaling);
            agent.run();
            signaling = gateway.registered().await;
        }
    }
    let list = gateway.get(&mut signaling, "/contacts", "").await.json();
    let names: Vec<_> = list["contacts"]
        .as_array()
        .unwrap()
        .iter()
        .map(|i| i["name"].clone())
        .collect();
    assert_eq!(
        names,
        (0..20).map(|n| json!(format!("N{n}"))).collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn r7_with_linger_one_channel_serves_several_requests_and_is_closed_when_idle() {
    let gateway = Gateway::start().await;
    let _agent = Agent::start(
        &[&gateway],
        &format!("linger_s = 1\n{}", OPEN.replace("import", "# import")),
    );
    let mut signaling = gateway.registered().await;
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    for n in 1..=3 {
        let body = format!("{{\"name\": \"N{n}\"}}");
        let request = format!(
            "POST /contacts HTTP/1.1\r\nHost: h\r\n{JSON}Content-Length: {}\r\n\r\n{body}",
            body.len()
        );
        channel.send(request.as_bytes()).await;
        assert_eq!(
            channel.answer().await.header("location"),
            format!("/contacts/{n}")
        );
    }
    assert!(channel.is_closed().await, "idle for the linger");
}

#[tokio::test]
async fn r7_without_linger_a_channel_serves_one_request() {
    let (gateway, _agent, mut signaling) = handset().await;
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    channel
        .send(b"GET /contacts HTTP/1.1\r\nHost: h\r\n\r\n")
        .await;
    let answer = channel.answer().await;
    assert_eq!((answer.status, answer.header("connection")), (200, "close"));
    assert!(channel.is_closed().await);
}

#[tokio::test]
async fn an_answer_before_the_end_of_the_upload_is_not_lost() {
    let (gateway, _agent, mut signaling) = handset().await;
    signaling.signal().await;
    let (mut channel, _) = gateway.channel().await;
    channel.send(b"POST /contacts HTTP/1.1\r\nHost: h\r\nContent-Type: text/plain\r\nContent-Length: 99999999\r\n\r\n").await;
    channel.send(&vec![b'x'; 256 * 1024]).await;
    assert_eq!(channel.answer().await.status, 415);
}
