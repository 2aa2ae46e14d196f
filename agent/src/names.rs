//! Addresses of gateways: a name is looked up once and remembered for a while, and again when nothing answers there.
//!
//! Used for signaling connections and data channels: a handset that is woken does not first wait for a name.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use everline_protocol::HostPort;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;

/// How long an address is believed.
const FRESH: Duration = Duration::from_secs(5 * 60);

/// Names that are remembered at most; the one that was looked up longest ago goes.
const NAMES_MAX: usize = 32;

/// Addresses of one name that are tried at most.
const ADDRESSES_MAX: usize = 8;

/// What was looked up; a clone is the same one.
#[derive(Debug, Clone, Default)]
pub struct Names(Arc<Mutex<HashMap<String, Known>>>);

#[derive(Debug, Clone)]
struct Known {
    addresses: Vec<IpAddr>,
    at: Instant,
}

impl Names {
    /// Connects to the first address of `to` that answers. Not bounded in time: the caller does that.
    pub async fn connect(&self, to: &HostPort) -> io::Result<TcpStream> {
        if let Ok(address) = to.host.trim_matches(['[', ']']).parse::<IpAddr>() {
            return TcpStream::connect((address, to.port)).await;
        }
        let mut failed = None;
        if let Some(addresses) = self.known(&to.host) {
            // If it can't be reached there, it may have moved.
            match dial(&addresses, to.port).await {
                Ok(stream) => return Ok(stream),
                Err(error) => failed = Some((addresses, error)),
            }
            self.names().remove(&to.host);
        }
        let found = match lookup_host((to.host.as_str(), to.port)).await {
            Ok(found) => found,
            // While names can't be looked up, where it was is the best guess there is.
            Err(error) => match self.last(&to.host) {
                Some(addresses) => return dial(&addresses, to.port).await,
                None => return Err(error),
            },
        };
        let addresses: Vec<_> = found
            .map(|address| address.ip())
            .take(ADDRESSES_MAX)
            .collect();
        match failed {
            Some((same, error)) if same == addresses => return Err(error),
            _ => {}
        }
        let stream = dial(&addresses, to.port).await?;
        self.remember(&to.host, addresses);
        Ok(stream)
    }

    fn known(&self, host: &str) -> Option<Vec<IpAddr>> {
        let names = self.names();
        let known = names.get(host).filter(|known| known.at.elapsed() < FRESH)?;
        Some(known.addresses.clone())
    }

    fn last(&self, host: &str) -> Option<Vec<IpAddr>> {
        Some(self.names().get(host)?.addresses.clone())
    }

    fn remember(&self, host: &str, addresses: Vec<IpAddr>) {
        let mut names = self.names();
        if names.len() >= NAMES_MAX && !names.contains_key(host) {
            let oldest = names.iter().min_by_key(|(_, known)| known.at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                names.remove(&oldest);
            }
        }
        let at = Instant::now();
        names.insert(host.to_owned(), Known { addresses, at });
    }

    fn names(&self) -> MutexGuard<'_, HashMap<String, Known>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn dial(addresses: &[IpAddr], port: u16) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect((*address, port)).await {
            Ok(stream) => return Ok(stream),
            Err(error) => failed = error,
        }
    }
    Err(failed)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn named(host: &str, port: u16) -> HostPort {
        HostPort {
            host: host.to_owned(),
            port,
        }
    }

    #[tokio::test]
    async fn r10_a_name_is_looked_up_once_and_again_when_nothing_answers_there() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (names, to) = (Names::default(), named("localhost", port));
        names.connect(&to).await.unwrap();
        let first = names.known("localhost").unwrap();
        names.connect(&to).await.unwrap();
        assert_eq!(names.known("localhost"), Some(first));
        // What is remembered is wrong now: nobody listens on this port of that address.
        let moved = vec![IpAddr::from([127, 255, 255, 254])];
        names.remember("localhost", moved.clone());
        names.connect(&to).await.unwrap();
        assert_ne!(names.known("localhost"), Some(moved));
        drop(listener);
        assert!(names.connect(&to).await.is_err());
        assert!(names.connect(&named("127.0.0.1", port)).await.is_err());
        assert!(names.known("127.0.0.1").is_none());
    }

    #[tokio::test]
    async fn r10_a_gateway_is_found_where_it_was_while_names_can_not_be_looked_up() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        // No name service has this one.
        let (names, to) = (Names::default(), named("..", port));
        assert!(names.connect(&to).await.is_err());
        let known = Known {
            addresses: vec![IpAddr::from([127, 0, 0, 1])],
            at: Instant::now().checked_sub(FRESH).unwrap(),
        };
        names.names().insert(to.host.clone(), known);
        assert!(
            names.known(&to.host).is_none(),
            "it is to be looked up again"
        );
        names.connect(&to).await.unwrap();
    }

    #[test]
    fn names_are_bounded() {
        let names = Names::default();
        for n in 0..2 * NAMES_MAX {
            names.remember(&format!("g{n}"), Vec::new());
        }
        assert_eq!(names.names().len(), NAMES_MAX);
    }
}
