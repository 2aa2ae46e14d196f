//! How a [`Ring`] opens a connection: socket into a slot, maybe an address to come from, connect, as one linked chain.

use std::net::SocketAddr;

use io_uring::types::Fixed;
use io_uring::{opcode, squeue};

use crate::address::Address;
use crate::ring::{Ring, target};
use crate::table::State;
use crate::tag::{Kind, Tag};
use crate::{Errno, Event, SocketKey};

/// A connect under way; boxed, since the chain points to its addresses.
pub(crate) struct Dialling {
    to: Address,
    from: Option<Address>,
    /// Completions still to come.
    steps: u8,
    /// The chain's first completion tells whether there is a socket to close.
    has_socket: Option<bool>,
    error: Option<Errno>,
    /// The owner closed it meanwhile: it hears `Closed`, not `Connected`.
    abandoned: bool,
}

/// The value of options that are switched on.
pub(crate) static ON: libc::c_int = 1;

impl Ring {
    /// Queues the chain for a slot that is `Connecting`.
    pub(crate) fn dial(&mut self, socket: SocketKey, from: Option<SocketAddr>, to: SocketAddr) {
        if from.is_some() && !self.can_bind {
            self.table.release(socket);
            // Before Linux 6.11 a socket in a table cannot be bound.
            self.ready.push(Event::Connected {
                socket,
                result: Err(Errno(libc::EOPNOTSUPP)),
            });
            return;
        }
        let mut record = Box::new(Dialling {
            to: Address::new(to),
            from: from.map(Address::new),
            steps: 0,
            has_socket: None,
            error: None,
            abandoned: false,
        });
        let fixed = Fixed(socket.slot);
        let domain = if to.is_ipv4() {
            libc::AF_INET
        } else {
            libc::AF_INET6
        };
        let mut chain = vec![
            opcode::Socket::new(domain, libc::SOCK_STREAM, 0)
                .file_index(Some(target(socket)))
                .build(),
        ];
        if let Some(name) = &mut record.from {
            if from.is_some_and(|from| from.port() == 0) {
                // The port is chosen at connect, when the whole address is known: else one source has only 28,000 of them.
                let (level, on) = (libc::IPPROTO_IP as u32, std::ptr::from_ref(&ON).cast());
                let option = libc::IP_BIND_ADDRESS_NO_PORT as u32;
                chain.push(
                    opcode::SetSockOpt::new(fixed, level, option, on, size_of_val(&ON) as u32)
                        .build(),
                );
            }
            let len = name.len_now();
            chain.push(opcode::Bind::new(fixed, name.name(), len).build());
        }
        let len = record.to.len_now();
        chain.push(opcode::Connect::new(fixed, record.to.name(), len).build());
        record.steps = chain.len() as u8;
        self.table.slot(socket).expect("just taken").in_flight = record.steps;
        self.pointing += u32::from(record.steps);
        self.dials.insert(socket.slot, record);
        self.make_room(chain.len());
        let last = chain.len() - 1;
        for (step, entry) in chain.into_iter().enumerate() {
            let flags = if step == last {
                squeue::Flags::empty()
            } else {
                squeue::Flags::IO_LINK
            };
            self.push(
                &entry
                    .flags(flags)
                    .user_data(Tag::of_socket(Kind::Connect, socket).user_data()),
            );
        }
    }

    /// One completion of the chain; after the last the socket is open, or ends.
    pub(crate) fn dial_step_ended(
        &mut self,
        socket: SocketKey,
        result: i32,
        events: &mut Vec<Event>,
    ) {
        self.pointing -= 1;
        let record = self
            .dials
            .get_mut(&socket.slot)
            .expect("a connect under way has its record");
        let slot = self
            .table
            .slot(socket)
            .expect("a slot is not released while an operation is in flight");
        slot.in_flight -= 1;
        record.steps -= 1;
        record.has_socket.get_or_insert(result >= 0);
        if result < 0 && record.error.is_none() {
            // The first failure; the rest of the chain is cancelled because of it.
            record.error = Some(Errno(-result));
        }
        if record.steps > 0 {
            return;
        }
        let (failed, has_socket) = (record.error.is_some(), record.has_socket == Some(true));
        if slot.state == State::Connecting && !failed {
            slot.state = State::Open;
            self.dials.remove(&socket.slot);
            events.push(Event::Connected {
                socket,
                result: Ok(()),
            });
        } else if has_socket {
            slot.state = State::Closing;
            self.end_if_idle(socket);
        } else {
            self.closed(socket, events);
        }
    }

    /// The owner closes a socket that is being connected.
    pub(crate) fn abandon_dial(&mut self, socket: SocketKey) {
        if let Some(record) = self.dials.get_mut(&socket.slot) {
            record.abandoned = true;
        }
        self.cancel(Tag::of_socket(Kind::Connect, socket));
    }

    /// What the owner hears of a slot that was closed because its connect failed.
    pub(crate) fn dial_failure(&mut self, socket: SocketKey) -> Option<Event> {
        let record = self.dials.remove(&socket.slot)?;
        let error = record.error.filter(|_| !record.abandoned)?;
        Some(Event::Connected {
            socket,
            result: Err(error),
        })
    }
}
