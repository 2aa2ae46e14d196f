//! Properties of all inputs: round trips, indifference to fragmentation, and that no bytes panic or pile up.

use everline_protocol::line::{Line, LineReader};
use everline_protocol::{
    Beat, Connect, DataLine, DataStep, ErrorCode, Handset, HandsetEvent, HandsetOutput, HostPort,
    Identity, LINE_BYTES_MAX, Message, Millis, Msisdn, Refusal, RefusalCode, RequestId, Rules,
    Session, SessionEvent, SessionId, SessionOutput,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;
use proptest::sample::select;

fn rules() -> Rules {
    Rules {
        timeout_s: 10..=3600,
        connect_limit: Millis::from_secs(10),
        grace_max: Millis::from_secs(30),
        beat: Beat::default(),
    }
}

fn msisdn() -> impl Strategy<Value = Msisdn> {
    (10_000u64..1_000_000_000_000_000).prop_map(|number| Msisdn::from_u64(number).unwrap())
}

/// What survives a round trip: up to 20 characters (so that nothing is cut), none of them a control character.
fn text() -> impl Strategy<Value = Option<String>> {
    option::of("\\PC{1,20}")
}

fn host_port() -> impl Strategy<Value = HostPort> {
    let host = prop_oneof![
        "[a-zA-Z0-9._-]{1,60}",
        any::<std::net::Ipv4Addr>().prop_map(|address| address.to_string()),
        any::<std::net::Ipv6Addr>().prop_map(|address| address.to_string()),
    ];
    (host, 1u16..).prop_map(|(host, port)| HostPort { host, port })
}

fn connect() -> impl Strategy<Value = Connect> {
    (
        msisdn(),
        1u32..=86_400,
        "[!-~]{1,200}",
        any::<u32>(),
        text(),
    )
        .prop_map(|(msisdn, timeout_s, token, linger_s, agent)| Connect {
            msisdn,
            timeout_s,
            token,
            linger_s,
            agent,
        })
}

fn message() -> impl Strategy<Value = Message> {
    let id = || any::<u128>().prop_map(RequestId);
    prop_oneof![
        connect().prop_map(Message::Connect),
        (any::<u64>(), 1u32..=86_400).prop_map(|(session, timeout_s)| Message::Registered {
            session: SessionId(session),
            timeout_s
        }),
        (select(RefusalCode::ALL), option::of(any::<u32>()), text()).prop_map(
            |(code, retry_after_s, reason)| Message::Refused(Refusal {
                code,
                retry_after_s,
                reason
            })
        ),
        Just(Message::Waiting),
        Just(Message::KeepAlive),
        (id(), option::of(host_port())).prop_map(|(id, data)| Message::RequestPending { id, data }),
        (any::<u64>(), option::of(host_port())).prop_map(|(after, to)| Message::Reconnect {
            after: Millis(after),
            to
        }),
        Just(Message::Bye),
        (select(ErrorCode::ALL), text()).prop_map(|(code, reason)| Message::Error { code, reason }),
        id().prop_map(Message::Data),
    ]
}

fn encoded(message: &Message) -> Vec<u8> {
    let mut wire = Vec::new();
    message.encode(&mut wire);
    wire
}

/// Lines good and bad, as either side might send them, with either ending.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let line = prop_oneof![
        4 => message().prop_map(|message| encoded(&message)),
        2 => select(vec!["WAITING\r\n", "WAITING\n", "KEEPALIVE\r\n", "BYE\r\n", "HELLO\r\n", "\r\n", "WAITING \n"])
            .prop_map(|line| line.as_bytes().to_vec()),
        1 => "[A-Z]{1,12}( [a-z]{1,3}=[!-~]{0,4}){0,3}\r?\n".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..40),
    ];
    vec(line, 0..12).prop_map(|lines| lines.concat())
}

/// Cuts `bytes` at `cuts` (each taken modulo the length); without cuts it is one piece.
fn pieces<'b>(bytes: &'b [u8], cuts: &[usize]) -> Vec<&'b [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut % (bytes.len() + 1)).collect();
    at.extend([0, bytes.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// Feeds a session, admitting it as soon as it asks, and checks that it never keeps more than a line.
fn run_session(pieces: &[&[u8]]) -> (String, Vec<SessionEvent>) {
    let (rules, mut all) = (rules(), SessionOutput::default());
    let mut session = Session::new(Millis(0), &rules);
    for piece in pieces {
        let asked = all.events.len();
        session.input(piece, Millis(1), &rules, &mut all);
        assert!(session.heap_bytes() <= LINE_BYTES_MAX);
        if all.events[asked..]
            .iter()
            .any(|event| matches!(event, SessionEvent::Authenticate(_)))
        {
            session.admit(SessionId(1), Millis(1), &rules, &mut all);
        }
    }
    (String::from_utf8(all.wire).unwrap(), all.events)
}

fn run_handset(pieces: &[&[u8]]) -> (String, Vec<HandsetEvent>) {
    let msisdn = Msisdn::parse(b"34610515151").unwrap();
    let identity = Identity {
        msisdn,
        token: "t".into(),
        timeout_s: 60,
        linger_s: 0,
        agent: None,
    };
    let mut all = HandsetOutput::default();
    let mut handset = Handset::connect(&identity, Millis(0), Millis::from_secs(10), &mut all);
    for piece in pieces {
        handset.input(piece, Millis(1), &mut all);
        assert!(handset.heap_bytes() <= LINE_BYTES_MAX);
    }
    (String::from_utf8(all.wire).unwrap(), all.events)
}

/// The outcome, and how many bytes of the stream the line took.
fn run_data(pieces: &[&[u8]]) -> (Option<Result<RequestId, ErrorCode>>, usize) {
    let (mut data, mut before) = (DataLine::default(), 0);
    for piece in pieces {
        match data.input(piece) {
            DataStep::More => before += piece.len(),
            DataStep::Bound { id, used } => return (Some(Ok(id)), before + used),
            DataStep::Bad(code) => return (Some(Err(code)), 0),
        }
    }
    (None, before)
}

fn run_reader(pieces: &[&[u8]]) -> Vec<Result<Vec<u8>, ErrorCode>> {
    let (mut reader, mut lines) = (LineReader::default(), Vec::new());
    for piece in pieces {
        let mut rest = *piece;
        while !rest.is_empty() {
            match reader.next(&mut rest) {
                Ok(None) => {}
                Ok(Some(line)) => lines.push(Ok(line.into_owned())),
                Err(code) => {
                    lines.push(Err(code));
                    return lines;
                }
            }
        }
    }
    lines
}

/// What a reader must find, said without increments.
fn lines_of(stream: &[u8]) -> Vec<Result<Vec<u8>, ErrorCode>> {
    let mut lines = Vec::new();
    for piece in stream.split_inclusive(|byte| *byte == b'\n') {
        if piece.len() > LINE_BYTES_MAX {
            lines.push(Err(ErrorCode::LineTooLong));
            break;
        }
        if let Some(line) = piece.strip_suffix(b"\n") {
            lines.push(Ok(line.strip_suffix(b"\r").unwrap_or(line).to_vec()));
        }
    }
    lines
}

proptest! {
    #[test]
    fn every_message_is_read_back(message in message()) {
        let wire = encoded(&message);
        let line = wire.strip_suffix(b"\r\n").expect("ends in CRLF");
        prop_assert!(wire.len() <= LINE_BYTES_MAX);
        prop_assert_eq!(Message::parse(line), Ok(message));
    }

    #[test]
    fn later_keys_change_nothing(message in message(), value in "[!-~]{1,40}") {
        let mut line = encoded(&message);
        line.truncate(line.len() - 2);
        line.extend_from_slice(format!(" z-later={value}").as_bytes());
        prop_assert_eq!(Message::parse(&line), Ok(message));
    }

    /// Whatever stands in the fields, it stays in its place: one line, well-formed, with no key of its own.
    #[test]
    fn no_field_injects_a_word_or_a_line(msisdn in msisdn(), nasty in any::<String>(), host in any::<String>()) {
        let address = Some(HostPort { host, port: 1 });
        let messages = [
            Message::Connect(Connect {
                msisdn, timeout_s: 1, token: nasty.clone(), linger_s: 0, agent: Some(nasty.clone()),
            }),
            Message::Refused(Refusal { code: RefusalCode::Full, retry_after_s: None, reason: Some(nasty.clone()) }),
            Message::RequestPending { id: RequestId(1), data: address.clone() },
            Message::Reconnect { after: Millis(1), to: address },
            Message::Error { code: ErrorCode::Internal, reason: Some(nasty) },
        ];
        for (message, words_max) in messages.iter().zip([7, 3, 3, 3, 3]) {
            let wire = encoded(message);
            let line = wire.strip_suffix(b"\r\n").expect("ends in CRLF");
            prop_assert!(line.iter().all(|byte| *byte == b' ' || byte.is_ascii_graphic()));
            prop_assert!(line.split(|byte| *byte == b' ').count() <= words_max);
            prop_assert!(Line::parse(line).is_ok());
        }
    }

    #[test]
    fn lines_are_found_wherever_they_were_cut(stream in stream(), cuts in vec(any::<usize>(), 0..30)) {
        prop_assert_eq!(run_reader(&pieces(&stream, &cuts)), lines_of(&stream));
    }

    #[test]
    fn long_lines_are_judged_alike_wherever_they_were_cut(
        lengths in vec(prop_oneof![0usize..10, 2040usize..2055], 1..5),
        cuts in vec(any::<usize>(), 0..30),
    ) {
        let stream: Vec<u8> = lengths.iter().flat_map(|n| [vec![b'A'; *n], b"\n".to_vec()].concat()).collect();
        prop_assert_eq!(run_reader(&pieces(&stream, &cuts)), lines_of(&stream));
        prop_assert_eq!(run_session(&pieces(&stream, &cuts)), run_session(&[&stream]));
        prop_assert_eq!(run_handset(&pieces(&stream, &cuts)), run_handset(&[&stream]));
        prop_assert_eq!(run_data(&pieces(&stream, &cuts)), run_data(&[&stream]));
    }

    /// Up to one line's worth may wait behind a CONNECT whose answer is awaited; that bound depends on the cuts, so the
    /// stream behind stays within it.
    #[test]
    fn a_session_is_indifferent_to_fragmentation(
        connect in option::of(connect()), mut behind in stream(), cuts in vec(any::<usize>(), 0..30),
    ) {
        behind.truncate(LINE_BYTES_MAX);
        let first = connect.map(|connect| encoded(&Message::Connect(connect))).unwrap_or_default();
        let stream = [first, behind].concat();
        prop_assert_eq!(run_session(&pieces(&stream, &cuts)), run_session(&[&stream]));
    }

    #[test]
    fn a_handset_is_indifferent_to_fragmentation(
        registered in any::<bool>(), behind in stream(), cuts in vec(any::<usize>(), 0..30),
    ) {
        let first = Message::Registered { session: SessionId(1), timeout_s: 60 };
        let stream = if registered { [encoded(&first), behind].concat() } else { behind };
        prop_assert_eq!(run_handset(&pieces(&stream, &cuts)), run_handset(&[&stream]));
    }

    #[test]
    fn a_data_line_is_indifferent_to_fragmentation(
        id in any::<u128>(), known in any::<bool>(), behind in stream(), cuts in vec(any::<usize>(), 0..30),
    ) {
        let stream = if known { [DataLine::encode(RequestId(id)), behind].concat() } else { behind };
        prop_assert_eq!(run_data(&pieces(&stream, &cuts)), run_data(&[&stream]));
    }

    #[test]
    fn no_bytes_panic_or_pile_up(stream in vec(any::<u8>(), 0..6000), cuts in vec(any::<usize>(), 0..30)) {
        let pieces = pieces(&stream, &cuts);
        run_session(&pieces);
        run_handset(&pieces);
        run_data(&pieces);
        let _ = Message::parse(&stream);
    }

    #[test]
    fn no_time_panics(times in vec(any::<u64>(), 1..20)) {
        let (rules, mut out) = (rules(), SessionOutput::default());
        let mut session = Session::new(Millis(times[0]), &rules);
        let connect = b"CONNECT version=1 msisdn=34610515151 timeout=86400 token=t\nWAITING\n";
        session.input(connect, Millis(times[0]), &rules, &mut out);
        session.admit(SessionId(1), Millis(times[0]), &rules, &mut out);
        for time in times {
            session.on_deadline(Millis(time), &rules, &mut out);
            session.on_data_channel(Millis(time));
            session.input(b"WAITING\n", Millis(time), &rules, &mut out);
        }
    }
}
