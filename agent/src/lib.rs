//! What runs on the handset: it keeps itself registered with a gateway, and answers the requests that come through it.
//!
//! In the order in which a request meets them:
//!
//! | module | what it is |
//! |---|---|
//! | [`config`] | what the owner said, checked; everybody's |
//! | [`manager`] | the connections manager: one registered connection, whatever happens |
//! | [`pace`] | when and where it dials next |
//! | [`connection`] | one signaling connection: REQUESTPENDING comes here |
//! | [`data_channel`] | one data channel for each request |
//! | [`serve`] | who answers: [`serve::forward`] a local web server, [`serve::builtin`] the embedded one |
//! | [`owner`] | the owner's screen, on loopback alone, which shows what the embedded web server keeps |
//! | [`device`] | what the hardware does, as one trait |
//! | [`gsm`] | messages and SIM cards as GSM has them |
//! | [`status`] | what the agent says of itself: `agent status`, metrics |
//! | [`keepalive`] | which keep-alive timeout its network lets live |
//! | [`names`] | addresses of gateways |
//!
//! Each knows only those below it, and the screen the web server that has it. The manager and the web servers meet in
//! [`serve::Serve`] alone (R9). Everything async runs on one thread; the store has a second one, and password hashing a
//! third while it lasts.
#![forbid(unsafe_code)]

pub mod config;
pub mod connection;
pub mod data_channel;
pub mod device;
pub mod gsm;
pub mod keepalive;
pub mod manager;
pub mod names;
pub mod owner;
pub mod pace;
pub mod serve;
pub mod status;
