//! A request body of any size, in constant memory. What handsets make of it is in `answer`.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::filling::Filling;

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Upload(Filling);

impl Upload {
    /// The body of the request that is called `id`.
    pub(crate) fn new(id: &str, bytes: u64) -> Self {
        Self(Filling::new(id.as_bytes(), bytes))
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let piece = self.0.piece(usize::MAX);
        if piece.is_empty() {
            return Poll::Ready(None);
        }
        self.0.skip(piece.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece)))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.left() == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.0.left())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_upload_has_the_size_it_says() {
        let (mut upload, mut total) = (Upload::new("r-1", 150_000), 0);
        assert_eq!(upload.size_hint().exact(), Some(150_000));
        let mut context = Context::from_waker(std::task::Waker::noop());
        while let Poll::Ready(Some(Ok(frame))) = Pin::new(&mut upload).poll_frame(&mut context) {
            total += frame.data_ref().map_or(0, Bytes::len);
        }
        assert_eq!(total, 150_000);
        assert!(upload.is_end_stream());
    }
}
