//! Data channels (PROTOCOL section 5): one for each pending request, opened at once, several at a time.
//!
//! Called by [`crate::connection`] on REQUESTPENDING. A channel outlives the signaling connection that asked for it.

use std::collections::HashSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use everline_protocol::{DataLine, HostPort, RequestId};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::config::Data;
use crate::names::Names;
use crate::serve::Serve;
use crate::status::{Status, add};

/// How long the gateway may take from DATA to the first byte of the request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// How long a request may wait for a channel to end; a gateway that is still interested then signals it again.
const TURN_TIMEOUT: Duration = Duration::from_secs(10);

/// What a gateway's refusal begins with (PROTOCOL 5.1). No HTTP request does: a method's target follows, not a code.
const REFUSAL: &[u8] = b"ERROR code=";

/// Opens data channels and has them served; a clone is the same one.
#[derive(Debug, Clone)]
pub struct DataChannels {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    config: Data,
    serve: Serve,
    names: Names,
    status: Status,
    slots: Arc<Semaphore>,
    /// Requests that have a channel or wait for one: a request that is signalled twice gets no second one.
    taken: Mutex<HashSet<RequestId>>,
}

impl DataChannels {
    /// Channels as configured, answered by `serve`.
    pub fn new(config: &Data, serve: Serve, names: Names, status: Status) -> Self {
        Self {
            shared: Arc::new(Shared {
                slots: Arc::new(Semaphore::new(config.channels_max)),
                config: config.clone(),
                serve,
                names,
                status,
                taken: Mutex::default(),
            }),
        }
    }

    /// Opens a channel for this request and serves it, on a task of its own. `opened` is told when DATA is sent.
    ///
    /// Over the bound it waits its turn, as many again at most; beyond that it is left to the gateway, which answers
    /// the caller in its own words (PROTOCOL 5.1, 5.4).
    pub fn open(&self, id: RequestId, address: HostPort, opened: &Arc<Notify>) {
        let Some(taken) = Taken::new(&self.shared, id) else {
            return;
        };
        let opened = Arc::clone(opened);
        tokio::spawn(async move {
            if let Err(error) = taken.run(&address, &opened).await {
                tracing::warn!(data = %address, %error, "a request could not be taken");
            }
        });
    }

    /// The gateway's data port on this host, for a REQUESTPENDING that names no address (PROTOCOL 3.3).
    pub fn address_on(&self, host: &str) -> HostPort {
        HostPort {
            host: host.to_owned(),
            port: self.shared.config.port,
        }
    }

    /// Waits until the channels that are open have ended, and who else was asking is answered; opens no more.
    pub async fn finish(&self) {
        self.shared.serve.leave();
        let all = u32::try_from(self.shared.config.channels_max).unwrap_or(u32::MAX);
        if self.shared.slots.acquire_many(all).await.is_ok() {
            self.shared.slots.close();
        }
        self.shared.serve.answered().await;
    }

    /// Waits until what was done is written down.
    pub async fn written(&self) {
        self.shared.serve.finish().await;
    }
}

/// A request that this handset took; forgotten when dropped.
struct Taken {
    shared: Arc<Shared>,
    id: RequestId,
}

impl Taken {
    fn new(shared: &Arc<Shared>, id: RequestId) -> Option<Self> {
        let mut taken = shared.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.len() >= 2 * shared.config.channels_max {
            tracing::warn!(
                channels_max = shared.config.channels_max,
                "a request is left to the gateway: every data channel is in use, and as many requests wait for one"
            );
            add(&shared.status.counts().requests_left);
            return None;
        }
        taken.insert(id).then(|| Self {
            shared: Arc::clone(shared),
            id,
        })
    }

    async fn run(&self, address: &HostPort, opened: &Notify) -> io::Result<()> {
        let turn = Arc::clone(&self.shared.slots).acquire_owned();
        match timeout(TURN_TIMEOUT, turn).await {
            Ok(Ok(_slot)) => self.serve(address, opened).await,
            // The agent is ending: what it has not begun it leaves to the gateway.
            Ok(Err(_closed)) => Ok(()),
            Err(_) => Err(late("no data channel ended in time to make room for it")),
        }
    }

    /// The local web server is dialled while the channel is being opened: a wake takes one round trip, not two.
    async fn serve(&self, address: &HostPort, opened: &Notify) -> io::Result<()> {
        let (channel, ready) = tokio::join!(self.dial(address, opened), self.shared.serve.ready());
        let mut channel = channel?;
        let first = if ready.reads() {
            match timeout(REQUEST_TIMEOUT, first_bytes(&mut channel)).await {
                Ok(first) => first?,
                Err(_) => return Err(late("the gateway sent no request")),
            }
        } else {
            Vec::new()
        };
        if first.starts_with(REFUSAL) {
            // Somebody else took it, or its caller gave up: nothing is wrong with this handset.
            tracing::debug!(id = ?self.id, "the gateway no longer knows the request");
            return Ok(());
        }
        let open = &self.shared.status.counts().channels;
        let _open = Open::new(open);
        ready.serve(channel, first).await;
        Ok(())
    }

    async fn dial(&self, address: &HostPort, opened: &Notify) -> io::Result<TcpStream> {
        let dial = async {
            let mut channel = self.shared.names.connect(address).await?;
            channel.set_nodelay(true)?;
            channel.write_all(&DataLine::encode(self.id)).await?;
            Ok::<_, io::Error>(channel)
        };
        let channel = match timeout(self.shared.config.connect_timeout, dial).await {
            Ok(channel) => channel?,
            Err(_) => return Err(late("the data channel could not be opened in time")),
        };
        opened.notify_one();
        add(&self.shared.status.counts().channels_opened);
        Ok(channel)
    }
}

/// A channel that is being served; counted until dropped.
struct Open<'a>(&'a AtomicU64);

impl<'a> Open<'a> {
    fn new(count: &'a AtomicU64) -> Self {
        add(count);
        Self(count)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let mut taken = self
            .shared
            .taken
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        taken.remove(&self.id);
    }
}

fn late(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::TimedOut, what)
}

/// Reads until it is clear whether a request or a refusal comes.
async fn first_bytes(channel: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut first = Vec::with_capacity(1024);
    loop {
        if channel.read_buf(&mut first).await? == 0 {
            return Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the gateway closed the data channel before its request",
            ));
        }
        let compared = first.len().min(REFUSAL.len());
        if compared == REFUSAL.len() || first.get(..compared) != REFUSAL.get(..compared) {
            return Ok(first);
        }
    }
}
