//! One ring of the floor server: accepts, answers, holds, and nothing else. Its thread is in `run` for good.

use std::io;
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use io_uring::types::{Fd, Fixed};
use io_uring::{CompletionQueue, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue};

use crate::buffers::{BUFFER_BYTES, BUFFER_GROUP, Buffers};
use crate::{Crew, SPARE_SLOTS, Watch};

/// What every handset is told. The longest timeout there is: nobody here will ask whether it is still there.
static REGISTERED: &[u8] = b"CONNREGISTERED session=0000000000000001 timeout=86400\r\n";
/// Operations submitted at once.
const ENTRIES: u32 = 2048;
/// An accept that failed for any other reason than a full table may fail this often, then the server ends.
const FAILURES_MAX: u64 = 1000;
const POLL: u32 = (libc::POLLIN | libc::POLLRDHUP) as u32;

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
    /// The next ring accepts.
    Over,
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
pub(crate) struct Ring {
    uring: IoUring,
    hands: Hands,
}

/// Everything of a ring but the queues, so that one completion can be handled while the next ones wait.
struct Hands {
    crew: Arc<Crew>,
    number: u32,
    buffers: Buffers,
    states: Vec<State>,
    held: u32,
    quota: u32,
    accepting: Accepting,
    failures: u64,
    /// Operations to be submitted at the next turn.
    next: Vec<squeue::Entry>,
}

impl Ring {
    pub(crate) fn new(crew: Arc<Crew>, number: u32) -> io::Result<Self> {
        let uring: IoUring = IoUring::builder()
            .setup_cqsize(ENTRIES * 4)
            .setup_single_issuer()
            .setup_defer_taskrun()
            .build(ENTRIES)?;
        let quota = crew.quota(number);
        let slots = quota + SPARE_SLOTS;
        uring.submitter().register_files_sparse(slots)?;
        let buffers = Buffers::register(&uring)?;
        let states = vec![State::Free; slots as usize];
        let (held, accepting, failures, next) = (0, Accepting::No, 0, Vec::new());
        let mut hands = Hands {
            crew,
            number,
            buffers,
            states,
            held,
            quota,
            accepting,
            failures,
            next,
        };
        hands.accept();
        Ok(Self { uring, hands })
    }

    pub(crate) fn run(mut self) -> io::Result<()> {
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
            opcode::AcceptMulti::new(Fd(self.crew.listener.as_raw_fd())).allocate_file_index(true);
        self.next
            .push(accept.build().user_data(Kind::Accept.tag(0)));
    }

    fn accepted(&mut self, result: i32, more: bool) -> io::Result<()> {
        if let Ok(slot) = u32::try_from(result) {
            self.crew.counts.accepted.fetch_add(1, Ordering::Relaxed);
            self.held += 1;
            self.states[slot as usize] = State::AwaitsConnect;
            self.receive(slot, 0);
        } else if result == -libc::ENFILE {
            self.crew.counts.lost.fetch_add(1, Ordering::Relaxed);
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
        } else if !more && self.held >= self.quota && self.number + 1 < self.crew.rings {
            self.accepting = Accepting::Over;
            self.crew.clone().start(self.number + 1)?;
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
        self.crew.counts.registered.fetch_add(1, Ordering::Relaxed);
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
        if self.crew.watch == Watch::Poll {
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
        self.crew.counts.left.fetch_add(1, Ordering::Relaxed);
        self.states[slot as usize] = State::Free;
        self.held -= 1;
        self.accept_if_room();
    }
}
