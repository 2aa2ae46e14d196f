//! Who answers the requests of a data channel: the embedded web server, or a local one that they are handed to.
pub mod builtin;
