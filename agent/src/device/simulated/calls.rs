//! Calls of the simulated handset: one at a time, each through its states to its end.

use std::time::Duration;

use tokio::time::Instant;

use super::agenda::Due;
use super::network::{self, CallFate};
use super::{Diverted, Incoming, State};
use crate::device::{
    Call, CallEnd, CallId, CallState, DeviceError, Diversion, DivertReason, Event, Number,
};

/// The call that there is.
#[derive(Debug)]
pub(super) struct Going {
    pub(super) call: Call,
    /// When somebody took it.
    since: Option<Instant>,
}

/// Calls, and where incoming ones are diverted to.
#[derive(Debug, Default)]
pub(super) struct Calls {
    going: Option<Going>,
    /// Calls so far, which name them and are the turn of chance.
    count: u64,
    diversions: Vec<(DivertReason, Diversion)>,
}

impl Calls {
    /// The calls that there are now.
    pub(super) fn list(&self) -> Vec<Call> {
        let going = self.going.as_ref();
        going.map(|going| going.call.clone()).into_iter().collect()
    }

    /// Where calls go for this reason.
    pub(super) fn diversion(&self, reason: DivertReason) -> Option<&Diversion> {
        let mut kept = self.diversions.iter();
        kept.find(|(kept, _)| *kept == reason).map(|(_, to)| to)
    }

    /// Diverts calls, or cancels that.
    pub(super) fn divert(&mut self, reason: DivertReason, to: Option<Diversion>) {
        self.diversions.retain(|(kept, _)| *kept != reason);
        self.diversions.extend(to.map(|to| (reason, to)));
    }

    fn diverted(&self, reason: DivertReason) -> Option<Incoming> {
        let to = self.diversion(reason)?.to.clone();
        Some(Incoming::Diverted(Diverted { reason, to }))
    }

    fn begin(&mut self, incoming: bool, number: Option<Number>, state: CallState) -> CallId {
        self.count += 1;
        let id = CallId(self.count);
        self.going = Some(Going {
            call: Call {
                id,
                incoming,
                number,
                state,
            },
            since: None,
        });
        id
    }
}

impl State {
    /// The owner, or the API, dials.
    pub(super) fn dial(&mut self, number: &Number, now: Instant) -> Result<CallId, DeviceError> {
        self.needs_network()?;
        if self.calls.going.is_some() {
            return Err(DeviceError::Busy("a call is going on".to_owned()));
        }
        if self.agenda.is_full() {
            return Err(DeviceError::Busy("too much is going on".to_owned()));
        }
        let fate = network::call(self.config.seed, number, self.calls.count);
        if fate == CallFate::Refused {
            let reason = "calls to this number are barred".to_owned();
            return Err(DeviceError::Refused(reason));
        }
        let id = self
            .calls
            .begin(false, Some(number.clone()), CallState::Dialing);
        let set_up = now + self.config.dial;
        match fate {
            CallFate::Answered(hundredths) => {
                let answered = set_up + self.config.ring;
                self.agenda.add(set_up, Due::Rings(id));
                self.agenda.add(answered, Due::Answered(id));
                let talk = self.config.talk.as_nanos() * u128::from(hundredths) / 100;
                let talk = Duration::from_nanos(u64::try_from(talk).unwrap_or(u64::MAX));
                self.agenda.add(answered + talk, Due::HungUp(id));
            }
            CallFate::Unanswered => {
                self.agenda.add(set_up, Due::Rings(id));
                let gives_up = set_up + self.config.no_answer;
                self.agenda.add(gives_up, Due::Unanswered(id));
            }
            CallFate::Engaged => self.agenda.add(set_up, Due::Engaged(id)),
            CallFate::Unreachable | CallFate::Refused => {
                self.agenda.add(set_up, Due::Unreachable(id));
            }
        }
        self.tell_call();
        Ok(id)
    }

    /// Somebody calls this handset.
    pub(super) fn call_comes(&mut self, from: Option<Number>, now: Instant) -> Incoming {
        if let Some(diverted) = self.calls.diverted(DivertReason::Unconditional) {
            return diverted;
        }
        if self.needs_network().is_err() || self.agenda.is_full() {
            let diverted = self.calls.diverted(DivertReason::Unreachable);
            return diverted.unwrap_or(Incoming::Unreachable);
        }
        if self.calls.going.is_some() {
            let diverted = self.calls.diverted(DivertReason::Busy);
            return diverted.unwrap_or(Incoming::Busy);
        }
        let id = self.calls.begin(true, from, CallState::Ringing);
        // When it has rung for long enough, the network takes it elsewhere, or its caller gives up.
        let diversion = self.calls.diversion(DivertReason::NoAnswer);
        let after = diversion.and_then(|to| to.after_s);
        let rings = after.map_or(self.config.no_answer, |s| Duration::from_secs(s.into()));
        self.agenda.add(now + rings, Due::Unanswered(id));
        self.tell_call();
        Incoming::Rings(id)
    }

    /// The owner takes the call that rings.
    pub(super) fn answer(&mut self, id: CallId, now: Instant) -> bool {
        let ringing = |going: &Going| {
            going.call.id == id && going.call.incoming && going.call.state == CallState::Ringing
        };
        if !self.calls.going.as_ref().is_some_and(ringing) {
            return false;
        }
        self.goes_on(id, CallState::Active, now);
        self.agenda.add(now + self.config.talk, Due::HungUp(id));
        true
    }

    /// The owner, or the API, ends a call.
    pub(super) fn hang_up(&mut self, id: CallId, now: Instant) {
        let Some(going) = self.calls.going.as_ref().filter(|g| g.call.id == id) else {
            return;
        };
        // Who declines a call that rings tells the caller that they are engaged.
        let end = match going.call.incoming {
            true => CallEnd::Busy,
            false => CallEnd::NoAnswer,
        };
        self.ends(id, end, now);
    }

    /// The radio network is gone, and the call with it.
    pub(super) fn call_breaks(&mut self, now: Instant) {
        if let Some(going) = &self.calls.going {
            self.ends(going.call.id, CallEnd::Failed, now);
        }
    }

    /// What was decided when the call began happens now, if it is still going on.
    pub(super) fn call_due(&mut self, due: &Due, now: Instant) {
        match *due {
            Due::Rings(id) => self.goes_on(id, CallState::Ringing, now),
            Due::Answered(id) => self.goes_on(id, CallState::Active, now),
            Due::Engaged(id) => self.ends(id, CallEnd::Busy, now),
            Due::Unreachable(id) => self.ends(id, CallEnd::Failed, now),
            Due::HungUp(id) => self.ends(id, CallEnd::NoAnswer, now),
            Due::Unanswered(id) => {
                // A call that was taken meanwhile ends when somebody hangs up.
                let waits =
                    |going: &Going| going.call.id == id && going.call.state == CallState::Ringing;
                if self.calls.going.as_ref().is_some_and(waits) {
                    self.ends(id, CallEnd::NoAnswer, now);
                }
            }
            Due::Report(_) => {}
        }
    }

    fn goes_on(&mut self, id: CallId, state: CallState, now: Instant) {
        let going = self.calls.going.as_mut().filter(|g| g.call.id == id);
        if let Some(going) = going {
            going.call.state = state;
            if state == CallState::Active {
                going.since = Some(now);
            }
            self.tell_call();
        }
    }

    /// Ends a call: one that was taken as answered, another one as `unless_answered`.
    fn ends(&mut self, id: CallId, unless_answered: CallEnd, now: Instant) {
        let Some(mut going) = self.calls.going.take_if(|going| going.call.id == id) else {
            return;
        };
        let end = going.since.map_or(unless_answered, |since| {
            CallEnd::Answered(now.saturating_duration_since(since))
        });
        going.call.state = CallState::Ended(end);
        self.tell(Event::Call(going.call));
    }

    fn tell_call(&self) {
        if let Some(going) = &self.calls.going {
            self.tell(Event::Call(going.call.clone()));
        }
    }
}
