//! A real handset for tests: registers over TCP by the protocol crate's own machine, serves by hyper.

use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use everline_gateway::gateway::Addresses;
use everline_protocol::{
    DataLine, ErrorCode, Handset, HandsetEvent, HandsetOutput, Identity, Millis, Refusal,
    RequestId, SessionId,
};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use super::{msisdn, within};

pub type Body = BoxBody<Bytes, Infallible>;
pub type Answer = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
/// How a handset answers one request.
pub type Serve = Arc<dyn Fn(Request<Incoming>) -> Answer + Send + Sync>;

/// A body that is there at once.
pub fn full(bytes: impl Into<Bytes>) -> Body {
    Full::new(bytes.into()).boxed()
}

/// Serves by a closure that needs no waiting.
pub fn serve(
    answer: impl Fn(Request<Incoming>) -> Response<Body> + Send + Sync + 'static,
) -> Serve {
    Arc::new(move |request| {
        let response = answer(request);
        Box::pin(async move { response })
    })
}

/// What a handset says and does.
pub struct Options {
    pub identity: Identity,
    /// `None`: hears of requests and opens no data channel.
    pub serve: Option<Serve>,
}

impl Options {
    pub fn new(number: u64, token: String) -> Self {
        let identity = Identity {
            msisdn: msisdn(number),
            token,
            timeout_s: 300,
            linger_s: 0,
            agent: None,
        };
        let echo = serve(move |request| {
            let text = format!("{number} {} {}", request.method(), request.uri());
            Response::new(full(text))
        });
        Self {
            identity,
            serve: Some(echo),
        }
    }

    pub fn timeout_s(mut self, timeout_s: u32) -> Self {
        self.identity.timeout_s = timeout_s;
        self
    }

    pub fn linger_s(mut self, linger_s: u32) -> Self {
        self.identity.linger_s = linger_s;
        self
    }

    pub fn serving(mut self, serve: Serve) -> Self {
        self.serve = Some(serve);
        self
    }

    /// Opens no data channel by itself.
    pub fn silent(mut self) -> Self {
        self.serve = None;
        self
    }
}

/// A handset with its signaling connection; dropping it cuts the connection.
pub struct TestHandset {
    events: mpsc::UnboundedReceiver<HandsetEvent>,
    bye: mpsc::Sender<()>,
    task: JoinHandle<()>,
    pub session: SessionId,
    pub timeout_s: u32,
}

impl Drop for TestHandset {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl TestHandset {
    /// Registers; fails the test if the gateway refuses.
    pub async fn register(addresses: Addresses, options: Options) -> Self {
        match Self::try_register(addresses, options).await {
            Ok(handset) => handset,
            Err(refusal) => panic!("refused: {refusal:?}"),
        }
    }

    /// Registers, or tells how the gateway refused.
    pub async fn try_register(addresses: Addresses, options: Options) -> Result<Self, Refusal> {
        let socket = within(
            "a signaling connection",
            TcpStream::connect(addresses.signaling),
        )
        .await;
        let socket = socket.expect("the gateway listens");
        let (happened, events) = mpsc::unbounded_channel();
        let (bye, leave) = mpsc::channel(1);
        let task = tokio::spawn(run(socket, addresses.data, options, happened, leave));
        let mut handset = Self {
            events,
            bye,
            task,
            session: SessionId(0),
            timeout_s: 0,
        };
        match handset.event().await {
            HandsetEvent::Registered { session, timeout_s } => {
                (handset.session, handset.timeout_s) = (session, timeout_s);
                Ok(handset)
            }
            HandsetEvent::Refused(refusal) => Err(refusal),
            other => panic!("neither registered nor refused: {other:?}"),
        }
    }

    /// The next thing that the gateway said, except for the registration.
    pub async fn event(&mut self) -> HandsetEvent {
        let event = within("word from the gateway", self.events.recv()).await;
        event.expect("the connection lives as long as its handset")
    }

    /// The next request's id.
    pub async fn request(&mut self) -> RequestId {
        match self.event().await {
            HandsetEvent::RequestPending { id, .. } => id,
            other => panic!("expected REQUESTPENDING, got {other:?}"),
        }
    }

    /// Waits for the end of the connection: the ERROR line's code, or `None` if it was closed without one.
    pub async fn end(mut self) -> Option<ErrorCode> {
        loop {
            match within("the end of the connection", self.events.recv()).await {
                Some(HandsetEvent::Closed(code)) => return Some(code),
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// Says BYE and waits until the gateway has closed.
    pub async fn bye(mut self) {
        self.bye.send(()).await.expect("the handset's task lives");
        while within("the close after BYE", self.events.recv())
            .await
            .is_some()
        {}
    }
}

async fn run(
    mut socket: TcpStream,
    data: SocketAddr,
    options: Options,
    happened: mpsc::UnboundedSender<HandsetEvent>,
    mut leave: mpsc::Receiver<()>,
) {
    let start = Instant::now();
    let now = || Millis(start.elapsed().as_millis() as u64);
    let mut out = HandsetOutput::default();
    let mut handset = Handset::connect(&options.identity, now(), Millis::from_secs(30), &mut out);
    let mut buffer = [0; 2048];
    loop {
        let wire = std::mem::take(&mut out.wire);
        if !wire.is_empty() && socket.write_all(&wire).await.is_err() {
            return;
        }
        for event in out.events.drain(..) {
            if let (HandsetEvent::RequestPending { id, .. }, Some(serve)) = (&event, &options.serve)
            {
                handset.on_data_channel(now());
                tokio::spawn(serve_one(
                    data,
                    *id,
                    Arc::clone(serve),
                    options.identity.linger_s > 0,
                ));
            }
            if happened.send(event).is_err() {
                return;
            }
        }
        tokio::select! {
            read = socket.read(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(count) => handset.input(&buffer[..count], now(), &mut out),
            },
            Some(()) = leave.recv() => handset.bye(&mut out),
        }
    }
}

/// Opens a data channel and answers what comes on it.
pub async fn serve_one(data: SocketAddr, id: RequestId, serve: Serve, keep_alive: bool) {
    let Ok(socket) = open(data, id).await else {
        return;
    };
    let service = service_fn(move |request| {
        let answer = serve(request);
        async move { Ok::<_, Infallible>(answer.await) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .keep_alive(keep_alive)
        .serve_connection(TokioIo::new(socket), service)
        .with_upgrades();
    // The gateway may close it at any time: what the caller sees of that is what the tests look at.
    let _ = connection.await;
}

/// A data channel that has sent its DATA line.
pub async fn open(data: SocketAddr, id: RequestId) -> std::io::Result<TcpStream> {
    let mut socket = TcpStream::connect(data).await?;
    socket.write_all(&DataLine::encode(id)).await?;
    Ok(socket)
}
