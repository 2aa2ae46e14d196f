//! Bytes that items are about: pictures, films, messages as they travelled, forms kept word for word.
//!
//! A blob lies in the store's file in chunks, so that neither writing nor reading one ever holds it in memory whole.
//! One that was begun and not joined to an item, since the agent was ended meanwhile, is cleared away at the next start.

/// What is known of an item's bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Blob {
    /// Names it in the store.
    pub id: i64,
    /// What the bytes are.
    pub media_type: String,
    /// How many there are.
    pub bytes: u64,
}
