//! R29: adding an item, from a body or from another memory (R31).

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::LOCATION;
use http::request::Parts;
use http::{HeaderValue, StatusCode};
use rusqlite::Connection;

use super::body;
use super::memory::Memories;
use super::query::{self, Query, bad};
use super::show::{self, told};
use super::{Collection, Shared, act, caller, details, details_of, done, failed, named};
use crate::serve::builtin::blobs;
use crate::serve::builtin::consent::{Detail, Permit};
use crate::serve::builtin::idempotency::{Keyed, Outcome, Seen};
use crate::serve::builtin::prefix;
use crate::serve::builtin::problem::{Kind, Problem};
use crate::serve::builtin::representation::{Sent, Shown};
use crate::serve::builtin::resource::{Action, Item, KEPT_BYTES_MAX, Memory, OnCard, Resource};
use crate::serve::builtin::store::{StoreError, items};

/// An item as it came: what it says, and what it was sent as where that is kept word for word.
struct Came {
    item: Item,
    kept: Option<(&'static str, Bytes)>,
}

/// What is settled before anything is read: an item whose adding could not be told must not be added.
pub(super) struct Adding<'a> {
    pub(super) collection: &'a Collection,
    pub(super) parts: &'a Parts,
    pub(super) shown: Shown,
    pub(super) memories: Memories,
    pub(super) memory: &'static Memory,
}

pub(super) async fn add(State(collection): Shared, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let Collection { resource, handset } = &*collection;
    let shown = Shown::of_item(resource, &[], &parts.headers)?;
    let query = Query::of(&parts.uri)?;
    let from = match query.from {
        Some(from) => Some(source(&parts, resource, from)?),
        None => None,
    };
    let sent = match from {
        Some(_) => None,
        None => Some(Sent::of(resource, &parts.headers).ok_or_else(|| body::unread(resource))?),
    };
    let claim = handset.keys.claim(&caller(&parts.extensions), &parts)?;
    let body = body::collect(body, body::bytes_max(resource, sent)).await?;
    let keyed = match claim.look(&handset.store, &body).await? {
        Seen::First(keyed) => keyed,
        Seen::Again(outcome) => return again(&collection, &parts, shown, outcome).await,
    };
    let memories = Memories::of(handset, resource).await?;
    let adding = Adding {
        memory: memories.to(query.store)?,
        collection: &collection,
        parts: &parts,
        shown,
        memories,
    };
    let came = match sent {
        Some(sent) => Came {
            item: body::read(resource, sent, &body)?,
            kept: match sent {
                Sent::Form(form) if form.kept => Some((form.media_type, body.clone())),
                _ => None,
            },
        },
        None => adding.copy(&from.unwrap_or_default()).await?,
    };
    adding.ask_and_add(came, keyed).await
}

impl Adding<'_> {
    /// Reads the item that is to be copied, which needs a permit of its own: the answer shows it.
    async fn copy(&self, path: &str) -> Result<Came, Problem> {
        let Collection { resource, handset } = self.collection;
        let before = named(handset, resource, path).await?;
        let content = details_of(resource, path, before.as_ref());
        let act = act(&self.parts.extensions, resource, Action::Get, content);
        let permit = handset.gate.permit(act).await?;
        let copied = async {
            let stored = show::stored(&permit, handset, resource, &self.memories, path).await?;
            let blob = stored.content.as_ref().map(|blob| blob.media_type.clone());
            let form = resource
                .forms
                .iter()
                .find(|f| Some(f.media_type) == blob.as_deref());
            let (stored, kept) = show::with_kept(handset, resource, stored).await?;
            if let (Some(_), None) = (form, &kept) {
                let detail = format!(
                    "This {} is too long to be copied: it has more than {KEPT_BYTES_MAX} bytes.",
                    resource.item
                );
                return Err(Problem::new(Kind::TooLarge, detail));
            }
            let kept = form.zip(kept);
            Ok(Came {
                item: stored.item,
                kept: kept.map(|(form, bytes)| (form.media_type, bytes.into())),
            })
        };
        let copied: Result<Came, Problem> = copied.await;
        permit.done(&match &copied {
            Ok(_) => "200".to_owned(),
            Err(problem) => failed(problem),
        });
        copied
    }

    async fn ask_and_add(self, came: Came, keyed: Keyed) -> Result<Response, Problem> {
        let Collection { resource, handset } = self.collection;
        let kept = came.kept.as_ref().map(|(kind, bytes)| (*kind, &bytes[..]));
        self.memories.fits(self.memory, &came.item, kept)?;
        let mut content = details(resource, &came.item);
        if self.memory.sim.is_some() {
            content.push(Detail {
                name: "store",
                text: self.memory.name.to_owned(),
            });
        }
        let act = act(&self.parts.extensions, resource, Action::Add, content);
        let permit = handset.gate.permit(act).await?;
        let added = self.add(&permit, came, keyed).await;
        done(permit, added)
    }

    async fn add(&self, permit: &Permit, came: Came, keyed: Keyed) -> Result<Response, Problem> {
        let memory = self.memory;
        let Came { item, kept } = came;
        let kept = kept.filter(|_| {
            memory
                .sim
                .is_none_or(|sim| matches!(sim.kept, OnCard::Keeps))
        });
        let keep = move |db: &Connection| match &kept {
            Some((media_type, bytes)) => Ok(Some(blobs::keep(db, media_type, bytes)?.id)),
            None => Ok(None),
        };
        self.insert(permit, item, keyed, keep).await
    }

    /// Puts the item into its memory and tells it; `content` gives it its bytes in the same transaction.
    pub(super) async fn insert(
        &self,
        _: &Permit,
        item: Item,
        keyed: Keyed,
        content: impl FnOnce(&Connection) -> Result<Option<i64>, StoreError> + Send + 'static,
    ) -> Result<Response, Problem> {
        let Collection { resource, handset } = self.collection;
        let (resource, memory) = (*resource, self.memory);
        let items_max = self.memories.items_max(memory);
        let added = handset.store.run(move |db| {
            db.transaction(|db| {
                let blob = content(db)?;
                let stored = items::add(db, resource, memory, items_max, item, blob)?;
                let location = format!("/{}/{}", resource.path(), stored.id);
                keyed.remember(db, StatusCode::CREATED, Some(&location))?;
                Ok(stored)
            })
        });
        let stored = added.await.map_err(|error| match error {
            StoreError::Full => self.memories.full(memory),
            error => error.into(),
        })?;
        let location = format!("/{}/{}", resource.path(), stored.id);
        let mut response = told(handset, resource, StatusCode::CREATED, self.shown, stored).await?;
        locate(&mut response, self.parts, &location);
        Ok(response)
    }
}

/// The path of an item of this resource, of its URL as a caller sees it.
fn source(parts: &Parts, resource: &Resource, from: &str) -> Result<String, Problem> {
    let path = from.replace("%2F", "/").replace("%2f", "/");
    let path = path.strip_prefix(prefix(&parts.headers)).unwrap_or(&path);
    let id = path.strip_prefix(&format!("/{}/", resource.path()));
    match id.is_some_and(|id| !id.contains('/') && query::id(id).is_some()) {
        true => Ok(path.to_owned()),
        false => Err(bad(format!("from: must be like /{}/7.", resource.path()))),
    }
}

/// Tells anew what became of a request that was done before. The item may be gone by now: then its URL is all there is.
pub(super) async fn again(
    collection: &Collection,
    parts: &Parts,
    shown: Shown,
    outcome: Outcome,
) -> Result<Response, Problem> {
    let Collection { resource, handset } = collection;
    let location = outcome.location.unwrap_or_default();
    let stored = named(handset, resource, &location).await?;
    let mut response = match stored {
        Some(stored) => told(handset, resource, outcome.status, shown, stored).await?,
        None => outcome.status.into_response(),
    };
    locate(&mut response, parts, &location);
    Ok(response)
}

pub(super) fn locate(response: &mut Response, parts: &Parts, location: &str) {
    let location = format!("{}{location}", prefix(&parts.headers));
    if let Ok(location) = HeaderValue::try_from(location) {
        response.headers_mut().insert(LOCATION, location);
    }
}
