//! Bytes to lines, lines to verb and keys (PROTOCOL section 2).
