//! Whether a message can be read in little memory: each header field, address and part takes a hundred times the bytes that
//! it has at least, so a message that is made of nothing else would take gigabytes.
//!
//! It goes through the lines once, before anything is taken apart. Where it can't tell a header from a text it takes a
//! line for a header: the bounds are far from what people send.

/// Bytes of all headers together at most: those of the message, of its parts, and of the messages in it.
const HEADER_BYTES_MAX: usize = 1024 * 1024;

/// Lines that look like the border of a part, at most.
const BORDERS_MAX: usize = 20_000;

/// Bytes at most of a message that has another one in it which is encoded, and so can't be looked through here. No program
/// should send one (RFC 2046, 5.2.1).
const ENCODED_BYTES_MAX: usize = 1024 * 1024;

const TYPE: &[u8] = b"content-type";

/// What is said of a message that is more than headers and parts should be.
pub(super) fn check(message: &[u8]) -> Result<(), String> {
    let mut header = Header::default();
    let (mut in_header, mut of_part, mut digest) = (true, false, false);
    let (mut header_bytes, mut borders) = (0, 0);
    for line in message.split_inclusive(|b| *b == b'\n') {
        if line.starts_with(b"--") {
            borders += 1;
            (in_header, of_part, header) = (true, true, Header::default());
        } else if line.trim_ascii().is_empty() {
            digest |= header.digest;
            if in_header && header.message && header.encoded && message.len() > ENCODED_BYTES_MAX {
                return Err("has a message in it that is encoded, and too long for that".to_owned());
            }
            // A message in it begins with its header, right behind this one; in a digest that need not be said.
            in_header = in_header && (header.message || (digest && of_part));
            (of_part, header) = (false, Header::default());
        } else if in_header {
            header_bytes += line.len();
            header.take(line);
        }
        if header_bytes > HEADER_BYTES_MAX {
            return Err(format!("has more than {HEADER_BYTES_MAX} bytes of headers"));
        }
        if borders > BORDERS_MAX {
            return Err(format!("has more than {BORDERS_MAX} parts"));
        }
    }
    Ok(())
}

/// What one header says of what comes behind it.
#[derive(Default)]
struct Header {
    /// Whether its last line is of the field that says what comes.
    of_type: bool,
    message: bool,
    digest: bool,
    encoded: bool,
}

impl Header {
    fn take(&mut self, line: &[u8]) {
        if !line.starts_with(b" ") && !line.starts_with(b"\t") {
            let name = line.get(..TYPE.len()).unwrap_or_default();
            self.of_type = name.eq_ignore_ascii_case(TYPE);
        }
        self.message |= self.of_type && holds(line, b"message/");
        self.digest |= self.of_type && holds(line, b"multipart/digest");
        self.encoded |= holds(line, b"base64") || holds(line, b"quoted-printable");
    }
}

fn holds(line: &[u8], word: &[u8]) -> bool {
    line.windows(word.len())
        .any(|piece| piece.eq_ignore_ascii_case(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;

    fn fault(message: &str) -> String {
        check(message.as_bytes()).unwrap_err()
    }

    #[test]
    fn r26_a_message_of_headers_or_parts_alone_is_not_taken_apart() {
        let headers = fault(&"a:\n".repeat(MIB));
        assert!(headers.contains("bytes of headers"), "{headers}");
        let parts = fault(&format!(
            "Content-Type: multipart/mixed; boundary=b\n\n{}",
            "--b\n\n".repeat(MIB)
        ));
        assert!(parts.contains("parts"), "{parts}");
        let to = format!("To: {}\n\n", "a,".repeat(MIB));
        assert!(fault(&to).contains("bytes of headers"));
        let inner = format!("From: a\nContent-Type: Message/RFC822\n\n{to}");
        assert!(fault(&inner).contains("bytes of headers"));
        let digest = format!("Content-Type: multipart/digest; boundary=b\n\n--b\n\n{to}");
        assert!(fault(&digest).contains("bytes of headers"));
        let encoded = "Content-Type: message/rfc822\nContent-Transfer-Encoding: Base64\n\n";
        assert!(fault(&(encoded.to_owned() + &"YTo=\n".repeat(MIB))).contains("encoded"));
    }

    #[test]
    fn r26_a_long_message_of_somebody_is() {
        let text = "It was: a long day.\r\n-- \r\nAda\r\n\r\n".repeat(15_000);
        let file = "YWJj".repeat(19) + "\r\n";
        let message = format!(
            "Subject: digest of message/base64\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\n{text}\r\n--b\r\n\
             Content-Transfer-Encoding: base64\r\n\r\n{}\r\n--b--\r\n",
            file.repeat(150_000)
        );
        assert!(message.len() > 11 * MIB);
        assert_eq!(check(message.as_bytes()), Ok(()));
    }
}
