//! Each kind of act against a gateway whose words the test writes: met as it must be, and in every other way.

use super::*;

const CONNECT: &[u8] = b"CONNECT version=1 msisdn=34610515151 timeout=1 token=none linger=0\r\n";
const REGISTERED: &str = "CONNREGISTERED session=0000000000000001 timeout=10\r\n";
const PENDING: &str = "REQUESTPENDING id=00000000000000000000000000000007\r\n";
const LIMITS: Limits = Limits {
    connect: Millis(10_000),
    wake: Millis(8000),
    slack: Millis(1000),
};

/// One act, and a gateway whose words the test writes.
struct Scene {
    act: Act,
    now: Millis,
    sent: Vec<u8>,
    data_sent: Vec<u8>,
    orders: Vec<Order>,
}

impl Scene {
    fn connected(kind: RogueKind) -> Self {
        let mut scene = Self {
            act: Act::new(kind, LIMITS, Millis(0)),
            now: Millis(0),
            sent: Vec::new(),
            data_sent: Vec::new(),
            orders: Vec::new(),
        };
        scene.with(|act, now, out| act.on_connected(CONNECT, 20, now, out));
        scene
    }

    fn registered(kind: RogueKind) -> Self {
        let mut scene = Self::connected(kind);
        assert_eq!(scene.sent, CONNECT);
        scene.sent.clear();
        scene.told(REGISTERED);
        scene
    }

    fn with(&mut self, call: impl FnOnce(&mut Act, Millis, &mut ActOutput)) {
        let mut out = ActOutput::default();
        call(&mut self.act, self.now, &mut out);
        self.sent.extend(out.wire);
        self.data_sent.extend(out.data_wire);
        self.orders.extend(out.orders);
    }

    fn told(&mut self, line: &str) -> &mut Self {
        self.with(|act, now, out| act.on_input(line.as_bytes(), now, out));
        self
    }

    fn data_told(&mut self, line: &str) -> &mut Self {
        self.with(|act, _, out| act.on_data_input(line.as_bytes(), out));
        self
    }

    fn gone(&mut self, how: &Gone) -> &mut Self {
        self.with(|act, _, out| act.on_gone(how, out));
        self
    }

    fn data_gone(&mut self) -> &mut Self {
        self.with(|act, now, out| act.on_data_gone(&Gone::Closed, now, out));
        self
    }

    /// Time passes, and every timer in it is served.
    fn pass(&mut self, span: Millis) -> &mut Self {
        let until = self.now + span;
        while self.act.stage != Stage::Ended && self.act.deadline() <= until {
            self.now = self.act.deadline();
            self.with(|act, now, out| act.on_time(now, out));
        }
        self.now = until;
        self
    }

    fn outcome(&self) -> &Outcome {
        match self.orders.last() {
            Some(Order::End(outcome)) => outcome,
            other => panic!("the act has not ended: {other:?}"),
        }
    }

    fn otherwise(&self) -> &str {
        match self.outcome() {
            Outcome::Otherwise(cause) => cause,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn half_a_line_must_be_ended_with_connect_timeout() {
    let kinds = [RogueKind::HalfLine, RogueKind::SlowBytes];
    for kind in kinds {
        let mut scene = Scene::connected(kind);
        scene.pass(Millis(10_000));
        assert!(CONNECT.starts_with(&scene.sent) && scene.sent.len() < CONNECT.len() - 1);
        scene.told("ERROR code=connect-timeout\r\n");
        assert_eq!(scene.gone(&Gone::Closed).outcome(), &Outcome::Met);
    }
    let mut scene = Scene::connected(RogueKind::HalfLine);
    assert_eq!(scene.pass(Millis(11_000)).otherwise(), "not-ended");
    let mut scene = Scene::connected(RogueKind::HalfLine);
    scene.told("ERROR code=connect-timeout\r\n");
    assert_eq!(scene.pass(Millis(1000)).otherwise(), "not-closed");
    let mut scene = Scene::connected(RogueKind::SlowBytes);
    scene.told("ERROR code=internal\r\n");
    assert_eq!(scene.gone(&Gone::Closed).otherwise(), "error:internal");
    let mut scene = Scene::connected(RogueKind::SlowBytes);
    assert_eq!(scene.gone(&Gone::Reset).otherwise(), "reset-without-error");
}

#[test]
fn half_a_data_line_must_be_closed_with_a_word_or_without() {
    let mut scene = Scene::connected(RogueKind::HalfData);
    assert!(scene.sent.starts_with(b"DATA") && !scene.sent.ends_with(b"\n"));
    assert_eq!(scene.gone(&Gone::Closed).outcome(), &Outcome::Met);
    let mut scene = Scene::connected(RogueKind::HalfData);
    scene.told("ERROR code=connect-timeout\r\n");
    assert_eq!(scene.gone(&Gone::Closed).outcome(), &Outcome::Met);
    let mut scene = Scene::connected(RogueKind::HalfData);
    assert_eq!(scene.pass(Millis(11_000)).otherwise(), "not-ended");
    let mut scene = Scene::connected(RogueKind::HalfData);
    let told = scene.told("GET / HTTP/1.1\r\n");
    assert_eq!(told.otherwise(), "not-a-line");
}

#[test]
fn who_never_waits_must_be_closed_and_not_spoken_to_before() {
    let mut scene = Scene::registered(RogueKind::NeverWaiting);
    assert_eq!(scene.sent, b"");
    scene.told("ERROR code=connect-timeout\r\n");
    assert_eq!(scene.gone(&Gone::Closed).outcome(), &Outcome::Met);
    let mut scene = Scene::registered(RogueKind::NeverWaiting);
    assert_eq!(scene.told(PENDING).otherwise(), "signalled-before-waiting");
    let mut scene = Scene::registered(RogueKind::NeverWaiting);
    let told = scene.told("KEEPALIVE\r\n");
    assert_eq!(told.otherwise(), "keepalive-before-waiting");
}

#[test]
fn a_request_that_nobody_takes_must_be_signalled_again() {
    let mut scene = Scene::registered(RogueKind::NeverData);
    scene.told(PENDING).pass(Millis(4000)).told(PENDING);
    scene.told("KEEPALIVE\r\n").pass(Millis(5000));
    assert_eq!(scene.sent, b"WAITING\r\nWAITING\r\nBYE\r\n");
    assert_eq!(scene.gone(&Gone::Closed).outcome(), &Outcome::Met);
    let mut scene = Scene::registered(RogueKind::NeverData);
    scene.told(PENDING).pass(Millis(9000));
    assert_eq!(scene.otherwise(), "not-signalled-again");
    let mut scene = Scene::registered(RogueKind::NeverData);
    scene.told(PENDING).gone(&Gone::Closed);
    assert_eq!(scene.otherwise(), "closed-without-error");
    let mut scene = Scene::registered(RogueKind::NeverData);
    assert_eq!(scene.pass(Millis(11_000)).otherwise(), "no-keepalive");
}

#[test]
fn an_id_that_nobody_gave_must_be_unknown_and_cost_no_session() {
    let probe = || {
        let mut scene = Scene::registered(RogueKind::WrongId);
        scene.told(PENDING);
        assert_eq!(scene.orders, [Order::Enlist, Order::OpenData(None)]);
        scene.with(|act, _, out| act.on_data_connected(RequestId(8), out));
        assert_eq!(scene.data_sent, DataLine::encode(RequestId(8)));
        scene
    };
    let mut scene = probe();
    scene
        .data_told("ERROR code=unknown-request\r\n")
        .data_gone();
    assert!(scene.sent.ends_with(b"BYE\r\n"));
    assert_eq!(scene.gone(&Gone::Closed).outcome(), &Outcome::Met);
    let told = |line| probe().data_told(line).data_gone().otherwise().to_owned();
    assert_eq!(told("GET / HTTP/1.1\r\n"), "data:bound");
    assert_eq!(told("ERROR code=bad-line\r\n"), "data:error:bad-line");
    assert_eq!(told(""), "data:closed-without-error");
    assert_eq!(probe().pass(Millis(11_000)).otherwise(), "data:not-ended");
    assert_eq!(
        probe().gone(&Gone::Closed).otherwise(),
        "closed-without-error"
    );
}

#[test]
fn who_reset_must_be_taken_back() {
    let reset = || {
        let mut scene = Scene::registered(RogueKind::Reset);
        scene.told(&format!("{PENDING}KEEPALIVE\r\n"));
        assert_eq!(scene.orders, [Order::Enlist, Order::ResetAndRedial]);
        scene.sent.clear();
        scene.with(|act, now, out| act.on_connected(CONNECT, 0, now, out));
        assert_eq!(scene.sent, CONNECT);
        scene
    };
    let mut scene = reset();
    scene.told(REGISTERED);
    assert_eq!(scene.gone(&Gone::Closed).outcome(), &Outcome::Met);
    assert_eq!(reset().pass(Millis(11_000)).otherwise(), "not-taken-back");
    let mut scene = reset();
    scene.told("CONNREFUSED code=overloaded retry-after=3\r\n");
    let hindered = Outcome::Hindered("refused:overloaded".into(), Some(3));
    assert_eq!(scene.outcome(), &hindered);
}

#[test]
fn who_is_frozen_must_be_asked_and_then_closed_without_a_word() {
    let mut scene = Scene::registered(RogueKind::Frozen);
    scene.pass(Millis(10_000)).told("KEEPALIVE\r\n");
    assert_eq!(scene.sent, b"WAITING\r\n");
    assert_eq!(scene.gone(&Gone::Closed).outcome(), &Outcome::Met);
    let mut scene = Scene::registered(RogueKind::Frozen);
    assert_eq!(
        scene.gone(&Gone::Closed).otherwise(),
        "closed-before-keepalive"
    );
    let mut scene = Scene::registered(RogueKind::Frozen);
    scene.told("KEEPALIVE\r\n").pass(Millis(11_000));
    assert_eq!(scene.otherwise(), "not-ended");
    let mut scene = Scene::registered(RogueKind::Frozen);
    scene.told("KEEPALIVE\r\nERROR code=internal\r\n");
    assert_eq!(scene.gone(&Gone::Closed).otherwise(), "error:internal");
}

#[test]
fn garbage_and_floods_must_be_ended_at_once() {
    let mut scene = Scene::connected(RogueKind::Garbage);
    assert_eq!(scene.pass(Millis(1000)).otherwise(), "not-ended");
    let mut scene = Scene::registered(RogueKind::Flood);
    assert_eq!(scene.sent, b"WAITING\r\n".repeat(12));
    scene.told("ERROR code=flooding\r\n");
    assert_eq!(scene.gone(&Gone::Reset).outcome(), &Outcome::Met);
    let mut scene = Scene::registered(RogueKind::Flood);
    assert_eq!(scene.pass(Millis(1000)).otherwise(), "not-ended");
}

#[test]
fn what_never_came_to_a_misdeed_is_no_fault_of_the_gateway() {
    let hindered = |cause: &'static str, after| Outcome::Hindered(cause.into(), after);
    let mut scene = Scene::connected(RogueKind::Flood);
    scene.told("CONNREFUSED code=full\r\n");
    assert_eq!(scene.outcome(), &hindered("refused:full", None));
    let mut scene = Scene::connected(RogueKind::HalfLine);
    scene.gone(&Gone::NotConnected("ECONNREFUSED".into()));
    assert_eq!(scene.outcome(), &hindered("connect:ECONNREFUSED", None));
    let mut scene = Scene::registered(RogueKind::NeverData);
    scene.told("RECONNECT after=5\r\n").gone(&Gone::Closed);
    assert_eq!(scene.outcome(), &hindered("draining", None));
}
