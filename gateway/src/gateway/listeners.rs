//! The gateway's listening sockets: one for all rings, one a worker for callers and for data channels.

use std::io;
use std::net::{SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::StartError;
use crate::config::Config;
use crate::worker::WorkerSockets;

/// Connections that may wait to be accepted; the kernel cuts it to `net.core.somaxconn`.
const BACKLOG: i32 = 65_535;
/// A listening socket; `shared_port`: several of ours listen on it.
pub(super) fn listen(
    section: &'static str,
    listen: SocketAddr,
    shared_port: bool,
) -> Result<TcpListener, StartError> {
    let open = || {
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
    open().map_err(listening(section, listen))
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
