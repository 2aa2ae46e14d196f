//! The operator's port.

/// Connections that are served at once; one more waits.
pub const CONNECTIONS_MAX: usize = 64;
