//! A CONNECT's token under any bytes: without the key nothing is believed.
#![no_main]

use std::path::Path;
use std::sync::LazyLock;

use everline_gateway::registration::{KeySet, Verifier};
use everline_protocol::Msisdn;
use libfuzzer_sys::fuzz_target;

const KEYS: &[u8] = br#"{"keys":[{"kty":"oct","kid":"one","alg":"HS256","k":"c2l4dGVlbi1ieXRlcyBhbmQgYW5vdGhlci1zaXh0ZWVu"}]}"#;

static VERIFIER: LazyLock<Verifier> = LazyLock::new(|| {
    let keys = KeySet::parse(KEYS, Path::new("jwks.json")).expect("a valid key set");
    Verifier::new(keys, None)
});

fuzz_target!(|token: &str| {
    let msisdn = Msisdn::parse(b"34610515151").expect("a valid number");
    assert!(VERIFIER.verify(token, msisdn, 1_800_000_000).is_err());
});
