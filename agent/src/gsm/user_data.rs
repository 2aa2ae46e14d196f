//! The user data of a message (TS 23.040, 9.2.3.24): a header that joins its parts, and the text or octets behind it.

use super::alphabet;
use super::coding::Alphabet;
use super::tpdu::TpduError;

/// Octets of user data at most, a header included.
pub const OCTETS_MAX: usize = 140;

/// Septets of user data at most, a header included.
pub const SEPTETS_MAX: usize = 160;

/// The element of concatenated messages with a reference of 8 bits, and that of 16.
const CONCATENATED_8: u8 = 0x00;
const CONCATENATED_16: u8 = 0x08;

/// What a message carries.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct UserData {
    /// The header's elements; without any there is no header.
    pub header: Vec<Element>,
    /// What is behind the header.
    pub body: Body,
}

/// One element of a header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Element {
    /// What it is.
    pub id: u8,
    /// What it says.
    pub data: Vec<u8>,
}

/// What is behind the header.
#[derive(Clone, PartialEq, Eq)]
pub enum Body {
    /// Of a message in the GSM 7-bit alphabet: septets, one to an octet.
    Septets(Vec<u8>),
    /// Of any other.
    Octets(Vec<u8>),
}

impl Default for Body {
    fn default() -> Self {
        Self::Octets(Vec::new())
    }
}

/// What people write to each other is not for logs: they get how much it is.
impl std::fmt::Debug for UserData {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (unit, length) = match &self.body {
            Body::Septets(septets) => ("septets", septets.len()),
            Body::Octets(octets) => ("octets", octets.len()),
        };
        write!(f, "UserData({length} {unit})")
    }
}

/// Of which message this is a part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Concatenation {
    /// The same for all parts of one message of one sender.
    pub reference: u16,
    /// How many parts there are.
    pub total: u8,
    /// Which one this is, from 1.
    pub number: u8,
}

impl Concatenation {
    /// The header's element that says it.
    pub fn element(self) -> Element {
        let [high, low] = self.reference.to_be_bytes();
        match high {
            0 => Element {
                id: CONCATENATED_8,
                data: vec![low, self.total, self.number],
            },
            _ => Element {
                id: CONCATENATED_16,
                data: vec![high, low, self.total, self.number],
            },
        }
    }
}

impl UserData {
    /// Of which message it is a part; `None`: it is one by itself, or says what can't be.
    pub fn concatenation(&self) -> Option<Concatenation> {
        let said = self.header.iter().rev().find_map(|element| {
            let (reference, total, number) = match (element.id, element.data.as_slice()) {
                (CONCATENATED_8, &[reference, total, number]) => (reference.into(), total, number),
                (CONCATENATED_16, &[high, low, total, number]) => {
                    (u16::from_be_bytes([high, low]), total, number)
                }
                _ => return None,
            };
            Some(Concatenation {
                reference,
                total,
                number,
            })
        });
        said.filter(|said| (1..=said.total).contains(&said.number))
    }

    /// Takes user data from the front of `bytes`: its length, its header if there is one, its body.
    pub(super) fn take(bytes: &mut &[u8], headed: bool, scheme: u8) -> Result<Self, TpduError> {
        let (&length, rest) = bytes.split_first().ok_or(TpduError::Short)?;
        let length = usize::from(length);
        let packed = Alphabet::of(scheme) == Alphabet::Gsm7;
        let (most, octets) = match packed {
            true => (SEPTETS_MAX, (length * 7).div_ceil(8)),
            false => (OCTETS_MAX, length),
        };
        if length > most {
            return Err(TpduError::Long);
        }
        let (data, rest) = rest.split_at_checked(octets).ok_or(TpduError::Short)?;
        *bytes = rest;
        Self::read(data, length, headed, packed)
    }

    /// Reads user data of so many septets, if it is packed, or octets.
    fn read(bytes: &[u8], length: usize, headed: bool, packed: bool) -> Result<Self, TpduError> {
        let (header, body) = match headed {
            true => take_header(bytes)?,
            false => (Vec::new(), bytes),
        };
        let header_octets = bytes.len() - body.len();
        let body = if packed {
            let header_septets = (header_octets * 8).div_ceil(7);
            let septets = length
                .checked_sub(header_septets)
                .ok_or(TpduError::Header)?;
            let fill = header_septets * 7 - header_octets * 8;
            Body::Septets(alphabet::unpack(body, fill, septets).ok_or(TpduError::Short)?)
        } else {
            Body::Octets(body.to_vec())
        };
        Ok(Self { header, body })
    }

    /// Writes its length and itself behind `bytes`.
    pub(super) fn put(&self, bytes: &mut Vec<u8>) -> Result<(), TpduError> {
        let mut header = Vec::new();
        for element in &self.header {
            header.push(element.id);
            header.push(length(element.data.len())?);
            header.extend(&element.data);
        }
        if !header.is_empty() {
            header.insert(0, length(header.len())?);
        }
        let (count, most, body) = match &self.body {
            Body::Octets(octets) => (header.len() + octets.len(), OCTETS_MAX, octets.clone()),
            Body::Septets(septets) => {
                let header_septets = (header.len() * 8).div_ceil(7);
                let fill = header_septets * 7 - header.len() * 8;
                let packed = alphabet::pack(septets, fill);
                (header_septets + septets.len(), SEPTETS_MAX, packed)
            }
        };
        if count > most {
            return Err(TpduError::Long);
        }
        bytes.push(length(count)?);
        bytes.extend(header);
        bytes.extend(body);
        Ok(())
    }
}

fn length(octets: usize) -> Result<u8, TpduError> {
    u8::try_from(octets).map_err(|_too_long| TpduError::Long)
}

/// The elements of a header, and what is behind it.
fn take_header(bytes: &[u8]) -> Result<(Vec<Element>, &[u8]), TpduError> {
    let (&length, rest) = bytes.split_first().ok_or(TpduError::Header)?;
    let (mut header, body) = rest
        .split_at_checked(length.into())
        .ok_or(TpduError::Header)?;
    let mut elements = Vec::new();
    while let Some((&id, rest)) = header.split_first() {
        let (&length, rest) = rest.split_first().ok_or(TpduError::Header)?;
        let (data, rest) = rest
            .split_at_checked(length.into())
            .ok_or(TpduError::Header)?;
        elements.push(Element {
            id,
            data: data.to_vec(),
        });
        header = rest;
    }
    Ok((elements, body))
}
