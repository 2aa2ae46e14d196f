//! What a query of the personal data says: which memory, which part of a list, what is to be copied.

use http::Uri;

use super::PAGE_ITEMS_MAX;
use crate::serve::builtin::problem::{Kind, Problem};

/// The keys that are known. Others are left to whoever put them there.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Query<'a> {
    /// `limit`.
    pub(super) items_max: Option<u32>,
    /// `after`.
    pub(super) after: Option<i64>,
    /// `order=newest`.
    pub(super) newest_first: bool,
    /// `store`: a memory's name, not yet held against the description.
    pub(super) store: Option<&'a str>,
    /// `from`: the URL of an item that is to be copied.
    pub(super) from: Option<&'a str>,
}

impl<'a> Query<'a> {
    pub(super) fn of(uri: &'a Uri) -> Result<Self, Problem> {
        Self::read(uri.query().unwrap_or_default())
    }

    fn read(text: &'a str) -> Result<Self, Problem> {
        let mut query = Self::default();
        for pair in text.split('&') {
            match pair.split_once('=') {
                Some(("limit", value)) => query.items_max = Some(limit(value)?),
                Some(("after", value)) => query.after = Some(after(value)?),
                Some(("order", value)) => query.newest_first = newest_first(value)?,
                Some(("store", value)) => query.store = Some(value),
                Some(("from", value)) => query.from = Some(value),
                _ => {}
            }
        }
        Ok(query)
    }
}

/// `limit` and `after` of a list that has nothing else to choose.
pub(in crate::serve::builtin) fn paging(query: &str) -> Result<(u32, i64), Problem> {
    let query = Query::read(query)?;
    Ok((
        query.items_max.unwrap_or(PAGE_ITEMS_MAX),
        query.after.unwrap_or(0),
    ))
}

fn limit(value: &str) -> Result<u32, Problem> {
    let limit = value.parse().ok();
    limit
        .filter(|limit| (1..=PAGE_ITEMS_MAX).contains(limit))
        .ok_or_else(|| {
            bad(format!(
                "limit: must be a number from 1 to {PAGE_ITEMS_MAX}."
            ))
        })
}

fn after(value: &str) -> Result<i64, Problem> {
    let after = value.parse().ok();
    after
        .filter(|after| *after >= 0)
        .ok_or_else(|| bad("after: must be what a page's `next` says."))
}

fn newest_first(value: &str) -> Result<bool, Problem> {
    match value {
        "newest" => Ok(true),
        "oldest" => Ok(false),
        _ => Err(bad("order: must be newest or oldest, which comes first.")),
    }
}

/// The id in the last segment of a path. Ids are the store's positive integers; anything else names nothing.
pub(in crate::serve::builtin) fn id(path: &str) -> Option<i64> {
    let segment = path.rsplit('/').next().unwrap_or_default();
    let digits = segment.bytes().all(|b| b.is_ascii_digit()) && !segment.starts_with('0');
    segment.parse().ok().filter(|_| digits)
}

pub(in crate::serve::builtin) fn bad(detail: impl Into<String>) -> Problem {
    Problem::new(Kind::BadQuery, detail)
}
