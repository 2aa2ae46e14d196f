//! What checking one CONNECT's token costs: our verifier beside `jsonwebtoken::decode`, both with parsed keys at hand.
//!
//! `cargo bench -p everline-gateway --bench tokens`; compare the rows of one run. The reason for the verifier, and these
//! figures, are in `docs/decisions/0002-tokens-are-verified-with-parsed-keys.md`.

use std::time::Duration;

use divan::Bencher;
use everline_gateway::registration::{KeySet, Verifier, lab};
use everline_protocol::Msisdn;
use jsonwebtoken::jwk::JwkSet;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};

const ALGORITHMS: [&str; 3] = ["HS256", "EdDSA", "ES256"];

fn main() {
    divan::main();
}

/// A key set's public half, and a token made with it.
fn made(algorithm: &str) -> (Vec<u8>, String) {
    let dir = tempfile::tempdir().expect("a temporary directory");
    let keys = dir.path().join("keys");
    lab::keygen(&keys, algorithm).expect("a key set");
    let private = keys.join(lab::PRIVATE_FILE);
    let token = lab::mint(&private, msisdn(), Duration::from_secs(3600), None, None);
    let public = std::fs::read(keys.join(lab::PUBLIC_FILE)).expect("it was just written");
    (public, token.expect("a token"))
}

fn msisdn() -> Msisdn {
    Msisdn::parse(b"34610515151").expect("a valid number")
}

#[divan::bench(args = ALGORITHMS)]
fn verifier(bencher: Bencher<'_, '_>, algorithm: &str) {
    let (public, token) = made(algorithm);
    let keys = KeySet::parse(&public, "jwks.json".as_ref()).expect("a key set");
    let verifier = Verifier::new(keys, None);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed();
    let now = now.expect("it is after 1970").as_secs();
    bencher.bench(|| {
        verifier
            .verify(&token, msisdn(), now)
            .expect("a good token");
    });
}

#[divan::bench(args = ALGORITHMS)]
fn jsonwebtoken_decode(bencher: Bencher<'_, '_>, algorithm: &str) {
    #[derive(serde::Deserialize)]
    struct Claims {
        sub: String,
    }
    let (public, token) = made(algorithm);
    let set: JwkSet = serde_json::from_slice(&public).expect("a key set");
    let kind: Algorithm = algorithm.parse().expect("it knows the algorithm");
    let validation = Validation::new(kind);
    let keys: Vec<(Option<String>, DecodingKey)> = (set.keys.iter())
        .map(|key| {
            (
                key.common.key_id.clone(),
                DecodingKey::from_jwk(key).expect("a key"),
            )
        })
        .collect();
    let number = msisdn().digits().to_string();
    bencher.bench(|| {
        let header = jsonwebtoken::decode_header(&token).expect("a header");
        let (_, key) = keys
            .iter()
            .find(|(kid, _)| *kid == header.kid)
            .expect("its key");
        let decoded =
            jsonwebtoken::decode::<Claims>(&token, key, &validation).expect("a good token");
        assert_eq!(decoded.claims.sub, number);
    });
}
