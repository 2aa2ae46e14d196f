//! Being laid out.
pub mod serve;
