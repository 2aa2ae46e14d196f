//! Golden bytes: every example line of PROTOCOL.md, read and written, and its section 7 played by both machines.
//!
//! The lines stand here in full, so that a change of the wire cannot pass unseen. Where PROTOCOL.md abbreviates a
//! token or leaves a value open, a plausible one stands in.

use everline_protocol::line::Verb;
use everline_protocol::{
    Beat, Connect, DataLine, DataStep, ErrorCode, Handset, HandsetEvent, HandsetOutput, HostPort,
    Identity, LINE_BYTES_MAX, Message, Millis, Msisdn, Refusal, RefusalCode, RequestId, Rules,
    Session, SessionEvent, SessionId, SessionOutput, error_line,
};

const TOKEN: &str = "eyJhbGciOiJFZERTQSJ9.eyJzdWIiOiIzNDYxMDUxNTE1MSJ9.c2ln";
const REQUEST: RequestId = RequestId(0x9f86_d081_884c_7d65_9a2f_eaa0_c55a_d015);
const SESSION: SessionId = SessionId(1234);

fn msisdn() -> Msisdn {
    Msisdn::parse(b"34610515151").unwrap()
}

fn connect(linger_s: u32, agent: Option<&str>) -> Message {
    Message::Connect(Connect {
        msisdn: msisdn(),
        timeout_s: 300,
        token: TOKEN.into(),
        linger_s,
        agent: agent.map(Into::into),
    })
}

fn host_port(host: &str, port: u16) -> Option<HostPort> {
    Some(HostPort {
        host: host.into(),
        port,
    })
}

fn refused(code: RefusalCode, retry_after_s: Option<u32>, reason: Option<&str>) -> Message {
    Message::Refused(Refusal {
        code,
        retry_after_s,
        reason: reason.map(Into::into),
    })
}

fn error(code: ErrorCode) -> Message {
    Message::Error { code, reason: None }
}

/// Section, line, meaning.
fn examples() -> Vec<(&'static str, String, Message)> {
    let connect_line = format!("CONNECT version=1 msisdn=34610515151 timeout=300 token={TOKEN}");
    vec![
        (
            "3.1",
            format!("{connect_line} linger=5 agent=everline-agent/0.1.0"),
            connect(5, Some("everline-agent/0.1.0")),
        ),
        ("3.1", format!("{connect_line} linger=5"), connect(5, None)),
        (
            "3.1",
            "CONNREGISTERED session=00000000000004d2 timeout=300".into(),
            Message::Registered {
                session: SESSION,
                timeout_s: 300,
            },
        ),
        (
            "3.1",
            "CONNREFUSED code=bad-version".into(),
            refused(RefusalCode::BadVersion, None, None),
        ),
        (
            "3.1",
            "CONNREFUSED code=bad-msisdn".into(),
            refused(RefusalCode::BadMsisdn, None, None),
        ),
        (
            "3.1",
            "CONNREFUSED code=bad-timeout".into(),
            refused(RefusalCode::BadTimeout, None, None),
        ),
        (
            "3.1",
            "CONNREFUSED code=bad-token".into(),
            refused(RefusalCode::BadToken, None, None),
        ),
        (
            "3.1",
            "CONNREFUSED code=full".into(),
            refused(RefusalCode::Full, None, None),
        ),
        (
            "3.1",
            "CONNREFUSED code=overloaded retry-after=7".into(),
            refused(RefusalCode::Overloaded, Some(7), None),
        ),
        (
            "3.1",
            "CONNREFUSED code=draining retry-after=30 reason=going%20away".into(),
            refused(RefusalCode::Draining, Some(30), Some("going away")),
        ),
        (
            "3.1",
            "ERROR code=connect-timeout".into(),
            error(ErrorCode::ConnectTimeout),
        ),
        (
            "3.1",
            "ERROR code=replaced".into(),
            error(ErrorCode::Replaced),
        ),
        ("3.2", "WAITING".into(), Message::Waiting),
        ("3.2", "KEEPALIVE".into(), Message::KeepAlive),
        (
            "3.2",
            "ERROR code=flooding".into(),
            error(ErrorCode::Flooding),
        ),
        (
            "3.3",
            "REQUESTPENDING id=9f86d081884c7d659a2feaa0c55ad015".into(),
            Message::RequestPending {
                id: REQUEST,
                data: None,
            },
        ),
        (
            "3.3",
            "REQUESTPENDING id=9f86d081884c7d659a2feaa0c55ad015 data=203.0.113.7:7001".into(),
            Message::RequestPending {
                id: REQUEST,
                data: host_port("203.0.113.7", 7001),
            },
        ),
        (
            "3.3",
            "REQUESTPENDING id=9f86d081884c7d659a2feaa0c55ad015 data=[2001:db8::7]:7001".into(),
            Message::RequestPending {
                id: REQUEST,
                data: host_port("2001:db8::7", 7001),
            },
        ),
        (
            "3.4",
            "RECONNECT after=1500".into(),
            Message::Reconnect {
                after: Millis(1500),
                to: None,
            },
        ),
        (
            "3.4",
            "RECONNECT after=0 to=gw2.example.net:7000".into(),
            Message::Reconnect {
                after: Millis(0),
                to: host_port("gw2.example.net", 7000),
            },
        ),
        ("3.4", "BYE".into(), Message::Bye),
        ("4", "ERROR code=revoked".into(), error(ErrorCode::Revoked)),
        (
            "4",
            "ERROR code=internal".into(),
            error(ErrorCode::Internal),
        ),
        (
            "2",
            "ERROR code=bad-line reason=no%20such%20form".into(),
            Message::Error {
                code: ErrorCode::BadLine,
                reason: Some("no such form".into()),
            },
        ),
        (
            "5.1",
            "DATA id=9f86d081884c7d659a2feaa0c55ad015".into(),
            Message::Data(REQUEST),
        ),
        (
            "5.1",
            "ERROR code=unknown-request".into(),
            error(ErrorCode::UnknownRequest),
        ),
    ]
}

#[test]
fn every_example_line_is_read_and_written_byte_for_byte() {
    for (section, line, message) in examples() {
        assert_eq!(
            Message::parse(line.as_bytes()),
            Ok(message.clone()),
            "PROTOCOL {section}: {line}"
        );
        let mut wire = Vec::new();
        message.encode(&mut wire);
        assert_eq!(
            String::from_utf8(wire).unwrap(),
            format!("{line}\r\n"),
            "PROTOCOL {section}"
        );
    }
}

#[test]
fn every_verb_has_an_example() {
    for verb in Verb::ALL {
        let shown = examples()
            .iter()
            .any(|(_, line, _)| line.split(' ').next() == Some(verb.name()));
        assert!(shown, "{verb:?}");
    }
}

/// PROTOCOL 3.1: linger and agent may be absent, and the order of keys is free (section 2).
#[test]
fn optional_keys_and_their_order_are_free() {
    let bare = format!("CONNECT version=1 msisdn=34610515151 timeout=300 token={TOKEN}");
    assert_eq!(Message::parse(bare.as_bytes()), Ok(connect(0, None)));
    let shuffled = format!(
        "CONNECT token={TOKEN} colour=blue timeout=300 agent=a/1 msisdn=34610515151 linger=0 version=1"
    );
    assert_eq!(
        Message::parse(shuffled.as_bytes()),
        Ok(connect(0, Some("a/1")))
    );
}

/// PROTOCOL section 4: the ERROR lines as a gateway writes them; protocol errors have a reason (section 2).
#[test]
fn every_closing_line_of_a_gateway() {
    let lines = [
        (
            ErrorCode::BadLine,
            "ERROR code=bad-line reason=malformed%20line\r\n",
        ),
        (
            ErrorCode::LineTooLong,
            "ERROR code=line-too-long reason=line%20of%20more%20than%202048%20bytes\r\n",
        ),
        (
            ErrorCode::UnknownVerb,
            "ERROR code=unknown-verb reason=no%20such%20verb%20in%20version%201\r\n",
        ),
        (
            ErrorCode::UnexpectedVerb,
            "ERROR code=unexpected-verb reason=verb%20out%20of%20place\r\n",
        ),
        (ErrorCode::ConnectTimeout, "ERROR code=connect-timeout\r\n"),
        (ErrorCode::Replaced, "ERROR code=replaced\r\n"),
        (ErrorCode::Revoked, "ERROR code=revoked\r\n"),
        (ErrorCode::Flooding, "ERROR code=flooding\r\n"),
        (ErrorCode::Internal, "ERROR code=internal\r\n"),
        (ErrorCode::UnknownRequest, "ERROR code=unknown-request\r\n"),
    ];
    assert_eq!(lines.len(), ErrorCode::ALL.len());
    for (code, line) in lines {
        assert_eq!(String::from_utf8(error_line(code)).unwrap(), line);
    }
}

/// PROTOCOL section 2: 2,048 bytes with the ending are a line, for the machine as for the reader.
#[test]
fn the_longest_line_is_one() {
    let mut line =
        format!("CONNECT version=1 msisdn=34610515151 timeout=300 token={TOKEN} linger=0 x=")
            .into_bytes();
    line.resize(LINE_BYTES_MAX - 2, b'x');
    line.extend_from_slice(b"\r\n");
    let (rules, mut out) = (rules(), SessionOutput::default());
    Session::new(Millis(0), &rules).input(&line, Millis(0), &rules, &mut out);
    assert!(matches!(
        out.events.as_slice(),
        [SessionEvent::Authenticate(_)]
    ));
}

fn rules() -> Rules {
    Rules {
        timeout_s: 10..=3600,
        connect_limit: Millis::from_secs(10),
        grace_max: Millis::from_secs(30),
        beat: Beat::default(),
    }
}

fn wire(bytes: &mut Vec<u8>) -> String {
    String::from_utf8(std::mem::take(bytes)).unwrap()
}

/// PROTOCOL section 7, line by line: each machine produces its lines, and understands the other's.
#[test]
fn a_session_in_full() {
    let rules = rules();
    let (mut gateway_out, mut handset_out) = (SessionOutput::default(), HandsetOutput::default());
    let identity = Identity {
        msisdn: msisdn(),
        token: TOKEN.into(),
        timeout_s: 300,
        linger_s: 0,
        agent: None,
    };

    let mut session = Session::new(Millis(0), &rules);
    let mut handset = Handset::connect(
        &identity,
        Millis(0),
        Millis::from_secs(10),
        &mut handset_out,
    );
    let line = wire(&mut handset_out.wire);
    assert_eq!(
        line,
        format!("CONNECT version=1 msisdn=34610515151 timeout=300 token={TOKEN} linger=0\r\n")
    );
    session.input(line.as_bytes(), Millis(50), &rules, &mut gateway_out);
    let Message::Connect(asked) = connect(0, None) else {
        unreachable!()
    };
    assert_eq!(
        std::mem::take(&mut gateway_out.events),
        [SessionEvent::Authenticate(Box::new(asked))]
    );

    session.admit(SESSION, Millis(50), &rules, &mut gateway_out);
    let line = wire(&mut gateway_out.wire);
    assert_eq!(
        line,
        "CONNREGISTERED session=00000000000004d2 timeout=300\r\n"
    );
    handset.input(line.as_bytes(), Millis(100), &mut handset_out);
    assert_eq!(
        std::mem::take(&mut handset_out.events),
        [HandsetEvent::Registered {
            session: SESSION,
            timeout_s: 300
        }]
    );

    let line = wire(&mut handset_out.wire);
    assert_eq!(line, "WAITING\r\n");
    session.input(line.as_bytes(), Millis(150), &rules, &mut gateway_out);
    assert_eq!(
        std::mem::take(&mut gateway_out.events),
        [SessionEvent::Ready]
    );

    let data = host_port("203.0.113.7", 7001);
    assert!(session.signal(REQUEST, data.as_ref(), &mut gateway_out));
    let line = wire(&mut gateway_out.wire);
    assert_eq!(
        line,
        "REQUESTPENDING id=9f86d081884c7d659a2feaa0c55ad015 data=203.0.113.7:7001\r\n"
    );
    handset.input(line.as_bytes(), Millis(200), &mut handset_out);
    assert_eq!(
        std::mem::take(&mut handset_out.events),
        [HandsetEvent::RequestPending { id: REQUEST, data }]
    );

    let line = DataLine::encode(REQUEST);
    assert_eq!(line, b"DATA id=9f86d081884c7d659a2feaa0c55ad015\r\n");
    assert_eq!(
        DataLine::default().input(&line),
        DataStep::Bound {
            id: REQUEST,
            used: line.len()
        }
    );
    session.on_data_channel(Millis(1000));
    handset.on_data_channel(Millis(950));

    assert_eq!(
        session.deadline(),
        Some(Millis(301_000)),
        "300 s after the data channel"
    );
    session.on_deadline(Millis(300_999), &rules, &mut gateway_out);
    assert_eq!(wire(&mut gateway_out.wire), "");
    session.on_deadline(Millis(301_000), &rules, &mut gateway_out);
    let line = wire(&mut gateway_out.wire);
    assert_eq!(line, "KEEPALIVE\r\n");
    handset.input(line.as_bytes(), Millis(301_050), &mut handset_out);
    assert_eq!(
        std::mem::take(&mut handset_out.events),
        [HandsetEvent::KeepAlive]
    );

    let line = wire(&mut handset_out.wire);
    assert_eq!(line, "WAITING\r\n");
    session.input(line.as_bytes(), Millis(301_100), &rules, &mut gateway_out);
    assert_eq!(
        gateway_out.events,
        [SessionEvent::KeepAliveSent, SessionEvent::KeepAliveAnswered]
    );
    assert_eq!(wire(&mut gateway_out.wire), "");
}
