//! Rogues: handsets that misbehave, beside the honest ones, so that a tester sees what a gateway does with them.
//!
//! Each rogue does one kind of misbehaviour again and again; what becomes of it is held against PROTOCOL.md.

pub mod books;
pub mod kind;

pub use books::{KindBooks, RogueBooks};
pub use kind::RogueKind;
