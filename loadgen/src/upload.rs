//! A request body of any size, in constant memory, and the check of an answer's body as it arrives.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

static CHUNK: [u8; 65_536] = [b'u'; 65_536];

/// A body of so many bytes that nobody reads for their content.
#[derive(Debug, Clone)]
pub(crate) struct Upload {
    left: u64,
}

impl Upload {
    /// A body of `bytes` bytes.
    pub(crate) fn new(bytes: u64) -> Self {
        Self { left: bytes }
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let length = usize::try_from(self.left).map_or(CHUNK.len(), |left| left.min(CHUNK.len()));
        self.left -= length as u64;
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&CHUNK[..length])))))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// Holds an answer's body against the one that was asked for: so a crossed, doubled or cut answer is found.
#[derive(Debug)]
pub(crate) struct Expected {
    start: String,
    length: u64,
    seen: u64,
    same: bool,
    from_a_handset: bool,
}

impl Expected {
    /// A body that begins with `start` and has `length` bytes.
    pub(crate) fn new(start: String, length: u64) -> Self {
        Self {
            start,
            length,
            seen: 0,
            same: true,
            from_a_handset: true,
        }
    }

    /// The next bytes of the body.
    pub(crate) fn take(&mut self, bytes: &[u8]) {
        let at = usize::try_from(self.seen)
            .unwrap_or(usize::MAX)
            .min(self.start.len());
        let expected = &self.start.as_bytes()[at..];
        let compared = expected.len().min(bytes.len());
        self.same &= expected[..compared] == bytes[..compared];
        let marker = b"msisdn=".get(at.min(7)..).unwrap_or_default();
        let marked = marker.len().min(bytes.len());
        self.from_a_handset &= marker[..marked] == bytes[..marked];
        self.seen += bytes.len() as u64;
    }

    /// What is wrong with the whole body, if something is.
    pub(crate) fn fault(&self) -> Option<&'static str> {
        if !self.from_a_handset {
            Some("body-foreign")
        } else if !self.same {
            Some("body-crossed")
        } else if self.seen != self.length {
            Some("body-length")
        } else {
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn fault(body: &str, piece: usize) -> Option<&'static str> {
        let mut expected = Expected::new("msisdn=34700000001 request=r-1\n".into(), 40);
        body.as_bytes()
            .chunks(piece)
            .for_each(|bytes| expected.take(bytes));
        expected.fault()
    }

    proptest! {
        #[test]
        fn a_wrong_body_is_found_in_any_fragmentation(piece in 1usize..50) {
            let good = "msisdn=34700000001 request=r-1\n.........";
            prop_assert_eq!(fault(good, piece), None);
            prop_assert_eq!(fault(&good.replace("01 ", "02 "), piece), Some("body-crossed"));
            prop_assert_eq!(fault(&good.replace("r-1", "r-2"), piece), Some("body-crossed"));
            prop_assert_eq!(fault(&good.repeat(2), piece), Some("body-length"));
            prop_assert_eq!(fault(&good[..39], piece), Some("body-length"));
            prop_assert_eq!(fault("<html>it works</html>", piece), Some("body-foreign"));
        }
    }

    #[test]
    fn an_upload_has_the_size_it_says() {
        let (mut upload, mut total) = (Upload::new(150_000), 0);
        assert_eq!(upload.size_hint().exact(), Some(150_000));
        let mut context = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut upload).poll_frame(&mut context) {
            total += frame.data_ref().map_or(0, Bytes::len);
        }
        assert_eq!(total, 150_000);
    }
}
