//! What other software wrote goes in, and comes out again with all that it holds: R18, R19, R20, R29.
//!
//! The files in `foreign/` are written as Android, iOS and macOS, Outlook, Thunderbird and Google write them.

mod support;

use std::collections::BTreeSet;

use everline_agent::serve::builtin::content_line::Property;
use everline_agent::serve::builtin::icalendar::zone::When;
use everline_agent::serve::builtin::icalendar::{self, Component};
use everline_agent::serve::builtin::jscontact::{self, from_card};
use everline_agent::serve::builtin::vcard::{self, Card, upgrade};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::{Agent, Answer, Gateway, Signaling};

const CARDS: &[&str] = &[
    "android-2.1.vcf",
    "android-3.0.vcf",
    "ios-3.0.vcf",
    "outlook-2.1.vcf",
    "thunderbird-4.0.vcf",
    "older-3.0.vcf",
];

const ENTRIES: &[&str] = &["google.ics", "apple.ics", "outlook.ics", "thunderbird.ics"];

const VCARD: &str = "Content-Type: text/vcard\r\n";
const CALENDAR: &str = "Content-Type: text/calendar; charset=utf-8\r\n";
const JSCONTACT: &str = "Content-Type: application/jscontact+json\r\n";

struct Handset {
    gateway: Gateway,
    _agent: Agent,
    signaling: Signaling,
}

impl Handset {
    async fn start() -> Self {
        let config = "authentication = \"none\"\n[builtin]\ndatabase = \"handset.db\"\n[consent]\nenabled = false\n";
        let gateway = Gateway::start().await;
        let agent = Agent::start(&[&gateway], config);
        let signaling = gateway.registered().await;
        Self {
            gateway,
            _agent: agent,
            signaling,
        }
    }

    /// Adds an item; gives its URL and what the handset says of it.
    async fn add(&mut self, path: &str, headers: &str, body: &str) -> (String, Value) {
        let start = format!("POST {path}");
        let added = self
            .gateway
            .send(&mut self.signaling, &start, headers, body)
            .await;
        assert_eq!(added.status, 201, "{}\n{body}", added.body);
        (added.header("location").to_owned(), added.json())
    }

    async fn refused(&mut self, path: &str, headers: &str, body: &str) -> String {
        let start = format!("POST {path}");
        let refused = self
            .gateway
            .send(&mut self.signaling, &start, headers, body)
            .await;
        assert_eq!(refused.status, 400, "{}\n{body}", refused.body);
        refused.json()["detail"].as_str().unwrap().to_owned()
    }

    async fn get(&mut self, path: &str, accept: &str) -> Answer {
        let accept = format!("Accept: {accept}\r\n");
        let answer = self.gateway.get(&mut self.signaling, path, &accept).await;
        assert_eq!(answer.status, 200, "{path}: {}", answer.body);
        answer
    }
}

fn file(name: &str) -> String {
    let path = format!("{}/tests/foreign/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn card(text: &str) -> Card {
    vcard::only(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"))
}

fn properties<'a>(card: &'a Card, name: &str) -> Vec<&'a Property> {
    card.properties.iter().filter(|p| p.name == name).collect()
}

/// Everything that a card says, by the words that stand between its separators.
fn words(card: &Card) -> BTreeSet<String> {
    let mut words = BTreeSet::new();
    for property in card.properties.iter().filter(|p| p.name != "VERSION") {
        if property.name == "AGENT" {
            words.extend(self::words(&self::card(&property.text())));
            continue;
        }
        let params = property.params.iter().filter(|param| {
            !["ENCODING", "CHARSET", "VALUE", "X-APPLE-OMIT-YEAR"].contains(&param.name.as_str())
        });
        for value in params.flat_map(|param| &param.values) {
            words.extend(value.split(',').map(word));
        }
        words.extend(property.group.iter().map(|group| word(group)));
        match property
            .param("ENCODING")
            .unwrap_or_default()
            .to_ascii_uppercase()
            .as_str()
        {
            "B" | "BASE64" => {
                words.insert(property.value.split_whitespace().collect());
            }
            _ => words.extend(
                property
                    .components()
                    .iter()
                    .flat_map(|c| c.split([',', '\n', ';']).map(word).collect::<Vec<_>>()),
            ),
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// A word as the search for it takes it: dates and times without their hyphens and colons, since 4.0 writes none.
fn word(text: &str) -> String {
    let text = text.trim().to_lowercase();
    let text = text.strip_prefix("1604-").unwrap_or(&text);
    // The signs that Apple puts around the labels that it knows itself.
    let text = text.trim_start_matches("_$!<").trim_end_matches(">!$_");
    match text.len() > 4
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || "+-:.tz".contains(c))
    {
        true => text.replace(['-', ':'], ""),
        false => text.to_owned(),
    }
}

/// Words that say how a value was written, and are said by the value itself in 4.0.
const FORM_WORDS: &[&str] = &["pref", "jpeg", "gif", "basic", "pgp", "x509"];

fn assert_holds(whole: &str, card: &Card, from: &str) {
    let told = whole.to_lowercase();
    let plain = told.replace(['-', ':'], "");
    let lost: Vec<_> = words(card)
        .into_iter()
        .filter(|word| !FORM_WORDS.contains(&word.as_str()))
        .filter(|word| {
            [whole, &told, &plain]
                .iter()
                .all(|told| !told.contains(word.as_str()))
        })
        .collect();
    assert!(lost.is_empty(), "{told}\n{from} lost {lost:?}");
}

/// All texts of a card that went out; of a card within it too.
fn told(card: &Card) -> String {
    let mut told = String::new();
    for property in &card.properties {
        told.push_str(property.group.as_deref().unwrap_or_default());
        for param in &property.params {
            told.push('\n');
            told.push_str(&param.values.join("\n"));
        }
        told.push('\n');
        match property.value.strip_prefix("data:text/vcard;base64,") {
            Some(agent) => told.push_str(&self::told(&self::card(&unbase64(agent)))),
            None => told.push_str(&property.text()),
        }
        told.push('\n');
    }
    told
}

fn unbase64(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD
        .decode(text)
        .unwrap();
    String::from_utf8(bytes).unwrap()
}

/// Every text of a JSON document, keys included.
fn leaves(json: &Value, into: &mut String) {
    let mut push = |text: &str| {
        match text.strip_prefix("data:text/vcard;base64,") {
            Some(agent) => into.push_str(&told(&card(&unbase64(agent)))),
            None => into.push_str(text),
        }
        into.push('\n');
    };
    match json {
        Value::Object(object) => {
            object.keys().for_each(|key| push(key));
            object.values().for_each(|value| leaves(value, into));
        }
        Value::Array(values) => values.iter().for_each(|value| leaves(value, into)),
        Value::String(text) => push(text),
        other => push(&other.to_string()),
    }
}

fn assert_is_4_0(text: &str) {
    assert!(text.starts_with("BEGIN:VCARD\r\nVERSION:4.0\r\n"), "{text}");
    assert!(text.ends_with("END:VCARD\r\n"), "{text}");
    for line in text.split("\r\n") {
        assert!(line.len() <= 75, "{line}");
        assert!(!line.contains(['\r', '\n']), "{line:?}");
    }
    for gone in [
        "ENCODING=",
        "CHARSET=",
        "\r\nLABEL",
        "\r\nAGENT",
        "QUOTED-PRINTABLE",
    ] {
        assert!(!text.contains(gone), "{gone} is not of 4.0: {text}");
    }
}

#[tokio::test]
async fn r18_r29_cards_of_other_software_go_out_as_4_0_without_loss() {
    let mut handset = Handset::start().await;
    for name in CARDS {
        let sent = file(name);
        let (url, _) = handset.add("/contacts", VCARD, &sent).await;
        let answer = handset.get(&url, "text/vcard").await;
        assert_eq!(
            answer.header("content-type"),
            "text/vcard; version=4.0; charset=utf-8"
        );
        assert_is_4_0(&answer.body);
        let out = card(&answer.body);
        assert_eq!(properties(&out, "FN").len(), 1, "{name}");
        assert_holds(&told(&out), &card(&sent), name);
        // Once more through the handset, and it is the same to the letter.
        let (again, _) = handset.add("/contacts", VCARD, &answer.body).await;
        assert_eq!(
            handset.get(&again, "text/vcard").await.body,
            answer.body,
            "{name}"
        );
    }
    let list = handset.get("/contacts", "text/vcard").await;
    let cards: Vec<_> = vcard::cards(list.body.as_bytes()).collect();
    assert_eq!(cards.len(), 2 * CARDS.len());
    assert!(cards.iter().all(Result::is_ok));
}

#[tokio::test]
async fn r18_r29_a_card_of_4_0_goes_out_word_for_word() {
    let mut handset = Handset::start().await;
    let sent = file("thunderbird-4.0.vcf");
    let (url, _) = handset.add("/contacts", VCARD, &sent).await;
    let unfolded = |text: &str| text.replace("\r\n ", "");
    let answer = handset.get(&url, "text/vcard").await;
    assert_eq!(unfolded(&answer.body), unfolded(&sent));
}

#[tokio::test]
async fn r18_r29_cards_of_other_software_go_out_as_jscontact_without_loss() {
    let mut handset = Handset::start().await;
    for name in CARDS {
        let sent = file(name);
        let (url, _) = handset.add("/contacts", VCARD, &sent).await;
        let answer = handset.get(&url, "application/jscontact+json").await;
        assert_eq!(answer.header("content-type"), "application/jscontact+json");
        let js = answer.json();
        assert_eq!(
            (&js["@type"], &js["version"]),
            (&json!("Card"), &json!("1.0"))
        );
        assert!(
            js["uid"].is_string() && js["name"]["full"].is_string(),
            "{js}"
        );
        let mut told = String::new();
        leaves(&js, &mut told);
        // JSContact calls home private, and a cell phone mobile.
        let known = "private home mobile cell -- 0101 0621 1604".replace(' ', "\n");
        let numbers = partial_dates(&js);
        assert_holds(&format!("{told}\n{known}\n{numbers}"), &card(&sent), name);
    }
    let list = handset.get("/contacts", "application/jscontact+json").await;
    assert_eq!(list.json().as_array().unwrap().len(), CARDS.len());
}

/// The dates of a JSContact card as vCard writes them.
fn partial_dates(js: &Value) -> String {
    let dates = js["anniversaries"].as_object().into_iter().flatten();
    let dates = dates.map(|(_, anniversary)| {
        let date = &anniversary["date"];
        let part = |key: &str, width: usize| match date[key].as_u64() {
            Some(number) => format!("{number:0width$}"),
            None => String::new(),
        };
        format!(
            "--{}{}{}",
            part("year", 4),
            part("month", 2),
            part("day", 2)
        )
    });
    dates.collect::<Vec<_>>().join("\n")
}

#[tokio::test]
async fn r18_r29_the_fields_of_a_foreign_card_are_those_that_a_handset_shows() {
    let mut handset = Handset::start().await;
    let (_, android) = handset
        .add("/contacts", VCARD, &file("android-2.1.vcf"))
        .await;
    for (field, value) in [
        ("name", json!("Dra. Lucía del Mar Núñez")),
        ("given_name", json!("Lucía")),
        ("family_name", json!("Núñez")),
        ("organization", json!("Hospital del Sur, Cardiolog")),
        ("title", json!("Jefa de planta")),
        ("birthday", json!("1984-02-29")),
        ("url", json!("http://lucia.example.org/")),
        (
            "note",
            json!("Guardias: martes, jueves; ¡no llamar\nSegunda línea = fin"),
        ),
        (
            "emails",
            json!([
                {"type": "home", "address": "lucia@example.org"},
                {"type": "other", "address": "dra.nunez@example.com"},
            ]),
        ),
        (
            "addresses",
            json!([
                {"type": "home", "address": "Calle de la Española, 7, 2º izquierda, Alcalá, Madrid, 28801, España"},
            ]),
        ),
    ] {
        assert_eq!(android[field], value, "{field}");
    }
    let (_, ios) = handset.add("/contacts", VCARD, &file("ios-3.0.vcf")).await;
    for (field, value) in [
        ("name", json!("Åsa Maria Lindqvist")),
        ("birthday", json!("--06-21")),
        ("nickname", json!("Ossa")),
        ("url", json!("https://norrsken.example.se/asa")),
        ("organization", json!("Norrsken AB, Forskning")),
        (
            "phones",
            json!([
                {"type": "cell", "number": "+46 70 123 45 67"},
                {"type": "cell", "number": "+46 70 765 43 21"},
                {"type": "School", "number": "+46 8 555 01 02"},
            ]),
        ),
        (
            "emails",
            json!([
                {"type": "home", "address": "asa@example.se"},
                {"type": "Fältet", "address": "fältet@example.se"},
            ]),
        ),
    ] {
        assert_eq!(ios[field], value, "{field}");
    }
    let (_, outlook) = handset
        .add("/contacts", VCARD, &file("outlook-2.1.vcf"))
        .await;
    assert_eq!(outlook["name"], "Dr. Jürgen Grauß");
    assert_eq!(outlook["organization"], "Mühle & Söhne, Einkauf");
    assert_eq!(
        outlook["note"],
        "Preis: 5 €\n\nZweite Zeile, mit Komma; und Semikolon"
    );
    assert_eq!(
        outlook["phones"].as_array().unwrap().len(),
        4,
        "the agent's number is the agent's"
    );
}

#[tokio::test]
async fn r18_r29_what_4_0_took_away_goes_on_under_its_names_there() {
    let mut handset = Handset::start().await;
    let mut out = async |name: &str| {
        let (url, _) = handset.add("/contacts", VCARD, &file(name)).await;
        handset
            .get(&url, "text/vcard")
            .await
            .body
            .replace("\r\n ", "")
    };
    let older = out("older-3.0.vcf").await;
    for line in [
        "N;SORT-AS=Vidal:Vidal;Rosa,Roseta;Maria,Pilar;Sra.;",
        "ADR;TYPE=dom,home,postal,parcel;LABEL=Camí Vell 9^n17800 Olot:;;Camí Vell 9;Olot;Girona;17800;Catalunya",
        "TEL;TYPE=work,voice,msg;PREF=1:+34-972-555-010",
        "TZ;VALUE=utc-offset:-0500",
        "GEO:geo:42.181,2.488",
        "BDAY:19531015T231000Z",
        "LOGO;VALUE=uri;MEDIATYPE=image/gif:http://www.example.cat/logo.gif",
        "SOUND:data:audio/basic;base64,UklGRg==",
        "KEY:data:application/pgp-keys;base64,mQENBF==",
        "UID;VALUE=text:rosa-vidal-0042",
        "REV:19951031T222710Z",
        "NOTE:Obre\\, dilluns i dimarts\\; tanca a les 18:00",
        "URL:http://www.example.cat/rosa?a=1,2",
        "X-CLASS:PUBLIC",
        "X-MAILER:PigeonMail 2.1",
        "X-ESPORTS;TYPE=home:escacs\\, rem",
    ] {
        assert!(
            older.contains(&format!("\r\n{line}\r\n")),
            "{line}\n{older}"
        );
    }
    let ios = out("ios-3.0.vcf").await;
    for line in [
        "item1.X-ABLABEL:Fältet",
        "BDAY:--0621",
        "IMPP;TYPE=home;PREF=1;X-SERVICE-TYPE=Jabber:xmpp:asa@jabber.example.se",
        "item4.URL;PREF=1:https://norrsken.example.se/asa",
        "item5.X-ABDATE;PREF=1:2015-08-22",
    ] {
        assert!(ios.contains(&format!("\r\n{line}\r\n")), "{line}\n{ios}");
    }
    let outlook = out("outlook-2.1.vcf").await;
    for line in [
        "ADR;TYPE=work;PREF=1;LABEL=2. Stock^nMühlenstraße 1^n10115 Berlin:;2. Stock;Mühlenstraße 1;Berlin;;10115;Deutschland",
        "ADR;TYPE=home;LABEL=Gartenweg 3:;;;;;;",
        "GEO:geo:52.52,13.38",
        "KEY:data:application/pkix-cert;base64,MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEA",
    ] {
        assert!(
            outlook.contains(&format!("\r\n{line}\r\n")),
            "{line}\n{outlook}"
        );
    }
}

#[tokio::test]
async fn r18_r29_jscontact_comes_back_word_for_word_and_through_a_vcard_whole() {
    let mut handset = Handset::start().await;
    let sent = file("jscontact.json");
    let (url, shown) = handset.add("/contacts", JSCONTACT, &sent).await;
    assert_eq!(shown["name"], "Inês Moura Leal");
    assert_eq!(shown["organization"], "Cais; Lda., Redes");
    assert_eq!(shown["birthday"], "--04-25");
    assert_eq!(
        shown["phones"],
        json!([
            {"type": "cell", "number": "+351 912 345 678"},
            {"type": "fax", "number": "+351-21-555-0100"},
        ])
    );
    let answer = handset.get(&url, "application/jscontact+json").await;
    assert_eq!(answer.body, sent);
    let vcard = handset.get(&url, "text/vcard").await.body;
    assert_is_4_0(&vcard);
    let (again, _) = handset.add("/contacts", VCARD, &vcard).await;
    let back = handset
        .get(&again, "application/jscontact+json")
        .await
        .json();
    let mut want: Value = serde_json::from_str(&sent).unwrap();
    // What vCard makes of a card without it.
    want["name"]["full"] = json!("Inês Moura Leal");
    assert_eq!(strip(back), strip(want), "{vcard}");
}

/// Without what says nothing: the types of objects, the kind that a title has anyway, groups that only tie labels.
fn strip(mut json: Value) -> Value {
    match &mut json {
        Value::Object(object) => {
            object.remove("@type");
            object.remove("isOrdered");
            if object.get("kind") == Some(&json!("title")) {
                object.remove("kind");
            }
            if object.get("vCardParams").is_some_and(|p| {
                p.as_object()
                    .unwrap()
                    .keys()
                    .all(|k| k == "group" || k == "derived")
            }) {
                object.remove("vCardParams");
            }
            for value in object.values_mut() {
                *value = strip(value.take());
            }
        }
        Value::Array(values) => {
            for value in values.iter_mut() {
                *value = strip(value.take());
            }
            // The order of an address's parts is not what its components mean.
            values.sort_by_key(ToString::to_string);
        }
        _ => {}
    }
    json
}

#[tokio::test]
async fn r18_r29_a_contact_of_fields_goes_out_as_every_form_and_comes_back_the_same() {
    let mut handset = Handset::start().await;
    let body = json!({
        "name": "Ада; Lovelace, the first",
        "given_name": "Ада", "family_name": "Love,lace; \\",
        "phones": [{"type": "cell", "number": "+44 1"}, {"type": "Boat house", "number": "2"}, {"type": "other", "number": "3"}],
        "emails": [{"type": "work", "address": "ada@example.com"}],
        "addresses": [{"type": "home", "address": "12 St James's Square, London; upstairs"}],
        "organization": "Analytical Engines, Ltd", "title": "Analyst; first", "nickname": "Ada, the",
        "birthday": "1815-12-10", "url": "https://example.com/?a=1;b,c",
        "note": "Likes\nnumbers \\n and \"quotes\" — ".to_owned() + &"long ".repeat(40) + "ünd äccents",
    });
    let json_type = "Content-Type: application/json\r\n";
    let (url, shown) = handset.add("/contacts", json_type, &body.to_string()).await;
    let fields = |mut json: Value| {
        for given in ["id", "store"] {
            json.as_object_mut().unwrap().remove(given);
        }
        json
    };
    for (accept, sent) in [
        ("text/vcard", VCARD),
        ("application/jscontact+json", JSCONTACT),
    ] {
        let answer = handset.get(&url, accept).await;
        if accept == "text/vcard" {
            assert_is_4_0(&answer.body);
        }
        let (_, again) = handset.add("/contacts", sent, &answer.body).await;
        assert_eq!(fields(again), fields(shown.clone()), "{}", answer.body);
    }
}

#[tokio::test]
async fn r20_r29_calendars_of_other_software_go_out_word_for_word() {
    let mut handset = Handset::start().await;
    let mut sent = Vec::new();
    for name in ENTRIES {
        let text = file(name);
        let (url, _) = handset.add("/calendar", CALENDAR, &text).await;
        let answer = handset.get(&url, "text/calendar").await;
        assert_eq!(
            answer.header("content-type"),
            "text/calendar; charset=utf-8"
        );
        assert_eq!(unlined(&answer.body), unlined(&text), "{name}");
        assert!(
            answer.body.split("\r\n").all(|line| line.len() <= 75),
            "{name}"
        );
        sent.extend(unlined(&text));
    }
    let list = handset.get("/calendar", "text/calendar").await;
    assert_eq!(unlined(&list.body), sent, "objects in a row are a file");
}

/// The objects of a file, without the lines that they stood on.
fn unlined(text: &str) -> Vec<Component> {
    fn strip(component: &mut Component) {
        component.line = 0;
        component.properties.iter_mut().for_each(|p| p.line = 0);
        component.components.iter_mut().for_each(strip);
    }
    let mut objects = icalendar::objects(text.as_bytes()).unwrap_or_else(|e| panic!("{e}\n{text}"));
    objects.iter_mut().for_each(strip);
    objects
}

#[tokio::test]
async fn r20_r29_the_fields_of_a_foreign_entry_are_moments_by_the_clock_of_its_zone() {
    let mut handset = Handset::start().await;
    for (name, fields) in [
        (
            "google.ics",
            json!({
                "kind": "event", "title": "Reunión semanal ☕", "begins": "2026-07-06T09:30:00+02:00",
                "ends": "2026-07-06T10:15:00+02:00", "zone": "Europe/Madrid", "location": "Sala 4, Calle Real 1",
                "description": "Orden del día:\n- puerto, muelle; grúa\n<a href=\"https://example.com/?a=1\">acta</a>",
                "recurrence": "FREQ=WEEKLY;WKST=MO;UNTIL=20261231T225959Z;BYDAY=MO",
                "attendees": ["marta@example.com", "tom@example.com"], "alarm_min": 10, "status": "confirmed",
                "uid": "7k2m3n4p5q@google.com",
            }),
        ),
        (
            "apple.ics",
            json!({
                "kind": "event", "title": "Kräftskiva", "begins": "2026-08-14T00:00:00Z", "ends": "2026-08-17T00:00:00Z",
                "all_day": true, "location": "Bryggan Åre", "attendees": [], "alarm_min": 900,
                "uid": "1A2B3C4D-0000-4000-8000-ABCDEFABCDEF",
            }),
        ),
        (
            "outlook.ics",
            json!({
                "kind": "event", "title": "Quartalsgespräch", "begins": "2026-11-25T14:30:00+01:00",
                "ends": "2026-11-25T16:00:00+01:00", "zone": "Europe/Berlin", "location": "Mühle, Raum 2",
                "description": "Bitte Zahlen mitbringen.", "attendees": ["kurz@example.de"], "alarm_min": 15,
                "uid": "040000008200E00074C5B7101A82E00800000000B0C1D2E3F4A5DC0100000000000000001000000055AA55AA",
            }),
        ),
        (
            "thunderbird.ics",
            json!({
                "kind": "task", "title": "Dijk inspecteren", "begins": "2026-10-01T09:00:00+02:00",
                "ends": "2026-10-01T12:00:00+02:00", "zone": "Europe/Amsterdam",
                "description": "Neem mee:\n- laarzen, lamp", "recurrence": "FREQ=MONTHLY;BYMONTHDAY=1",
                "attendees": [], "status": "in-process", "uid": "c0ffee00-1234-4321-8888-123412341234",
            }),
        ),
    ] {
        let (_, mut shown) = handset.add("/calendar", CALENDAR, &file(name)).await;
        for given in ["id", "store"] {
            shown.as_object_mut().unwrap().remove(given);
        }
        assert_eq!(shown, fields, "{name}");
    }
}

#[tokio::test]
async fn r20_r29_an_entry_of_fields_goes_out_as_icalendar_and_comes_back_the_same() {
    let mut handset = Handset::start().await;
    let json_type = "Content-Type: application/json\r\n";
    for body in [
        json!({
            "title": "Ruderabend; Steg, 3", "begins": "2026-05-05T18:00:00+02:00", "ends": "2026-05-05T20:00:00+02:00",
            "zone": "Europe/Berlin", "recurrence": "FREQ=WEEKLY;BYDAY=TU", "location": "Steg", "alarm_min": 30,
            "attendees": ["eva@example.de"], "status": "tentative", "description": "Boot\nmitbringen",
        }),
        json!({"title": "Ferien", "begins": "2026-08-01T00:00:00Z", "ends": "2026-08-15T00:00:00Z", "all_day": true}),
        json!({"title": "Steuer", "kind": "task", "ends": "2026-12-31T23:00:00Z"}),
    ] {
        let (url, shown) = handset.add("/calendar", json_type, &body.to_string()).await;
        let out = handset.get(&url, "text/calendar").await.body;
        let (_, mut again) = handset.add("/calendar", CALENDAR, &out).await;
        again["id"] = shown["id"].clone();
        for moment in ["begins", "ends"] {
            let (was, is) = (shown[moment].as_str(), again[moment].as_str());
            assert_eq!(was.map(instant), is.map(instant), "{out}");
            if let Some(is) = is.map(str::to_owned) {
                again[moment] = shown[moment].clone();
                let by_the_clock = is.ends_with(if body["zone"].is_string() {
                    "+02:00"
                } else {
                    "Z"
                });
                assert!(by_the_clock, "{is}");
            }
        }
        assert_eq!(again, shown, "{out}");
    }
}

fn instant(text: &str) -> i64 {
    use time::format_description::well_known::Rfc3339;
    time::OffsetDateTime::parse(text, &Rfc3339)
        .unwrap()
        .unix_timestamp()
}

#[tokio::test]
async fn r19_r29_a_journal_entry_is_a_note_and_a_note_a_journal_entry() {
    let mut handset = Handset::start().await;
    let sent = file("journal.ics");
    let (url, shown) = handset.add("/notes", CALENDAR, &sent).await;
    assert_eq!(shown["title"], "Gespräch mit dem Vermieter");
    assert_eq!(
        shown["text"],
        "Erstens: die Heizung, zweitens: das Dach.\nEr kommt am Dienstag vorbei.\n\nNachtrag: er kam nicht."
    );
    assert_eq!(shown["at"], "2026-05-17T00:00:00Z");
    let out = handset.get(&url, "text/calendar").await.body;
    assert_eq!(unlined(&out), unlined(&sent));
    let json_type = "Content-Type: application/json\r\n";
    let body = json!({"title": "Liste", "text": "Brot\nMilch; Käse, \\ alles", "at": "2026-11-23T10:00:00Z"});
    let (url, shown) = handset.add("/notes", json_type, &body.to_string()).await;
    let out = handset.get(&url, "text/calendar").await.body;
    let (_, mut again) = handset.add("/notes", CALENDAR, &out).await;
    again["id"] = shown["id"].clone();
    assert_eq!(again, shown, "{out}");
}

#[tokio::test]
async fn r17_r20_r29_what_is_no_entry_is_told_by_line() {
    let mut handset = Handset::start().await;
    let google = file("google.ics");
    let event = "BEGIN:VEVENT\r\nUID:1\r\nSUMMARY:A\r\nDTSTART:20260101T000000Z\r\nEND:VEVENT\r\n";
    let object =
        |inner: &str| format!("BEGIN:VCALENDAR\r\nVERSION:2.0\r\n{inner}END:VCALENDAR\r\n");
    for (body, told) in [
        (String::new(), "holds no VCALENDAR"),
        (
            google.replace("END:VCALENDAR\r\n", ""),
            "line 1: this VCALENDAR has no END:VCALENDAR",
        ),
        (google.repeat(2), "one VCALENDAR at a time"),
        (
            google.replace("VERSION:2.0", "VERSION:1.0"),
            "is vCalendar 1.0",
        ),
        (
            object(event).replace("20260101T000000Z", "tomorrow"),
            "line 6: DTSTART is no date and no time",
        ),
        (
            object(event).replace("SUMMARY:A", "SUMMARY"),
            "line 5: there is no `:`",
        ),
        (
            object(&event.replace("END:VEVENT", "END:VTODO")),
            "expected END:VEVENT, of the BEGIN on line 3",
        ),
        (object(""), "holds no VEVENT and no VTODO, but nothing"),
        (file("journal.ics"), "but VJOURNAL"),
        (
            object(&format!("{event}{}", event.replace("UID:1", "UID:2"))),
            "different UIDs",
        ),
        (object(&event.repeat(2)), "there is another on line 8"),
        (
            object(&"BEGIN:X\r\n".repeat(20)),
            "line 10: more than 8 components within each other",
        ),
    ] {
        let detail = handset.refused("/calendar", CALENDAR, &body).await;
        assert!(detail.contains(told), "{told}: {detail}");
    }
    let list = handset.get("/calendar", "application/json").await;
    assert_eq!(list.json()["calendar"], json!([]));
}

/// Moments, too, are found or not in whatever an object holds.
fn moments(object: &Component, component: &Component) {
    for property in &component.properties {
        if let Some(when) = When::of(property, object) {
            let _found = (when.text(), when.unix_s());
        }
    }
    component
        .components
        .iter()
        .for_each(|inner| moments(object, inner));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(3_000))]

    #[test]
    fn r18_r20_r29_a_damaged_file_is_read_or_told(
        which in 0..CARDS.len() + ENTRIES.len() + 1,
        damages in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<u8>()), 1..12),
    ) {
        let names: Vec<_> = CARDS.iter().chain(ENTRIES).copied().chain(["jscontact.json"]).collect();
        let mut bytes = file(names[which]).into_bytes();
        for (from, to, byte) in damages {
            let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
            match byte % 4 {
                0 => bytes[from] = byte,
                1 => drop(bytes.drain(from.min(to)..from.min(to) + from.abs_diff(to).min(40))),
                2 => bytes.insert(from, b":;,=\\\"^\n"[usize::from(byte / 4) % 8]),
                _ => bytes.swap(from, to),
            }
            if bytes.is_empty() {
                break;
            }
        }
        for read in vcard::cards(&bytes).flatten() {
            let mut out = Vec::new();
            upgrade::card(&read).write(&mut out);
            let again = vcard::only(&out).unwrap_or_else(|e| panic!("{e} {}", String::from_utf8_lossy(&out)));
            prop_assert!(again.is_version("4.0"));
            let js = from_card::json(&again, String::new);
            prop_assert!(jscontact::to_card(js.to_string().as_bytes()).is_ok());
        }
        if let Ok(read) = jscontact::to_card(&bytes) {
            let mut out = Vec::new();
            read.write(&mut out);
            prop_assert!(vcard::only(&out).is_ok());
        }
        if let Ok(objects) = icalendar::objects(&bytes) {
            let mut out = Vec::new();
            for object in &objects {
                moments(object, object);
                object.write(&mut out);
            }
            prop_assert_eq!(icalendar::objects(&out).unwrap().len(), objects.len());
        }
    }
}
