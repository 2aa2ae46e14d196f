//! When and where the handset dials next, as a plain function of what happened: no clock, no socket, no random number.
//!
//! PROTOCOL 3.4's back-off, and three rules of ours: the next gateway in order after a failure, a long wait where
//! trying again soon can't help, and patience with another agent that holds the same number.

use everline_protocol::{Backoff, ErrorCode, HostPort, Millis, RefusalCode};

use crate::connection::End;

/// At least this long after a refusal that only a person can lift: a bad token, a bad number.
const HOPELESS_S: u32 = 30;

/// At least this long after the operator ended the session.
const REVOKED_S: u32 = 60;

/// At least this long after another agent registered the same number; doubled each time that it happens again, so
/// that two agents which were given one number by mistake do not take it from each other in a loop.
const REPLACED_S: u32 = 30;

/// Where that doubling ends.
const REPLACED_S_MAX: u32 = 600;

/// A session that lived as long was not a mere success in passing: what happened before it is forgotten.
const STEADY: Millis = Millis::from_secs(30);

/// The same for being replaced, which comes in longer intervals.
const UNDISPUTED: Millis = Millis::from_secs(2 * REPLACED_S_MAX);

/// On another gateway than the first, this long until the first is tried again; doubled each time that it is not good.
const RETURN_FIRST: Millis = Millis::from_secs(10 * 60);

/// Where that doubling ends.
const RETURN_DOUBLINGS_MAX: u32 = 4;

/// The next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dial {
    /// Not before.
    pub at: Millis,
    /// Signaling address.
    pub to: HostPort,
    /// Whether a session goes on if it fails: it is for a better gateway, or a better timeout.
    pub optional: bool,
    /// Its place among the configured gateways; `None`: a RECONNECT named it.
    gateway: Option<usize>,
}

/// What is remembered from one attempt to the next.
#[derive(Debug)]
pub struct Pace {
    /// In the order of preference; never empty.
    gateways: Vec<Gateway>,
    backoff: Backoff,
    replaced: u32,
    /// Returns to a gateway of higher preference that were in vain, one after the other.
    returns: u32,
}

#[derive(Debug)]
struct Gateway {
    address: HostPort,
    /// A refusal's `retry-after` binds the handset to this gateway alone.
    not_before: Millis,
}

impl Pace {
    /// Begins with the first of `gateways`, of which there is at least one.
    pub fn new(gateways: &[HostPort]) -> Self {
        assert!(!gateways.is_empty(), "the configuration names a gateway");
        let gateways = gateways.iter().map(|address| Gateway {
            address: address.clone(),
            not_before: Millis(0),
        });
        Self {
            gateways: gateways.collect(),
            backoff: Backoff::default(),
            replaced: 0,
            returns: 0,
        }
    }

    /// The first attempt, at once.
    pub fn first(&self) -> Dial {
        self.choose(0, Millis(0))
    }

    /// The gateway asked the handset to move.
    pub fn reconnect(&self, after: Millis, to: Option<HostPort>, from: &Dial, now: Millis) -> Dial {
        let at = now + after;
        match to {
            Some(to) => Dial {
                at,
                optional: false,
                // If it is one of ours, those that are preferred to it are returned to in time.
                gateway: self.gateways.iter().position(|known| known.address == to),
                to,
            },
            // The address in use, which may be a balancer in front of others (PROTOCOL 3.4).
            None => Dial {
                at,
                optional: false,
                ..from.clone()
            },
        }
    }

    /// A connection was registered; `Some`: at a gateway that others are preferred to, of which this is to be tried in
    /// time, while the session goes on. `put_off`: one that was to be tried when the session was renewed, which is not a
    /// reason to begin waiting anew.
    pub fn registered(&self, at: &Dial, put_off: Option<Dial>, now: Millis) -> Option<Dial> {
        let preferred = at.gateway.filter(|gateway| *gateway > 0)?;
        let wait = Millis(RETURN_FIRST.0 << self.returns.min(RETURN_DOUBLINGS_MAX));
        let due = |index: &usize| self.gateways[*index].not_before.max(now + wait);
        let index = (0..preferred).min_by_key(due)?;
        let fresh = Dial {
            at: due(&index),
            to: self.gateways[index].address.clone(),
            optional: true,
            gateway: Some(index),
        };
        let sooner = put_off.filter(|put_off| put_off.at < fresh.at);
        Some(sooner.unwrap_or(fresh))
    }

    /// An attempt to return to a gateway failed; `live` is where the session still is.
    pub fn return_failed(&mut self, live: &Dial, now: Millis) -> Option<Dial> {
        self.returns = self.returns.saturating_add(1);
        self.registered(live, None, now)
    }

    /// The same gateway once more, at once: with another timeout.
    pub fn renew(&self, from: &Dial, now: Millis) -> Dial {
        Dial {
            at: now,
            optional: true,
            ..from.clone()
        }
    }

    /// A connection ended. `lived`: how long it was registered, if it was. `random`: fresh and uniform.
    pub fn ended(
        &mut self,
        end: &End,
        from: &Dial,
        lived: Option<Millis>,
        now: Millis,
        random: u64,
    ) -> Dial {
        let steady = lived.is_some_and(|lived| lived >= STEADY);
        if steady {
            self.backoff.reset();
        }
        match from.gateway {
            Some(0) if steady => self.returns = 0,
            Some(0) => self.returns = self.returns.saturating_add(1),
            _ => {}
        }
        if lived.is_some_and(|lived| lived >= UNDISPUTED) {
            self.replaced = 0;
        }
        let at_least = |seconds: u32| now + Backoff::default().next(random, Some(seconds));
        let mut at = now + self.backoff.next(random, None);
        match end {
            End::Closed(ErrorCode::Replaced) => {
                let seconds = REPLACED_S << self.replaced.min(5);
                at = at.max(at_least(seconds.min(REPLACED_S_MAX)));
                self.replaced = self.replaced.saturating_add(1);
            }
            End::Closed(ErrorCode::Revoked) => at = at.max(at_least(REVOKED_S)),
            End::Refused(refusal) => {
                let own = match refusal.code {
                    RefusalCode::BadVersion
                    | RefusalCode::BadMsisdn
                    | RefusalCode::BadTimeout
                    | RefusalCode::BadToken => Some(HOPELESS_S),
                    _ => None,
                };
                let seconds = refusal.retry_after_s.max(own);
                if let (Some(seconds), Some(gateway)) = (seconds, self.gateway(from)) {
                    gateway.not_before = at_least(seconds);
                } else if let Some(seconds) = seconds {
                    at = at.max(at_least(seconds));
                }
            }
            _ => {}
        }
        // After a session the order of preference counts again; after an attempt that failed, or a session that did not
        // last, it is the next one's turn.
        let start = match from.gateway {
            Some(gateway) if !steady => gateway + 1,
            _ => 0,
        };
        self.choose(start, at)
    }

    fn gateway(&mut self, dial: &Dial) -> Option<&mut Gateway> {
        self.gateways.get_mut(dial.gateway?)
    }

    /// The first gateway from `start` on that may be dialled at `at`; if none may, the one that may soonest.
    fn choose(&self, start: usize, at: Millis) -> Dial {
        let count = self.gateways.len();
        let in_turn = (0..count).map(|step| (start + step) % count);
        let due = |index: &usize| self.gateways[*index].not_before.max(at);
        // Of equals `min_by_key` takes the first.
        let index = in_turn.min_by_key(due).unwrap_or_default();
        Dial {
            at: due(&index),
            to: self.gateways[index].address.clone(),
            optional: false,
            gateway: Some(index),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use everline_protocol::Refusal;

    use super::*;

    const NOW: Millis = Millis(1_000_000);

    fn pace(count: u16) -> Pace {
        let gateways: Vec<_> = (1..=count)
            .map(|port| HostPort {
                host: "g".to_owned(),
                port,
            })
            .collect();
        Pace::new(&gateways)
    }

    fn lost() -> End {
        End::Lost(io::ErrorKind::ConnectionReset.into())
    }

    fn refused(code: RefusalCode, retry_after_s: Option<u32>) -> End {
        End::Refused(Refusal {
            code,
            retry_after_s,
            reason: None,
        })
    }

    #[test]
    fn r10_attempts_that_fail_back_off_and_take_turns() {
        let mut pace = pace(3);
        let mut dial = pace.first();
        assert_eq!((dial.at, dial.to.port), (Millis(0), 1));
        let mut most = 0;
        for turn in [2, 3, 1, 2, 3, 1, 2, 3, 1, 2] {
            dial = pace.ended(&lost(), &dial, None, NOW, u64::MAX);
            assert_eq!(dial.to.port, turn);
            let wait = dial.at.since(NOW).0;
            assert!(wait >= most && wait <= 60_000, "{wait}");
            most = wait;
        }
        assert!(most > 30_000, "it grows: {most}");
    }

    #[test]
    fn r10_a_steady_session_that_is_lost_is_back_soon_and_at_the_preferred_gateway() {
        let mut pace = pace(2);
        let mut dial = pace.first();
        for _ in 0..7 {
            dial = pace.ended(&lost(), &dial, None, NOW, u64::MAX);
        }
        let dial = pace.ended(&lost(), &dial, Some(STEADY), NOW, u64::MAX);
        assert!(dial.at.since(NOW) <= Millis(500));
        assert_eq!(dial.to.port, 1);
    }

    #[test]
    fn r10_it_returns_to_the_preferred_gateway_in_time_and_does_not_flap() {
        let mut pace = pace(2);
        let second = pace.ended(&lost(), &pace.first(), None, NOW, 7);
        assert_eq!(second.to.port, 2);
        let back = pace.registered(&second, None, NOW).unwrap();
        assert_eq!(
            (back.to.port, back.at),
            (1, NOW + Millis::from_secs(1_200)),
            "it failed once"
        );
        assert_eq!(
            pace.registered(&pace.first(), None, NOW),
            None,
            "there it stays"
        );
        // In vain again and again: the waits grow, and end growing.
        let mut waits = Vec::new();
        for _ in 0..5 {
            let next = pace.return_failed(&second, NOW).unwrap();
            waits.push(next.at.since(NOW).0 / 60_000);
        }
        assert_eq!(waits, [40, 80, 160, 160, 160]);
        // It takes the handset, and loses it at once: the second has it back, and is not left soon.
        let dial = pace.ended(&lost(), &back, Some(Millis(5)), NOW, 7);
        assert_eq!(dial.to.port, 2);
        assert_eq!(
            pace.registered(&dial, None, NOW).unwrap().at,
            NOW + Millis::from_secs(9_600)
        );
        // Once it was good for a while, all is forgotten.
        pace.ended(&lost(), &back, Some(STEADY), NOW, 7);
        assert_eq!(
            pace.registered(&second, None, NOW).unwrap().at,
            NOW + RETURN_FIRST
        );
    }

    #[test]
    fn a_session_that_never_lasts_backs_off_all_the_same() {
        let mut pace = pace(1);
        let mut dial = pace.first();
        for _ in 0..10 {
            dial = pace.ended(&lost(), &dial, Some(Millis(1)), NOW, u64::MAX);
        }
        assert!(dial.at.since(NOW) > Millis(30_000));
    }

    #[test]
    fn retry_after_is_a_lower_bound_and_another_gateway_is_not_bound_by_it() {
        let refusal = refused(RefusalCode::Overloaded, Some(20));
        let mut alone = pace(1);
        let dial = alone.ended(&refusal, &alone.first(), None, NOW, 7);
        let wait = dial.at.since(NOW);
        assert!(wait >= Millis(20_000) && wait <= Millis(25_000), "{wait:?}");
        let mut two = pace(2);
        let dial = two.ended(&refusal, &two.first(), None, NOW, 7);
        assert!(dial.at.since(NOW) <= Millis(500));
        assert_eq!(dial.to.port, 2);
        let dial = two.ended(&lost(), &dial, None, NOW, 7);
        assert_eq!(dial.to.port, 2, "the first is still bound");
    }

    #[test]
    fn a_bad_token_is_not_tried_again_soon() {
        let mut pace = pace(1);
        let dial = pace.ended(
            &refused(RefusalCode::BadToken, None),
            &pace.first(),
            None,
            NOW,
            7,
        );
        assert!(dial.at.since(NOW) >= Millis::from_secs(HOPELESS_S));
    }

    #[test]
    fn being_replaced_is_met_with_growing_patience() {
        let mut pace = pace(2);
        let replaced = End::Closed(ErrorCode::Replaced);
        let mut dial = pace.first();
        let mut waits = Vec::new();
        for _ in 0..7 {
            dial = pace.ended(&replaced, &dial, Some(Millis::from_secs(31)), NOW, 0);
            waits.push(dial.at.since(NOW).0 / 1000);
        }
        assert_eq!(waits, [30, 60, 120, 240, 480, 600, 600]);
        let dial = pace.ended(&replaced, &dial, Some(UNDISPUTED), NOW, 0);
        assert_eq!(dial.at.since(NOW), Millis::from_secs(30));
    }

    #[test]
    fn a_reconnect_goes_where_it_says_and_falls_back_to_the_configured_ones() {
        let mut pace = pace(2);
        let elsewhere = HostPort {
            host: "h".to_owned(),
            port: 9,
        };
        let dial = pace.reconnect(Millis(5), Some(elsewhere.clone()), &pace.first(), NOW);
        assert_eq!((dial.at, &dial.to), (NOW + Millis(5), &elsewhere));
        assert_eq!(pace.ended(&lost(), &dial, None, NOW, 0).to.port, 1);
        assert_eq!(
            pace.reconnect(Millis(5), None, &pace.first(), NOW).to.port,
            1
        );
        // To one of the configured ones: it does not stay there for good.
        let second = HostPort {
            host: "g".to_owned(),
            port: 2,
        };
        let dial = pace.reconnect(Millis(5), Some(second), &pace.first(), NOW);
        let back = pace.registered(&dial, None, NOW).unwrap();
        assert_eq!((back.to.port, back.optional), (1, true));
    }

    #[test]
    fn r10_another_timeout_does_not_put_the_return_off() {
        let mut pace = pace(2);
        let second = pace.ended(&lost(), &pace.first(), None, NOW, 7);
        let back = pace.registered(&second, None, NOW);
        let later = NOW + Millis::from_secs(600);
        let renewed = pace.renew(&second, later);
        assert_eq!(pace.registered(&renewed, back.clone(), later), back);
        let anew = pace.registered(&renewed, None, later);
        assert!(anew.unwrap().at > back.unwrap().at, "it would begin anew");
    }
}
