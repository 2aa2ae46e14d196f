//! What GSM's specifications say of messages and of the SIM card, and nothing of any device.
//!
//! | module | what it is |
//! |---|---|
//! | [`alphabet`] | the GSM 7-bit default alphabet and its packing (TS 23.038, 6.1.2 and 6.2.1) |
//! | [`coding`] | what the data coding scheme says of a message's text (TS 23.038, 4) |
//! | [`address`] | numbers and names in a TPDU (TS 23.040, 9.1.2) |
//! | [`timestamp`] | times in a TPDU (TS 23.040, 9.2.3.11) |
//! | [`user_data`] | a message's header and text (TS 23.040, 9.2.3.24) |
//! | [`tpdu`] | SUBMIT, DELIVER and STATUS-REPORT (TS 23.040, 9.2.2) |
//! | [`sms`] | a text becomes messages, and messages become a text |
//! | [`sim`] | what a SIM card has room for (TS 31.102, TS 11.11 annex B) |
//!
//! National language tables (TS 23.038, annex A) are not here: a message in one is read as if it were in the default
//! alphabet, and none is written in one. Everything here takes bytes from a radio: it refuses what it can't read, and never panics.

pub mod address;
pub mod alphabet;
pub mod coding;
pub mod sim;
pub mod sms;
pub mod timestamp;
pub mod tpdu;
pub mod user_data;
