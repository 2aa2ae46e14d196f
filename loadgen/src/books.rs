//! The books: what a fleet and the callers counted, so that every handset and request is accounted for once.
//!
//! Each party keeps its own and hands out copies. [`FleetBooks::imbalance`] and [`CallerBooks::imbalance`] say
//! whether the sums come out; a report whose books do not balance is a defect of this program.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::AddAssign;

use everline_uring::Errno;
use hdrhistogram::Histogram;

/// Kinds beyond this are counted as `other`: some kinds are named by what came from the network.
const KINDS_MAX: usize = 200;

/// How often each kind of thing happened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<Cow<'static, str>, u64>);

impl Tally {
    /// One more of `kind`.
    pub fn count(&mut self, kind: impl Into<Cow<'static, str>>) {
        self.add(kind.into(), 1);
    }

    /// How many of all kinds.
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// How many of one kind.
    pub fn of(&self, kind: &str) -> u64 {
        self.0.get(kind).copied().unwrap_or(0)
    }

    /// Every kind that happened, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, u64)> {
        self.0.iter().map(|(kind, times)| (kind.as_ref(), *times))
    }

    fn add(&mut self, kind: Cow<'static, str>, times: u64) {
        let known = self.0.len() < KINDS_MAX || self.0.contains_key(&kind);
        *self
            .0
            .entry(if known { kind } else { "other".into() })
            .or_default() += times;
    }
}

impl AddAssign<&Self> for Tally {
    fn add_assign(&mut self, other: &Self) {
        for (kind, times) in &other.0 {
            self.add(kind.clone(), *times);
        }
    }
}

/// What a fleet counted. Sums over fleets are the run's.
#[derive(Debug, Clone, Default)]
pub struct FleetBooks {
    /// Handsets that have registered, or whose first attempt has failed; of those that were refused and told when to
    /// come back, only those that have registered.
    pub settled: u64,
    /// When the last of these ended, microseconds since the run began.
    pub settled_us: u64,
    /// Signaling connections begun.
    pub attempts: u64,
    /// Of these, now: neither registered nor ended.
    pub connecting: u64,
    /// CONNREGISTERED received.
    pub registered: u64,
    /// Registrations that stand now.
    pub open: u64,
    /// Registrations ended by us at the end of the run.
    pub left: u64,
    /// Registrations ended by us in a `storm` or in `churn`, because the scenario says so: no losses.
    pub dropped: Tally,
    /// Handsets that such an end keeps away now: dropped, and not registered since.
    pub away: Away,
    /// Storms of which the last handset has been dropped, or that the next one cut short; each fleet counts its own part
    /// as one.
    pub storms: u64,
    /// When the last handset that a storm had dropped was registered again, microseconds since the run began.
    pub back_us: u64,
    /// Registrations ended because the handset moved to another connection at the gateway's request.
    pub moved: u64,
    /// Registrations that ended otherwise, by cause.
    pub lost: Tally,
    /// Attempts that ended before they were registered, by cause.
    pub not_registered: Tally,
    /// Attempts that we gave up because the run ended.
    pub abandoned: u64,
    /// KEEPALIVE received and answered.
    pub keep_alives: u64,
    /// The gateway asked handsets to move.
    pub reconnects: u64,
    /// What became of REQUESTPENDING.
    pub channels: ChannelBooks,
}

/// Handsets that are away on purpose now. They come back, so these are gauges, not sums.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Away {
    /// Because of a storm.
    pub storm: u64,
    /// Because of churn.
    pub churn: u64,
}

/// What a fleet counted about data channels.
#[derive(Debug, Clone, Default)]
pub struct ChannelBooks {
    /// REQUESTPENDING received.
    pub wakes: u64,
    /// Of these, now: no data channel begun yet.
    pub queued: u64,
    /// Never begun, by cause.
    pub not_opened: Tally,
    /// Data channels begun.
    pub opened: u64,
    /// Of these, now open or being opened.
    pub open: u64,
    /// Ended in order.
    pub ended: u64,
    /// Ended otherwise, by cause.
    pub failed: Tally,
    /// Requests answered in full.
    pub served: u64,
    /// Bytes of request bodies read and thrown away.
    pub body_bytes_in: u64,
    /// Bytes of response bodies sent.
    pub body_bytes_out: u64,
}

impl FleetBooks {
    /// Attempts that the gateway refused, whatever the code.
    pub fn refused(&self) -> u64 {
        self.not_registered
            .iter()
            .filter(|(cause, _)| cause.starts_with("refused:"))
            .map(|(_, times)| times)
            .sum()
    }

    /// Says which sum does not come out, if one does not.
    pub fn imbalance(&self) -> Option<String> {
        let channels = &self.channels;
        let ended = self.registered + self.not_registered.total() + self.abandoned;
        [
            ("attempts", self.attempts, self.connecting + ended),
            (
                "registered",
                self.registered,
                self.open + self.left + self.dropped.total() + self.moved + self.lost.total(),
            ),
            (
                "wakes",
                channels.wakes,
                channels.queued + channels.not_opened.total() + channels.opened,
            ),
            (
                "data channels",
                channels.opened,
                channels.open + channels.ended + channels.failed.total(),
            ),
        ]
        .iter()
        .find(|(_, whole, parts)| whole != parts)
        .map(|(what, whole, parts)| format!("{what}: {whole} in all, but {parts} accounted for"))
    }
}

impl AddAssign<&Self> for FleetBooks {
    fn add_assign(&mut self, other: &Self) {
        self.settled += other.settled;
        self.settled_us = self.settled_us.max(other.settled_us);
        self.attempts += other.attempts;
        self.connecting += other.connecting;
        self.registered += other.registered;
        self.open += other.open;
        self.left += other.left;
        self.dropped += &other.dropped;
        self.away.storm += other.away.storm;
        self.away.churn += other.away.churn;
        self.storms += other.storms;
        self.back_us = self.back_us.max(other.back_us);
        self.moved += other.moved;
        self.lost += &other.lost;
        self.not_registered += &other.not_registered;
        self.abandoned += other.abandoned;
        self.keep_alives += other.keep_alives;
        self.reconnects += other.reconnects;
        let (ours, theirs) = (&mut self.channels, &other.channels);
        ours.wakes += theirs.wakes;
        ours.queued += theirs.queued;
        ours.not_opened += &theirs.not_opened;
        ours.opened += theirs.opened;
        ours.open += theirs.open;
        ours.ended += theirs.ended;
        ours.failed += &theirs.failed;
        ours.served += theirs.served;
        ours.body_bytes_in += theirs.body_bytes_in;
        ours.body_bytes_out += theirs.body_bytes_out;
    }
}

/// What the callers counted.
#[derive(Debug, Clone)]
pub struct CallerBooks {
    /// Requests that were due.
    pub due: u64,
    /// Due, but never sent, by cause.
    pub not_sent: Tally,
    /// Requests sent.
    pub sent: u64,
    /// Of these, now: no outcome yet.
    pub in_flight: u64,
    /// Answered, by status code. A 200 whose body is not the one that was asked for is not here but under `failed`.
    pub answered: Tally,
    /// What the answers beyond 2xx called themselves (`urn:everline:…`), by slug.
    pub problems: Tally,
    /// Sent, but not answered in full and in truth, by cause.
    pub failed: Tally,
    /// Connections opened to the ingress.
    pub connections: u64,
    /// Bytes of response bodies.
    pub body_bytes_in: u64,
    /// From when it was due to the last byte of a good answer (2xx), microseconds.
    pub latency: Histogram<u64>,
    /// From when it was sent to the last byte of a good answer (2xx), microseconds.
    pub service: Histogram<u64>,
    /// From when it was due to every other outcome, microseconds.
    pub latency_failed: Histogram<u64>,
}

impl Default for CallerBooks {
    fn default() -> Self {
        Self {
            due: 0,
            not_sent: Tally::default(),
            sent: 0,
            in_flight: 0,
            answered: Tally::default(),
            problems: Tally::default(),
            failed: Tally::default(),
            connections: 0,
            body_bytes_in: 0,
            latency: histogram(),
            service: histogram(),
            latency_failed: histogram(),
        }
    }
}

impl CallerBooks {
    /// Answers with a status of 200 to 299.
    pub fn good(&self) -> u64 {
        self.answered
            .iter()
            .filter(|(status, _)| status.starts_with('2'))
            .map(|(_, times)| times)
            .sum()
    }

    /// Answers with any other status.
    pub fn answered_otherwise(&self) -> u64 {
        self.answered.total() - self.good()
    }

    /// Requests that were not sent, failed or answered otherwise than 2xx.
    pub fn bad(&self) -> u64 {
        self.not_sent.total() + self.failed.total() + self.answered_otherwise()
    }

    /// Says which sum does not come out, if one does not.
    pub fn imbalance(&self) -> Option<String> {
        let ended = self.answered.total() + self.failed.total();
        [
            ("requests due", self.due, self.sent + self.not_sent.total()),
            ("requests sent", self.sent, self.in_flight + ended),
        ]
        .iter()
        .find(|(_, whole, parts)| whole != parts)
        .map(|(what, whole, parts)| format!("{what}: {whole} in all, but {parts} accounted for"))
    }
}

impl AddAssign<&Self> for CallerBooks {
    fn add_assign(&mut self, other: &Self) {
        self.due += other.due;
        self.not_sent += &other.not_sent;
        self.sent += other.sent;
        self.in_flight += other.in_flight;
        self.answered += &other.answered;
        self.problems += &other.problems;
        self.failed += &other.failed;
        self.connections += other.connections;
        self.body_bytes_in += other.body_bytes_in;
        // All have the same bounds, and so no addition fails.
        self.latency += &other.latency;
        self.service += &other.service;
        self.latency_failed += &other.latency_failed;
    }
}

/// A histogram of microseconds up to an hour, exact to three digits (about 200 KiB).
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 3_600_000_000, 3).expect("these bounds are valid")
}

/// The kernel's name of an error, as testers search for it.
pub fn errno_name(errno: Errno) -> Cow<'static, str> {
    let name = match errno.0 {
        4 => "EINTR",
        9 => "EBADF",
        11 => "EAGAIN",
        12 => "ENOMEM",
        13 => "EACCES",
        22 => "EINVAL",
        23 => "ENFILE",
        24 => "EMFILE",
        32 => "EPIPE",
        98 => "EADDRINUSE",
        99 => "EADDRNOTAVAIL",
        101 => "ENETUNREACH",
        103 => "ECONNABORTED",
        104 => "ECONNRESET",
        105 => "ENOBUFS",
        107 => "ENOTCONN",
        110 => "ETIMEDOUT",
        111 => "ECONNREFUSED",
        113 => "EHOSTUNREACH",
        125 => "ECANCELED",
        number => return format!("errno-{number}").into(),
    };
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tally_never_holds_more_kinds_than_its_limit() {
        let mut tally = Tally::default();
        for kind in 0..10_000 {
            tally.count(format!("kind-{kind}"));
        }
        tally.count("kind-0");
        assert_eq!(tally.total(), 10_001);
        assert_eq!(tally.of("kind-0"), 2);
        assert_eq!(tally.iter().count(), KINDS_MAX + 1);
    }

    #[test]
    fn books_that_do_not_balance_say_which_sum_is_off() {
        let mut books = FleetBooks {
            attempts: 3,
            registered: 2,
            connecting: 1,
            open: 1,
            ..Default::default()
        };
        assert_eq!(
            books.imbalance().as_deref(),
            Some("registered: 2 in all, but 1 accounted for")
        );
        books.lost.count("eof");
        assert_eq!(books.imbalance(), None);
        books.attempts += 1;
        books.registered += 1;
        books.dropped.count("storm");
        assert_eq!(books.imbalance(), None);
        let mut calls = CallerBooks {
            due: 2,
            sent: 1,
            ..Default::default()
        };
        assert!(
            calls
                .imbalance()
                .is_some_and(|text| text.starts_with("requests due"))
        );
        calls.not_sent.count("too many in flight");
        calls.answered.count("200");
        calls.latency.saturating_record(5);
        assert_eq!(calls.imbalance(), None);
        let mut sum = calls.clone();
        sum += &calls;
        assert_eq!(sum.imbalance(), None);
        assert_eq!((sum.due, sum.latency.len(), sum.good()), (4, 2, 2));
    }
}
