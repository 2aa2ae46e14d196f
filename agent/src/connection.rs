//! One signaling connection (PROTOCOL section 3): a socket, a clock and the protocol's [`Handset`] between them.
//!
//! [`crate::manager`] starts it, hears its [`Report`]s, and decides about the next one. It asks for data channels
//! itself, so that no request waits for the manager. Between two lines it sleeps on one timer.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use everline_protocol::{
    ErrorCode, Handset, HandsetEvent, HandsetOutput, HostPort, Identity, Millis, Refusal,
    RefusalCode, SessionId,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::config::{KeepAlive, Signaling};
use crate::data_channel::DataChannels;
use crate::keepalive::{Learning, Lessons};
use crate::names::Names;
use crate::status::{Learnt, Status, add};

/// Bytes received at once; lines are short, and few come together.
const READ_BYTES: usize = 1024;

/// What a connection tells the manager.
#[derive(Debug)]
pub enum Report {
    /// The session is live.
    Registered {
        /// As the gateway named it.
        session: SessionId,
        /// The keep-alive timeout in force.
        timeout_s: u32,
        /// What is known of the network, where that is being learnt.
        learnt: Option<Learnt>,
    },
    /// More is known of the network.
    Learnt {
        /// What.
        learnt: Learnt,
        /// Another timeout is wanted from now on: register anew, then close this connection.
        renew: bool,
    },
    /// The gateway is leaving: register elsewhere after this span, then close this connection.
    Reconnect {
        /// How long to wait first.
        after: Millis,
        /// Where to; `None`: one of the configured gateways.
        to: Option<HostPort>,
    },
    /// It is over.
    Ended(End),
}

/// Why a connection is over.
#[derive(Debug)]
pub enum End {
    /// The token can't be read.
    Token(io::Error),
    /// The gateway can't be reached.
    Unreachable(io::Error),
    /// CONNREFUSED.
    Refused(Refusal),
    /// ERROR.
    Closed(ErrorCode),
    /// The gateway broke the protocol.
    BadGateway(ErrorCode),
    /// Nothing came when something was due.
    Silent,
    /// The connection was lost.
    Lost(io::Error),
    /// The agent said BYE.
    Left,
}

/// What happened and, where somebody can do something about it, what.
impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Token(error) => write!(f, "the token file can't be read: {error}"),
            Self::Unreachable(error) => {
                write!(f, "the gateway can't be reached: {error}; is the address in `gateways` its signaling port?")
            }
            Self::Refused(refusal) => write_refusal(refusal, f),
            Self::Closed(ErrorCode::Replaced) => f.write_str(
                "replaced: another agent registered this number; if it is not meant to, end it, or revoke its token",
            ),
            Self::Closed(ErrorCode::Revoked) => {
                f.write_str("revoked: the operator ended this session; ask for a new token if it goes on")
            }
            Self::Closed(code) => write!(f, "the gateway closed the session: {}", code.name()),
            Self::BadGateway(code) => {
                write!(f, "it does not speak the handset protocol ({}); is the address in `gateways` its signaling port?", code.name())
            }
            Self::Silent => f.write_str("the gateway fell silent"),
            Self::Lost(error) => write!(f, "the connection was lost: {error}"),
            Self::Left => f.write_str("left"),
        }
    }
}

fn write_refusal(refusal: &Refusal, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    write!(f, "refused: {}", refusal.code.name())?;
    f.write_str(match refusal.code {
        RefusalCode::BadToken => {
            "; the token must be signed by a key that the gateway knows, name this number as `sub`, and not be expired: get a new one and put it into `token` or `token_file`"
        }
        RefusalCode::BadMsisdn => "; correct `msisdn`",
        RefusalCode::BadTimeout => "; correct `timeout_s`",
        RefusalCode::BadVersion => "; the gateway wants another version of this agent",
        RefusalCode::Full => "; the gateway holds as many handsets as it may",
        RefusalCode::Overloaded | RefusalCode::Draining | RefusalCode::Unknown => "",
    })?;
    if let Some(reason) = &refusal.reason {
        // Free text from a network: without what could break up a log.
        let shown: String = reason
            .chars()
            .filter(|c| !c.is_control())
            .take(200)
            .collect();
        write!(f, " ({shown})")?;
    }
    Ok(())
}

/// A running connection. Dropping it closes the socket, without BYE.
#[derive(Debug)]
pub struct Connection {
    /// Tells its reports from those of others.
    pub number: u64,
    leave: Option<oneshot::Sender<()>>,
    task: JoinHandle<()>,
}

/// What every connection of one agent needs; a clone is the same.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// What the owner said.
    pub signaling: Arc<Signaling>,
    /// Addresses of gateways.
    pub names: Names,
    /// What was learnt of networks; `None`: the timeout is fixed.
    pub lessons: Option<Lessons>,
    /// Where it is told what happens.
    pub status: Status,
    /// Who opens data channels.
    pub channels: DataChannels,
}

impl Connection {
    /// Dials `gateway` and goes on from there; everything that happens comes as reports with this number.
    pub fn start(
        number: u64,
        surroundings: Surroundings,
        gateway: HostPort,
        reports: mpsc::Sender<(u64, Report)>,
    ) -> Self {
        let (leave, left) = oneshot::channel();
        let task = tokio::spawn(async move {
            let line = Line {
                number,
                gateway,
                surroundings,
                reports,
                timeouts_s: Default::default(),
                opened: Arc::default(),
            };
            let end = line.run(left).await;
            // The manager may be ending too, and hear nothing any more.
            let _ = line.reports.send((number, Report::Ended(end))).await;
        });
        Self {
            number,
            leave: Some(leave),
            task,
        }
    }

    /// Says BYE and closes; gives up after `limit`.
    pub async fn leave(mut self, limit: Duration) {
        if let Some(leave) = self.leave.take() {
            let _ = leave.send(());
        }
        let _ = timeout(limit, &mut self.task).await;
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Line {
    number: u64,
    gateway: HostPort,
    surroundings: Surroundings,
    reports: mpsc::Sender<(u64, Report)>,
    /// Asked for and in force, for those who want to know whether another timeout is wanted.
    timeouts_s: [AtomicU32; 2],
    /// Told by the data channels of this session; the gateway's timer restarts with each of them (PROTOCOL 3.2).
    opened: Arc<Notify>,
}

impl Line {
    async fn run(&self, leave: oneshot::Receiver<()>) -> End {
        let signaling = &self.surroundings.signaling;
        let dial = self.surroundings.names.connect(&self.gateway);
        let stream = match timeout(signaling.connect_timeout, dial).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return End::Unreachable(error),
            Err(_) => return End::Unreachable(io::ErrorKind::TimedOut.into()),
        };
        // Without it a WAITING could wait for an acknowledgement. A socket that refuses the option works all the same.
        let _ = stream.set_nodelay(true);
        let local = stream.local_addr().ok();
        let lessons = self.surroundings.lessons.as_ref().zip(local);
        let learning = lessons.map(|(lessons, local)| lessons.of(&self.gateway, local.ip()));
        let timeout_s = match (&learning, &signaling.timeout) {
            (Some(learning), _) => learning.timeout_s(),
            (None, KeepAlive::Fixed(timeout_s)) => *timeout_s,
            (None, KeepAlive::Auto { bounds, .. }) => bounds.min_s,
        };
        self.timeouts_s[0].store(timeout_s, Ordering::Relaxed);
        let identity = match signaling.identity(timeout_s) {
            Ok(identity) => identity,
            Err(error) => return End::Token(error),
        };
        match self.talk(stream, &identity, learning.as_ref(), leave).await {
            Ok(end) => end,
            Err(error) => End::Lost(error),
        }
    }

    async fn talk(
        &self,
        mut stream: TcpStream,
        identity: &Identity,
        learning: Option<&Learning>,
        mut leave: oneshot::Receiver<()>,
    ) -> io::Result<End> {
        let answer_timeout = self.surroundings.signaling.answer_timeout;
        // When something last passed, which is what a network counts from.
        let mut quiet = Instant::now();
        let epoch = Instant::now();
        let now = || Millis(u64::try_from(epoch.elapsed().as_millis()).unwrap_or(u64::MAX));
        let answer_limit = Millis(u64::try_from(answer_timeout.as_millis()).unwrap_or(u64::MAX));
        let mut out = HandsetOutput::default();
        let mut handset = Handset::connect(identity, now(), answer_limit, &mut out);
        let mut bytes = [0; READ_BYTES];
        let mut arrived = true;
        loop {
            send(&mut stream, &mut out, answer_timeout).await?;
            for event in out.events.drain(..) {
                if let Some(end) = self.event(event, quiet, learning).await {
                    return Ok(end);
                }
            }
            if arrived {
                quiet = Instant::now();
            }
            let due = handset
                .deadline()
                .map(|due| epoch + Duration::from_millis(due.0));
            arrived = false;
            tokio::select! {
                read = stream.read(&mut bytes) => {
                    arrived = true;
                    let read = read?;
                    if read == 0 {
                        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the gateway closed it"));
                    }
                    handset.input(bytes.get(..read).unwrap_or_default(), now(), &mut out);
                }
                () = sleep_until(due.unwrap_or(epoch)), if due.is_some() => {
                    handset.on_deadline(now(), &mut out);
                }
                () = self.opened.notified() => handset.on_data_channel(now()),
                _ = &mut leave => {
                    handset.bye(&mut out);
                    send(&mut stream, &mut out, answer_timeout).await?;
                    stream.shutdown().await?;
                    return Ok(End::Left);
                }
            }
        }
    }

    async fn event(
        &self,
        event: HandsetEvent,
        quiet: Instant,
        learning: Option<&Learning>,
    ) -> Option<End> {
        let learnt = |learning: &Learning| {
            let (survived_s, settled) = learning.told();
            Learnt {
                survived_s,
                settled,
            }
        };
        let report = match event {
            HandsetEvent::Registered { session, timeout_s } => {
                if let Some(learning) = learning {
                    self.timeouts_s[1].store(timeout_s, Ordering::Relaxed);
                    learning.registered(timeout_s);
                }
                let learnt = learning.map(learnt);
                Report::Registered {
                    session,
                    timeout_s,
                    learnt,
                }
            }
            HandsetEvent::Reconnect { after, to } => Report::Reconnect { after, to },
            HandsetEvent::KeepAlive => {
                add(&self.surroundings.status.counts().keepalives);
                let learning = learning?;
                let idle_s = u32::try_from(quiet.elapsed().as_secs()).unwrap_or(u32::MAX);
                learning.survived(idle_s);
                let wanted_s = learning.timeout_s();
                let renew = self
                    .timeouts_s
                    .iter()
                    .all(|had| had.load(Ordering::Relaxed) != wanted_s);
                let learnt = learnt(learning);
                Report::Learnt { learnt, renew }
            }
            HandsetEvent::RequestPending { id, data } => {
                let address = data
                    .unwrap_or_else(|| self.surroundings.channels.address_on(&self.gateway.host));
                self.surroundings.channels.open(id, address, &self.opened);
                return None;
            }
            HandsetEvent::Refused(refusal) => return Some(End::Refused(refusal)),
            HandsetEvent::Closed(code) => return Some(End::Closed(code)),
            HandsetEvent::BadGateway(code) => return Some(End::BadGateway(code)),
            HandsetEvent::Silent => {
                // A CONNECT that nobody answered tells nothing of silences.
                let registered = self.timeouts_s[1].load(Ordering::Relaxed) > 0;
                if let Some(learning) = learning.filter(|_| registered) {
                    learning.died();
                }
                return Some(End::Silent);
            }
        };
        let _ = self.reports.send((self.number, report)).await;
        None
    }
}

/// Sends what the protocol wants sent. The lines are short: a socket that does not take them in time is dead.
async fn send(stream: &mut TcpStream, out: &mut HandsetOutput, limit: Duration) -> io::Result<()> {
    if out.wire.is_empty() {
        return Ok(());
    }
    let sent = timeout(limit, stream.write_all(&out.wire)).await;
    out.wire.clear();
    sent.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}
