//! Cards of other software go in, and come out again with all that they hold: R18, R29.
//!
//! The files in `foreign/` are written as Android, iOS and macOS, Outlook and Thunderbird write them.

mod support;

use std::collections::BTreeSet;

use everline_agent::serve::builtin::content_line::Property;
use everline_agent::serve::builtin::vcard::{self, Card};
use serde_json::{Value, json};
use support::foreign::{CARDS, Handset, file};

const VCARD: &str = "Content-Type: text/vcard\r\n";
const JSCONTACT: &str = "Content-Type: application/jscontact+json\r\n";

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
}

#[tokio::test]
async fn r18_r29_labels_of_a_foreign_card_are_told_and_its_agent_is_another() {
    let mut handset = Handset::start().await;
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
