//! A request that is alone on its data channel: what of it goes to a local connection that serves others too, and where
//! its response ends there.
//!
//! With linger 0 each request has a channel of its own and says `Connection: close` (PROTOCOL 5.3). That word is about
//! the channel; the local connection can go on. Only requests that may be sent again without harm are treated so, because
//! the local server may end a connection at the moment at which it is used again. Everything else, and whatever is not
//! plain to see, is passed on byte for byte as it came.

use everline_protocol::{BodyFraming, Follower};

/// Fields of a head that is looked at; one with more is passed on as it came.
const FIELDS_MAX: usize = 64;

/// A request without a body, safe (RFC 9110, section 9.2.1), and the last one on its channel.
#[derive(Debug)]
pub(super) struct Alone {
    /// The request as the local server gets it.
    pub(super) head: Vec<u8>,
    is_head_method: bool,
}

impl Alone {
    /// What came on the channel, if it is such a request and nothing else.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut request = httparse::Request::new(&mut fields);
        let length = match request.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            _ => return None,
        };
        let is_safe = matches!(request.method, Some("GET" | "HEAD" | "OPTIONS"));
        if length != bytes.len() || request.version != Some(1) || !is_safe {
            return None;
        }
        let mut close = None;
        for field in request.headers.iter() {
            match field.name {
                name if name.eq_ignore_ascii_case("connection") => {
                    if close.is_some() || !field.value.eq_ignore_ascii_case(b"close") {
                        return None;
                    }
                    close = Some(*field);
                }
                name if name.eq_ignore_ascii_case("authorization")
                    && is_of_the_connection(field.value) =>
                {
                    return None;
                }
                name if ["content-length", "transfer-encoding", "upgrade", "expect"]
                    .iter()
                    .any(|other| name.eq_ignore_ascii_case(other)) =>
                {
                    return None;
                }
                _ => {}
            }
        }
        let close = close?;
        // Both are slices of `bytes`.
        let begin = close.name.as_ptr().addr() - bytes.as_ptr().addr();
        let value_end = close.value.as_ptr().addr() - bytes.as_ptr().addr() + close.value.len();
        let end = value_end
            + bytes
                .get(value_end..)?
                .iter()
                .position(|byte| *byte == b'\n')?
            + 1;
        let head = [bytes.get(..begin)?, bytes.get(end..)?].concat();
        Some(Self {
            head,
            is_head_method: request.method == Some("HEAD"),
        })
    }

    /// Looks at its response from the first byte on.
    pub(super) fn response(&self) -> Response {
        Response {
            state: State::Head,
            is_head_method: self.is_head_method,
            seen: false,
        }
    }
}

/// Where the response to one request is.
#[derive(Debug)]
pub(super) struct Response {
    state: State,
    is_head_method: bool,
    seen: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the final head.
    Head,
    Body(Follower),
    /// It is over, and its connection can serve another request.
    Ended,
    /// Its connection ends with it, or nobody knows.
    Unknown,
}

impl Response {
    /// Looks at the next bytes.
    pub(super) fn input(&mut self, mut bytes: &[u8]) {
        self.seen = true;
        while !bytes.is_empty() {
            self.state = match self.state {
                State::Head => match self.head(bytes) {
                    Some((length, state)) => {
                        bytes = bytes.get(length..).unwrap_or_default();
                        state
                    }
                    None => State::Unknown,
                },
                State::Body(mut follower) => {
                    let taken = follower.advance(bytes);
                    bytes = bytes.get(taken..).unwrap_or_default();
                    match follower {
                        follower if follower.is_lost() => State::Unknown,
                        follower if follower.is_end() => State::Ended,
                        follower => State::Body(follower),
                    }
                }
                // What comes behind its end belongs to nobody's request.
                State::Ended => State::Unknown,
                State::Unknown => return,
            };
        }
    }

    /// Whether it has ended, and its connection can serve another request.
    pub(super) fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether a byte of it was seen.
    pub(super) fn is_seen(&self) -> bool {
        self.seen
    }

    /// The length of a head that is whole and understood, and what follows it.
    fn head(&self, bytes: &[u8]) -> Option<(usize, State)> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS_MAX];
        let mut response = httparse::Response::new(&mut fields);
        let length = match response.parse(bytes) {
            Ok(httparse::Status::Complete(length)) => length,
            _ => return None,
        };
        let code = response.code?;
        if response.version != Some(1) || code < 100 || code == 101 {
            return None;
        }
        if code < 200 {
            return Some((length, State::Head));
        }
        let values = |name: &'static str| {
            response
                .headers
                .iter()
                .filter(move |field| field.name.eq_ignore_ascii_case(name))
                .map(|field| field.value)
        };
        if values("connection").any(|value| !value.eq_ignore_ascii_case(b"keep-alive")) {
            return None;
        }
        let (mut lengths, mut codings) = (values("content-length"), values("transfer-encoding"));
        let has_none = self.is_head_method || matches!(code, 204 | 304);
        let framing = match (lengths.next(), codings.next()) {
            (None, None) if has_none => BodyFraming::Length(0),
            (Some(length), None) => BodyFraming::Length(content_length(length)?),
            (None, Some(coding)) if coding.eq_ignore_ascii_case(b"chunked") => BodyFraming::Chunked,
            _ => return None,
        };
        let follower = Follower::new(framing);
        if has_none && !follower.is_end() {
            // There is no such body, but not every server keeps to that: it would begin the next caller's answer.
            return None;
        }
        let plain = lengths.next().is_none() && codings.next().is_none();
        plain.then_some((
            length,
            if follower.is_end() {
                State::Ended
            } else {
                State::Body(follower)
            },
        ))
    }
}

/// Whether credentials authenticate the connection rather than the request (RFC 4559, section 5; NTLM): the next caller's
/// requests would be taken for this one's. Only the schemes that are known not to are let pass.
fn is_of_the_connection(credentials: &[u8]) -> bool {
    let scheme = credentials.split(|byte| *byte == b' ').next();
    !["basic", "bearer", "digest"]
        .iter()
        .any(|known| scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case(known.as_bytes())))
}

fn content_length(value: &[u8]) -> Option<u64> {
    let digits = !value.is_empty() && value.iter().all(u8::is_ascii_digit);
    std::str::from_utf8(value)
        .ok()
        .filter(|_| digits)?
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn passed(request: &str) -> Option<String> {
        let alone = Alone::read(request.as_bytes())?;
        Some(String::from_utf8(alone.head).expect("it was text"))
    }

    #[test]
    fn of_a_request_that_is_alone_only_the_word_about_its_channel_stays_behind() {
        assert_eq!(
            passed("GET /x HTTP/1.1\r\nhost: h\r\nCONNECTION:  close\r\nx-a: b\r\n\r\n").as_deref(),
            Some("GET /x HTTP/1.1\r\nhost: h\r\nx-a: b\r\n\r\n")
        );
    }

    #[test]
    fn whatever_could_do_harm_or_is_not_plain_is_no_such_request() {
        for request in [
            "POST / HTTP/1.1\r\nconnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nhost: h\r\n\r\n",
            "GET / HTTP/1.0\r\nconnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close, te\r\nte: trailers\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\nconnection: close\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\nupgrade: websocket\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\ncontent-length: 1\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\nexpect: 100-continue\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\nAuthorization: NTLM TlRM\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\nauthorization: negotiate YII=\r\n\r\n",
            "GET / HTTP/1.1\r\nconnection: close\r\n\r\nX",
            "GET / HTTP/1.1\r\nconnection: close\r\n",
            "ERROR code=unknown-request\r\n",
        ] {
            assert_eq!(passed(request), None, "{request}");
        }
    }

    fn ends(method: &str, response: &str) -> bool {
        let request = format!("{method} / HTTP/1.1\r\nconnection: close\r\n\r\n");
        let alone = Alone::read(request.as_bytes()).expect("it is alone");
        let mut followed = alone.response();
        followed.input(response.as_bytes());
        followed.is_ended()
    }

    #[test]
    fn a_response_ends_where_its_head_and_its_chunks_say() {
        for (method, response) in [
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"),
            ("GET", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
            (
                "GET",
                "HTTP/1.1 200 OK\r\nConnection: keep-alive\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
            ),
            (
                "GET",
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            ),
            ("GET", "HTTP/1.1 304 Not Modified\r\nETag: \"a\"\r\n\r\n"),
            ("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        ] {
            assert!(ends(method, response), "{response}");
        }
    }

    #[test]
    fn a_connection_that_ends_or_whose_state_is_unknown_serves_no_other_request() {
        for response in [
            "HTTP/1.1 304 Not Modified\r\nContent-Length: 9\r\n\r\n",
            "HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n",
            "HTTP/1.1 099 Too Little\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nokX",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nok",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
            "HTTP/1.1 101 Switching Protocols\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Le",
            "",
        ] {
            assert!(!ends("GET", response), "{response}");
        }
        let told = "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n";
        assert!(!ends("HEAD", told), "a body may follow that should not");
    }

    /// A head with what it announces, and its body.
    fn message() -> impl Strategy<Value = (String, String)> {
        let chunks = prop::collection::vec(1usize..30, 0..4);
        prop_oneof![
            Just(("HTTP/1.1 204 No Content\r\n\r\n".into(), String::new())),
            (0usize..60).prop_map(|length| {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
                (head, "b".repeat(length))
            }),
            chunks.prop_map(|chunks| {
                let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                let chunk = |size: usize| format!("{size:x}\r\n{}\r\n", "c".repeat(size));
                let body = chunks.into_iter().map(chunk).collect::<String>() + "0\r\n\r\n";
                (head.into(), body)
            }),
        ]
    }

    proptest! {
        #[test]
        fn only_a_response_that_is_all_there_is_ended(
            (head, body) in message(),
            interim in 0usize..3,
            fragment in 1usize..40,
            missing in 0usize..4,
            stray in "[ -~]{0,4}",
        ) {
            let alone = Alone::read(b"GET / HTTP/1.1\r\nconnection: close\r\n\r\n");
            let mut followed = alone.expect("it is alone").response();
            // What is not looked at whole is passed on unread: a head comes in one piece here.
            followed.input("HTTP/1.1 103 Hints\r\n\r\n".repeat(interim).as_bytes());
            let stray = if missing > 0 { "" } else { stray.as_str() };
            let sent = body.len().saturating_sub(missing);
            let rest = format!("{}{stray}", &body[..sent]);
            followed.input(head.as_bytes());
            for bytes in rest.as_bytes().chunks(fragment) {
                followed.input(bytes);
            }
            prop_assert_eq!(followed.is_ended(), sent == body.len() && stray.is_empty());
        }

        #[test]
        fn no_bytes_bring_it_down(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _nothing = Alone::read(&bytes);
            let mut response = Alone { head: Vec::new(), is_head_method: false }.response();
            response.input(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n");
            response.input(&bytes);
        }
    }
}
