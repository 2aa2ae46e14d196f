//! Every rule of PROTOCOL 3.1 about tokens, on tokens made by hand, by another implementation and by the lab.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use everline_protocol::Msisdn;
use proptest::prelude::*;
use serde_json::{Value, json};

use super::lab::{self, LabError};
use super::{KeySet, KeySetError, TokenFault, Verifier};
use crate::config::Auth;

/// 32 bytes, 0 to 31, as `foreign_tokens.json` has them.
const SECRET: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
/// 2027.
const NOW: u64 = 1_800_000_000;

/// Made with PyJWT: a public set with a key of each algorithm, and a token signed with each.
fn foreign() -> Value {
    serde_json::from_str(include_str!("foreign_tokens.json")).expect("JSON")
}

fn text<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value
        .pointer(pointer)
        .and_then(Value::as_str)
        .expect(pointer)
}

fn handset() -> Msisdn {
    Msisdn::parse(b"34610515151").expect("a number")
}

fn set(keys: &Value) -> Result<KeySet, KeySetError> {
    KeySet::parse(
        json!({ "keys": keys }).to_string().as_bytes(),
        Path::new("keys.json"),
    )
}

fn verifier(audience: Option<&str>) -> Verifier {
    let keys = foreign().pointer("/jwks/keys").expect("keys").clone();
    Verifier::new(set(&keys).expect("four keys"), audience.map(str::to_owned))
}

fn encoded(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode(part)
}

/// A token with exactly this header and these claims, signed with HS256 and this secret.
fn signed(header: &str, claims: &str, secret: &[u8]) -> String {
    let message = format!("{}.{}", encoded(header), encoded(claims));
    let tag = hmac::sign(
        &hmac::Key::new(hmac::HMAC_SHA256, secret),
        message.as_bytes(),
    );
    format!("{message}.{}", encoded(tag))
}

fn with_header(header: &str) -> String {
    let secret = URL_SAFE_NO_PAD.decode(SECRET).expect("base64url");
    signed(header, r#"{"sub":"34610515151","exp":1800000100}"#, &secret)
}

fn with_claims(claims: &str) -> String {
    let secret = URL_SAFE_NO_PAD.decode(SECRET).expect("base64url");
    signed(r#"{"alg":"HS256"}"#, claims, &secret)
}

#[test]
fn tokens_of_another_implementation_are_good() {
    let foreign = foreign();
    for algorithm in ["EdDSA", "ES256", "RS256", "HS256"] {
        let token = text(&foreign, &format!("/tokens/{algorithm}"));
        for audience in [None, Some("everline")] {
            assert_eq!(
                verifier(audience).verify(token, handset(), NOW),
                Ok(()),
                "{algorithm}"
            );
        }
        let other = Msisdn::parse(b"34610515152").expect("a number");
        assert_eq!(
            verifier(None).verify(token, other, NOW),
            Err(TokenFault::Subject)
        );
        assert_eq!(
            verifier(Some("third")).verify(token, handset(), NOW),
            Err(TokenFault::Audience)
        );
        assert_eq!(
            verifier(None).verify(token, handset(), 4_102_444_860),
            Err(TokenFault::Expired)
        );
        assert_eq!(
            verifier(None).verify(token, handset(), 1_699_999_939),
            Err(TokenFault::Early)
        );
        let cut = token.get(..token.len() - 4).expect("ASCII");
        let worthless = verifier(None).verify(cut, handset(), NOW);
        assert!(
            matches!(worthless, Err(TokenFault::Signature | TokenFault::Form)),
            "{algorithm}: {worthless:?}"
        );
    }
}

#[test]
fn an_altered_token_is_worth_nothing() {
    let foreign = foreign();
    let token = text(&foreign, "/tokens/EdDSA");
    let (message, signature) = token.rsplit_once('.').expect("three parts");
    let (header, _) = message.split_once('.').expect("three parts");
    let claims = encoded(r#"{"sub":"34610515152","exp":4102444800}"#);
    let altered = format!("{header}.{claims}.{signature}");
    let other = Msisdn::parse(b"34610515152").expect("a number");
    assert_eq!(
        verifier(None).verify(&altered, other, NOW),
        Err(TokenFault::Signature)
    );
}

#[test]
fn a_key_serves_its_own_algorithm_only() {
    let foreign = foreign();
    // The classic attack: the public key of RS256, which everybody knows, used as a secret of HS256.
    let modulus = foreign
        .pointer("/jwks/keys/2/n")
        .and_then(Value::as_str)
        .expect("n");
    let claims = r#"{"sub":"34610515151","exp":1800000100}"#;
    let decoded = URL_SAFE_NO_PAD.decode(modulus).expect("base64url");
    for secret in [modulus.as_bytes(), &decoded] {
        let token = signed(r#"{"alg":"HS256","kid":"rsa"}"#, claims, secret);
        assert_eq!(
            verifier(None).verify(&token, handset(), NOW),
            Err(TokenFault::Key)
        );
    }
    let rsa_only = foreign.pointer("/jwks/keys/2").expect("a key");
    let only = Verifier::new(set(&json!([rsa_only])).expect("a key"), None);
    let token = signed(r#"{"alg":"HS256"}"#, claims, &decoded);
    assert_eq!(only.verify(&token, handset(), NOW), Err(TokenFault::Key));
}

#[test]
fn headers_are_read_strictly() {
    let cases = [
        (r#"{"alg":"HS256"}"#, Ok(())),
        (
            r#"{"alg":"HS256","kid":"hmac","typ":"JWT","x5t":"abc"}"#,
            Ok(()),
        ),
        (r#"{"alg":"HS256","kid":"ed"}"#, Err(TokenFault::Key)),
        (r#"{"alg":"HS256","kid":"unknown"}"#, Err(TokenFault::Key)),
        (r#"{"alg":"HS256","kid":""}"#, Err(TokenFault::Key)),
        (r#"{"alg":"EdDSA"}"#, Err(TokenFault::Signature)),
        (r#"{"alg":"none"}"#, Err(TokenFault::Algorithm)),
        (r#"{"alg":"None"}"#, Err(TokenFault::Algorithm)),
        (r#"{"alg":"hs256"}"#, Err(TokenFault::Algorithm)),
        (r#"{"alg":"HS512"}"#, Err(TokenFault::Algorithm)),
        (r#"{"alg":""}"#, Err(TokenFault::Algorithm)),
        (r"{}", Err(TokenFault::Header)),
        (r#"{"alg":null}"#, Err(TokenFault::Header)),
        (r#"{"alg":["HS256"]}"#, Err(TokenFault::Header)),
        (r#"{"alg":"HS256","kid":null}"#, Err(TokenFault::Header)),
        (r#"{"alg":"HS256","kid":7}"#, Err(TokenFault::Header)),
        (r#"{"alg":"none","alg":"HS256"}"#, Err(TokenFault::Header)),
        (
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
            Err(TokenFault::Header),
        ),
        (r"[]", Err(TokenFault::Header)),
        (r"", Err(TokenFault::Header)),
    ];
    for (header, expected) in cases {
        assert_eq!(
            verifier(None).verify(&with_header(header), handset(), NOW),
            expected,
            "{header}"
        );
    }
}

#[test]
fn claims_are_read_strictly() {
    let good = r#""sub":"34610515151","exp":1800000100"#;
    let cases = [
        (format!("{{{good}}}"), Ok(())),
        (
            format!(r#"{{{good},"nbf":1799999999.5,"iss":7,"more":{{}}}}"#),
            Ok(()),
        ),
        (r#"{"sub":"34610515151","exp":1799999941}"#.into(), Ok(())),
        (
            r#"{"sub":"34610515151","exp":1799999940}"#.into(),
            Err(TokenFault::Expired),
        ),
        (r#"{"sub":"34610515151","exp":1.8e9}"#.into(), Ok(())),
        (
            r#"{"sub":"34610515151","exp":18446744073709551615}"#.into(),
            Ok(()),
        ),
        (
            r#"{"sub":"34610515151","exp":0}"#.into(),
            Err(TokenFault::Expired),
        ),
        (
            r#"{"sub":"34610515151","exp":-1}"#.into(),
            Err(TokenFault::Claims),
        ),
        (
            r#"{"sub":"34610515151","exp":1e999}"#.into(),
            Err(TokenFault::Claims),
        ),
        (
            r#"{"sub":"34610515151","exp":"1800000100"}"#.into(),
            Err(TokenFault::Claims),
        ),
        (
            r#"{"sub":"34610515151","exp":null}"#.into(),
            Err(TokenFault::Claims),
        ),
        (
            r#"{"sub":"34610515151","exp":[1800000100]}"#.into(),
            Err(TokenFault::Claims),
        ),
        (r#"{"sub":"34610515151"}"#.into(), Err(TokenFault::Claims)),
        (
            format!(r#"{{{good},"exp":1900000000}}"#),
            Err(TokenFault::Claims),
        ),
        (format!(r#"{{{good},"nbf":1800000060}}"#), Ok(())),
        (
            format!(r#"{{{good},"nbf":1800000061}}"#),
            Err(TokenFault::Early),
        ),
        (format!(r#"{{{good},"nbf":"1"}}"#), Err(TokenFault::Claims)),
        (format!(r#"{{{good},"nbf":null}}"#), Err(TokenFault::Claims)),
        (format!(r#"{{{good},"aud":7}}"#), Err(TokenFault::Claims)),
        (
            format!(r#"{{{good},"aud":["a",7]}}"#),
            Err(TokenFault::Claims),
        ),
        (format!(r#"{{{good},"aud":"another gateway"}}"#), Ok(())),
        (r#"{"exp":1800000100}"#.into(), Err(TokenFault::Claims)),
        (
            r#"{"sub":34610515151,"exp":1800000100}"#.into(),
            Err(TokenFault::Claims),
        ),
        (
            r#"{"sub":"+34610515151","exp":1800000100}"#.into(),
            Err(TokenFault::Subject),
        ),
        (
            r#"{"sub":" 34610515151","exp":1800000100}"#.into(),
            Err(TokenFault::Subject),
        ),
        (
            r#"{"sub":"034610515151","exp":1800000100}"#.into(),
            Err(TokenFault::Subject),
        ),
        (
            r#"{"sub":"3461051515\u0031","exp":1800000100}"#.into(),
            Ok(()),
        ),
        (r#""sub""#.into(), Err(TokenFault::Claims)),
    ];
    for (claims, expected) in cases {
        assert_eq!(
            verifier(None).verify(&with_claims(&claims), handset(), NOW),
            expected,
            "{claims}"
        );
    }
}

#[test]
fn an_audience_that_is_asked_for_must_be_there() {
    let asked = verifier(Some("everline"));
    for (aud, expected) in [
        (r#","aud":"everline""#, Ok(())),
        (r#","aud":["other","everline"]"#, Ok(())),
        (r#","aud":["other"]"#, Err(TokenFault::Audience)),
        (r#","aud":[]"#, Err(TokenFault::Audience)),
        (r#","aud":"Everline""#, Err(TokenFault::Audience)),
        ("", Err(TokenFault::Audience)),
    ] {
        let token = with_claims(&format!(r#"{{"sub":"34610515151","exp":1800000100{aud}}}"#));
        assert_eq!(asked.verify(&token, handset(), NOW), expected, "{aud}");
    }
}

#[test]
fn what_is_no_token_is_refused() {
    let good = with_claims(r#"{"sub":"34610515151","exp":1800000100}"#);
    let long = format!("{good}{}", "A".repeat(2048));
    for token in [
        "",
        ".",
        "a.b",
        "a.b.c.d",
        "ä.ö.ü",
        &long,
        &format!("{good}="),
        &format!("{good} "),
    ] {
        assert_eq!(
            verifier(None).verify(token, handset(), NOW),
            Err(TokenFault::Form),
            "{token:?}"
        );
    }
    assert_eq!(
        verifier(None).verify("..", handset(), NOW),
        Err(TokenFault::Header)
    );
    assert_eq!(Verifier::anyone().verify("", handset(), NOW), Ok(()));
}

#[test]
fn without_kid_there_must_be_one_key_of_the_algorithm() {
    let token = with_header(r#"{"alg":"HS256"}"#);
    let named = with_header(r#"{"alg":"HS256","kid":"2"}"#);
    let key = |kid: &str| json!({ "kty": "oct", "kid": kid, "k": SECRET });
    let one = Verifier::new(set(&json!([key("1")])).expect("a key"), None);
    let two = Verifier::new(set(&json!([key("1"), key("2")])).expect("keys"), None);
    assert_eq!(one.verify(&token, handset(), NOW), Ok(()));
    assert_eq!(one.verify(&named, handset(), NOW), Err(TokenFault::Key));
    assert_eq!(two.verify(&token, handset(), NOW), Err(TokenFault::Key));
    assert_eq!(two.verify(&named, handset(), NOW), Ok(()));
}

#[test]
fn a_broken_key_is_named() {
    let good = json!({ "kty": "oct", "kid": "1", "k": SECRET });
    let x = "c50BSgNCYFZwElucsyac3GYGZ7p75WdRLDOsCpJNNjo";
    let cases = [
        (
            json!({ "kty": "oct", "kid": "1", "k": SECRET }),
            "another key has the same `kid`",
        ),
        (json!({ "kty": "oct" }), "`k` is missing"),
        (
            json!({ "kty": "oct", "k": "AAAA" }),
            "`k` has 3 bytes, fewer than 32",
        ),
        (
            json!({ "kty": "oct", "k": "not base64!" }),
            "`k` is not base64url",
        ),
        (
            json!({ "kty": "oct", "alg": "RS256", "k": SECRET }),
            "`alg` RS256 does not go with `kty` oct",
        ),
        (
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "AAAA" }),
            "`x` has 3 bytes, not 32",
        ),
        (json!({ "kty": "OKP", "x": x }), "`crv` is missing"),
        (
            json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "d": x }),
            "holds a private key",
        ),
        (
            json!({ "kty": "EC", "crv": "P-256", "x": x, "y": x }),
            "no point of P-256",
        ),
        (
            json!({ "kty": "EC", "crv": "P-256", "x": x }),
            "`y` is missing",
        ),
        (
            json!({ "kty": "RSA", "n": x, "e": "AQAB" }),
            "`n` has 256 bits, not 2048 to 8192",
        ),
        (json!({ "kid": "3" }), "missing field `kty`"),
        (json!("key"), "not a JSON Web Key"),
    ];
    for (broken, expected) in cases {
        let error = set(&json!([good, broken])).expect_err(expected).to_string();
        assert!(
            error.starts_with("keys.json: key 1 (counted from 0): "),
            "{error}"
        );
        assert!(error.contains(expected), "{error} does not say {expected}");
    }
}

#[test]
fn keys_for_other_purposes_are_left_out() {
    let all = json!([
        { "kty": "oct", "k": SECRET },
        { "kty": "oct", "k": SECRET, "use": "enc" },
        { "kty": "oct", "k": SECRET, "alg": "HS512" },
        { "kty": "EC", "crv": "P-384", "x": "", "y": "" },
        { "kty": "AKP" },
    ]);
    let keys = set(&all).expect("one key");
    assert_eq!((keys.len(), keys.left_out()), (1, 4));
    let none = set(&json!([{ "kty": "AKP" }]))
        .expect_err("no key")
        .to_string();
    assert_eq!(none, "keys.json: no key that can be used (1 left out)");
    let error = KeySet::parse(b"{", Path::new("keys.json"))
        .expect_err("no JSON")
        .to_string();
    assert!(
        error.starts_with("keys.json: not a JSON Web Key Set: "),
        "{error}"
    );
    let missing = KeySet::read(Path::new("/nonexistent/keys.json"))
        .expect_err("no file")
        .to_string();
    assert!(missing.starts_with("/nonexistent/keys.json: "), "{missing}");
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("after 1970")
        .as_secs()
}

#[test]
fn the_labs_tokens_are_good() {
    for algorithm in ["EdDSA", "ES256", "HS256"] {
        let directory = tempfile::tempdir().expect("a directory");
        let files = lab::keygen(&directory.path().join("keys"), algorithm).expect("keys");
        let mode = |file: &Path| fs::metadata(file).expect("a file").permissions().mode() & 0o777;
        assert_eq!(mode(&files.private), 0o600);
        let public = fs::read_to_string(&files.public).expect("a file");
        assert!(
            !public.contains("\"d\""),
            "a private key in the public file"
        );
        assert_eq!(
            mode(&files.public),
            if algorithm == "HS256" { 0o600 } else { 0o644 }
        );

        let auth = Auth::Jwks {
            jwks_file: files.public.clone(),
            audience: Some("lab".into()),
        };
        let verifier = Verifier::from_config(&auth).expect("a key set");
        let hour = Duration::from_secs(3600);
        let token = lab::mint(&files.private, handset(), hour, Some("lab"), None).expect("a token");
        assert_eq!(
            verifier.verify(&token, handset(), now()),
            Ok(()),
            "{algorithm}"
        );
        assert_eq!(
            verifier.verify(&token, handset(), now() + 3700),
            Err(TokenFault::Expired)
        );
        let named =
            lab::mint(&files.private, handset(), hour, None, Some(&files.kid)).expect("a token");
        assert_eq!(
            verifier.verify(&named, handset(), now()),
            Err(TokenFault::Audience)
        );
        let unknown = lab::mint(&files.private, handset(), hour, None, Some("other"));
        assert!(matches!(unknown, Err(LabError::Key { .. })));

        let again = lab::keygen(&directory.path().join("keys"), algorithm);
        assert!(
            matches!(again, Err(LabError::File { .. })),
            "keys are never overwritten"
        );
        assert_eq!(fs::read_to_string(&files.public).expect("a file"), public);
    }
    let directory = tempfile::tempdir().expect("a directory");
    assert!(matches!(
        lab::keygen(directory.path(), "RS256"),
        Err(LabError::Algorithm(_))
    ));
    assert!(matches!(
        lab::keygen(directory.path(), "none"),
        Err(LabError::Algorithm(_))
    ));
}

proptest! {
    #[test]
    fn no_token_makes_it_panic(token: String, header: Vec<u8>, claims: Vec<u8>, signature: Vec<u8>) {
        let verifier = verifier(None);
        prop_assert!(verifier.verify(&token, handset(), NOW).is_err());
        let parts = format!("{}.{}.{}", encoded(&header), encoded(&claims), encoded(&signature));
        prop_assert!(verifier.verify(&parts, handset(), NOW).is_err());
        let signed = with_claims(&String::from_utf8_lossy(&claims));
        prop_assert!(verifier.verify(&signed, handset(), u64::MAX).is_err());
    }
}
