//! How a socket of a [`Ring`] ends: cancel what is armed, await its last completion, drop what nobody read, close the slot.
//!
//! In that order because an armed operation holds the socket: closing the slot under it would send no FIN until the
//! operation ends (Linux 6.18). And a socket closed with unread bytes sends a reset in place of FIN, which may cost
//! the peer the last line that we sent it; so those bytes are dropped first.

use io_uring::types::Fixed;
use io_uring::{opcode, squeue};

use crate::ring::Ring;
use crate::table::State;
use crate::tag::{Kind, Tag};
use crate::{Event, SocketKey};

/// Linger on, 0 seconds: the close that follows sends a reset.
static RESET: libc::linger = libc::linger {
    l_onoff: 1,
    l_linger: 0,
};

/// The most that is dropped unread before a close.
const DISCARD_BYTES: u32 = 1 << 20;

impl Ring {
    /// The owner's close or reset. A stale key does nothing.
    pub(crate) fn end(&mut self, socket: SocketKey, reset: bool) {
        let Some(slot) = self.table.slot(socket) else {
            return;
        };
        slot.reset = reset;
        match slot.state {
            State::Connecting => {
                slot.state = State::Closing;
                self.abandon_dial(socket);
            }
            State::Open => {
                slot.state = State::Closing;
                let watched = slot.watch.is_on();
                let others = slot.in_flight > u8::from(watched);
                if watched {
                    self.cancel(Tag::of_socket(Kind::Watch, socket));
                }
                if others {
                    // Maybe only a transfer, which ends by itself; then this finds nothing.
                    self.cancel(Tag::of_socket(Kind::Writable, socket));
                }
                self.forget_waiting_receive(socket);
                self.end_if_idle(socket);
            }
            State::Free | State::Promised | State::Closing => {}
        }
    }

    /// Closes the slot of a closing socket once nothing of it is in flight.
    pub(crate) fn end_if_idle(&mut self, socket: SocketKey) {
        let Some(slot) = self.table.slot(socket) else {
            return;
        };
        if slot.state != State::Closing || slot.in_flight > 0 {
            return;
        }
        slot.in_flight = 1;
        // Both complete during submission, before the close behind them is looked at.
        let before = if slot.reset {
            let linger = std::ptr::from_ref(&RESET).cast();
            let (level, option) = (libc::SOL_SOCKET as u32, libc::SO_LINGER as u32);
            opcode::SetSockOpt::new(
                Fixed(socket.slot),
                level,
                option,
                linger,
                size_of::<libc::linger>() as u32,
            )
            .build()
            .user_data(Tag::of_socket(Kind::Linger, socket).user_data())
        } else {
            // MSG_TRUNC makes TCP drop the bytes in place of copying them: no buffer is needed.
            opcode::Recv::new(Fixed(socket.slot), std::ptr::null_mut(), DISCARD_BYTES)
                .flags(libc::MSG_DONTWAIT | libc::MSG_TRUNC)
                .build()
                .user_data(Tag::of_socket(Kind::Discard, socket).user_data())
        };
        // Nobody asks how it went: where the kernel can do neither, the close alone has to do.
        self.push(&before.flags(squeue::Flags::SKIP_SUCCESS));
        let close = opcode::Close::new(Fixed(socket.slot)).build();
        self.push(&close.user_data(Tag::of_socket(Kind::Close, socket).user_data()));
    }

    /// A slot is closed: free it, and tell whoever waits for that.
    pub(crate) fn closed(&mut self, socket: SocketKey, events: &mut Vec<Event>) {
        self.table
            .slot(socket)
            .expect("a slot is closed once")
            .in_flight = 0;
        self.table.release(socket);
        events.push(self.dial_failure(socket).unwrap_or(Event::Closed(socket)));
    }

    /// Asks the kernel to end an operation; its own completion tells whether that came in time.
    pub(crate) fn cancel(&mut self, tag: Tag) {
        let entry = opcode::AsyncCancel::new(tag.user_data()).build();
        let entry = entry.user_data(Tag::of_index(Kind::Ignore, 0).user_data());
        self.push(&entry.flags(squeue::Flags::SKIP_SUCCESS));
    }
}
