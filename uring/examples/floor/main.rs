//! An accept-only server: the least that registering and holding handsets costs, to measure the gateway against.
//!
//! It speaks to io_uring directly, with the cheapest operations there are for the purpose, and so shares nothing with
//! [`everline_uring::Ring`]: multishot accepts into the ring's own table, one armed receive for CONNECT and one for
//! WAITING out of a ring of provided buffers, a send of a fixed CONNREGISTERED that leaves no completion. It reads and
//! drops WAITING, as a server has to: unread bytes would stay in kernel memory. Then it holds the socket with an armed
//! multishot poll (`--watch poll`), or with nothing at all (`--watch none`), and then it would never notice that a
//! handset is gone. It checks no token, keeps no table but one byte a slot, and asks nobody whether he is still there.
//!
//! ```text
//! cargo run --release -p everline-uring --example floor -- --sessions 100000
//! loadgen run --handsets 100000 --token none --signaling 127.0.0.1:PORT
//! ```
//!
//! Listens on loopback only. Ends after `--for-s`, or at SIGTERM or SIGINT, and then says what it counted.
#![expect(unsafe_code, reason = "it speaks to the kernel without our ring")]

mod buffers;
mod ring;

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use everline_uring::table_slots_max;

use ring::Ring;

/// Slots of a table that are kept free: what a multishot accept may take before it hears that it should stop.
const SPARE_SLOTS: u32 = 1024;

/// Accepts handsets, answers each CONNECT with the same line, holds the sockets, and does nothing else.
#[derive(Debug, Parser)]
#[command(name = "floor")]
struct Args {
    /// How many handsets to hold: decides how many rings there are.
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=8_000_000))]
    sessions: u32,
    /// Port on 127.0.0.1; 0: a free one, which the first line of the output names.
    #[arg(long, value_name = "PORT", default_value_t = 0)]
    port: u16,
    /// What is armed on a socket that is held.
    #[arg(long, value_enum, default_value_t = Watch::Poll)]
    watch: Watch,
    /// Ends after this many seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 3600, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    for_s: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Watch {
    /// A multishot poll: the least that notices a handset that speaks or leaves.
    Poll,
    /// Nothing: nobody would notice.
    None,
}

/// What all rings count together.
#[derive(Debug, Default)]
struct Counts {
    accepted: AtomicU64,
    registered: AtomicU64,
    left: AtomicU64,
    /// Connections that found their ring's table full, and were lost.
    lost: AtomicU64,
}

fn main() -> io::Result<()> {
    let args = Args::parse();
    let signals = block_signals()?;
    let listener = listen(args.port)?;
    let slots = table_slots_max()?.max(2 * SPARE_SLOTS);
    let rings = args.sessions.div_ceil(slots - SPARE_SLOTS);
    let crew = Arc::new(Crew {
        listener: listener.try_clone()?,
        rings,
        slots,
        quota: args.sessions.div_ceil(rings),
        watch: args.watch,
        counts: Counts::default(),
    });
    crew.clone().start(0)?;
    println!(
        "floor: {} with {rings} rings of {slots} slots",
        listener.local_addr()?
    );
    io::stdout().flush()?;
    wait(&signals, Duration::from_secs(args.for_s.into()));
    let counts = &crew.counts;
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    println!(
        "floor: accepted {}, registered {}, left {}, lost {}",
        count(&counts.accepted),
        count(&counts.registered),
        count(&counts.left),
        count(&counts.lost)
    );
    Ok(())
}

/// What the rings have in common. They are filled one after the other: an accept that is cancelled because its table is
/// full may have been told of connections that it then leaves in the listener's queue, and the ring that is started in
/// its place finds them there. Of several that accept at once none would look.
#[derive(Debug)]
struct Crew {
    listener: TcpListener,
    rings: u32,
    /// Of a table.
    slots: u32,
    /// Handsets of a ring.
    quota: u32,
    watch: Watch,
    counts: Counts,
}

impl Crew {
    /// Starts ring `number` on a thread of its own, and after it the next one, once it is full.
    fn start(self: Arc<Self>, number: u32) -> io::Result<()> {
        std::thread::Builder::new()
            .name(format!("ring-{number}"))
            .stack_size(256 << 10)
            .spawn(move || {
                let ended = Ring::new(self, number).and_then(Ring::run);
                eprintln!("floor: ring {number}: {:?}", ended.err());
                std::process::exit(1);
            })
            .map(drop)
    }

    /// How many handsets ring `number` takes: the last one whoever is left, those who come back among them, as far as
    /// its table reaches.
    fn quota(&self, number: u32) -> u32 {
        if number + 1 == self.rings {
            self.slots - SPARE_SLOTS
        } else {
            self.quota
        }
    }
}

/// One listener for all rings, with the longest queue that the kernel allows.
fn listen(port: u16) -> io::Result<TcpListener> {
    // SAFETY: no pointers are passed; the result is checked before it is owned.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_STREAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: `socket` is a new descriptor that nothing else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    let on: libc::c_int = 1;
    let address = libc::sockaddr_in {
        sin_family: libc::AF_INET as libc::sa_family_t,
        sin_port: port.to_be(),
        sin_addr: libc::in_addr {
            s_addr: u32::from(Ipv4Addr::LOCALHOST).to_be(),
        },
        sin_zero: [0; 8],
    };
    for (level, option) in [
        (libc::SOL_SOCKET, libc::SO_REUSEADDR),
        (libc::IPPROTO_TCP, libc::TCP_NODELAY),
    ] {
        // SAFETY: `on` outlives the call, which only reads its four bytes.
        done(unsafe {
            libc::setsockopt(
                socket.as_raw_fd(),
                level,
                option,
                (&raw const on).cast(),
                size_of_val(&on) as u32,
            )
        })?;
    }
    // SAFETY: `address` outlives the call, which only reads as many bytes of it as it has.
    done(unsafe {
        libc::bind(
            socket.as_raw_fd(),
            (&raw const address).cast(),
            size_of_val(&address) as u32,
        )
    })?;
    // SAFETY: no pointers are passed.
    done(unsafe { libc::listen(socket.as_raw_fd(), 65_535) })?;
    let listener = TcpListener::from(socket);
    assert!(matches!(listener.local_addr()?, SocketAddr::V4(at) if at.ip().is_loopback()));
    Ok(listener)
}

/// SIGTERM and SIGINT, held back in this thread and in all that it starts, for [`wait`] to take.
fn block_signals() -> io::Result<libc::sigset_t> {
    // SAFETY: a set of zeros is a valid one to be emptied; every call writes only to it.
    unsafe {
        let mut set = std::mem::zeroed();
        libc::sigemptyset(&mut set);
        libc::sigaddset(&mut set, libc::SIGTERM);
        libc::sigaddset(&mut set, libc::SIGINT);
        match libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) {
            0 => Ok(set),
            error => Err(io::Error::from_raw_os_error(error)),
        }
    }
}

fn wait(signals: &libc::sigset_t, limit: Duration) {
    let limit = libc::timespec {
        tv_sec: limit.as_secs() as libc::time_t,
        tv_nsec: 0,
    };
    // SAFETY: both outlive the call, which only reads them; it may leave out what the signal said.
    unsafe { libc::sigtimedwait(signals, std::ptr::null_mut(), &limit) };
}

fn done(result: libc::c_int) -> io::Result<()> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    }
}
