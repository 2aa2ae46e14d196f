//! The portal: the web site from which a remote user manages a handset (requirements R67 to R78).
//!
//! It renders every page on the server and needs no script. It keeps no data of its own: what a page shows comes from
//! the handset, through the gateway, at the moment it is asked for, and the handset's web server judges who may see it.
//!
//! The modules, in the order in which a request meets them; each knows only those below it, which `tests/structure.rs` holds.
#![forbid(unsafe_code)]

// The door and the signpost.
mod server; // connections, and limits on them
mod site; // paths, headers, the log line

// The pages.
mod menu; // the main page: no handset is asked
mod resource_page; // list, add, delete, how it went: of any resource
mod sign_in; // who are you: asked here, judged by the handset
mod resource_view; // what the pages of a resource look like
mod refusal; // pages that say no

// What every page has at hand, and the way to a handset.
mod state; // the parts below, together
mod handset; // requests through the gateway

// What the pages stand on. These start nothing.
mod layout; // the frame of every page
mod catalogue; // everything of a handset that the menu leads to
mod contacts; // the description of a contact
mod attempts; // failed sign-ins, counted
mod session; // who is signed in
mod outcome; // how an action went
mod resource; // descriptions of resources, and items read by them
mod form; // reading forms, and the token in them
mod visitor; // the cookie
mod trouble; // what can come between, and what a page says about it
mod icon; // drawings
mod config; // what the operator said, checked
mod config_keys; // reading it
mod clock; // time as an argument

pub use catalogue::{CATALOGUE, Catalogue, Entry as MenuEntry, Group};
pub use clock::Clock;
pub use config::Config;
pub use config_keys::ConfigError;
pub use icon::Icon;
pub use resource::{Entry, Field, Kind, Listed, Resource};
pub use server::serve;
pub use site::router;
pub use state::Portal;
