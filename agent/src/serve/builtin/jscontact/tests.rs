//! Conversions that the examples in `tests/foreign` do not meet.

use proptest::prelude::*;
use serde_json::json;

use super::*;

fn card_of(json: &Json) -> Result<Card, FieldError> {
    to_card(json.to_string().as_bytes())
}

fn lines(json: &Json) -> String {
    let mut out = Vec::new();
    card_of(json).unwrap().write(&mut out);
    String::from_utf8(out).unwrap().replace("\r\n ", "")
}

fn js(text: &str) -> Json {
    from_card::json(&vcard::only(text.as_bytes()).unwrap(), || {
        "urn:x".to_owned()
    })
}

#[test]
fn r29_what_is_no_card_is_told() {
    for (body, told) in [
        ("{", "body: is not JSON"),
        ("[]", "body: must be one JSContact card"),
        (r#"{"@type": "Group"}"#, "@type: must be Card"),
        (r#"{"version": "2.0"}"#, "version: must be 1.0"),
        (
            r#"{"@type": "Card", "phones": {"a": {"number": "1"}}}"#,
            "name: is required",
        ),
    ] {
        let fault = read(&contacts::CONTACTS, body.as_bytes()).unwrap_err();
        assert!(fault.to_string().contains(told), "{body}: {fault}");
    }
    let notes: serde_json::Map<_, _> = (0..1_001)
        .map(|n| (n.to_string(), json!({"note": "x"})))
        .collect();
    let fault = card_of(&json!({"notes": notes})).unwrap_err();
    assert_eq!(fault.field, "notes");
    // As many as a body holds: to make properties of them all before they are counted would take hours.
    let phones: serde_json::Map<_, _> = (0..20_000)
        .map(|n| (n.to_string(), json!({"number": "1", "label": "x"})))
        .collect();
    let fault = card_of(&json!({"phones": phones})).unwrap_err();
    assert_eq!(fault.field, "phones");
}

#[test]
fn r18_members_that_no_property_holds_keep_their_place() {
    let card = json!({
        "name": {"full": "A", "phoneticSystem": "ipa"},
        "phones": {"p/1~": {"number": 7}, "x": {"number": "1", "calls": {"at": "night"}}},
        "emails": "none",
    });
    let text = lines(&card);
    for line in [
        "JSPROP;JSPTR=name/phoneticSystem:\"ipa\"",
        "JSPROP;JSPTR=phones/p~11~0:{\"number\":7}",
        "TEL;PROP-ID=x:1",
        "JSPROP;JSPTR=phones/x/calls:{\"at\":\"night\"}",
        "JSPROP;JSPTR=emails:\"none\"",
    ] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}\n{text}");
    }
    let back = js(&text);
    for pointer in [
        "/name/phoneticSystem",
        "/phones/x/calls/at",
        "/phones/p~11~0/number",
        "/emails",
    ] {
        assert_eq!(back.pointer(pointer), card.pointer(pointer), "{pointer}");
    }
}

#[test]
fn r18_a_name_of_rfc_9554_is_not_doubled() {
    let told = js(
        "BEGIN:VCARD\nVERSION:4.0\nFN:X\nN:Rivera,Paz;Ana;;;Jr.;Paz;Jr.\nADR:;;12 Oak St,2;Ames;;;;2;;;12;Oak St;;;;;;\nEND:VCARD\n",
    );
    let values = |at: &str| -> Vec<String> {
        let rows = told.pointer(at).unwrap().as_array().unwrap().iter();
        rows.map(|row| {
            format!(
                "{}={}",
                row["kind"].as_str().unwrap(),
                row["value"].as_str().unwrap()
            )
        })
        .collect()
    };
    assert_eq!(
        values("/name/components"),
        [
            "given=Ana",
            "surname=Rivera",
            "surname2=Paz",
            "generation=Jr."
        ]
    );
    assert_eq!(
        values("/addresses/ADR-1/components"),
        ["locality=Ames", "room=2", "number=12", "name=Oak St"]
    );
}

#[test]
fn r18_what_stands_beside_a_value_of_vcard_is_not_lost() {
    let told = js(
        "BEGIN:VCARD\nVERSION:4.0\nFN;LANGUAGE=de:X\nN;X-READ=ix:X;;;;\nitem1.CATEGORIES;PREF=1:a\nKIND;X-A=b:individual\n\
         RELATED;TYPE=friend:urn:b\nRELATED;TYPE=co-worker:urn:b\nEND:VCARD\n",
    );
    assert_eq!(
        told.pointer("/name/vCardParams"),
        Some(&json!({"language": "de", "x-read": "ix"}))
    );
    assert_eq!(
        told.pointer("/relatedTo/urn:b/relation"),
        Some(&json!({"friend": true, "co-worker": true}))
    );
    assert_eq!(
        told.pointer("/vCardProps"),
        Some(&json!([
            ["categories", {"group": "item1", "pref": "1"}, "unknown", "a"],
            ["kind", {"x-a": "b"}, "unknown", "individual"],
        ]))
    );
    // And back.
    let text = lines(&told);
    for line in ["item1.CATEGORIES;PREF=1:a", "KIND;X-A=b:individual"] {
        assert!(text.contains(&format!("\r\n{line}\r\n")), "{line}\n{text}");
    }
    assert_eq!(
        js(&text).pointer("/name/vCardParams"),
        told.pointer("/name/vCardParams")
    );
    let card = json!({"name": {"full": "A"}, "relatedTo": {"urn:b": {"relation": {"friend": true}, "since": 1}}});
    let back = js(&lines(&card));
    assert_eq!(back.pointer("/relatedTo/urn:b/since"), Some(&json!(1)));
}

proptest! {
    #[test]
    fn r29_any_json_is_taken_or_told(body in "[ -~]{0,200}", deep in "(\\{\"(phones|name|addresses|vCardProps|anniversaries|relatedTo)\":[\\[{\"a-z:1,\\]}]{0,60}\\})") {
        for body in [body, deep] {
            if let Ok(card) = to_card(body.as_bytes()) {
                let mut out = Vec::new();
                card.write(&mut out);
                let _ = vcard::only(&out).unwrap();
            }
        }
    }

    #[test]
    fn r18_any_card_has_a_jscontact(text in "([A-Z]{1,8}(;[A-Z]{1,5}=[ -~&&[^\":;]]{0,8})?:[ -~]{0,20}\n){0,12}") {
        let text = format!("BEGIN:VCARD\nVERSION:4.0\n{text}END:VCARD\n");
        if let Ok(card) = vcard::only(text.as_bytes()) {
            let json = from_card::json(&card, String::new);
            prop_assert!(card_of(&json).is_ok());
        }
    }
}
