//! R30, R33, R35: deleting an item, or a whole list where the description has that.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{HeaderMap, StatusCode};

use super::memory::{Memories, no_sim};
use super::query::{self, Query};
use super::{Collection, Shared, act, caller, details_of, done, named, no_such_item};
use crate::serve::builtin::conditional::State as Tagged;
use crate::serve::builtin::consent::{Detail, Permit};
use crate::serve::builtin::idempotency::{Keyed, Seen};
use crate::serve::builtin::problem::Problem;
use crate::serve::builtin::resource::Action;
use crate::serve::builtin::store::{StoreError, items};

pub(super) async fn delete(
    State(collection): Shared,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let Collection { resource, handset } = &*collection;
    let Some(keyed) = keyed(&collection, &parts).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let memories = Memories::of(handset, resource).await?;
    let path = parts.uri.path();
    let before = named(handset, resource, path).await?;
    let content = details_of(resource, path, before.as_ref());
    let act = act(&parts.extensions, resource, Action::Delete, content);
    let permit = handset.gate.permit(act).await?;
    let deleted = match query::id(path) {
        Some(id) => one(&permit, &collection, memories, id, parts.headers, keyed).await,
        None => Err(no_such_item(resource)),
    };
    done(permit, deleted)
}

async fn one(
    _: &Permit,
    collection: &Collection,
    memories: Memories,
    id: i64,
    headers: HeaderMap,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let Collection { resource, handset } = collection;
    let resource = *resource;
    let deleted = handset.store.run(move |db| {
        db.transaction(|db| {
            let Some(stored) = items::item(db, resource, id)? else {
                return Ok(Err(no_such_item(resource)));
            };
            if !memories.is_there(&stored.store) {
                return Ok(Err(no_sim()));
            }
            if let Err(changed) = Tagged::of_item(resource, &stored).is_expected(&headers) {
                return Ok(Err(changed));
            }
            items::delete(db, resource, id)?;
            keyed.remember(db, StatusCode::NO_CONTENT, None)?;
            Ok::<_, StoreError>(Ok(()))
        })
    });
    deleted.await??;
    handset.store.deleted();
    Ok(StatusCode::NO_CONTENT.into_response())
}

pub(super) async fn delete_all(
    State(collection): Shared,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    let Collection { resource, handset } = &*collection;
    let query = Query::of(&parts.uri)?;
    let Some(keyed) = keyed(&collection, &parts).await? else {
        return Ok(StatusCode::NO_CONTENT.into_response());
    };
    let memories = Memories::of(handset, resource).await?;
    let store = memories.listed(query.store)?;
    let content = store.map(|store| Detail {
        name: "store",
        text: store.to_owned(),
    });
    let content = content.into_iter().collect();
    let act = act(&parts.extensions, resource, Action::DeleteAll, content);
    let permit = handset.gate.permit(act).await?;
    let deleted = all(&permit, &collection, store, parts.headers, keyed).await;
    done(permit, deleted)
}

async fn all(
    _: &Permit,
    collection: &Collection,
    store: Option<&'static str>,
    headers: HeaderMap,
    keyed: Keyed,
) -> Result<Response, Problem> {
    let Collection { resource, handset } = collection;
    let resource = *resource;
    let deleted = handset.store.run(move |db| {
        db.transaction(|db| {
            let version = items::version(db, resource, store)?;
            if let Err(changed) = Tagged::of_list(resource, version).is_expected(&headers) {
                return Ok(Err(changed));
            }
            items::delete_all(db, resource, store)?;
            keyed.remember(db, StatusCode::NO_CONTENT, None)?;
            Ok::<_, StoreError>(Ok(()))
        })
    });
    deleted.await??;
    handset.store.deleted();
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// The key of this request; `None`: what it asks was done before.
async fn keyed(collection: &Collection, parts: &Parts) -> Result<Option<Keyed>, Problem> {
    let handset = &collection.handset;
    let claim = handset.keys.claim(&caller(&parts.extensions), parts)?;
    Ok(match claim.look(&handset.store, b"").await? {
        Seen::First(keyed) => Some(keyed),
        Seen::Again(_) => None,
    })
}
