//! Requests that wait for their handset to open a data channel: the meeting point of workers and shards (G4).
//!
//! A worker opens an entry before it signals; whoever accepts a data channel takes the entry by its id, once.
//! A shard never remembers requests: when a session becomes ready it signals all that [`Pending::of`] lists for the
//! handset, which serves the first WAITING, a replaced session and a handset that comes back, all by one rule.

use std::fmt;
use std::sync::Arc;

use dashmap::DashMap;
use everline_protocol::{Msisdn, RequestId};
use tokio::sync::oneshot;

/// How a wait ended.
#[derive(Debug)]
pub enum Arrival<C> {
    /// The handset opened this data channel.
    Channel(C),
    /// The handset left on purpose (BYE), or was revoked: nobody will come.
    HandsetLeft,
}

/// The table. `C` is a bound data channel; clones share it.
#[derive(Debug)]
pub struct Pending<C>(Arc<Tables<C>>);

#[derive(Debug)]
struct Tables<C> {
    by_id: DashMap<RequestId, Entry<C>>,
    by_handset: DashMap<Msisdn, Vec<RequestId>>,
}

struct Entry<C> {
    msisdn: Msisdn,
    waiter: oneshot::Sender<Arrival<C>>,
}

impl<C> fmt::Debug for Entry<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Entry")
            .field("msisdn", &self.msisdn)
            .finish_non_exhaustive()
    }
}

impl<C> Default for Pending<C> {
    fn default() -> Self {
        Self(Arc::new(Tables {
            by_id: DashMap::new(),
            by_handset: DashMap::new(),
        }))
    }
}

impl<C> Clone for Pending<C> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<C> Pending<C> {
    /// Opens an entry under an id that was never used before. How many there may be is for `limits` to say.
    pub fn open(&self, id: RequestId, msisdn: Msisdn) -> Waiting<C> {
        let (waiter, arrival) = oneshot::channel();
        self.0.by_id.insert(id, Entry { msisdn, waiter });
        self.0.by_handset.entry(msisdn).or_default().push(id);
        Waiting {
            id,
            msisdn,
            arrival,
            pending: self.clone(),
        }
    }

    /// Takes the entry, once: `None` for an id that is unknown, already used or given up.
    pub fn take(&self, id: RequestId) -> Option<Claim<C>> {
        let entry = self.remove(id)?;
        Some(Claim {
            msisdn: entry.msisdn,
            waiter: entry.waiter,
        })
    }

    /// The requests of this handset that wait now, oldest first.
    pub fn of(&self, msisdn: Msisdn) -> Vec<RequestId> {
        self.0
            .by_handset
            .get(&msisdn)
            .map(|ids| ids.clone())
            .unwrap_or_default()
    }

    /// Ends every wait of this handset: it left on purpose. Tells how many.
    pub fn handset_left(&self, msisdn: Msisdn) -> usize {
        let mut ended = 0;
        for id in self.of(msisdn) {
            if let Some(entry) = self.remove(id) {
                // A receiver that is gone was given up at this very moment: it needs no answer.
                let _ = entry.waiter.send(Arrival::HandsetLeft);
                ended += 1;
            }
        }
        ended
    }

    /// Requests that wait now, over all handsets.
    pub fn waiting(&self) -> usize {
        self.0.by_id.len()
    }

    fn remove(&self, id: RequestId) -> Option<Entry<C>> {
        let (_, entry) = self.0.by_id.remove(&id)?;
        self.0.by_handset.remove_if_mut(&entry.msisdn, |_, ids| {
            ids.retain(|other| *other != id);
            ids.is_empty()
        });
        Some(entry)
    }
}

/// The worker's end of an entry; dropping it gives the request up, and its id is worth nothing from then on.
#[derive(Debug)]
pub struct Waiting<C> {
    id: RequestId,
    msisdn: Msisdn,
    arrival: oneshot::Receiver<Arrival<C>>,
    pending: Pending<C>,
}

impl<C> Waiting<C> {
    /// The id to signal.
    pub fn id(&self) -> RequestId {
        self.id
    }

    /// Whose request it is.
    pub fn msisdn(&self) -> Msisdn {
        self.msisdn
    }

    /// Waits for the data channel; cancel-safe, bounded by the caller. `HandsetLeft` also when the channel's
    /// acceptor gave up between taking the entry and handing the channel over.
    pub async fn arrival(&mut self) -> Arrival<C> {
        (&mut self.arrival).await.unwrap_or(Arrival::HandsetLeft)
    }
}

impl<C> Drop for Waiting<C> {
    fn drop(&mut self) {
        self.pending.remove(self.id);
    }
}

/// A taken entry: the right to serve one request.
pub struct Claim<C> {
    msisdn: Msisdn,
    waiter: oneshot::Sender<Arrival<C>>,
}

impl<C> fmt::Debug for Claim<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Claim")
            .field("msisdn", &self.msisdn)
            .finish_non_exhaustive()
    }
}

impl<C> Claim<C> {
    /// Whose request it is.
    pub fn msisdn(&self) -> Msisdn {
        self.msisdn
    }

    /// Hands the data channel to the worker that waits; gives it back if that worker has just given up.
    pub fn hand_over(self, channel: C) -> Result<(), C> {
        self.waiter
            .send(Arrival::Channel(channel))
            .map_err(|refused| match refused {
                Arrival::Channel(channel) => channel,
                Arrival::HandsetLeft => unreachable!("only a channel was sent"),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: RequestId = RequestId(7);

    fn handset() -> Msisdn {
        Msisdn::from_u64(34_600_000_001).expect("a valid number")
    }

    #[tokio::test]
    async fn an_id_is_good_for_one_data_channel() {
        let pending = Pending::default();
        let mut waiting = pending.open(ID, handset());
        assert_eq!(pending.of(handset()), [ID]);
        let claim = pending.take(ID).expect("it waits");
        assert!(pending.take(ID).is_none(), "an id has one use");
        assert!(
            pending.of(handset()).is_empty(),
            "a bound request is not signalled again"
        );
        claim.hand_over("channel").expect("the worker waits");
        assert!(matches!(
            waiting.arrival().await,
            Arrival::Channel("channel")
        ));
    }

    #[test]
    fn a_request_given_up_leaves_nothing_behind() {
        let pending = Pending::<()>::default();
        drop(pending.open(ID, handset()));
        assert!(pending.take(ID).is_none());
        assert_eq!((pending.waiting(), pending.0.by_handset.len()), (0, 0));
    }

    #[test]
    fn a_worker_that_gave_up_gives_the_channel_back() {
        let pending = Pending::default();
        let waiting = pending.open(ID, handset());
        let claim = pending.take(ID).expect("it waits");
        drop(waiting);
        assert_eq!(claim.hand_over("channel"), Err("channel"));
    }

    #[tokio::test]
    async fn a_handset_that_leaves_ends_all_its_waits() {
        let pending = Pending::<()>::default();
        let mut first = pending.open(ID, handset());
        let mut second = pending.open(RequestId(8), handset());
        assert_eq!(pending.handset_left(handset()), 2);
        assert!(matches!(first.arrival().await, Arrival::HandsetLeft));
        assert!(matches!(second.arrival().await, Arrival::HandsetLeft));
    }
}
