//! A TCP connection as hyper reads and writes it, and the listener it came from: the one place that names the runtime's
//! sockets, so that another runtime can take its place.
//!
//! Ingress, data channels and relay use it for callers and handsets alike. It bounds how long a peer may take no byte
//! that we have for it; how long a peer may send none is for its users to bound, who know what they wait for.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::SockRef;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep, timeout};

use crate::proxy_header::{Addresses, ProxyHeader, ProxyStep};

/// Most bytes that one [`Stream::read_some`] brings: a DATA line, a PROXY header or an HTTP/2 preface fits.
pub const READ_BYTES: usize = 4096;
/// What an orderly close reads and forgets, at most: beyond it the peer is cut off.
const DRAIN_BYTES_MAX: usize = 1 << 20;
/// How long an orderly close waits for the peer's end.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// How long accepting rests after the kernel refused a connection for want of descriptors or memory.
const ACCEPT_REST: Duration = Duration::from_millis(50);

/// Reads, and writes, that a new connection tries without asking the runtime. No more: a peer that never lets us wait would
/// keep this thread from all others, and the runtime sees to turns being taken.
const AT_ONCE_MAX: u8 = 4;

thread_local! {
    // Where bytes are read to before they are copied to hyper; one a thread, because no read spans an await.
    static SCRATCH: RefCell<Box<[u8]>> = RefCell::new(vec![0; 64 * 1024].into_boxed_slice());
}

/// A bound data channel on its way from the thread that accepted it to the worker that waits for it.
///
/// Nothing has been read from it beyond its DATA line: a handset that sent more is refused (PROTOCOL 5.1).
#[derive(Debug)]
pub struct Handover {
    /// Non-blocking, and nobody's: registered with no runtime.
    pub socket: std::net::TcpStream,
}

/// Where connections come in.
#[derive(Debug)]
pub struct Listener {
    io: AsyncFd<std::net::TcpListener>,
    write_timeout: Duration,
}

impl Listener {
    /// Takes over a non-blocking listener; its connections get this write timeout.
    pub fn new(listener: std::net::TcpListener, write_timeout: Duration) -> io::Result<Self> {
        // Accepted sockets inherit it.
        SockRef::from(&listener).set_tcp_nodelay(true)?;
        #[expect(
            deprecated,
            reason = "its successor is unsafe for the sake of types that change their descriptor: a listener keeps its own"
        )]
        let io = AsyncFd::with_interest(listener, Interest::READABLE)?;
        Ok(Self { io, write_timeout })
    }

    /// The next connection and its peer. A failure that concerns only one connection, or that time will mend, is
    /// waited out here.
    pub async fn accept(&self) -> (Stream, SocketAddr) {
        loop {
            match self.io.async_io(Interest::READABLE, accept).await {
                Ok((socket, peer)) => return (Stream::new(socket, self.write_timeout), peer),
                Err(error) if is_the_peers(&error) => {
                    tracing::debug!(%error, "a connection ended before it was accepted");
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections; trying again");
                    sleep(ACCEPT_REST).await;
                }
            }
        }
    }
}

/// One connection, non-blocking and registered with no runtime.
fn accept(listener: &std::net::TcpListener) -> io::Result<(std::net::TcpStream, SocketAddr)> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let (socket, peer) = acceptfrom_with(listener, flags)?;
    let peer = peer.and_then(|peer| SocketAddr::try_from(peer).ok());
    let peer = peer.ok_or(io::ErrorKind::ConnectionAborted)?;
    Ok((socket.into(), peer))
}

fn is_the_peers(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// What has gone through a [`Stream`], for whoever has given it to hyper and must know whether a byte was seen.
#[derive(Debug, Default)]
pub struct Meter {
    received: Cell<u64>,
    sent: Cell<u64>,
    mark: Cell<u64>,
}

impl Meter {
    /// Bytes that came from the socket.
    pub fn received(&self) -> u64 {
        self.received.get()
    }

    /// Bytes that the kernel took.
    pub fn sent(&self) -> u64 {
        self.sent.get()
    }

    /// A message begins with the next byte that is sent.
    pub fn begin_message(&self) {
        self.mark.set(self.sent.get());
    }

    /// Whether a byte of the message was sent.
    pub fn has_sent_of_message(&self) -> bool {
        self.sent.get() > self.mark.get()
    }
}

/// One connection.
#[derive(Debug)]
pub struct Stream {
    socket: Socket,
    reads_at_once: u8,
    writes_at_once: u8,
    // Read before the socket is.
    prefix: Bytes,
    meter: Rc<Meter>,
    write_timeout: Duration,
    // Made by the first write that has to wait, moved by the later ones.
    stall: Option<Pin<Box<Sleep>>>,
    stalled: bool,
}

/// A socket is made known to the runtime when it first has to be waited for: one that has all it needs at once, as a data
/// channel has its DATA line when it is accepted, never is, and can go to another thread as it came.
#[derive(Debug)]
enum Socket {
    Fresh(std::net::TcpStream),
    Registered(TokioIo<TcpStream>),
    // The runtime would not have it.
    Lost,
}

impl Socket {
    /// What the socket does at once, as long as it has `turns` for that: the runtime knows what a socket is ready for
    /// only after a turn of its own. `None`: it has to wait.
    fn at_once<T>(
        &mut self,
        turns: &mut u8,
        operation: impl FnOnce(&mut &socket2::Socket) -> io::Result<T>,
    ) -> Option<io::Result<T>> {
        if *turns > 0 {
            *turns -= 1;
            match self.option(|socket| operation(&mut &*socket)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => *turns = 0,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                done => return Some(done),
            }
        }
        self.register().err().map(Err)
    }

    fn register(&mut self) -> io::Result<()> {
        if matches!(self, Self::Registered(_)) {
            return Ok(());
        }
        if let Self::Fresh(socket) = std::mem::replace(self, Self::Lost) {
            *self = Self::Registered(TokioIo::new(TcpStream::from_std(socket)?));
        }
        Ok(())
    }

    /// Once [`Socket::at_once`] has said `None`.
    fn registered(&mut self) -> io::Result<Pin<&mut TokioIo<TcpStream>>> {
        match self {
            Self::Registered(socket) => Ok(Pin::new(socket)),
            Self::Fresh(_) | Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }

    fn option<T>(&self, operation: impl FnOnce(SockRef<'_>) -> io::Result<T>) -> io::Result<T> {
        match self {
            Self::Fresh(socket) => operation(SockRef::from(socket)),
            Self::Registered(socket) => operation(SockRef::from(socket.inner())),
            Self::Lost => Err(io::ErrorKind::NotConnected.into()),
        }
    }
}

impl Stream {
    /// Of a socket that another thread accepted.
    pub fn from_handover(handover: Handover, write_timeout: Duration) -> Self {
        Self::new(handover.socket, write_timeout)
    }

    fn new(socket: std::net::TcpStream, write_timeout: Duration) -> Self {
        Self {
            socket: Socket::Fresh(socket),
            reads_at_once: AT_ONCE_MAX,
            writes_at_once: AT_ONCE_MAX,
            prefix: Bytes::new(),
            meter: Rc::default(),
            write_timeout,
            stall: None,
            stalled: false,
        }
    }

    /// Leaves this thread's runtime, for another thread. What was unread is lost: see [`Handover`].
    pub fn into_handover(self) -> io::Result<Handover> {
        debug_assert!(self.prefix.is_empty(), "bytes that were read would be lost");
        let socket = match self.socket {
            Socket::Fresh(socket) => socket,
            Socket::Registered(socket) => socket.into_inner().into_std()?,
            Socket::Lost => return Err(io::ErrorKind::NotConnected.into()),
        };
        Ok(Handover { socket })
    }

    /// Counts what goes through from now on and went through before.
    pub fn meter(&self) -> Rc<Meter> {
        Rc::clone(&self.meter)
    }

    /// Waits for bytes, at most [`READ_BYTES`]; empty at the end of the stream. Cancel-safe.
    pub async fn read_some(&mut self) -> io::Result<Bytes> {
        poll_fn(|cx| self.poll_read_some(cx, READ_BYTES)).await
    }

    /// As [`Stream::read_some`], for those who poll.
    pub fn poll_read_some(
        &mut self,
        cx: &mut Context<'_>,
        bytes_max: usize,
    ) -> Poll<io::Result<Bytes>> {
        if !self.prefix.is_empty() {
            return Poll::Ready(Ok(self.prefix.split_to(self.prefix.len().min(bytes_max))));
        }
        self.poll_scratch(cx, bytes_max, Bytes::copy_from_slice)
    }

    /// Puts bytes back in front of what has not been read.
    pub fn unread(&mut self, bytes: Bytes) {
        self.prefix = if self.prefix.is_empty() {
            bytes
        } else {
            [bytes, std::mem::take(&mut self.prefix)].concat().into()
        };
    }

    /// Sends all of `bytes`, bounded by the write timeout between any two that the peer takes.
    pub async fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let sent = poll_fn(|cx| Pin::new(&mut *self).poll_write(cx, bytes)).await?;
            if sent == 0 {
                return Err(io::ErrorKind::WriteZero.into());
            }
            bytes.advance(sent);
        }
        Ok(())
    }

    /// Reads the PROXY header that a balancer puts before everything else; the caller bounds the wait. `None`: the
    /// balancer speaks for itself.
    pub async fn read_proxy_header(&mut self) -> io::Result<Option<Addresses>> {
        let mut header = ProxyHeader::default();
        loop {
            let mut bytes = self.read_some().await?;
            if bytes.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            match header.input(&bytes) {
                ProxyStep::More => {}
                ProxyStep::Done { addresses, used } => {
                    bytes.advance(used.min(bytes.len()));
                    self.unread(bytes);
                    return Ok(addresses);
                }
                ProxyStep::Malformed => return Err(io::ErrorKind::InvalidData.into()),
            }
        }
    }

    /// Closes so that the peer sees an error rather than an end: what it has read is not all.
    pub fn reset(self) {
        // Without lingering the kernel sends a reset; if that cannot be set, the drop closes as usual.
        let _ = self
            .socket
            .option(|socket| socket.set_linger(Some(Duration::ZERO)));
    }

    /// Sends our end of the stream; reading goes on.
    pub fn finish_writing(&self) -> io::Result<()> {
        match self
            .socket
            .option(|socket| socket.shutdown(Shutdown::Write))
        {
            Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
            other => other,
        }
    }

    /// Ends the connection so that the peer can read all that was sent: our end first, then what it still sends is
    /// read and forgotten, within bounds. A socket closed with bytes unread would reset the connection instead.
    pub async fn close_in_order(mut self) {
        if self.finish_writing().is_err() {
            return;
        }
        let drain = async {
            let mut drained = 0;
            while drained < DRAIN_BYTES_MAX {
                match self.read_some().await {
                    Ok(bytes) if !bytes.is_empty() => drained += bytes.len(),
                    _ended => return,
                }
            }
        };
        // A peer that never ends is cut off by the drop that follows.
        let _ = timeout(DRAIN_TIMEOUT, drain).await;
    }

    /// Closes the connection of a peer that has said all it would say. If it has not, as [`Stream::close_in_order`].
    pub async fn close(self) {
        let mut rest = [0; 1];
        let silent = match self.socket.option(|socket| (&*socket).read(&mut rest)) {
            Ok(count) => count == 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        };
        let silent = silent && self.prefix.is_empty();
        if !silent {
            self.close_in_order().await;
        }
    }

    /// Reads what the socket has, at most `bytes_max`, into the thread's scratch, and shows it to `take`.
    fn poll_scratch<T>(
        &mut self,
        cx: &mut Context<'_>,
        bytes_max: usize,
        take: impl FnOnce(&[u8]) -> T,
    ) -> Poll<io::Result<T>> {
        SCRATCH.with_borrow_mut(|scratch| {
            let room = scratch.len().min(bytes_max);
            let scratch = scratch.get_mut(..room).unwrap_or_default();
            let filled = match self
                .socket
                .at_once(&mut self.reads_at_once, |socket| socket.read(scratch))
            {
                Some(count) => count?,
                None => {
                    let mut buffer = ReadBuf::new(scratch);
                    ready!(self.socket.registered()?.poll_read(cx, buffer.unfilled()))?;
                    buffer.filled().len()
                }
            };
            let filled = scratch.get(..filled).unwrap_or_default();
            self.meter
                .received
                .set(self.meter.received.get() + filled.len() as u64);
            Poll::Ready(Ok(take(filled)))
        })
    }

    /// Counts what was sent, and ends a connection whose peer has taken nothing for too long.
    fn watch_stall(
        &mut self,
        cx: &mut Context<'_>,
        sent: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(result) = sent {
            self.stalled = false;
            if let Ok(bytes) = result {
                self.meter.sent.set(self.meter.sent.get() + bytes as u64);
            }
            return Poll::Ready(result);
        }
        let stall = self
            .stall
            .get_or_insert_with(|| Box::pin(sleep(self.write_timeout)));
        if !self.stalled {
            self.stalled = true;
            stall.as_mut().reset(Instant::now() + self.write_timeout);
        }
        ready!(stall.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl Read for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.prefix.is_empty() {
            let bytes = self.prefix.len().min(buffer.remaining());
            buffer.put_slice(&self.prefix.split_to(bytes));
            return Poll::Ready(Ok(()));
        }
        let room = buffer.remaining();
        self.poll_scratch(cx, room, |bytes| buffer.put_slice(bytes))
    }
}

impl Write for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let sent = match this
            .socket
            .at_once(&mut this.writes_at_once, |socket| socket.write(bytes))
        {
            Some(sent) => Poll::Ready(sent),
            None => self.socket.registered()?.poll_write(cx, bytes),
        };
        self.watch_stall(cx, sent)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        // Nothing is buffered here.
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.finish_writing())
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [slice] = slices {
            return self.poll_write(cx, slice);
        }
        let this = &mut *self;
        let sent = match this.socket.at_once(&mut this.writes_at_once, |socket| {
            socket.write_vectored(slices)
        }) {
            Some(sent) => Poll::Ready(sent),
            None => self.socket.registered()?.poll_write_vectored(cx, slices),
        };
        self.watch_stall(cx, sent)
    }
}
