//! The gateway's machine alone: every refusal, every error code, every timer (PROTOCOL 3.1 to 3.4 and 4).

use everline_protocol::{
    BEATS_MIN, Beat, ErrorCode, HostPort, LINE_BYTES_MAX, Millis, Refusal, RefusalCode, RequestId,
    Rules, Session, SessionEvent, SessionId, SessionOutput, Wheel,
};

const CONNECT: &str = "CONNECT version=1 msisdn=34610515151 timeout=60 token=t linger=0\r\n";

fn rules() -> Rules {
    Rules {
        timeout_s: 10..=3600,
        connect_limit: Millis::from_secs(10),
        grace_max: Millis::from_secs(30),
        beat: Beat::default(),
    }
}

/// One session, its rules and its clock.
struct Gateway {
    session: Session,
    rules: Rules,
    now: Millis,
    out: SessionOutput,
}

impl Gateway {
    fn new() -> Self {
        let rules = rules();
        Self {
            session: Session::new(Millis(0), &rules),
            rules,
            now: Millis(0),
            out: SessionOutput::default(),
        }
    }

    /// Registered with a timeout of 60 s, first WAITING not yet there.
    fn registered() -> Self {
        let mut gateway = Self::new();
        gateway.input(CONNECT);
        gateway.admit();
        gateway.drain();
        gateway
    }

    /// Registered, and the first WAITING has come.
    fn ready() -> Self {
        let mut gateway = Self::registered();
        assert_eq!(
            gateway.input("WAITING\r\n"),
            (String::new(), vec![SessionEvent::Ready])
        );
        gateway
    }

    fn drain(&mut self) -> (String, Vec<SessionEvent>) {
        let out = std::mem::take(&mut self.out);
        (String::from_utf8(out.wire).unwrap(), out.events)
    }

    fn input(&mut self, bytes: impl AsRef<[u8]>) -> (String, Vec<SessionEvent>) {
        self.session
            .input(bytes.as_ref(), self.now, &self.rules, &mut self.out);
        self.drain()
    }

    fn admit(&mut self) -> (String, Vec<SessionEvent>) {
        self.session
            .admit(SessionId(1234), self.now, &self.rules, &mut self.out);
        self.drain()
    }

    /// Lets the clock stand at `now` (seconds) and does what is due.
    fn at(&mut self, now_s: u32) -> (String, Vec<SessionEvent>) {
        self.now = Millis::from_secs(now_s);
        self.session
            .on_deadline(self.now, &self.rules, &mut self.out);
        self.drain()
    }

    fn due_s(&self) -> Option<u64> {
        self.session.deadline().map(|deadline| deadline.0 / 1000)
    }

    /// After the end every call does nothing.
    fn assert_ended(&mut self) {
        let end = Millis(u64::MAX);
        self.session.on_deadline(end, &self.rules, &mut self.out);
        self.session.on_data_channel(end);
        self.session.end(ErrorCode::Internal, &mut self.out);
        self.session.reconnect(Millis(0), None, &mut self.out);
        self.session
            .refuse(&Refusal::new(RefusalCode::Full), &mut self.out);
        assert!(!self.session.signal(RequestId(1), None, &mut self.out));
        assert_eq!(self.admit(), (String::new(), vec![]));
        assert_eq!(self.input("WAITING\r\nWAIT"), (String::new(), vec![]));
        assert_eq!(self.session.deadline(), None);
        assert!(!self.session.is_registered() && !self.session.is_ready());
        assert_eq!(self.session.heap_bytes(), 0);
    }

    #[track_caller]
    fn assert_broken(&mut self, output: (String, Vec<SessionEvent>), code: ErrorCode) {
        let line = String::from_utf8(everline_protocol::error_line(code)).unwrap();
        assert_eq!(output, (line, vec![SessionEvent::Broken(code)]));
        self.assert_ended();
    }
}

#[test]
fn a_million_of_them_stay_small() {
    assert!(size_of::<Session>() <= 32, "{}", size_of::<Session>());
    let mut gateway = Gateway::ready();
    assert_eq!(gateway.session.heap_bytes(), 0);
    gateway.input("WAIT");
    assert!((4..=LINE_BYTES_MAX).contains(&gateway.session.heap_bytes()));
    gateway.input("ING\r\n");
    assert_eq!(
        gateway.session.heap_bytes(),
        0,
        "an idle session has no heap"
    );
}

#[test]
fn the_first_keepalive_alone_comes_early_and_by_less_than_half() {
    for (early, due_ms) in [(0, 60_000), (1, 59_883), (128, 45_000), (255, 30_118)] {
        let mut gateway = Gateway::new();
        gateway.input(CONNECT);
        gateway.session.hasten(early);
        gateway.admit();
        gateway.input("WAITING\r\n");
        assert_eq!(gateway.session.deadline(), Some(Millis(due_ms)), "{early}");
        assert_eq!(
            gateway.at(60),
            ("KEEPALIVE\r\n".into(), vec![SessionEvent::KeepAliveSent])
        );
        gateway.input("WAITING\r\n");
        assert_eq!(gateway.due_s(), Some(120), "the whole timeout from then on");
    }
}

/// A gateway's worth of handsets that all register within one second.
#[test]
fn a_hundred_thousand_that_came_at_once_are_asked_over_a_third_of_the_timeout() {
    const SESSIONS: u32 = 100_000;
    let rules = rules();
    let (mut sessions, mut out) = (Vec::new(), SessionOutput::default());
    let mut wheel = Wheel::new(SESSIONS, Millis(0), Millis(64));
    let mut random = 1u64;
    let connect = CONNECT.replace("timeout=60", "timeout=300");
    for slot in 0..SESSIONS {
        let now = Millis(u64::from(slot) * 1000 / u64::from(SESSIONS));
        let mut session = Session::new(now, &rules);
        session.input(connect.as_bytes(), now, &rules, &mut out);
        random = random
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1);
        session.hasten((random >> 56) as u8);
        session.admit(SessionId(u64::from(slot)), now, &rules, &mut out);
        session.input(b"WAITING\r\n", now, &rules, &mut out);
        wheel.set(slot, session.deadline().expect("it lives"));
        out = SessionOutput::default();
        sessions.push(session);
    }
    // KEEPALIVEs of each second, over two rounds.
    let (mut asked, mut due) = ([0u32; 602], Vec::new());
    while let Some(now) = wheel.next().filter(|now| now.0 <= 602_000) {
        wheel.advance(now, &mut due);
        for slot in due.drain(..) {
            let session = &mut sessions[slot as usize];
            session.on_deadline(now, &rules, &mut out);
            asked[now.0 as usize / 1000] += out.events.len() as u32;
            session.input(b"WAITING\r\n", now, &rules, &mut out);
            wheel.set(slot, session.deadline().expect("it lives"));
            out = SessionOutput::default();
        }
    }
    for round in [&asked[..301], &asked[301..]] {
        let seconds = round.iter().filter(|asked| **asked > 0).count();
        let busiest = round.iter().max().copied().unwrap_or_default();
        assert!(seconds >= 100 && busiest <= SESSIONS / 50, "{round:?}");
    }
    assert_eq!(asked.iter().sum::<u32>(), 2 * SESSIONS, "each once a round");
}

/// PROTOCOL 3.1: checked in this order, a missing key as a bad value.
#[test]
fn each_refusal_that_needs_no_token_check_and_their_order() {
    let cases = [
        ("CONNECT", RefusalCode::BadVersion),
        (
            "CONNECT version=2 msisdn=x timeout=x",
            RefusalCode::BadVersion,
        ),
        (
            "CONNECT version=01 msisdn=34610515151 timeout=60 token=t",
            RefusalCode::BadVersion,
        ),
        ("CONNECT version=1", RefusalCode::BadMsisdn),
        (
            "CONNECT version=1 msisdn=+34610515151 timeout=0",
            RefusalCode::BadMsisdn,
        ),
        (
            "CONNECT version=1 msisdn=0123456 timeout=60 token=t",
            RefusalCode::BadMsisdn,
        ),
        (
            "CONNECT version=1 msisdn=34610515151",
            RefusalCode::BadTimeout,
        ),
        (
            "CONNECT version=1 msisdn=34610515151 timeout=0 token=t",
            RefusalCode::BadTimeout,
        ),
        (
            "CONNECT version=1 msisdn=34610515151 timeout=86401 token=t",
            RefusalCode::BadTimeout,
        ),
        (
            "CONNECT version=1 msisdn=34610515151 timeout=+60 token=t",
            RefusalCode::BadTimeout,
        ),
        (
            "CONNECT version=1 msisdn=34610515151 timeout=99999999999999999999 token=t",
            RefusalCode::BadTimeout,
        ),
        (
            "CONNECT version=1 msisdn=34610515151 timeout=60",
            RefusalCode::BadToken,
        ),
        (
            "CONNECT version=1 msisdn=34610515151 timeout=60 linger=x",
            RefusalCode::BadToken,
        ),
    ];
    for (line, code) in cases {
        let mut gateway = Gateway::new();
        let refused = (
            format!("CONNREFUSED code={}\r\n", code.name()),
            vec![SessionEvent::Refused(code)],
        );
        assert_eq!(
            gateway.input(format!("{line}\r\nWAITING\r\n")),
            refused,
            "{line}"
        );
        gateway.assert_ended();
    }
}

#[test]
fn the_owner_refuses_with_its_own_code() {
    for (retry_after_s, more) in [(None, ""), (Some(7), " retry-after=7")] {
        let mut gateway = Gateway::new();
        gateway.input(CONNECT);
        let refusal = Refusal {
            code: RefusalCode::Overloaded,
            retry_after_s,
            reason: Some("no room\r\nBYE".into()),
        };
        gateway.session.refuse(&refusal, &mut gateway.out);
        let (wire, events) = gateway.drain();
        assert_eq!(
            wire,
            format!("CONNREFUSED code=overloaded{more} reason=no%20room%0D%0ABYE\r\n")
        );
        assert_eq!(events, [SessionEvent::Refused(RefusalCode::Overloaded)]);
        gateway.assert_ended();
    }
}

#[test]
fn a_refusal_needs_a_connect_to_answer() {
    let mut gateway = Gateway::new();
    gateway
        .session
        .refuse(&Refusal::new(RefusalCode::Full), &mut gateway.out);
    assert_eq!(gateway.admit(), (String::new(), vec![]));
    let (_, events) = gateway.input(CONNECT);
    assert!(matches!(events.as_slice(), [SessionEvent::Authenticate(_)]));
}

#[test]
fn the_timeout_is_clamped_and_the_answered_one_is_in_force() {
    for (asked, rules_s, granted) in [
        (1, 10..=3600, 10),
        (60, 10..=3600, 60),
        (86_400, 10..=3600, 3600),
        (60, 0..=0, 1),
    ] {
        let mut gateway = Gateway::new();
        gateway.rules.timeout_s = rules_s;
        gateway.input(format!(
            "CONNECT version=1 msisdn=34610515151 timeout={asked} token=t\n"
        ));
        assert_eq!(gateway.session.timeout_s(), 0, "not registered yet");
        let (wire, _) = gateway.admit();
        assert_eq!(
            wire,
            format!("CONNREGISTERED session=00000000000004d2 timeout={granted}\r\n")
        );
        assert_eq!(gateway.session.timeout_s(), granted);
        gateway.input("WAITING\n");
        assert_eq!(gateway.due_s(), Some(u64::from(granted)));
    }
}

/// PROTOCOL section 4, the codes that a handset's own lines earn it.
#[test]
fn each_protocol_error_at_each_stage() {
    let too_long = "A".repeat(LINE_BYTES_MAX + 1);
    let always = [
        ("waiting\r\n", ErrorCode::BadLine),
        ("\r\n", ErrorCode::BadLine),
        ("WAITING a=1 a=2\r\n", ErrorCode::BadLine),
        ("HELLO\r\n", ErrorCode::UnknownVerb),
        (
            "DATA id=9f86d081884c7d659a2feaa0c55ad015\r\n",
            ErrorCode::UnexpectedVerb,
        ),
        ("KEEPALIVE\r\n", ErrorCode::UnexpectedVerb),
        ("ERROR code=bad-line\r\n", ErrorCode::UnexpectedVerb),
        (&too_long, ErrorCode::LineTooLong),
    ];
    for stage in [Gateway::new, Gateway::registered, Gateway::ready] {
        for (line, code) in always {
            let mut gateway = stage();
            let output = gateway.input(line);
            gateway.assert_broken(output, code);
        }
    }
    for line in ["WAITING\r\n", "BYE\r\n"] {
        let mut gateway = Gateway::new();
        let output = gateway.input(line);
        gateway.assert_broken(output, ErrorCode::UnexpectedVerb);
    }
    for stage in [Gateway::registered, Gateway::ready] {
        let mut gateway = stage();
        let output = gateway.input(CONNECT);
        gateway.assert_broken(output, ErrorCode::UnexpectedVerb);
    }
}

/// PROTOCOL 3.1 has no refusal for it, so it is a malformed line.
#[test]
fn a_linger_that_is_no_number_is_a_bad_line() {
    for linger in ["x", "-1", "4294967296"] {
        let mut gateway = Gateway::new();
        let line =
            format!("CONNECT version=1 msisdn=34610515151 timeout=60 token=t linger={linger}\r\n");
        let output = gateway.input(line);
        gateway.assert_broken(output, ErrorCode::BadLine);
    }
}

#[test]
fn lines_behind_an_error_are_not_read() {
    let mut gateway = Gateway::ready();
    let output = gateway.input("HELLO\r\nBYE\r\n");
    gateway.assert_broken(output, ErrorCode::UnknownVerb);
}

#[test]
fn what_comes_behind_connect_waits_for_the_answer() {
    let mut gateway = Gateway::new();
    let (wire, events) = gateway.input(format!("{CONNECT}WAITI"));
    assert_eq!(wire, "");
    assert!(matches!(events.as_slice(), [SessionEvent::Authenticate(_)]));
    assert_eq!(gateway.input("NG\r\nB"), (String::new(), vec![]));
    let (wire, events) = gateway.admit();
    assert_eq!(
        wire,
        "CONNREGISTERED session=00000000000004d2 timeout=60\r\n"
    );
    assert_eq!(events, [SessionEvent::Ready]);
    assert_eq!(
        gateway.input("YE\n"),
        (String::new(), vec![SessionEvent::Left])
    );
    gateway.assert_ended();
}

#[test]
fn what_waits_behind_connect_is_bounded() {
    let mut gateway = Gateway::new();
    gateway.input(CONNECT);
    assert_eq!(
        gateway.input("x".repeat(LINE_BYTES_MAX)),
        (String::new(), vec![])
    );
    assert_eq!(gateway.session.heap_bytes(), LINE_BYTES_MAX);
    let output = gateway.input("x");
    gateway.assert_broken(output, ErrorCode::LineTooLong);
}

#[test]
fn connect_must_be_whole_in_time() {
    let mut gateway = Gateway::new();
    gateway.input("CONNECT version=1");
    assert_eq!(gateway.due_s(), Some(10), "a part of it prolongs nothing");
    assert_eq!(gateway.at(9), (String::new(), vec![]));
    let output = gateway.at(10);
    gateway.assert_broken(output, ErrorCode::ConnectTimeout);
}

#[test]
fn an_owner_that_does_not_answer_is_not_the_handsets_fault() {
    let mut gateway = Gateway::new();
    gateway.at(9);
    gateway.input(CONNECT);
    assert_eq!(
        gateway.due_s(),
        Some(19),
        "CONNECT came in time; the wait for the owner is another one"
    );
    let output = gateway.at(19);
    gateway.assert_broken(output, ErrorCode::Internal);
}

/// PROTOCOL 3.2: registered, but neither KEEPALIVE nor REQUESTPENDING before WAITING.
#[test]
fn without_the_first_waiting_nothing_is_sent_and_it_ends() {
    let mut gateway = Gateway::registered();
    assert!(gateway.session.is_registered() && !gateway.session.is_ready());
    assert!(!gateway.session.signal(RequestId(1), None, &mut gateway.out));
    gateway.now = Millis::from_secs(5);
    gateway.session.on_data_channel(gateway.now);
    assert_eq!(gateway.drain(), (String::new(), vec![]));
    assert_eq!(gateway.due_s(), Some(10), "no data channel prolongs it");
    let output = gateway.at(10);
    gateway.assert_broken(output, ErrorCode::ConnectTimeout);
}

#[test]
fn keep_alive_and_its_answer() {
    let mut gateway = Gateway::ready();
    assert_eq!(gateway.at(59), (String::new(), vec![]));
    assert_eq!(
        gateway.at(60),
        ("KEEPALIVE\r\n".into(), vec![SessionEvent::KeepAliveSent])
    );
    assert_eq!(gateway.due_s(), Some(90), "the grace is 30 s");
    gateway.at(89);
    assert_eq!(
        gateway.input("WAITING\r\n"),
        (String::new(), vec![SessionEvent::KeepAliveAnswered])
    );
    assert_eq!(gateway.due_s(), Some(149));
}

#[test]
fn no_line_within_the_grace_is_death_without_a_line() {
    let mut gateway = Gateway::ready();
    gateway.at(60);
    assert_eq!(
        gateway.input("WAIT"),
        (String::new(), vec![]),
        "half a line is no line"
    );
    assert_eq!(gateway.at(89), (String::new(), vec![]));
    assert_eq!(gateway.at(90), (String::new(), vec![SessionEvent::Dead]));
    gateway.assert_ended();
}

#[test]
fn the_grace_is_no_longer_than_the_timeout() {
    let mut gateway = Gateway::new();
    gateway.input("CONNECT version=1 msisdn=34610515151 timeout=10 token=t\r\n");
    gateway.admit();
    gateway.input("WAITING\r\n");
    gateway.at(10);
    assert_eq!(gateway.due_s(), Some(20));
}

/// PROTOCOL 3.2: the timer restarts at every line and every data channel, but not at what the gateway sends.
#[test]
fn keepalives_fall_on_a_beat_early_by_less_than_one_and_keep_their_period() {
    let mut gateway = Gateway::registered();
    gateway.rules.beat = Beat {
        every: Millis(1000),
        offset: Millis(250),
    };
    gateway.now = Millis(300);
    gateway.input("WAITING\r\n");
    assert_eq!(gateway.session.deadline(), Some(Millis(60_250)));
    gateway.now = Millis(60_250);
    let rules = gateway.rules.clone();
    gateway
        .session
        .on_deadline(gateway.now, &rules, &mut gateway.out);
    // The answer takes its time, and the next one is due a whole timeout after this one all the same.
    gateway.now = Millis(60_900);
    gateway.input("WAITING\r\n");
    assert_eq!(gateway.session.deadline(), Some(Millis(120_250)));
}

#[test]
fn a_timeout_of_few_beats_is_kept_exactly() {
    let mut gateway = Gateway::registered();
    gateway.rules.beat = Beat {
        every: Millis(60_000 / BEATS_MIN + 1),
        offset: Millis(0),
    };
    gateway.now = Millis(301);
    gateway.input("WAITING\r\n");
    assert_eq!(gateway.session.deadline(), Some(Millis(60_301)));
}

#[test]
fn what_restarts_the_timer() {
    let mut gateway = Gateway::ready();
    gateway.at(20);
    gateway.input("WAITING\r\n");
    assert_eq!(gateway.due_s(), Some(80));
    gateway.session.on_data_channel(Millis::from_secs(30));
    assert_eq!(gateway.due_s(), Some(90));
    gateway.at(40);
    assert!(gateway.session.signal(RequestId(1), None, &mut gateway.out));
    gateway.session.reconnect(Millis(5), None, &mut gateway.out);
    assert_eq!(gateway.due_s(), Some(90));
}

#[test]
fn a_data_channel_that_is_told_late_puts_nothing_forward() {
    let mut gateway = Gateway::ready();
    gateway.at(20);
    gateway.input("WAITING\r\n");
    gateway.session.on_data_channel(Millis::from_secs(5));
    assert_eq!(gateway.due_s(), Some(80));
    gateway.at(80);
    gateway.session.on_data_channel(Millis::from_secs(30));
    assert_eq!(gateway.due_s(), Some(110), "the grace, from 80 s on");
    assert_eq!(gateway.at(110).0, "KEEPALIVE\r\n", "it is asked once more");
}

#[test]
fn a_data_channel_within_the_grace_saves_the_session_and_its_waiting_is_still_asked_for() {
    let mut gateway = Gateway::ready();
    gateway.at(60);
    gateway.at(70);
    gateway.session.on_data_channel(gateway.now);
    assert_eq!(gateway.due_s(), Some(130));
    assert_eq!(gateway.at(130).0, "KEEPALIVE\r\n");
    let answered = vec![SessionEvent::KeepAliveAnswered; 2];
    assert_eq!(
        gateway.input("WAITING\r\nWAITING\r\n"),
        (String::new(), answered)
    );
}

/// PROTOCOL 3.2: at most 10 a minute that nobody asked for.
#[test]
fn the_eleventh_unasked_waiting_in_a_minute_is_flooding() {
    let mut gateway = Gateway::ready();
    gateway.at(1);
    assert_eq!(
        gateway.input("WAITING\r\n".repeat(10)),
        (String::new(), vec![])
    );
    gateway.at(60);
    let output = gateway.input("WAITING\r\n");
    gateway.assert_broken(output, ErrorCode::Flooding);
}

#[test]
fn the_minute_begins_with_its_first_unasked_waiting() {
    let mut gateway = Gateway::ready();
    for minute in 0..5 {
        gateway.now = Millis::from_secs(1 + 60 * minute);
        gateway.input("WAITING\r\n".repeat(9));
        assert_eq!(
            gateway.input("WAITING\r\n"),
            (String::new(), vec![]),
            "{minute}"
        );
    }
    let output = gateway.input("WAITING\r\n");
    gateway.assert_broken(output, ErrorCode::Flooding);
}

#[test]
fn answers_to_keep_alive_are_not_counted_as_unasked() {
    let mut gateway = Gateway::new();
    gateway.rules.timeout_s = 1..=1;
    gateway.input(CONNECT);
    gateway.admit();
    gateway.input("WAITING\r\n");
    for second in 1..50 {
        assert_eq!(gateway.at(second).0, "KEEPALIVE\r\n", "{second}");
        assert_eq!(
            gateway.input("WAITING\r\n").1,
            [SessionEvent::KeepAliveAnswered],
            "{second}"
        );
    }
}

/// PROTOCOL 3.3: any number, without a WAITING in between, and during the grace too.
#[test]
fn several_requests_are_signalled_in_order() {
    let mut gateway = Gateway::ready();
    let data = HostPort::parse("[2001:db8::7]:7001");
    assert!(gateway.session.signal(RequestId(1), None, &mut gateway.out));
    assert!(
        gateway
            .session
            .signal(RequestId(2), data.as_ref(), &mut gateway.out)
    );
    let (wire, _) = gateway.drain();
    assert_eq!(
        wire,
        "REQUESTPENDING id=00000000000000000000000000000001\r\n\
         REQUESTPENDING id=00000000000000000000000000000002 data=[2001:db8::7]:7001\r\n"
    );
    gateway.at(60);
    assert!(gateway.session.signal(RequestId(3), None, &mut gateway.out));
}

/// PROTOCOL 3.4.
#[test]
fn reconnect_is_for_the_registered_and_ends_nothing() {
    let mut gateway = Gateway::new();
    gateway.session.reconnect(Millis(5), None, &mut gateway.out);
    assert_eq!(gateway.drain().0, "");
    for mut gateway in [Gateway::registered(), Gateway::ready()] {
        gateway.session.reconnect(
            Millis(1500),
            HostPort::parse("gw2:7000").as_ref(),
            &mut gateway.out,
        );
        assert_eq!(
            gateway.drain(),
            ("RECONNECT after=1500 to=gw2:7000\r\n".into(), vec![])
        );
        assert!(gateway.session.is_registered());
    }
}

/// PROTOCOL 3.4, before the first WAITING and after it.
#[test]
fn bye_leaves_without_an_answer() {
    for mut gateway in [Gateway::registered(), Gateway::ready()] {
        assert_eq!(
            gateway.input("BYE\r\nWAITING\r\n"),
            (String::new(), vec![SessionEvent::Left])
        );
        gateway.assert_ended();
    }
}

#[test]
fn the_owner_ends_it_at_any_stage() {
    for stage in [Gateway::new, Gateway::registered, Gateway::ready] {
        for code in [ErrorCode::Replaced, ErrorCode::Revoked, ErrorCode::Internal] {
            let mut gateway = stage();
            gateway.session.end(code, &mut gateway.out);
            let output = gateway.drain();
            gateway.assert_broken(output, code);
        }
    }
}

#[test]
fn a_clock_at_its_end_overflows_nothing() {
    let mut gateway = Gateway::ready();
    gateway.now = Millis(u64::MAX);
    gateway.input("WAITING\r\n");
    gateway.session.on_data_channel(gateway.now);
    assert_eq!(gateway.session.deadline(), Some(Millis(u64::MAX)));
}
