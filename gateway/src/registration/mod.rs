//! Who may register, and how many a second: tokens (PROTOCOL 3.1), the keys they are signed with, admission.
//!
//! Shards ask [`Verifier`] and [`Admission`] for each CONNECT. [`lab`] makes keys and tokens for those who have no
//! issuer; the gateway itself never signs.

mod admission;
mod keys;
pub mod lab;
mod verifier;
#[cfg(test)]
mod verifier_test;

pub use admission::{Admission, RETRY_AFTER_MAX};
pub use keys::{KeySet, KeySetError};
pub use verifier::{TokenFault, Verifier};
