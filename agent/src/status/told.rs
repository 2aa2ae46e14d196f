//! Who can ask for the status: `agent status` on a Unix socket of the owner's, Prometheus on loopback.
//!
//! Both sleep until somebody asks. Whoever asks is answered at once and let go: nothing here can be held open.

use std::fs::Permissions;
use std::io::{self, Read};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream as Caller;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Snapshot, Status, metrics};

/// How long one who asks may take.
const ASK_TIMEOUT: Duration = Duration::from_secs(5);

/// Those who ask at a time; more wait.
const ASKING_MAX: usize = 8;

/// Bytes of what one who asks may say.
const HEAD_BYTES_MAX: u64 = 8 * 1_024;

/// Bytes of a status that are believed.
const STATUS_BYTES_MAX: u64 = 64 * 1_024;

/// Wait after an accept that failed for want of something.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

/// Where the status is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToldConfig {
    /// For `agent status`.
    pub socket: PathBuf,
    /// For Prometheus; an address of loopback.
    pub metrics: Option<SocketAddr>,
}

/// The metrics can't be told.
#[derive(Debug, thiserror::Error)]
#[error("metrics.listen {listen}: {source}")]
pub struct ToldError {
    listen: SocketAddr,
    source: io::Error,
}

/// Tells until it is dropped; the socket's file goes with it.
#[derive(Debug)]
pub struct Told {
    tasks: JoinSet<()>,
    socket: Option<PathBuf>,
}

/// Tells the status from now on.
pub async fn start(config: &ToldConfig, status: &Status) -> Result<Told, ToldError> {
    let mut told = Told {
        tasks: JoinSet::new(),
        socket: None,
    };
    match bind(&config.socket).await {
        Ok(listener) => {
            told.socket = Some(config.socket.clone());
            told.tasks.spawn(answer_locally(listener, status.clone()));
        }
        // The handset is of use without it.
        Err(error) => {
            tracing::warn!(socket = %config.socket.display(), %error, "`agent status` will not find this agent");
        }
    }
    if let Some(listen) = config.metrics {
        let failed = |source| ToldError { listen, source };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        tracing::info!(%address, "metrics");
        told.tasks
            .spawn(answer_prometheus(listener, status.clone()));
    }
    Ok(told)
}

/// Asks a running agent. Blocks.
pub fn ask(socket: &Path) -> io::Result<Snapshot> {
    let caller = Caller::connect(socket)?;
    caller.set_read_timeout(Some(ASK_TIMEOUT))?;
    let mut text = Vec::new();
    caller.take(STATUS_BYTES_MAX).read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

/// What to tell a person who asked in vain.
pub fn advice(error: &io::Error) -> String {
    use io::ErrorKind::{ConnectionRefused, NotFound, PermissionDenied};
    match error.kind() {
        PermissionDenied => {
            format!("it is another user's agent: {error}; ask as the user who runs it")
        }
        NotFound | ConnectionRefused => {
            format!("no agent answers there: {error}; is it running?")
        }
        _ => format!("the agent there gives no status: {error}"),
    }
}

impl Drop for Told {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// A socket that an agent left behind when it was killed is in the way; one that answers is another agent's.
async fn bind(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).await.is_ok() {
        return Err(io::Error::new(
            io::ErrorKind::AddrInUse,
            "another agent tells its status there",
        ));
    }
    match std::fs::symlink_metadata(path) {
        Ok(found) if std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => {
            std::fs::remove_file(path)?;
        }
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

async fn answer_locally(listener: UnixListener, status: Status) {
    loop {
        let Ok((mut stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let text = serde_json::to_vec(&status.snapshot()).unwrap_or_default();
        let told = async {
            stream.write_all(&text).await?;
            stream.shutdown().await
        };
        // Whoever asked may be gone; it is a few hundred bytes, which a socket takes at once.
        let _ = timeout(ASK_TIMEOUT, told).await;
    }
}

async fn answer_prometheus(listener: TcpListener, status: Status) {
    let slots = Arc::new(Semaphore::new(ASKING_MAX));
    loop {
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let status = status.clone();
        tokio::spawn(async move {
            let _ = timeout(ASK_TIMEOUT, answer(stream, &status)).await;
            drop(slot);
        });
    }
}

/// One request, one answer: there is one URL, and a scrape needs no more of HTTP than this.
async fn answer(mut stream: TcpStream, status: &Status) -> io::Result<()> {
    let (read, mut write) = stream.split();
    let mut head = BufReader::new(read.take(HEAD_BYTES_MAX)).lines();
    let first = head.next_line().await?.unwrap_or_default();
    while head.next_line().await?.is_some_and(|line| !line.is_empty()) {}
    let mut words = first.split(' ');
    let (method, target) = (
        words.next().unwrap_or_default(),
        words.next().unwrap_or_default(),
    );
    let path = target.split('?').next().unwrap_or_default();
    let (line, body) = match (method, path) {
        ("GET" | "HEAD", "/metrics") => ("200 OK", metrics::text(&status.snapshot())),
        (_, "/metrics") => ("405 Method Not Allowed\r\nAllow: GET, HEAD", String::new()),
        _ => ("404 Not Found", "GET /metrics\n".to_owned()),
    };
    let shown = if method == "HEAD" { "" } else { &*body };
    let answer = format!(
        "HTTP/1.1 {line}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{shown}",
        body.len()
    );
    write.write_all(answer.as_bytes()).await?;
    write.shutdown().await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r10_who_asks_in_vain_is_told_what_to_do() {
        let told = |kind: io::ErrorKind| advice(&kind.into());
        assert!(told(io::ErrorKind::PermissionDenied).contains("ask as the user who runs it"));
        assert!(told(io::ErrorKind::NotFound).contains("is it running?"));
        assert!(!told(io::ErrorKind::TimedOut).contains("is it running?"));
    }
}
