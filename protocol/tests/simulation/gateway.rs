//! The simulated gateway: the owner of the sessions. It checks tokens late, replaces, signals, signals again, binds.

use std::collections::BTreeMap;

use everline_protocol::{
    Beat, DataStep, ErrorCode, Millis, Msisdn, Refusal, RefusalCode, RequestId, Rules, Session,
    SessionEvent, SessionId, SessionOutput,
};

use crate::world::{Event, Side, World};

/// Half the wake timeout.
const RESIGNAL: Millis = Millis::from_secs(5);

pub(crate) struct Gateway {
    pub(crate) rules: Rules,
    /// Which connection reaches whom.
    pub(crate) live: BTreeMap<Msisdn, usize>,
    pub(crate) pending: BTreeMap<RequestId, Pending>,
}

pub(crate) struct Pending {
    pub(crate) device: usize,
    msisdn: Msisdn,
    pub(crate) bound: bool,
}

impl Gateway {
    pub(crate) fn new() -> Self {
        let rules = Rules {
            timeout_s: 10..=60,
            connect_limit: Millis::from_secs(10),
            grace_max: Millis::from_secs(30),
            beat: Beat::default(),
        };
        Self {
            rules,
            live: BTreeMap::new(),
            pending: BTreeMap::new(),
        }
    }
}

impl World {
    pub(crate) fn gateway_input(&mut self, conn: usize, bytes: &[u8]) {
        self.conns[conn].heard.extend_from_slice(bytes);
        self.on_session(conn, |session, now, rules, out| {
            session.input(bytes, now, rules, out);
        });
    }

    pub(crate) fn gateway_hung_up(&mut self, conn: usize) {
        if self.conns[conn].session.take().is_some() {
            self.unroute(conn);
        }
    }

    pub(crate) fn gateway_deadline(&mut self, conn: usize) {
        let due = self.conns[conn]
            .session
            .as_ref()
            .and_then(Session::deadline);
        let early = due.is_some_and(|due| due > self.now);
        let before = self.conns[conn]
            .session
            .as_ref()
            .map(|session| format!("{session:?}"));
        self.on_session(conn, |session, now, rules, out| {
            session.on_deadline(now, rules, out);
            assert!(
                !early || (out.wire.is_empty() && out.events.is_empty()),
                "on_deadline did something early"
            );
        });
        let after = self.conns[conn]
            .session
            .as_ref()
            .map(|session| format!("{session:?}"));
        assert!(
            !early || before == after,
            "an early on_deadline changed the session"
        );
    }

    /// The token of a CONNECT was checked: the handset is refused, or replaces what it had.
    pub(crate) fn checked(&mut self, conn: usize) {
        if self.troubled() && self.random.chance(10) {
            let retry_after_s = Some(1 + self.random.below(5) as u32);
            let refusal = Refusal {
                code: RefusalCode::Overloaded,
                retry_after_s,
                reason: None,
            };
            self.on_session(conn, |session, _, _, out| {
                session.refuse(&refusal, out);
            });
            return;
        }
        if self.conns[conn].session.is_none() {
            return;
        }
        let msisdn = self.devices[self.conns[conn].device].identity.msisdn;
        if let Some(old) = self.gateway.live.insert(msisdn, conn) {
            self.count("replaced");
            self.on_session(old, |session, _, _, out| {
                session.end(ErrorCode::Replaced, out);
            });
        }
        self.on_session(conn, |session, now, rules, out| {
            session.hasten(conn as u8);
            session.admit(SessionId(conn as u64), now, rules, out);
        });
    }

    /// A caller requests some handset; a handset that can be signalled is.
    pub(crate) fn request(&mut self) {
        let device = self.random.below(self.devices.len() as u64) as usize;
        let id = RequestId(u128::from(self.random.next()) << 64 | u128::from(self.random.next()));
        let msisdn = self.devices[device].identity.msisdn;
        self.gateway.pending.insert(
            id,
            Pending {
                device,
                msisdn,
                bound: false,
            },
        );
        self.schedule(RESIGNAL, Event::Resignal { id });
        self.signal_if_ready(id);
    }

    pub(crate) fn resignal(&mut self, id: RequestId) {
        if !self.gateway.pending[&id].bound {
            self.count("signalled again");
            self.signal_if_ready(id);
            self.schedule(RESIGNAL, Event::Resignal { id });
        }
    }

    /// The gateway drains: it asks a handset to move.
    pub(crate) fn drain(&mut self, device: usize) {
        let after = Millis(self.random.below(5_000));
        if let Some(conn) = self.gateway.live.get(&self.devices[device].identity.msisdn) {
            self.on_session(*conn, |session, _, _, out| {
                session.reconnect(after, None, out);
            });
        }
    }

    /// A data channel speaks: its id is good for one use, and restarts the session's timer.
    pub(crate) fn data(&mut self, channel: usize, bytes: &[u8]) {
        let id = match self.channels[channel].input(bytes) {
            DataStep::More => return,
            DataStep::Bound { id, used } => {
                assert_eq!(used, bytes.len());
                id
            }
            DataStep::Bad(code) => panic!("a handset's DATA was answered with {code:?}"),
        };
        let pending = self
            .gateway
            .pending
            .get_mut(&id)
            .expect("nobody guesses ids");
        if std::mem::replace(&mut pending.bound, true) {
            self.count("unknown request");
            return;
        }
        let live = self.gateway.live.get(&pending.msisdn).copied();
        self.count("bound");
        if let Some(conn) = live {
            self.on_session(conn, |session, now, _, _| session.on_data_channel(now));
        }
    }

    fn signal_if_ready(&mut self, id: RequestId) {
        let live = self
            .gateway
            .live
            .get(&self.gateway.pending[&id].msisdn)
            .copied();
        if let Some(conn) = live
            && self.conns[conn]
                .session
                .as_ref()
                .is_some_and(Session::is_ready)
        {
            self.signal(conn, id);
        }
    }

    fn signal(&mut self, conn: usize, id: RequestId) {
        self.count("signalled");
        self.conns[conn].signals[Side::Gateway as usize] += 1;
        self.on_session(conn, |session, _, _, out| {
            assert!(
                session.signal(id, None, out),
                "a ready session did not take a signal"
            );
        });
    }

    /// Calls a session as its owner must: then sends, reacts, and arms its deadline.
    fn on_session(
        &mut self,
        conn: usize,
        call: impl FnOnce(&mut Session, Millis, &Rules, &mut SessionOutput),
    ) {
        let mut out = SessionOutput::default();
        let Some(session) = self.conns[conn].session.as_mut() else {
            return;
        };
        call(session, self.now, &self.gateway.rules, &mut out);
        self.check_wire(conn, &out.wire);
        self.send(conn, Side::Gateway, out.wire);
        for event in out.events {
            self.session_event(conn, event);
        }
        self.arm(conn, Side::Gateway);
    }

    /// PROTOCOL 3.2: neither KEEPALIVE nor REQUESTPENDING before WAITING; and no line follows a closing one.
    fn check_wire(&mut self, conn: usize, wire: &[u8]) {
        let conn = &mut self.conns[conn];
        let heard_waiting = String::from_utf8_lossy(&conn.heard).contains("WAITING");
        let lines = String::from_utf8_lossy(wire);
        for line in lines.lines() {
            assert!(!conn.said_last, "{line} behind the last line");
            let verb = line.split(' ').next().unwrap_or_default();
            assert!(
                heard_waiting || !matches!(verb, "KEEPALIVE" | "REQUESTPENDING"),
                "{verb} before WAITING"
            );
            conn.said_last = matches!(verb, "ERROR" | "CONNREFUSED");
        }
    }

    fn session_event(&mut self, conn: usize, event: SessionEvent) {
        let device = self.conns[conn].device;
        // An end that is gone or cut off may look dead; a handset that is there may not.
        let reachable = self.conns[conn].carries && self.conns[conn].handset.is_some();
        match event {
            SessionEvent::Authenticate(connect) => {
                assert_eq!(connect.msisdn, self.devices[device].identity.msisdn);
                let span = self.random.below(500);
                self.schedule(Millis(span), Event::Checked { conn });
            }
            SessionEvent::Ready => {
                self.count("ready");
                let msisdn = self.devices[device].identity.msisdn;
                assert_eq!(
                    self.gateway.live.get(&msisdn),
                    Some(&conn),
                    "a replaced session became ready"
                );
                let waiting: Vec<RequestId> = self
                    .gateway
                    .pending
                    .iter()
                    .filter(|(_, pending)| pending.msisdn == msisdn && !pending.bound)
                    .map(|(id, _)| *id)
                    .collect();
                for id in waiting {
                    self.signal(conn, id);
                }
            }
            SessionEvent::KeepAliveSent => {}
            SessionEvent::KeepAliveAnswered => self.count("keep-alive"),
            SessionEvent::Refused(code) => {
                assert_eq!(code, RefusalCode::Overloaded);
                self.count("refused");
                self.close(conn);
            }
            SessionEvent::Left => {
                self.count("left");
                self.close(conn);
            }
            SessionEvent::Broken(code) => {
                let expected = code == ErrorCode::Replaced
                    || (code == ErrorCode::ConnectTimeout && !reachable);
                assert!(expected, "a sound handset was closed with {code:?}");
                self.close(conn);
            }
            SessionEvent::Dead => {
                assert!(!reachable, "a live handset was declared dead");
                self.count("dead");
                self.close(conn);
            }
        }
    }

    fn close(&mut self, conn: usize) {
        self.hang_up(conn, Side::Gateway);
        self.unroute(conn);
    }

    /// Only the route that is this connection's own: it may have been replaced.
    fn unroute(&mut self, conn: usize) {
        let msisdn = self.devices[self.conns[conn].device].identity.msisdn;
        if self.gateway.live.get(&msisdn) == Some(&conn) {
            self.gateway.live.remove(&msisdn);
        }
    }
}
