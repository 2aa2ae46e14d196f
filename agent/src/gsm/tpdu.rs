//! The messages between a handset and its message centre (TS 23.040, 9.2.2): SUBMIT, DELIVER and STATUS-REPORT.
//!
//! They are read from the handset's side: what says of itself that it is a DELIVER is one, and no DELIVER-REPORT.

use super::address::Address;
use super::timestamp::Timestamp;
use super::user_data::UserData;

/// Octets of a TPDU at most: all fields of a SUBMIT at their longest, and its user data.
pub const OCTETS_MAX: usize = 164;

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tpdu {
    /// From the handset.
    Submit(Submit),
    /// To the handset.
    Deliver(Deliver),
    /// To the handset, about what it sent.
    StatusReport(StatusReport),
}

/// What was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Submit {
    /// The centre is to refuse another one with the same reference while it still has this.
    pub reject_duplicates: bool,
    /// The answer may go by the same centre.
    pub reply_path: bool,
    /// A status report is asked for.
    pub report: bool,
    /// Given by the radio: what is written here is not what it has on its way.
    pub reference: u8,
    /// Who gets it.
    pub to: Address,
    /// What protocol it is of; 0 is a plain message.
    pub protocol: u8,
    /// The data coding scheme.
    pub scheme: u8,
    /// For how long the centre tries.
    pub validity: Validity,
    /// What it says.
    pub data: UserData,
}

/// For how long a centre tries (TS 23.040, 9.2.3.12).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validity {
    /// As it likes.
    Usual,
    /// One octet: five minutes to 63 weeks.
    Relative(u8),
    /// Seven octets of an enhanced format.
    Enhanced([u8; 7]),
    /// Until then.
    Absolute(Timestamp),
}

/// What came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Deliver {
    /// More messages wait at the centre.
    pub more: bool,
    /// It was forwarded, and must not be again.
    pub loop_prevention: bool,
    /// A status report will go to its sender.
    pub report: bool,
    /// The answer may go by the same centre.
    pub reply_path: bool,
    /// Who sent it.
    pub from: Address,
    /// What protocol it is of; 0 is a plain message.
    pub protocol: u8,
    /// The data coding scheme.
    pub scheme: u8,
    /// When the centre took it.
    pub at: Timestamp,
    /// What it says.
    pub data: UserData,
}

/// What became of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusReport {
    /// More messages wait at the centre.
    pub more: bool,
    /// It is about a command and no message.
    pub command: bool,
    /// The reference that the radio gave with the message.
    pub reference: u8,
    /// Who was to get it.
    pub to: Address,
    /// When the centre took it.
    pub sent: Timestamp,
    /// When it was delivered, or tried last.
    pub done: Timestamp,
    /// TP-Status: see [`Self::outcome`].
    pub status: u8,
    /// What some centres add, as it came: it begins with TP-PI.
    pub extra: Vec<u8>,
}

/// What a TP-Status says (TS 23.040, 9.2.3.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It is there.
    Delivered,
    /// The centre tries on.
    Pending,
    /// The centre gave up, for this reason.
    Failed(&'static str),
}

/// A TPDU that can't be read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TpduError {
    /// It ends before its fields do.
    #[error("it ends before it is complete")]
    Short,
    /// There is something behind its last field.
    #[error("it goes on behind its user data")]
    Trailing,
    /// It is of a type that no handset gets.
    #[error("it is no SUBMIT, DELIVER or STATUS-REPORT")]
    Kind,
    /// Its address is longer than an address can be, or has something else than digits.
    #[error("its address can't be read")]
    Address,
    /// The header in its user data goes beyond its end.
    #[error("the header of its user data can't be read")]
    Header,
    /// It holds more than a message can.
    #[error("it holds more than 160 septets or 140 octets")]
    Long,
}

const MORE_ABSENT: u8 = 0x04;
const LOOP_PREVENTION: u8 = 0x08;
const REJECT_DUPLICATES: u8 = 0x04;
const REPORT: u8 = 0x20;
const HEADED: u8 = 0x40;
const REPLY_PATH: u8 = 0x80;

impl Tpdu {
    /// Reads a TPDU, as it stands behind the message centre's address in PDU mode.
    pub fn decode(mut bytes: &[u8]) -> Result<Self, TpduError> {
        let tpdu = Self::take(&mut bytes)?;
        match bytes {
            [] => Ok(tpdu),
            _ => Err(TpduError::Trailing),
        }
    }

    /// Takes a TPDU from the front of `bytes`. A STATUS-REPORT takes all of them: what a centre adds has no length.
    pub fn take(bytes: &mut &[u8]) -> Result<Self, TpduError> {
        let [first] = take(bytes)?;
        match first & 0x03 {
            0 => Deliver::take(first, bytes).map(Self::Deliver),
            1 => Submit::take(first, bytes).map(Self::Submit),
            2 => StatusReport::take(first, bytes).map(Self::StatusReport),
            _ => Err(TpduError::Kind),
        }
    }

    /// Writes it.
    pub fn encode(&self) -> Result<Vec<u8>, TpduError> {
        match self {
            Self::Submit(submit) => submit.encode(),
            Self::Deliver(deliver) => deliver.encode(),
            Self::StatusReport(report) => Ok(report.encode()),
        }
    }
}

impl Submit {
    fn take(first: u8, rest: &mut &[u8]) -> Result<Self, TpduError> {
        let [reference] = take(rest)?;
        let to = Address::take(rest)?;
        let [protocol, scheme] = take(rest)?;
        let validity = match first >> 3 & 0x03 {
            0 => Validity::Usual,
            1 => Validity::Enhanced(take(rest)?),
            2 => {
                let [relative] = take(rest)?;
                Validity::Relative(relative)
            }
            _ => Validity::Absolute(Timestamp(take(rest)?)),
        };
        Ok(Self {
            reject_duplicates: first & REJECT_DUPLICATES != 0,
            reply_path: first & REPLY_PATH != 0,
            report: first & REPORT != 0,
            reference,
            to,
            protocol,
            scheme,
            validity,
            data: UserData::take(rest, first & HEADED != 0, scheme)?,
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Result<Vec<u8>, TpduError> {
        let validity: (u8, &[u8]) = match &self.validity {
            Validity::Usual => (0, &[]),
            Validity::Enhanced(octets) => (1, octets),
            Validity::Relative(octet) => (2, std::slice::from_ref(octet)),
            Validity::Absolute(Timestamp(octets)) => (3, octets),
        };
        let first = 0x01
            | bit(self.reject_duplicates, REJECT_DUPLICATES)
            | validity.0 << 3
            | bit(self.report, REPORT)
            | bit(!self.data.header.is_empty(), HEADED)
            | bit(self.reply_path, REPLY_PATH);
        let mut bytes = vec![first, self.reference];
        self.to.put(&mut bytes);
        bytes.extend([self.protocol, self.scheme]);
        bytes.extend(validity.1);
        self.data.put(&mut bytes)?;
        Ok(bytes)
    }
}

impl Deliver {
    fn take(first: u8, rest: &mut &[u8]) -> Result<Self, TpduError> {
        let from = Address::take(rest)?;
        let [protocol, scheme] = take(rest)?;
        let at = Timestamp(take(rest)?);
        Ok(Self {
            more: first & MORE_ABSENT == 0,
            loop_prevention: first & LOOP_PREVENTION != 0,
            report: first & REPORT != 0,
            reply_path: first & REPLY_PATH != 0,
            from,
            protocol,
            scheme,
            at,
            data: UserData::take(rest, first & HEADED != 0, scheme)?,
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Result<Vec<u8>, TpduError> {
        let first = bit(!self.more, MORE_ABSENT)
            | bit(self.loop_prevention, LOOP_PREVENTION)
            | bit(self.report, REPORT)
            | bit(!self.data.header.is_empty(), HEADED)
            | bit(self.reply_path, REPLY_PATH);
        let mut bytes = vec![first];
        self.from.put(&mut bytes);
        bytes.extend([self.protocol, self.scheme]);
        bytes.extend(self.at.0);
        self.data.put(&mut bytes)?;
        Ok(bytes)
    }
}

impl StatusReport {
    fn take(first: u8, rest: &mut &[u8]) -> Result<Self, TpduError> {
        let [reference] = take(rest)?;
        let to = Address::take(rest)?;
        let sent = Timestamp(take(rest)?);
        let done = Timestamp(take(rest)?);
        let [status] = take(rest)?;
        if rest.len() > OCTETS_MAX {
            return Err(TpduError::Long);
        }
        Ok(Self {
            more: first & MORE_ABSENT == 0,
            command: first & REPORT != 0,
            reference,
            to,
            sent,
            done,
            status,
            extra: std::mem::take(rest).to_vec(),
        })
    }

    /// Writes it.
    pub fn encode(&self) -> Vec<u8> {
        let first = 0x02 | bit(!self.more, MORE_ABSENT) | bit(self.command, REPORT);
        let mut bytes = vec![first, self.reference];
        self.to.put(&mut bytes);
        bytes.extend(self.sent.0);
        bytes.extend(self.done.0);
        bytes.push(self.status);
        bytes.extend(&self.extra);
        bytes
    }

    /// What became of the message.
    pub fn outcome(&self) -> Outcome {
        match self.status {
            0x00..=0x02 => Outcome::Delivered,
            0x20..=0x3f => Outcome::Pending,
            0x46 => Outcome::Failed("it expired"),
            0x47 | 0x48 => Outcome::Failed("it was deleted"),
            0x41 => Outcome::Failed("the number can't take it"),
            0x40..=0x5f => Outcome::Failed("it can't be delivered"),
            0x60..=0x7f => Outcome::Failed("it was tried in vain"),
            // Reserved, or of the one centre alone.
            _ => Outcome::Failed("the network did not say why"),
        }
    }
}

fn bit(set: bool, bit: u8) -> u8 {
    if set { bit } else { 0 }
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Result<[u8; N], TpduError> {
    let (taken, rest) = bytes.split_first_chunk().ok_or(TpduError::Short)?;
    *bytes = rest;
    Ok(*taken)
}

#[cfg(test)]
mod tests;
