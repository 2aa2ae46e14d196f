//! The runtime's sockets, for one measurement: tokio's, or with the feature `tokio-uring` that runtime's.

#[cfg(not(feature = "tokio-uring"))]
mod tokio_socket {
    //! Readiness: try, and wait until trying again makes sense.

    use std::io;
    use std::net::{Shutdown, SocketAddr};
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use hyper::rt::{Read, ReadBufCursor, Write};
    use hyper_util::rt::TokioIo;
    use tokio::net::{TcpListener, TcpStream};

    #[derive(Debug)]
    pub struct Listener(TcpListener);

    impl Listener {
        pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
            TcpListener::from_std(listener).map(Self)
        }

        pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
            let (socket, peer) = self.0.accept().await?;
            Ok((Socket(TokioIo::new(socket)), peer))
        }
    }

    #[derive(Debug)]
    pub struct Socket(TokioIo<TcpStream>);

    impl Socket {
        pub fn from_std(socket: std::net::TcpStream) -> io::Result<Self> {
            Ok(Self(TokioIo::new(TcpStream::from_std(socket)?)))
        }

        pub fn into_std(self) -> io::Result<std::net::TcpStream> {
            self.0.into_inner().into_std()
        }

        pub fn set_nodelay(&self) {
            let _ = self.0.inner().set_nodelay(true);
        }

        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            self.0.inner().local_addr()
        }

        pub fn reset_at_close(&self) {
            let _ = socket2::SockRef::from(self.0.inner()).set_linger(Some(std::time::Duration::ZERO));
        }

        pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            socket2::SockRef::from(self.0.inner()).shutdown(how)
        }
    }

    impl Read for Socket {
        fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.0).poll_read(cx, buffer)
        }
    }

    impl Write for Socket {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write(cx, bytes)
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(self.shutdown(Shutdown::Write))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.0).poll_write_vectored(cx, slices)
        }
    }
}

#[cfg(feature = "tokio-uring")]
mod uring_socket {
    //! Completion: a buffer goes to the kernel with each operation and comes back with its end.

    use std::future::Future;
    use std::io;
    use std::net::{Shutdown, SocketAddr};
    use std::os::fd::{AsRawFd, BorrowedFd};
    use std::pin::Pin;
    use std::rc::Rc;
    use std::task::{Context, Poll, ready};

    use hyper::rt::{Read, ReadBufCursor, Write};
    use tokio_uring::net::{TcpListener, TcpStream};

    const BUFFER_BYTES: usize = 16 * 1024;

    type Reading = Pin<Box<dyn Future<Output = (io::Result<usize>, Vec<u8>)>>>;
    type Writing = Pin<Box<dyn Future<Output = (io::Result<()>, Vec<u8>)>>>;

    type Accepting = Pin<Box<dyn Future<Output = io::Result<(TcpStream, SocketAddr)>>>>;

    /// An accept that is given up loses the connection that it took: it is kept for the next call.
    pub struct Listener(Rc<TcpListener>, std::cell::RefCell<Option<Accepting>>);

    impl std::fmt::Debug for Listener {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Listener")
        }
    }

    impl Listener {
        pub fn from_std(listener: std::net::TcpListener) -> io::Result<Self> {
            // A non-blocking listener ends an armed accept with EAGAIN at once.
            listener.set_nonblocking(false)?;
            Ok(Self(Rc::new(TcpListener::from_std(listener)), std::cell::RefCell::default()))
        }

        pub async fn accept(&self) -> io::Result<(Socket, SocketAddr)> {
            std::future::poll_fn(|cx| {
                let mut kept = self.1.borrow_mut();
                let accepting = kept.get_or_insert_with(|| {
                    let listener = Rc::clone(&self.0);
                    Box::pin(async move { listener.accept().await })
                });
                let accepted = ready!(accepting.as_mut().poll(cx));
                *kept = None;
                Poll::Ready(accepted.map(|(socket, peer)| (Socket::new(socket), peer)))
            })
            .await
        }
    }

    pub struct Socket {
        io: Option<Rc<TcpStream>>,
        reading: Option<Reading>,
        read: Vec<u8>,
        taken: usize,
        writing: Option<Writing>,
        spare: Option<Vec<u8>>,
    }

    impl std::fmt::Debug for Socket {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Socket")
        }
    }

    impl Socket {
        fn new(io: TcpStream) -> Self {
            Self { io: Some(Rc::new(io)), reading: None, read: Vec::new(), taken: 0, writing: None, spare: None }
        }

        pub fn from_std(socket: std::net::TcpStream) -> io::Result<Self> {
            socket.set_nonblocking(false)?;
            Ok(Self::new(TcpStream::from_std(socket)))
        }

        fn io(&self) -> &Rc<TcpStream> {
            self.io.as_ref().expect("only into_std takes it")
        }

        fn fd(&self) -> BorrowedFd<'_> {
            // SAFETY: the stream owns the descriptor, and outlives the borrow.
            unsafe { BorrowedFd::borrow_raw(self.io().as_raw_fd()) }
        }

        pub fn into_std(mut self) -> io::Result<std::net::TcpStream> {
            let std = std::net::TcpStream::from(self.fd().try_clone_to_owned()?);
            self.io = None;
            std.set_nonblocking(true)?;
            Ok(std)
        }

        pub fn set_nodelay(&self) {
            let _ = self.io().set_nodelay(true);
        }

        pub fn local_addr(&self) -> io::Result<SocketAddr> {
            let fd = self.fd();
            socket2::SockRef::from(&fd).local_addr()?.as_socket().ok_or_else(|| io::ErrorKind::Other.into())
        }

        pub fn reset_at_close(&self) {
            let fd = self.fd();
            let _ = socket2::SockRef::from(&fd).set_linger(Some(std::time::Duration::ZERO));
        }

        pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
            self.io().shutdown(how)
        }
    }

    impl Drop for Socket {
        fn drop(&mut self) {
            // An operation in flight holds the descriptor: the connection must be ended for it to end.
            if let Some(io) = &self.io
                && (self.reading.is_some() || self.writing.is_some())
            {
                let _ = io.shutdown(Shutdown::Both);
            }
        }
    }

    impl Read for Socket {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            mut buffer: ReadBufCursor<'_>,
        ) -> Poll<io::Result<()>> {
            let this = &mut *self;
            if this.taken == this.read.len() {
                let io = Rc::clone(this.io());
                let mut space = std::mem::take(&mut this.read);
                this.taken = 0;
                let reading = this.reading.get_or_insert_with(|| {
                    space.clear();
                    space.reserve(BUFFER_BYTES);
                    Box::pin(async move { io.read(space).await })
                });
                let (result, bytes) = ready!(reading.as_mut().poll(cx));
                this.reading = None;
                this.read = bytes;
                this.taken = 0;
                let read = result?;
                this.read.truncate(read);
            }
            let left = &this.read[this.taken..];
            let count = left.len().min(buffer.remaining());
            buffer.put_slice(&left[..count]);
            this.taken += count;
            Poll::Ready(Ok(()))
        }
    }

    impl Socket {
        fn poll_written(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if let Some(writing) = &mut self.writing {
                let (result, bytes) = ready!(writing.as_mut().poll(cx));
                self.writing = None;
                self.spare = Some(bytes);
                result?;
            }
            Poll::Ready(Ok(()))
        }

        fn begin(&mut self, bytes: Vec<u8>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            let io = Rc::clone(self.io());
            self.writing = Some(Box::pin(async move { io.write_all(bytes).await }));
            // Polled once, which hands it to the kernel; its end is asked for by the next write or the flush.
            match self.poll_written(cx) {
                Poll::Ready(result) => Poll::Ready(result),
                Poll::Pending => Poll::Ready(Ok(())),
            }
        }
    }

    impl Write for Socket {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
            ready!(self.poll_written(cx))?;
            let mut space = self.spare.take().unwrap_or_default();
            space.clear();
            space.extend_from_slice(bytes);
            ready!(self.begin(space, cx))?;
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_written(cx)
        }

        fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            ready!(self.poll_written(cx))?;
            Poll::Ready(self.shutdown(Shutdown::Write))
        }

        fn poll_write_vectored(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            slices: &[io::IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            ready!(self.poll_written(cx))?;
            let mut space = self.spare.take().unwrap_or_default();
            space.clear();
            for slice in slices {
                space.extend_from_slice(slice);
            }
            let count = space.len();
            ready!(self.begin(space, cx))?;
            Poll::Ready(Ok(count))
        }
    }
}

#[cfg(not(feature = "tokio-uring"))]
pub use tokio_socket::{Listener, Socket};
#[cfg(feature = "tokio-uring")]
pub use uring_socket::{Listener, Socket};
