//! Who answers the requests of a data channel (R9): the embedded web server, or a local one they are handed to.
//!
//! The connections manager hands a data channel over and knows no more of it.

pub mod builtin;
pub mod forward;

use std::io::Cursor;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use builtin::{Builtin, OpenError};
use forward::{Forward, Local};

use crate::config;
use crate::status::Status;

/// The one that was configured; a clone is the same one.
#[derive(Debug, Clone)]
pub enum Serve {
    /// A local web server.
    Forward(Forward),
    /// The embedded one.
    Builtin(Builtin),
}

/// What was made ready for one data channel while that was being opened.
#[derive(Debug)]
pub enum Ready {
    /// The connection to the local web server, or why there is none.
    Forward(Local),
    /// The embedded one is always there.
    Builtin(Builtin),
}

impl Serve {
    /// Makes ready what the configuration names.
    pub async fn open(config: &config::Serve, status: &Status) -> Result<Self, OpenError> {
        Ok(match config {
            config::Serve::Forward(forward) => Self::Forward(Forward::new(forward)),
            config::Serve::Builtin(builtin) => Self::Builtin(Builtin::open(builtin, status).await?),
        })
    }

    /// The agent is ending: nobody is kept waiting any longer.
    pub fn leave(&self) {
        match self {
            // The local web server knows best what it has in hand.
            Self::Forward(_) => {}
            Self::Builtin(builtin) => builtin.leave(),
        }
    }

    /// Waits for requests in progress that did not come by data channels.
    pub async fn answered(&self) {
        if let Self::Builtin(builtin) = self {
            builtin.answered().await;
        }
    }

    /// The agent has answered all it had in hand.
    pub async fn finish(&self) {
        if let Self::Builtin(builtin) = self {
            builtin.finish().await;
        }
    }

    /// Makes ready for one data channel.
    pub async fn ready(&self) -> Ready {
        match self {
            Self::Forward(forward) => Ready::Forward(forward.connect().await),
            Self::Builtin(builtin) => Ready::Builtin(builtin.clone()),
        }
    }
}

impl Ready {
    /// Answers what comes on the channel, to its end. `first` was read from it already.
    pub async fn serve(self, channel: TcpStream, first: Vec<u8>) {
        match self {
            Self::Forward(local) => local.splice(channel, &first).await,
            Self::Builtin(builtin) => {
                let (read, write) = channel.into_split();
                let stream = tokio::io::join(Cursor::new(first).chain(read), write);
                match builtin.serve(stream).await {
                    Ok(stream) => close(stream).await,
                    // Idle for the linger: as it should end.
                    Err(error) if error.is_timeout() => {}
                    Err(error) => tracing::debug!(%error, "a data channel ended early"),
                }
            }
        }
    }

    /// Whether the channel's first bytes are wanted at all: an answer that is ready needs no request.
    pub fn reads(&self) -> bool {
        !matches!(self, Self::Forward(Local::Unreachable))
    }
}

/// How long a gateway may take to close a channel that was answered.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// Ends a channel in order: tells the gateway that nothing follows, then reads what it still sends until it closes.
/// To close with bytes unread would make the kernel send a reset, which can overtake the answer.
async fn close(mut channel: impl AsyncRead + AsyncWrite + Unpin) {
    let gone = async {
        channel.shutdown().await?;
        tokio::io::copy(&mut channel, &mut tokio::io::sink()).await
    };
    // Whether the gateway closed, broke off or took too long: the channel is done with.
    let _ = tokio::time::timeout(CLOSE_TIMEOUT, gone).await;
}
