//! The portal: the web site from which a remote user manages a handset (requirements R67 to R78).
//!
//! It renders every page on the server and needs no script. It keeps no data of its own: what a page shows comes from
//! the handset, through the gateway, at the moment it is asked for, and the handset's web server judges who may see it.
//!
//! The modules, in the order in which a request meets them; each knows only those below it:
#![forbid(unsafe_code)]

// The door and the signpost.
mod server; // connections, limits on them
mod site; // paths, headers, the log line

// The pages.
mod menu; // the main page: no handset is asked
mod refusal;
mod resource_page; // list, add, delete, how it went: of any resource
mod resource_view; // what those look like
mod sign_in; // who are you: asked by us, judged by the handset // pages that say no

// The way to a handset.
mod handset;

// What the pages stand on. These start nothing.
mod attempts; // failed sign-ins, counted
mod catalogue; // everything of a handset that the menu leads to
mod clock; // time as an argument
mod config; // what the operator said, checked
mod contacts; // the description of a contact
mod form; // reading forms, and the token in them
mod icon; // drawings
mod layout; // the frame of every page
mod outcome; // how an action went
mod resource; // descriptions of resources, and items read by them
mod session; // who is signed in
mod state; // all of this, at hand for a page
mod trouble; // what can come between, and what a page says about it

pub use catalogue::{CATALOGUE, Catalogue, Entry as MenuEntry, Group};
pub use clock::Clock;
pub use config::{Config, ConfigError};
pub use icon::Icon;
pub use resource::{Entry, Field, Kind, Listed, Resource};
pub use server::serve;
pub use site::router;
pub use state::Portal;
