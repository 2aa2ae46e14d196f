//! The portal as a browser meets it, in front of a made-up gateway; each test names the requirements it holds.

#[path = "../support/browser.rs"]
mod browser;
#[path = "../support/handset.rs"]
mod handset;

mod pages;
mod safety;
mod sign_in;
mod trouble;
