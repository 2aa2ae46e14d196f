//! A bound data channel as hyper's client speaks it: one request at a time, watched for its end while idle.
//!
//! `relay` makes it and sends on it; `idle_channels` keeps it between two requests. Dropping it closes the connection.

use std::cell::Cell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use hyper::client::conn::http1::{self, SendRequest};
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::task::JoinHandle;

use crate::request_body::RequestBody;
use crate::stream::{Meter, Stream};

/// hyper's buffer on this connection, either way: also the bound on a response's head. Its fields are bounded by hyper's
/// own 100: a bound of ours would cost memory with every response.
const BUFFER_BYTES_MAX: usize = 128 * 1024;

/// One data channel.
#[derive(Debug)]
pub struct Channel {
    /// Where requests go in.
    pub sender: SendRequest<RequestBody>,
    /// What has gone over its socket.
    pub meter: Rc<Meter>,
    // Whether the stream is wanted back when HTTP ends on it.
    upgrading: Rc<Cell<bool>>,
    connection: Connection,
}

impl Channel {
    /// Begins to speak HTTP on a stream of which nothing has been read.
    pub async fn open(stream: Stream) -> hyper::Result<Self> {
        let meter = stream.meter();
        let (sender, connection) = http1::Builder::new()
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(HandsetIo {
                stream,
                deaf: false,
            })
            .await?;
        let upgrading = Rc::new(Cell::new(false));
        let wanted = Rc::clone(&upgrading);
        // How the connection ends is told to whoever has a request on it; an idle one may end in silence.
        let task = tokio::task::spawn_local(async move {
            let parts = connection.without_shutdown().await.ok()?;
            let mut stream = parts.io.stream;
            stream.unread(parts.read_buf);
            wanted.get().then_some(stream)
        });
        Ok(Self {
            sender,
            meter,
            upgrading,
            connection: Connection(task),
        })
    }

    /// Said before a request that asks for another protocol: its stream may be wanted back.
    pub fn will_upgrade(&self) {
        self.upgrading.set(true);
    }

    /// The stream behind a `101 Switching Protocols`, with what was read beyond it.
    pub async fn into_stream(mut self) -> Option<Stream> {
        (&mut self.connection.0).await.ok().flatten()
    }

    /// Waits until the next request may be sent; `false` if the connection ends first, or `within` is over.
    pub async fn ready(&mut self, within: Duration) -> bool {
        matches!(
            tokio::time::timeout(within, self.sender.ready()).await,
            Ok(Ok(()))
        )
    }
}

/// The task that drives the connection; ended when dropped, and the socket with it.
#[derive(Debug)]
struct Connection(JoinHandle<Option<Stream>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The handset's connection as hyper reads and writes it: a handset that closes while it is still being sent a request
/// has often answered it already (PROTOCOL 5.2), and hyper would drop that answer at the first write that fails.
struct HandsetIo {
    stream: Stream,
    // The handset takes no more of the request: the rest of it goes nowhere, and the read side says how it ends.
    deaf: bool,
}

impl HandsetIo {
    fn written(
        &mut self,
        written: Poll<io::Result<usize>>,
        offered: usize,
    ) -> Poll<io::Result<usize>> {
        match written {
            Poll::Ready(Err(error))
                if error.kind() != io::ErrorKind::TimedOut
                    && self.stream.meter().has_sent_of_message() =>
            {
                self.deaf = true;
                Poll::Ready(Ok(offered))
            }
            other => other,
        }
    }
}

impl Read for HandsetIo {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl Write for HandsetIo {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.deaf {
            return Poll::Ready(Ok(bytes.len()));
        }
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.written(written, bytes.len())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let offered = slices.iter().map(|slice| slice.len()).sum();
        if self.deaf {
            return Poll::Ready(Ok(offered));
        }
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.written(written, offered)
    }
}
