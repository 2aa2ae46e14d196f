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

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::time::Duration;

use clap::{Parser, ValueEnum};
use everline_uring::table_slots_max;
use io_uring::types::{BufRingEntry, Fd, Fixed};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue};

/// What every handset is told. The longest timeout there is: nobody here will ask whether it is still there.
static REGISTERED: &[u8] = b"CONNREGISTERED session=0000000000000001 timeout=86400\r\n";
/// Operations submitted at once.
const ENTRIES: u32 = 2048;
/// Slots of a table that are kept free: what a multishot accept may take before it hears that it should stop.
const SPARE_SLOTS: u32 = 1024;
/// Buffers of a ring, a power of two, and their size: a line of the protocol is no longer.
const BUFFERS: u16 = 1024;
const BUFFER_BYTES: usize = 2048;
const BUFFER_GROUP: u16 = 0;
/// An accept that failed for any other reason than a full table may fail this often, then the server ends.
const FAILURES_MAX: u64 = 1000;
const POLL: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;

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
    let quota = args.sessions.div_ceil(rings);
    let counts = Arc::new(Counts::default());
    for number in 0..rings {
        let (listener, counts) = (listener.try_clone()?, counts.clone());
        // The last ring takes whoever is left, handsets that come back among them, as far as its table reaches.
        let quota = if number + 1 == rings {
            slots - SPARE_SLOTS
        } else {
            quota
        };
        std::thread::Builder::new()
            .name(format!("ring-{number}"))
            .stack_size(256 << 10)
            .spawn(move || {
                let ended = Ring::new(listener, quota, args.watch, counts).and_then(Ring::run);
                eprintln!("floor: ring {number}: {:?}", ended.err());
                std::process::exit(1);
            })?;
    }
    println!(
        "floor: {} with {rings} rings of {slots} slots",
        listener.local_addr()?
    );
    io::stdout().flush()?;
    wait(&signals, Duration::from_secs(args.for_s.into()));
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

/// Where a slot's connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Free,
    /// A receive is armed.
    AwaitsConnect,
    /// A receive is armed.
    AwaitsWaiting,
    /// The poll is armed, or nothing.
    Held,
    /// The poll is being cancelled: a slot is closed only after its last operation, or no FIN would leave.
    Ending,
}

/// Whether a ring's multishot accept is armed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Accepting {
    No,
    Yes,
    /// It was cancelled, and may still take connections until its last completion.
    Ending,
}

/// What an operation was, in the upper half of its user data; the lower half is its slot.
#[derive(Debug, Clone, Copy)]
#[repr(u64)]
enum Kind {
    Accept,
    Receive,
    Poll,
    Close,
    /// Of no interest: a send that failed, as the receive will tell, or a cancellation.
    Other,
}

impl Kind {
    const ALL: [Self; 5] = [
        Self::Accept,
        Self::Receive,
        Self::Poll,
        Self::Close,
        Self::Other,
    ];

    fn tag(self, slot: u32) -> u64 {
        (self as u64) << 32 | u64::from(slot)
    }
}

/// One ring, for the thread that made it.
struct Ring {
    uring: IoUring,
    hands: Hands,
}

/// Everything of a ring but the queues, so that one completion can be handled while the next ones wait.
struct Hands {
    listener: TcpListener,
    buffers: Buffers,
    states: Vec<State>,
    watch: Watch,
    held: u32,
    quota: u32,
    accepting: Accepting,
    failures: u64,
    counts: Arc<Counts>,
    /// Operations to be submitted at the next turn.
    next: Vec<squeue::Entry>,
}

impl Ring {
    fn new(
        listener: TcpListener,
        quota: u32,
        watch: Watch,
        counts: Arc<Counts>,
    ) -> io::Result<Self> {
        let uring: IoUring = IoUring::builder()
            .setup_cqsize(ENTRIES * 4)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(ENTRIES)?;
        let slots = quota + SPARE_SLOTS;
        uring.submitter().register_files_sparse(slots)?;
        let buffers = Buffers::register(&uring)?;
        let states = vec![State::Free; slots as usize];
        let (held, accepting, failures, next) = (0, Accepting::No, 0, Vec::new());
        let mut hands = Hands {
            listener,
            buffers,
            states,
            watch,
            held,
            quota,
            accepting,
            failures,
            counts,
            next,
        };
        hands.accept();
        Ok(Self { uring, hands })
    }

    fn run(mut self) -> io::Result<()> {
        let (submitter, mut submissions, mut completions) = self.uring.split();
        loop {
            for entry in self.hands.next.drain(..) {
                push(&submitter, &mut submissions, &entry)?;
            }
            submissions.sync();
            match submitter.submit_and_wait(1) {
                // EBUSY: completions must be taken before more is submitted.
                Err(error) if !matches!(error.raw_os_error(), Some(libc::EINTR | libc::EBUSY)) => {
                    return Err(error);
                }
                _ => {}
            }
            submissions.sync();
            self.hands.complete_all(&mut completions)?;
        }
    }
}

fn push(
    submitter: &Submitter<'_>,
    queue: &mut SubmissionQueue<'_>,
    entry: &squeue::Entry,
) -> io::Result<()> {
    // SAFETY: what an entry points to, if anything, is a static.
    while unsafe { queue.push(entry) }.is_err() {
        queue.sync();
        submitter.submit()?;
        queue.sync();
    }
    Ok(())
}

impl Hands {
    fn complete_all(&mut self, completions: &mut CompletionQueue<'_>) -> io::Result<()> {
        completions.sync();
        for completion in completions {
            let (tag, result) = (completion.user_data(), completion.result());
            let (slot, more) = (tag as u32, cqueue::more(completion.flags()));
            match Kind::ALL[(tag >> 32) as usize] {
                Kind::Accept => self.accepted(result, more)?,
                Kind::Receive => {
                    self.received(slot, result, cqueue::buffer_select(completion.flags()));
                }
                Kind::Poll => self.polled(slot, more),
                Kind::Close => self.closed(slot),
                Kind::Other => {}
            }
        }
        Ok(())
    }

    fn accept(&mut self) {
        self.accepting = Accepting::Yes;
        let accept =
            opcode::AcceptMulti::new(Fd(self.listener.as_raw_fd())).allocate_file_index(true);
        self.next
            .push(accept.build().user_data(Kind::Accept.tag(0)));
    }

    fn accepted(&mut self, result: i32, more: bool) -> io::Result<()> {
        if let Ok(slot) = u32::try_from(result) {
            self.counts.accepted.fetch_add(1, Ordering::Relaxed);
            self.held += 1;
            self.states[slot as usize] = State::AwaitsConnect;
            self.receive(slot, 0);
        } else if result == -libc::ENFILE {
            self.counts.lost.fetch_add(1, Ordering::Relaxed);
        } else if result != -libc::ECANCELED {
            self.failures += 1;
            if self.failures > FAILURES_MAX {
                return Err(io::Error::from_raw_os_error(-result));
            }
        }
        if more && self.held >= self.quota && self.accepting == Accepting::Yes {
            self.accepting = Accepting::Ending;
            let cancel = opcode::AsyncCancel::new(Kind::Accept.tag(0)).build();
            self.next.push(cancel.user_data(Kind::Other.tag(0)));
        } else if !more {
            self.accepting = Accepting::No;
            self.accept_if_room();
        }
        Ok(())
    }

    fn accept_if_room(&mut self) {
        if self.accepting == Accepting::No && self.held < self.quota {
            self.accept();
        }
    }

    fn receive(&mut self, slot: u32, flags: libc::c_int) {
        let receive = opcode::Recv::new(Fixed(slot), std::ptr::null_mut(), BUFFER_BYTES as u32)
            .flags(flags)
            .buf_group(BUFFER_GROUP)
            .build()
            .flags(squeue::Flags::BUFFER_SELECT);
        self.next.push(receive.user_data(Kind::Receive.tag(slot)));
    }

    fn received(&mut self, slot: u32, result: i32, buffer: Option<u16>) {
        let mut whole = false;
        if let Some(buffer) = buffer {
            let last = usize::try_from(result).unwrap_or(0).checked_sub(1);
            whole = last.is_some_and(|last| self.buffers.byte(buffer, last) == b'\n');
            self.buffers.give_back(buffer);
        }
        match (result, self.states[slot as usize]) {
            (1.., State::AwaitsConnect) if whole => self.register(slot),
            (1.., State::AwaitsWaiting) if whole => self.hold(slot),
            (1.., State::AwaitsConnect | State::AwaitsWaiting) => self.receive(slot, 0),
            // Whatever it says is dropped, until nothing is left: the end may have come with it.
            (1.., State::Held) => self.receive(slot, libc::MSG_DONTWAIT),
            (result, State::AwaitsConnect | State::AwaitsWaiting) if result == -libc::ENOBUFS => {
                self.receive(slot, 0);
            }
            (result, State::Held) if result == -libc::ENOBUFS => {
                self.receive(slot, libc::MSG_DONTWAIT);
            }
            (result, State::Held) if result == -libc::EAGAIN => {}
            (_, State::Held) => {
                self.states[slot as usize] = State::Ending;
                let cancel = opcode::PollRemove::new(Kind::Poll.tag(slot)).build();
                self.next.push(cancel.user_data(Kind::Other.tag(slot)));
            }
            (_, State::AwaitsConnect | State::AwaitsWaiting) => self.close(slot),
            (_, State::Free | State::Ending) => {}
        }
    }

    fn register(&mut self, slot: u32) {
        self.counts.registered.fetch_add(1, Ordering::Relaxed);
        self.states[slot as usize] = State::AwaitsWaiting;
        let send = opcode::Send::new(Fixed(slot), REGISTERED.as_ptr(), REGISTERED.len() as u32)
            .flags(libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL)
            .build()
            .flags(squeue::Flags::SKIP_SUCCESS);
        self.next.push(send.user_data(Kind::Other.tag(slot)));
        self.receive(slot, 0);
    }

    fn hold(&mut self, slot: u32) {
        self.states[slot as usize] = State::Held;
        if self.watch == Watch::Poll {
            let poll = opcode::PollAdd::new(Fixed(slot), POLL).multi(true).build();
            self.next.push(poll.user_data(Kind::Poll.tag(slot)));
        }
    }

    fn polled(&mut self, slot: u32, more: bool) {
        match self.states[slot as usize] {
            State::Held => {
                if !more {
                    self.hold(slot);
                }
                self.receive(slot, libc::MSG_DONTWAIT);
            }
            State::Ending if !more => self.close(slot),
            _ => {}
        }
    }

    fn close(&mut self, slot: u32) {
        self.states[slot as usize] = State::Ending;
        self.next.push(
            opcode::Close::new(Fixed(slot))
                .build()
                .user_data(Kind::Close.tag(slot)),
        );
    }

    fn closed(&mut self, slot: u32) {
        self.counts.left.fetch_add(1, Ordering::Relaxed);
        self.states[slot as usize] = State::Free;
        self.held -= 1;
        self.accept_if_room();
    }
}

/// Buffers that the kernel takes one of at the moment when bytes are there: none is held by a socket that waits.
struct Buffers {
    /// Shared with the kernel, never freed: the process ends with its rings.
    ring: NonNull<BufRingEntry>,
    bytes: NonNull<u8>,
    tail: u16,
}

impl Buffers {
    fn register(uring: &IoUring) -> io::Result<Self> {
        let ring = allocate(usize::from(BUFFERS) * size_of::<BufRingEntry>()).cast();
        let bytes = allocate(usize::from(BUFFERS) * BUFFER_BYTES);
        // SAFETY: the memory has room for so many entries, is aligned to a page and is never freed.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                ring.as_ptr() as u64,
                BUFFERS,
                BUFFER_GROUP,
                0,
            )?;
        };
        let mut buffers = Self {
            ring,
            bytes,
            tail: 0,
        };
        (0..BUFFERS).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    /// One byte of what was received into a buffer that was not yet given back.
    fn byte(&self, buffer: u16, at: usize) -> u8 {
        assert!(buffer < BUFFERS && at < BUFFER_BYTES);
        // SAFETY: inside the memory, as was asserted; the kernel writes to a buffer only after it was given back.
        unsafe {
            *self
                .bytes
                .as_ptr()
                .add(usize::from(buffer) * BUFFER_BYTES + at)
        }
    }

    fn give_back(&mut self, buffer: u16) {
        assert!(buffer < BUFFERS);
        // SAFETY: the entry and the buffer lie inside the memory, as was asserted, and the kernel reads the entry only
        // after the tail has passed it; the tail is a 16-bit word inside the first entry, written by nobody else.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(usize::from(self.tail % BUFFERS));
            entry.set_addr(self.bytes.as_ptr().add(usize::from(buffer) * BUFFER_BYTES) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.ring.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

/// Zeroed memory that begins at a page.
fn allocate(bytes: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(bytes, 4096).expect("a page is a power of two");
    // SAFETY: the size is not 0.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
