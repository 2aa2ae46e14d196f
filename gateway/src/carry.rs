//! The life of one admitted request: every branch of it, from the lookup to the answer (PROTOCOL 3.3, 5.3, 5.4).
//!
//! `ingress` calls [`Carrier::carry`] once a request; the stages below are straight lines. It remembers nothing between
//! two requests but the idle data channels, and holds nothing that a dropped call would leave behind.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use everline_protocol::RequestId;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::channel::Channel;
use crate::directory::Place;
use crate::idle_channels::IdleChannels;
use crate::ids::Ids;
use crate::meters::{Counted, Meters};
use crate::pending::{Arrival, Waiting};
use crate::problem::Problem;
use crate::relay::{self, Answer, Failure, Interim, Outgoing, Terms};
use crate::request::RequestContext;
use crate::shard::mailbox::Letter;
use crate::shared::{Phase, Shared};
use crate::stream::{Handover, Stream};

/// What a caller is told to wait for a handset that left just now, and for one of which nothing is known.
const RETRY_SOON: Duration = Duration::from_secs(5);
const RETRY_LATER: Duration = Duration::from_secs(60);

/// What one worker carries requests with.
pub struct Carrier {
    /// The tables that all threads share.
    pub shared: Arc<Shared>,
    /// This worker's counters.
    pub meters: Rc<Meters>,
    /// This worker's random numbers.
    pub ids: Ids,
    idle: IdleChannels,
}

impl Carrier {
    /// With no idle channels yet.
    pub fn new(shared: Arc<Shared>, meters: Rc<Meters>) -> Self {
        let idle = IdleChannels::new(shared.config.data.idle_max);
        Self {
            shared,
            meters,
            ids: Ids::default(),
            idle,
        }
    }

    /// Carries the request to its handset and comes back with the response's head. `id` was never used before.
    pub async fn carry(
        &self,
        id: RequestId,
        context: &RequestContext,
        mut outgoing: Outgoing,
        interim: Interim<'_>,
    ) -> Result<Answer, Problem> {
        if self.shared.phase.now() >= Phase::Finishing {
            return Err(Problem::Draining);
        }
        // An idle channel of the very session that is there now saves the wake. It may be closing: then the request
        // is as it was, and the handset is woken after all.
        if let Some((place, channel)) = self.idle_channel(context, &outgoing).await {
            self.meters.channels.reused.increment(1);
            match self.exchange(channel, outgoing, place, true, interim).await {
                Ok(answer) => return Ok(answer),
                Err(Failure::Problem(problem)) => return Err(problem),
                Err(Failure::Again(again)) => outgoing = *again,
            }
        }
        let signalled = Instant::now();
        let (place, handover) = self.wake(id, context).await?;
        let opened = Instant::now();
        self.meters.wake.record((opened - signalled).as_secs_f64());
        // It keeps the session alive (PROTOCOL 3.2), which is soon enough known when a timer of the session's shard is
        // due. A shard that is too far behind to hear of it will ask the handset, which costs a KEEPALIVE and no request.
        let at = opened.into_std();
        let _ = self
            .shared
            .shards
            .leave(place, Letter::DataChannelOpened { place, at });
        let channel = self.open(handover).await?;
        match self
            .exchange(channel, outgoing, place, false, interim)
            .await
        {
            Ok(answer) => Ok(answer),
            Err(Failure::Problem(problem)) => Err(problem),
            // It is told only of channels that have served before.
            Err(Failure::Again(_)) => Err(Problem::HandsetBroke("it closed the data channel")),
        }
    }

    async fn idle_channel(
        &self,
        context: &RequestContext,
        outgoing: &Outgoing,
    ) -> Option<(Place, Channel)> {
        if !outgoing.may_lose_a_race() {
            return None;
        }
        let place = self.shared.directory.lookup(context.handset)?;
        Some((place, self.idle.take(place).await?))
    }

    async fn exchange(
        &self,
        channel: Channel,
        outgoing: Outgoing,
        place: Place,
        reused: bool,
        interim: Interim<'_>,
    ) -> Result<Answer, Failure> {
        let limits = &self.shared.config.request;
        let terms = Terms {
            response_timeout: limits.response_timeout,
            response_idle_timeout: limits.response_idle_timeout,
            place,
            idle: &self.idle,
            reused,
        };
        let bound = Instant::now();
        let answer = relay::exchange(channel, outgoing, terms, interim).await;
        self.meters.response.record(bound.elapsed().as_secs_f64());
        answer
    }

    async fn open(&self, handover: Handover) -> Result<Channel, Problem> {
        let stream = Stream::from_handover(handover, self.shared.config.ingress.write_timeout);
        // What the handset's socket refuses here, it would refuse at the first byte.
        let broke = |_hyper| Problem::HandsetBroke("its data channel ended at once");
        Channel::open(stream).await.map_err(broke)
    }

    /// Has the handset open a data channel: signals it, once more at half of the wake timeout, and waits. A handset
    /// that is away but left recently is waited for, for as long as the reconnect hold.
    async fn wake(
        &self,
        id: RequestId,
        context: &RequestContext,
    ) -> Result<(Place, Handover), Problem> {
        let limits = &self.shared.config.request;
        // Opened before the lookup: a session that becomes ready after it finds the entry and is signalled for it.
        let mut waiting = self.shared.pending.open(id, context.handset);
        let _counted = Counted::one(&self.meters.waiting);
        let place = match self.shared.directory.lookup(context.handset) {
            Some(place) => self.signal(place, id)?,
            None => match self.hold(&mut waiting, context).await? {
                Held::Arrived(place, handover) => return Ok((place, handover)),
                Held::Back(place) => place,
            },
        };
        let begun = Instant::now();
        if let Some(arrived) = self
            .arrival(&mut waiting, place, begun + limits.wake_timeout / 2)
            .await?
        {
            return Ok(arrived);
        }
        let place = match self.shared.directory.lookup(context.handset) {
            // A handset whose session was lost may have a new one by now.
            Some(place) => {
                self.meters.repeated.increment(1);
                self.signal(place, id)?
            }
            // It may still come back in time: a session that becomes ready signals all that wait for it.
            None => place,
        };
        if let Some(arrived) = self
            .arrival(&mut waiting, place, begun + limits.wake_timeout)
            .await?
        {
            return Ok(arrived);
        }
        match self.shared.directory.lookup(context.handset) {
            Some(_) => Err(Problem::HandsetSilent),
            None => Err(self.offline(context)),
        }
    }

    /// Waits for a handset that left recently.
    async fn hold(
        &self,
        waiting: &mut Waiting<Handover>,
        context: &RequestContext,
    ) -> Result<Held, Problem> {
        let limits = &self.shared.config.request;
        let hold = limits.reconnect_hold;
        if hold.is_zero()
            || !self
                .shared
                .store
                .left_recently(context.handset, limits.recent)
        {
            return Err(self.offline(context));
        }
        let until = Instant::now() + hold;
        match timeout_at(until, waiting.arrival()).await {
            Ok(Arrival::Channel(handover)) => match self.shared.directory.lookup(context.handset) {
                Some(place) => Ok(Held::Arrived(place, handover)),
                None => Err(self.offline(context)),
            },
            Ok(Arrival::HandsetLeft) => Err(self.offline(context)),
            // It may have come back just now, and its session have signalled us: it gets the time that a wake takes.
            Err(_elapsed) => self
                .shared
                .directory
                .lookup(context.handset)
                .map(Held::Back)
                .ok_or_else(|| self.offline(context)),
        }
    }

    /// Waits for the data channel; `None` when the time is over.
    async fn arrival(
        &self,
        waiting: &mut Waiting<Handover>,
        place: Place,
        until: Instant,
    ) -> Result<Option<(Place, Handover)>, Problem> {
        tokio::select! {
            biased;
            arrival = waiting.arrival() => match arrival {
                // The session may have been replaced since it was signalled: the channel is the present one's.
                Arrival::Channel(handover) => {
                    Ok(Some((self.shared.directory.lookup(waiting.msisdn()).unwrap_or(place), handover)))
                }
                Arrival::HandsetLeft => Err(Problem::HandsetOffline { retry_after: RETRY_LATER }),
            },
            () = sleep_until(until) => Ok(None),
        }
    }

    fn signal(&self, place: Place, id: RequestId) -> Result<Place, Problem> {
        match self.shared.shards.post(place, Letter::Signal { place, id }) {
            Ok(()) => Ok(place),
            Err(_full) => {
                self.meters.mailbox_full.increment(1);
                Err(Problem::Overloaded)
            }
        }
    }

    fn offline(&self, context: &RequestContext) -> Problem {
        let recently = self
            .shared
            .store
            .left_recently(context.handset, self.shared.config.request.recent);
        Problem::HandsetOffline {
            retry_after: if recently { RETRY_SOON } else { RETRY_LATER },
        }
    }
}

/// How a hold ended well.
enum Held {
    /// In a data channel.
    Arrived(Place, Handover),
    /// In a session that has been there for less than a wake takes.
    Back(Place),
}
