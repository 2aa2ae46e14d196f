//! R29 for what is a file (R21 to R23): the bytes themselves come, and the owner is asked before they do.

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use rusqlite::Connection;

use super::add::{Adding, again};
use super::body::unread;
use super::memory::Memories;
use super::query::Query;
use super::{Collection, Shared, act, caller, details, done};
use crate::serve::builtin::blobs::{self, Blob};
use crate::serve::builtin::consent::{Act, Permit};
use crate::serve::builtin::idempotency::{Claim, Keyed, Outcome, Seen};
use crate::serve::builtin::media::upload::Upload;
use crate::serve::builtin::problem::Problem;
use crate::serve::builtin::representation::Shown;
use crate::serve::builtin::resource::{Action, Item};

pub(super) async fn upload(
    State(collection): Shared,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let Collection { resource, handset } = &*collection;
    let shown = Shown::of_item(resource, &[], &parts.headers)?;
    let query = Query::of(&parts.uri)?;
    let Some(upload) = Upload::of(resource, &parts.headers)? else {
        return Err(unread(resource));
    };
    let memories = Memories::of(handset, resource).await?;
    let memory = memories.to(query.store)?;
    let claim = handset.keys.claim(&caller(&parts.extensions), &parts)?;
    let content = details(resource, &upload.announced());
    let act = act(&parts.extensions, resource, Action::Add, content);
    let taking = Adding {
        collection: &collection,
        parts: &parts,
        shown,
        memories,
        memory,
    };
    if claim.is_used(&handset.store).await? {
        return taking.take_again(act, upload, body, claim).await;
    }
    // Asked before the bytes come, and refused if there can't be room for them: a film is not sent for nothing.
    taking.has_room(upload.bytes()).await?;
    let permit = handset.gate.permit(act).await?;
    let added = taking.take(&permit, upload, body, claim).await;
    done(permit, added)
}

impl Adding<'_> {
    async fn has_room(&self, announced: Option<u64>) -> Result<(), Problem> {
        let store = &self.collection.handset.store;
        let (used, used_max) = store.run(|db| blobs::room(db.connection())).await?;
        match used.saturating_add(announced.unwrap_or_default()) > used_max {
            true => Err(self.memories.full(self.memory)),
            false => Ok(()),
        }
    }

    /// What came before needs no other permit: it is held against what was done, and told again.
    async fn take_again(
        &self,
        act: Act,
        upload: Upload,
        body: Body,
        claim: Claim,
    ) -> Result<Response, Problem> {
        let Collection { handset, .. } = self.collection;
        let (item, blob, loose) = upload.take(&handset.store, body).await?;
        let keyed = match claim.look(&handset.store, &blob.digest).await? {
            Seen::Again(outcome) => return self.tell_again(outcome).await,
            // Forgotten while the bytes came.
            Seen::First(keyed) => keyed,
        };
        let permit = handset.gate.permit(act).await?;
        let added = self.join(&permit, item, blob, keyed).await;
        drop(loose);
        done(permit, added)
    }

    async fn take(
        &self,
        permit: &Permit,
        upload: Upload,
        body: Body,
        claim: Claim,
    ) -> Result<Response, Problem> {
        let Collection { handset, .. } = self.collection;
        // Until the item has the bytes, `loose` clears them away if this ends early.
        let (item, blob, loose) = upload.take(&handset.store, body).await?;
        let added = match claim.look(&handset.store, &blob.digest).await? {
            Seen::First(keyed) => self.join(permit, item, blob, keyed).await,
            Seen::Again(outcome) => self.tell_again(outcome).await,
        };
        drop(loose);
        added
    }

    async fn tell_again(&self, outcome: Outcome) -> Result<Response, Problem> {
        again(self.collection, self.parts, self.shown, outcome).await
    }

    async fn join(
        &self,
        permit: &Permit,
        item: Item,
        blob: Blob,
        keyed: Keyed,
    ) -> Result<Response, Problem> {
        let joined = move |db: &Connection| blobs::join(db, blob.id).map(|()| Some(blob.id));
        self.insert(permit, item, keyed, joined).await
    }
}
