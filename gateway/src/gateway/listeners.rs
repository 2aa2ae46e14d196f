//! The gateway's listening sockets: one for all rings, one a worker for callers and for data channels.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use socket2::{Domain, Protocol, Socket, Type};

use super::StartError;
use crate::config::Config;
use crate::worker::WorkerSockets;

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;
/// How long a port in use is tried again. The kernel takes a killed process's rings apart after it is gone, and until
/// then their accepts hold its listener (Linux 6.18): a gateway that is started again at once must outwait them.
const IN_USE_TIMEOUT: Duration = Duration::from_secs(10);
/// Between two tries.
const IN_USE_PAUSE: Duration = Duration::from_millis(50);

/// A listening socket; `shared_port`: several of ours listen on it.
pub(super) fn listen(
    section: &'static str,
    listen: SocketAddr,
    shared_port: bool,
) -> Result<TcpListener, StartError> {
    let open = || -> io::Result<TcpListener> {
        let socket = Socket::new(
            Domain::for_address(listen),
            Type::STREAM,
            Some(Protocol::TCP),
        )?;
        socket.set_reuse_address(true)?;
        socket.set_reuse_port(shared_port)?;
        // Accepted sockets inherit it: a signal must not wait for an ACK.
        socket.set_tcp_nodelay(true)?;
        socket.bind(&listen.into())?;
        socket.listen(BACKLOG)?;
        socket.set_nonblocking(true)?;
        Ok(TcpListener::from(socket))
    };
    let begun = Instant::now();
    let mut told = false;
    loop {
        match open() {
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && begun.elapsed() < IN_USE_TIMEOUT =>
            {
                if !told {
                    tracing::warn!(%listen, section, "the port is in use; trying again for 10 s");
                    told = true;
                }
                std::thread::sleep(IN_USE_PAUSE);
            }
            opened => return opened.map_err(listening(section, listen)),
        }
    }
}

pub(super) fn listening(
    section: &'static str,
    listen: SocketAddr,
) -> impl Fn(io::Error) -> StartError {
    move |error| StartError::Listen {
        section,
        listen,
        error,
    }
}

/// One listener a worker for each of the two ports, all on the port that the first one got.
pub(super) fn worker_listeners(
    config: &Config,
    workers: usize,
) -> Result<Vec<WorkerSockets>, StartError> {
    let ports = [
        ("ingress", config.ingress.listen),
        ("data", config.data.listen),
    ];
    for (section, address) in ports {
        // With SO_REUSEPORT a second gateway would silently share the port, and get half of the requests. Without it
        // the port must be free, so this listener comes and goes first.
        drop(listen(section, address, false)?);
    }
    let mut sockets: Vec<WorkerSockets> = Vec::with_capacity(workers);
    for _ in 0..workers {
        let [ingress, data] = ports.map(|(section, address)| {
            let first = sockets.first().map(|first| {
                if section == "ingress" {
                    &first.ingress
                } else {
                    &first.data
                }
            });
            let at = first.map_or(Ok(address), TcpListener::local_addr)?;
            listen(section, at, true)
        });
        sockets.push(WorkerSockets {
            ingress: ingress?,
            data: data?,
        });
    }
    Ok(sockets)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_its_last_owner_still_holds_for_a_moment_is_outwaited() {
        let free = "127.0.0.1:0".parse().expect("an address");
        let held = listen("signaling", free, false).expect("a free port");
        let at = held.local_addr().expect("it is bound");
        let owner = std::thread::spawn(move || {
            std::thread::sleep(IN_USE_PAUSE * 2);
            drop(held);
        });
        listen("signaling", at, false).expect("the port was given back in time");
        owner.join().expect("it only waits");
    }
}
