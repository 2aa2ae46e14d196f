//! Messages of the simulated handset: what it sends goes on the air, and what comes waits until there is coverage.

use std::collections::VecDeque;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::agenda::Due;
use super::network::{self, MessageFate};
use super::{State, chance};
use crate::device::{DeviceError, EVENTS_MAX, Event};
use crate::gsm::timestamp::Timestamp;
use crate::gsm::tpdu::{StatusReport, Submit, Tpdu};

/// Messages that a network keeps for a handset without coverage, at most: they come all at once, and a listener may be
/// behind by them.
const WAITING_MAX: usize = EVENTS_MAX / 2;

/// Recipients of one message at most.
const RECIPIENTS_MAX: usize = 100;

/// TP-Status of what is tried on, of what was delivered, and of what expired.
const TRIED_ON: u8 = 0x20;
const DELIVERED: u8 = 0x00;
const EXPIRED: u8 = 0x46;

/// What was sent, and what waits.
#[derive(Debug, Default)]
pub(super) struct Messages {
    /// The reference of the next SMS.
    reference: u8,
    /// Multimedia messages so far.
    multimedia: u64,
    /// SMS that came in parts so far: each has its own reference.
    parted: u8,
    waiting: VecDeque<Event>,
}

/// What went on the air, as a line of the log has it.
#[derive(Debug)]
pub(super) struct Sent<T> {
    /// What the radio answers.
    pub(super) answer: T,
    /// `sms …`, `mms …`, `email …`.
    pub(super) line: String,
}

impl State {
    /// What must hold before a message is begun to be sent.
    pub(super) fn can_send(&self) -> Result<(), DeviceError> {
        self.needs_network()?;
        if self.agenda.is_full() {
            return Err(DeviceError::Busy("too much is going on".to_owned()));
        }
        Ok(())
    }

    /// The network takes an SMS, or refuses it.
    pub(super) fn send_sms(&mut self, tpdu: &[u8], now: Instant) -> Result<Sent<u8>, DeviceError> {
        self.can_send()?;
        let submit = match Tpdu::decode(tpdu) {
            Ok(Tpdu::Submit(submit)) => submit,
            Ok(_) => return Err(refused("it is no SUBMIT (+CMS ERROR: 304)")),
            Err(error) => return Err(refused(&format!("{error} (+CMS ERROR: 304)"))),
        };
        let to = submit.to.shown();
        let fate = network::message(&to);
        if fate == MessageFate::Refused {
            return Err(refused(
                "messages to this number are barred (+CMS ERROR: 10)",
            ));
        }
        let reference = self.messages.reference;
        self.messages.reference = reference.wrapping_add(1);
        if submit.report {
            self.plan_reports(&submit, reference, fate, now);
        }
        let hex: String = tpdu.iter().map(|octet| format!("{octet:02x}")).collect();
        Ok(Sent {
            answer: reference,
            line: format!("sms {to} {reference} {hex}"),
        })
    }

    fn plan_reports(&mut self, submit: &Submit, reference: u8, fate: MessageFate, now: Instant) {
        let delivery = self.config.delivery;
        let planned: &[_] = match fate {
            MessageFate::Late => &[(delivery, TRIED_ON), (delivery * 4, DELIVERED)],
            MessageFate::Expired => &[(delivery * 2, EXPIRED)],
            MessageFate::Delivered | MessageFate::Refused => &[(delivery, DELIVERED)],
        };
        let sent = Timestamp::of(self.wall(now));
        for (after, status) in planned {
            let report = StatusReport {
                more: false,
                command: false,
                reference,
                to: submit.to.clone(),
                sent,
                done: Timestamp::of(self.wall(now + *after)),
                status: *status,
                extra: Vec::new(),
            };
            self.agenda.add(now + *after, Due::Report(report.encode()));
        }
    }

    /// The message centre takes a multimedia message, or refuses it.
    pub(super) fn send_mms(&mut self, message: &[u8]) -> Result<Sent<String>, DeviceError> {
        self.can_send()?;
        let to = recipients(message);
        if to.is_empty() {
            return Err(refused("it is for nobody"));
        }
        if to
            .iter()
            .any(|to| network::message(to) == MessageFate::Refused)
        {
            return Err(refused("messages to one of the numbers are barred"));
        }
        self.messages.multimedia += 1;
        let id = chance::draw(self.config.seed, "mms", self.messages.multimedia);
        Ok(Sent {
            answer: format!("{id:016x}@mmsc.invalid"),
            line: format!("mms {} {}", message.len(), to.join(" ")),
        })
    }

    /// The owner's mail server takes an email, or refuses it.
    pub(super) fn send_email(&self, message: &[u8]) -> Result<Sent<()>, DeviceError> {
        self.can_send()?;
        let to = recipients(message);
        if to.is_empty() {
            return Err(refused("it is for nobody"));
        }
        if to.iter().any(|to| to.starts_with("refused@")) {
            return Err(refused("550 no such mailbox"));
        }
        Ok(Sent {
            answer: (),
            line: format!("email {} {}", message.len(), to.join(" ")),
        })
    }

    /// A message or report comes, or waits until there is coverage; `false`: the network keeps too much already, or the
    /// handset takes no more for now.
    pub(super) fn arrives(&mut self, event: Event) -> bool {
        if self.needs_network().is_ok() {
            // A listener that is this far behind takes no more: what is told now would push out what it has not heard yet.
            let room = self.events.len() < EVENTS_MAX - WAITING_MAX;
            if room {
                self.tell(event);
            }
            return room;
        }
        let room = self.messages.waiting.len() < WAITING_MAX;
        if room {
            self.messages.waiting.push_back(event);
        }
        room
    }

    /// There is coverage again: what waited comes, in its order.
    pub(super) fn deliver_waiting(&mut self) {
        for event in std::mem::take(&mut self.messages.waiting) {
            self.tell(event);
        }
    }

    /// The reference of the next SMS that comes in parts.
    pub(super) fn next_parted(&mut self) -> u8 {
        self.messages.parted = self.messages.parted.wrapping_add(1);
        self.messages.parted
    }

    /// What the handset's clock shows.
    pub(super) fn wall(&self, now: Instant) -> OffsetDateTime {
        self.started_at + now.saturating_duration_since(self.started)
    }
}

fn refused(reason: &str) -> DeviceError {
    DeviceError::Refused(reason.to_owned())
}

/// For whom a MIME message is: the addresses of its To, Cc and Bcc fields, without what MMS writes behind a number.
fn recipients(message: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(message);
    let mut found = Vec::new();
    let mut for_somebody = false;
    for line in text.lines().take_while(|line| !line.is_empty()) {
        let mut value = line;
        if !line.starts_with([' ', '\t']) {
            let (name, rest) = line.split_once(':').unwrap_or_default();
            for_somebody = ["to", "cc", "bcc"].contains(&name.trim().to_ascii_lowercase().as_str());
            value = rest;
        }
        if for_somebody {
            found.extend(value.split(',').filter_map(address));
        }
    }
    found.truncate(RECIPIENTS_MAX);
    found
}

/// `Ada <+34600>`, `+34600/TYPE=PLMN`, `ada@example.com`.
fn address(text: &str) -> Option<String> {
    let inner = text.rsplit_once('<').map_or(text, |(_, inner)| inner);
    let inner = inner.split(['>', '/']).next().unwrap_or_default().trim();
    (!inner.is_empty()).then(|| inner.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r43_r44_recipients_are_found_wherever_they_are() {
        let message = b"From: a@b\r\nTo: Ada <ada@example.com>,\r\n +34600/TYPE=PLMN\r\nCC: c@d\r\n\r\nTo: nobody";
        assert_eq!(recipients(message), ["ada@example.com", "+34600", "c@d"]);
        assert_eq!(recipients(b""), Vec::<String>::new());
    }
}
