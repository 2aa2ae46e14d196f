//! R28: obtaining one item, in any form that it has.

use axum::extract::{Request, State};
use axum::response::Response;
use http::StatusCode;
use http::request::Parts;
use rusqlite::Connection;

use super::memory::{Memories, no_sim};
use super::{
    Collection, Shared, act, details_of, done, named, no_such_item, not_modified, represented,
};
use crate::serve::builtin::conditional::State as Tagged;
use crate::serve::builtin::consent::Permit;
use crate::serve::builtin::handset::Handset;
use crate::serve::builtin::problem::Problem;
use crate::serve::builtin::representation::Shown;
use crate::serve::builtin::resource::{Action, KEPT_BYTES_MAX, Resource};
use crate::serve::builtin::store::{StoreError, Stored};
use crate::serve::builtin::{blobs, json, media, mime, parts as messages, xml};

pub(super) async fn show(State(collection): Shared, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let Collection { resource, handset } = &*collection;
    // What no item could be told in is refused now; in what this one can be told only who may read it is told.
    let files = resource.content.as_ref();
    let files = files.map_or::<&[_], _>(&[], |content| content.media_types);
    Shown::of_item(resource, files, &parts.headers)?;
    let memories = Memories::of(handset, resource).await?;
    let path = parts.uri.path();
    let before = named(handset, resource, path).await?;
    let content = details_of(resource, path, before.as_ref());
    let act = act(&parts.extensions, resource, Action::Get, content);
    let permit = handset.gate.permit(act).await?;
    let answer = one(&permit, &collection, &memories, &parts).await;
    done(permit, answer)
}

async fn one(
    permit: &Permit,
    collection: &Collection,
    memories: &Memories,
    parts: &Parts,
) -> Result<Response, Problem> {
    let Collection { resource, handset } = collection;
    let (path, headers) = (parts.uri.path(), &parts.headers);
    let stored = stored(permit, handset, resource, memories, path).await?;
    let file = stored
        .content
        .as_ref()
        .filter(|_| resource.content.is_some());
    let file: Vec<&str> = file.iter().map(|blob| &*blob.media_type).collect();
    let shown = Shown::of_item(resource, &file, headers)?;
    if let Shown::Content = shown {
        let store = &handset.store;
        let content = media::content(store, resource, &stored, &parts.method, headers);
        return content.ok_or_else(|| no_such_item(resource));
    }
    if shown.media_type() == mime::MEDIA_TYPE {
        let (store, method) = (&handset.store, &parts.method);
        if let Some(message) = messages::message(store, resource, &stored, method, headers) {
            return Ok(message);
        }
    }
    let state = Tagged::of_item(resource, &stored);
    if state.is_known(shown.media_type(), headers) {
        return Ok(not_modified(shown, &state));
    }
    told(handset, resource, StatusCode::OK, shown, stored).await
}

/// The item that a path names, if it is in a memory that is there.
pub(super) async fn stored(
    _: &Permit,
    handset: &Handset,
    resource: &'static Resource,
    memories: &Memories,
    path: &str,
) -> Result<Stored, Problem> {
    match named(handset, resource, path).await? {
        Some(stored) if memories.is_there(&stored.store) => Ok(stored),
        Some(_) => Err(no_sim()),
        None => Err(no_such_item(resource)),
    }
}

/// An answer that tells an item which the caller may read.
pub(super) async fn told(
    handset: &Handset,
    resource: &'static Resource,
    status: StatusCode,
    shown: Shown,
    stored: Stored,
) -> Result<Response, Problem> {
    let state = Tagged::of_item(resource, &stored);
    let body = match shown {
        Shown::Xml => xml::item(resource, &stored),
        Shown::Form(form) => {
            let (stored, kept) = with_kept(handset, resource, stored).await?;
            let content = stored.content.as_ref().zip(kept.as_deref());
            let kept = content.map(|(blob, bytes)| (&*blob.media_type, bytes));
            (form.write)(resource, &stored, kept)
        }
        Shown::Json | Shown::Content => json::item(resource, &stored),
    };
    Ok(represented(status, shown, &state, body))
}

/// An item with what it was sent as.
pub(super) async fn with_kept(
    handset: &Handset,
    resource: &'static Resource,
    stored: Stored,
) -> Result<(Stored, Option<Vec<u8>>), StoreError> {
    let read = handset.store.run(move |db| {
        let kept = kept(db.connection(), resource, &stored)?;
        Ok((stored, kept))
    });
    read.await
}

/// What an item was sent as, in whichever form; `None`: it was not kept, or the item is about a file.
pub(super) fn kept(
    db: &Connection,
    resource: &Resource,
    stored: &Stored,
) -> Result<Option<Vec<u8>>, StoreError> {
    match &stored.content {
        Some(blob) if resource.content.is_none() => {
            blobs::whole(db, blob.id, KEPT_BYTES_MAX as u64)
        }
        _ => Ok(None),
    }
}
