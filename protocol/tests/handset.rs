//! The handset's machine alone: what it answers, what it tells its owner, when it gives a gateway up.

use everline_protocol::{
    ErrorCode, Handset, HandsetEvent, HandsetOutput, HostPort, Identity, LINE_BYTES_MAX, Millis,
    Msisdn, Refusal, RefusalCode, RequestId, SessionId, error_line,
};

const REGISTERED: &str = "CONNREGISTERED session=00000000000004d2 timeout=60\r\n";
const ANSWER_LIMIT: Millis = Millis::from_secs(10);

struct Phone {
    handset: Handset,
    now: Millis,
    out: HandsetOutput,
}

impl Phone {
    fn identity() -> Identity {
        Identity {
            msisdn: Msisdn::parse(b"34610515151").unwrap(),
            token: "t".into(),
            timeout_s: 60,
            linger_s: 5,
            agent: Some("acme phone/1".into()),
        }
    }

    fn connecting() -> Self {
        let mut out = HandsetOutput::default();
        let handset = Handset::connect(&Self::identity(), Millis(0), ANSWER_LIMIT, &mut out);
        out.wire.clear();
        Self {
            handset,
            now: Millis(0),
            out,
        }
    }

    fn live() -> Self {
        let mut phone = Self::connecting();
        let registered = HandsetEvent::Registered {
            session: SessionId(1234),
            timeout_s: 60,
        };
        assert_eq!(
            phone.input(REGISTERED),
            ("WAITING\r\n".into(), vec![registered])
        );
        phone
    }

    fn drain(&mut self) -> (String, Vec<HandsetEvent>) {
        let out = std::mem::take(&mut self.out);
        (String::from_utf8(out.wire).unwrap(), out.events)
    }

    fn input(&mut self, bytes: impl AsRef<[u8]>) -> (String, Vec<HandsetEvent>) {
        self.handset.input(bytes.as_ref(), self.now, &mut self.out);
        self.drain()
    }

    fn at(&mut self, now_s: u32) -> (String, Vec<HandsetEvent>) {
        self.now = Millis::from_secs(now_s);
        self.handset.on_deadline(self.now, &mut self.out);
        self.drain()
    }

    fn due_s(&self) -> Option<u64> {
        self.handset.deadline().map(|deadline| deadline.0 / 1000)
    }

    /// After the end every call does nothing.
    fn assert_ended(&mut self) {
        self.handset.on_data_channel(Millis(u64::MAX));
        self.handset.bye(&mut self.out);
        self.handset.on_deadline(Millis(u64::MAX), &mut self.out);
        assert_eq!(self.input("KEEPALIVE\r\nKEEP"), (String::new(), vec![]));
        assert_eq!(self.handset.deadline(), None);
        assert!(!self.handset.is_registered());
        assert_eq!(self.handset.heap_bytes(), 0);
    }

    #[track_caller]
    fn assert_bad_gateway(&mut self, output: (String, Vec<HandsetEvent>), code: ErrorCode) {
        let line = String::from_utf8(error_line(code)).unwrap();
        assert_eq!(output, (line, vec![HandsetEvent::BadGateway(code)]));
        self.assert_ended();
    }
}

#[test]
fn a_million_of_them_stay_small() {
    assert!(size_of::<Handset>() <= 32, "{}", size_of::<Handset>());
    let mut phone = Phone::live();
    phone.input("KEEPAL");
    assert!((6..=LINE_BYTES_MAX).contains(&phone.handset.heap_bytes()));
    phone.input("IVE\r\n");
    assert_eq!(phone.handset.heap_bytes(), 0, "an idle handset has no heap");
}

#[test]
fn connect_says_all_that_the_owner_told() {
    let mut out = HandsetOutput::default();
    Handset::connect(&Phone::identity(), Millis(0), ANSWER_LIMIT, &mut out);
    assert_eq!(
        String::from_utf8(out.wire).unwrap(),
        "CONNECT version=1 msisdn=34610515151 timeout=60 token=t linger=5 agent=acme%20phone/1\r\n"
    );
}

#[test]
fn an_odd_token_makes_no_second_line() {
    let mut out = HandsetOutput::default();
    let identity = Identity {
        token: "t\r\nBYE x=1".into(),
        agent: None,
        ..Phone::identity()
    };
    Handset::connect(&identity, Millis(0), ANSWER_LIMIT, &mut out);
    assert_eq!(
        String::from_utf8(out.wire).unwrap(),
        "CONNECT version=1 msisdn=34610515151 timeout=60 token=t%0D%0ABYE%20x=1 linger=5\r\n"
    );
}

#[test]
fn no_answer_in_time_is_silence() {
    let mut phone = Phone::connecting();
    phone.input("CONNREG");
    assert_eq!(phone.at(9), (String::new(), vec![]));
    assert_eq!(phone.at(10), (String::new(), vec![HandsetEvent::Silent]));
    phone.assert_ended();
}

#[test]
fn every_refusal_reaches_the_owner() {
    for code in RefusalCode::ALL {
        let mut phone = Phone::connecting();
        let refusal = Refusal {
            code: *code,
            retry_after_s: Some(7),
            reason: Some("not now".into()),
        };
        let line = format!(
            "CONNREFUSED code={} retry-after=7 reason=not%20now\r\n",
            code.name()
        );
        assert_eq!(
            phone.input(line),
            (String::new(), vec![HandsetEvent::Refused(refusal)])
        );
        phone.assert_ended();
    }
    let mut phone = Phone::connecting();
    let refusal = Refusal::new(RefusalCode::Unknown);
    assert_eq!(
        phone.input("CONNREFUSED code=moon-phase\n").1,
        [HandsetEvent::Refused(refusal)]
    );
}

#[test]
fn every_error_reaches_the_owner_before_registration_and_after() {
    for stage in [Phone::connecting, Phone::live] {
        for code in ErrorCode::ALL {
            let mut phone = stage();
            let line = error_line(*code);
            assert_eq!(
                phone.input(line),
                (String::new(), vec![HandsetEvent::Closed(*code)])
            );
            phone.assert_ended();
        }
    }
}

#[test]
fn keep_alive_is_answered_at_once() {
    let mut phone = Phone::live();
    let both = vec![HandsetEvent::KeepAlive, HandsetEvent::KeepAlive];
    assert_eq!(
        phone.input("KEEPALIVE\r\nKEEPALIVE later=1\n"),
        ("WAITING\r\nWAITING\r\n".into(), both)
    );
}

#[test]
fn requests_and_reconnect_are_told_with_their_addresses() {
    let mut phone = Phone::live();
    let lines = "REQUESTPENDING id=00000000000000000000000000000001\r\n\
                 REQUESTPENDING data=[::1]:7001 id=00000000000000000000000000000002\r\n\
                 RECONNECT after=1500\r\nRECONNECT after=0 to=gw2.example.net:7000\r\n";
    let (wire, events) = phone.input(lines);
    assert_eq!(
        wire, "",
        "none of these is answered on the signaling connection"
    );
    assert_eq!(
        events,
        [
            HandsetEvent::RequestPending {
                id: RequestId(1),
                data: None
            },
            HandsetEvent::RequestPending {
                id: RequestId(2),
                data: HostPort::parse("[::1]:7001")
            },
            HandsetEvent::Reconnect {
                after: Millis(1500),
                to: None
            },
            HandsetEvent::Reconnect {
                after: Millis(0),
                to: HostPort::parse("gw2.example.net:7000")
            },
        ]
    );
    assert!(
        phone.handset.is_registered(),
        "the old connection serves on until the new one is there"
    );
}

#[test]
fn a_gateway_that_misses_its_keep_alive_is_silent() {
    let mut phone = Phone::live();
    assert_eq!(
        phone.due_s(),
        Some(70),
        "timeout and slack after CONNREGISTERED"
    );
    phone.at(20);
    phone.input("REQUESTPENDING id=00000000000000000000000000000001\r\n");
    assert_eq!(phone.due_s(), Some(90), "a line restarts it");
    phone.handset.on_data_channel(Millis::from_secs(30));
    assert_eq!(
        phone.due_s(),
        Some(100),
        "a data channel restarts it, as it does the gateway's timer"
    );
    phone.at(40);
    phone.input("KEEPAL");
    assert_eq!(phone.due_s(), Some(100), "half a line does not");
    assert_eq!(phone.at(99), (String::new(), vec![]));
    assert_eq!(phone.at(100), (String::new(), vec![HandsetEvent::Silent]));
    phone.assert_ended();
}

#[test]
fn a_data_channel_counts_only_once_registered() {
    let mut phone = Phone::connecting();
    phone.handset.on_data_channel(Millis::from_secs(5));
    assert_eq!(phone.due_s(), Some(10));
}

#[test]
fn bye_is_the_last_word() {
    for mut phone in [Phone::connecting(), Phone::live()] {
        phone.handset.bye(&mut phone.out);
        assert_eq!(phone.drain(), ("BYE\r\n".into(), vec![]));
        phone.assert_ended();
    }
}

/// PROTOCOL section 2 binds both sides: a protocol error is answered with ERROR, then the connection is closed.
#[test]
fn a_gateway_that_breaks_the_protocol_is_told() {
    let too_long = "A".repeat(LINE_BYTES_MAX + 1);
    let always = [
        ("keepalive\r\n", ErrorCode::BadLine),
        ("KEEPALIVE a=1 a=2\r\n", ErrorCode::BadLine),
        ("ERROR\r\n", ErrorCode::BadLine),
        ("HELLO\r\n", ErrorCode::UnknownVerb),
        ("WAITING\r\n", ErrorCode::UnexpectedVerb),
        ("CONNECT version=2\r\n", ErrorCode::UnexpectedVerb),
        (
            "DATA id=00000000000000000000000000000001\r\n",
            ErrorCode::UnexpectedVerb,
        ),
        (&too_long, ErrorCode::LineTooLong),
    ];
    for stage in [Phone::connecting, Phone::live] {
        for (line, code) in always {
            let mut phone = stage();
            let output = phone.input(line);
            phone.assert_bad_gateway(output, code);
        }
    }
}

#[test]
fn lines_have_their_time() {
    for line in [
        "KEEPALIVE\r\n",
        "REQUESTPENDING id=00000000000000000000000000000001\r\n",
        "RECONNECT after=0\r\n",
    ] {
        let mut phone = Phone::connecting();
        let output = phone.input(line);
        phone.assert_bad_gateway(output, ErrorCode::UnexpectedVerb);
    }
    for line in [REGISTERED, "CONNREFUSED code=full\r\n"] {
        let mut phone = Phone::live();
        let output = phone.input(line);
        phone.assert_bad_gateway(output, ErrorCode::UnexpectedVerb);
    }
}

#[test]
fn values_that_mean_nothing_are_bad_lines() {
    for line in [
        "CONNREGISTERED",
        "CONNREGISTERED session=4d2 timeout=60",
        "CONNREGISTERED session=00000000000004d2",
        "CONNREGISTERED session=00000000000004d2 timeout=0",
        "CONNREGISTERED session=00000000000004d2 timeout=86401",
        "CONNREFUSED",
        "CONNREFUSED code=full retry-after=soon",
    ] {
        let mut phone = Phone::connecting();
        let output = phone.input(format!("{line}\r\n"));
        phone.assert_bad_gateway(output, ErrorCode::BadLine);
    }
    let id = "REQUESTPENDING id=00000000000000000000000000000001 data=";
    for line in [
        "REQUESTPENDING",
        "REQUESTPENDING id=1",
        "RECONNECT",
        "RECONNECT after=-1",
        "RECONNECT after=1 to=gw2",
        &format!("{id}host:0"),
        &format!("{id}host:65536"),
        &format!("{id}host:+80"),
        &format!("{id}:80"),
        &format!("{id}::1:80"),
        &format!("{id}[::1]80"),
        &format!("{id}[nonsense]:80"),
        &format!("{id}[127.0.0.1]:80"),
        &format!("{id}a/b:80"),
        &format!("{id}{}:80", "a".repeat(254)),
    ] {
        let mut phone = Phone::live();
        let output = phone.input(format!("{line}\r\n"));
        phone.assert_bad_gateway(output, ErrorCode::BadLine);
    }
}
