//! R27: obtaining a list, page by page, in any form that lists have.

use axum::extract::{Request, State};
use axum::response::Response;
use http::header::LINK;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::memory::Memories;
use super::query::Query;
use super::show::kept;
use super::{
    Collection, PAGE_BYTES_MAX, PAGE_ITEMS_MAX, Page, Shared, act, done, not_modified, represented,
};
use crate::serve::builtin::conditional::State as Tagged;
use crate::serve::builtin::consent::Permit;
use crate::serve::builtin::prefix;
use crate::serve::builtin::problem::Problem;
use crate::serve::builtin::representation::Shown;
use crate::serve::builtin::resource::{Action, Form, Resource};
use crate::serve::builtin::store::items::{self, Wanted};
use crate::serve::builtin::store::{Database, StoreError, Stored};
use crate::serve::builtin::{json, xml};

/// What the store gives for a page: items, each with what it was sent as if the page's form wants that.
struct Read {
    rows: Vec<(Stored, Option<Vec<u8>>)>,
    next: Option<i64>,
}

pub(super) async fn list(State(collection): Shared, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let Collection { resource, handset } = &*collection;
    let shown = Shown::of_list(resource, &parts.headers)?;
    let query = Query::of(&parts.uri)?;
    let memories = Memories::of(handset, resource).await?;
    let store = memories.listed(query.store)?;
    let act = act(&parts.extensions, resource, Action::List, Vec::new());
    let permit = handset.gate.permit(act).await?;
    let page = page(&permit, &collection, &parts.headers, shown, &query, store).await;
    done(permit, page)
}

async fn page(
    _: &Permit,
    collection: &Collection,
    headers: &HeaderMap,
    shown: Shown,
    query: &Query<'_>,
    store: Option<&'static str>,
) -> Result<Response, Problem> {
    let Collection { resource, handset } = collection;
    let resource = *resource;
    let wanted = Wanted {
        store,
        after: query.after,
        newest_first: query.newest_first,
        items_max: query.items_max.unwrap_or(PAGE_ITEMS_MAX),
        bytes_max: PAGE_BYTES_MAX,
        with_blobs: matches!(shown, Shown::Form(_)),
    };
    let known = headers.clone();
    let read = handset.store.run(move |db| {
        let version = items::version(db.connection(), resource, store)?;
        let state = Tagged::of_list(resource, version);
        match state.is_known(shown.media_type(), &known) {
            true => Ok((state, None)),
            false => Ok((state, Some(read(db, resource, &wanted)?))),
        }
    });
    let (state, read) = read.await?;
    let Some(Read { rows, next }) = read else {
        return Ok(not_modified(shown, &state));
    };
    let next = next.map(|next| next_url(prefix(headers), resource, query, &wanted, next));
    let body = match shown {
        Shown::Form(form) => joined(resource, form, &rows),
        _ => {
            let page = Page {
                items: rows.into_iter().map(|(stored, _)| stored).collect(),
                next: next.clone(),
            };
            match shown {
                Shown::Xml => xml::list(resource, &page),
                _ => json::list(resource, &page),
            }
        }
    };
    let mut response = represented(StatusCode::OK, shown, &state, body);
    let link = next.map(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")));
    if let Some(Ok(link)) = link {
        response.headers_mut().insert(LINK, link);
    }
    Ok(response)
}

fn read(db: &mut Database, resource: &Resource, wanted: &Wanted) -> Result<Read, StoreError> {
    let db = db.connection();
    let found = items::list(db, resource, wanted)?;
    let mut rows = Vec::with_capacity(found.items.len());
    for stored in found.items {
        let kept = match wanted.with_blobs {
            true => kept(db, resource, &stored)?,
            false => None,
        };
        rows.push((stored, kept));
    }
    Ok(Read {
        rows,
        next: found.next,
    })
}

/// The items' forms in a row, between what a list of them has before, between and behind.
fn joined(resource: &Resource, form: &Form, rows: &[(Stored, Option<Vec<u8>>)]) -> Vec<u8> {
    let (before, between, behind) = form.list.unwrap_or_default();
    let mut body = before.as_bytes().to_vec();
    for (at, (stored, kept)) in rows.iter().enumerate() {
        if at > 0 {
            body.extend_from_slice(between.as_bytes());
        }
        let content = stored.content.as_ref().zip(kept.as_deref());
        let kept = content.map(|(blob, bytes)| (&*blob.media_type, bytes));
        body.extend_from_slice(&(form.write)(resource, stored, kept));
    }
    body.extend_from_slice(behind.as_bytes());
    body
}

/// The next page of the same list.
fn next_url(
    prefix: &str,
    resource: &Resource,
    query: &Query<'_>,
    wanted: &Wanted,
    after: i64,
) -> String {
    let store = wanted.store.filter(|_| query.store.is_some());
    let store = store.map_or(String::new(), |store| format!("&store={store}"));
    let order = match query.newest_first {
        true => "&order=newest",
        false => "",
    };
    format!(
        "{prefix}/{}?after={after}&limit={}{store}{order}",
        resource.path(),
        wanted.items_max
    )
}
