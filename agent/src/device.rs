//! What the handset's hardware does, as one trait: radio, battery, calls, messages, camera, SIM card.
//!
//! The managers of the embedded web server speak to the hardware through [`Device`] alone. Each method names the AT
//! command (3GPP TS 27.007, TS 27.005, ITU-T V.250) by which a modem does the same, so that one can stand here. What a
//! device lacks it says in its [`Capabilities`]; its method then answers [`DeviceError::Unsupported`].

pub mod simulated;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::broadcast;

pub use crate::gsm::sim::SimCard;

/// What a device is doing for somebody who waits: a modem takes its time, up to minutes for a network operator's answer.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = Result<T, DeviceError>> + Send + 'a>>;

/// Events that a listener may be behind by; one that is further behind is told how many it lost.
pub const EVENTS_MAX: usize = 256;

/// The hardware of one handset.
pub trait Device: Send + Sync + fmt::Debug {
    /// What this device can do; it does not change while it runs (`AT+GCAP`, `AT+CLAC`, and the test form of each command).
    fn capabilities(&self) -> Capabilities;

    /// How full the battery is, and whether it charges (`AT+CBC`).
    fn battery(&self) -> Doing<'_, Battery>;

    /// How well the radio network is heard, and which it is (`AT+CESQ`, `AT+COPS?`, `AT+CEREG?`).
    fn coverage(&self) -> Doing<'_, Coverage>;

    /// How the handset calls for attention (`AT+CLVL?`, `AT+CVIB?`).
    fn mode(&self) -> Doing<'_, Mode>;

    /// Dials a voice call, and answers as soon as the network takes it: how it goes on comes as
    /// [`Event::Call`] (`ATD<number>;`, `AT+CLCC`).
    fn dial(&self, number: &Number) -> Doing<'_, CallId>;

    /// Ends a call in whatever state it is; a call that has ended already is no error (`AT+CHLD=1<x>`, `ATH`).
    fn hang_up(&self, call: CallId) -> Doing<'_, ()>;

    /// The calls that there are now (`AT+CLCC`).
    fn calls(&self) -> Doing<'_, Vec<Call>>;

    /// Where incoming calls go for this reason; `None`: they are not diverted (`AT+CCFC=<reason>,2`).
    fn diversion(&self, reason: DivertReason) -> Doing<'_, Option<Diversion>>;

    /// Diverts incoming calls (`AT+CCFC=<reason>,3,<number>,,,,<time>`), or cancels that (`AT+CCFC=<reason>,4`).
    fn divert(&self, reason: DivertReason, to: Option<&Diversion>) -> Doing<'_, ()>;

    /// Hands one SMS-SUBMIT TPDU (TS 23.040) to the radio, and answers with the message reference when the network has
    /// taken it. Its delivery comes as [`Event::Delivery`] (`AT+CMGS` in PDU mode).
    fn send_sms(&self, tpdu: &[u8]) -> Doing<'_, u8>;

    /// Hands a multimedia message, as a MIME message, to the operator's message centre; answers with its message id
    /// (over the packet domain, after `AT+CGACT`; OMA MMS ENC on the wire).
    fn send_mms(&self, message: &[u8]) -> Doing<'_, String>;

    /// Hands an email, in the form of RFC 5322, to the owner's mail submission server (over the packet domain).
    fn send_email(&self, message: &[u8]) -> Doing<'_, ()>;

    /// Takes a photograph.
    fn photograph(&self) -> Doing<'_, Recorded>;

    /// Begins to record a video; at most one is recorded at a time. It ends by itself after `length`, or after
    /// [`Capabilities::video_s_max`], and then waits to be fetched by [`Self::stop_video`].
    fn start_video(&self, length: Duration) -> Doing<'_, ()>;

    /// Ends the recording, if it has not ended by itself, and gives what was recorded, once.
    fn stop_video(&self) -> Doing<'_, Recorded>;

    /// What the SIM card holds; `None`: there is none in it (`AT+CPIN?`, `AT+CPBS?`, `AT+CPBW=?`, `AT+CPMS?`).
    fn sim(&self) -> Doing<'_, Option<SimCard>>;

    /// Has the device tell also what changes by itself a little at a time, the battery's level and the signal's strength,
    /// for as long as the answer is kept. Without anybody who wants that it sleeps on (`AT+CMER`, `+CIEV`).
    fn report_levels(&self) -> Reporting;

    /// What happens from now on, by itself or because of the methods above (unsolicited result codes: `RING` and
    /// `+CLIP`, `+CMT`, `+CDS`, `+CEREG`).
    fn events(&self) -> broadcast::Receiver<Event>;
}

/// While this is kept, a device tells of levels: see [`Device::report_levels`].
#[must_use = "levels are told only while this is kept"]
pub struct Reporting(Option<Box<dyn FnOnce() + Send>>);

impl Reporting {
    /// Ends with a call of `stop`.
    pub fn until_dropped(stop: impl FnOnce() + Send + 'static) -> Self {
        Self(Some(Box::new(stop)))
    }
}

impl Drop for Reporting {
    fn drop(&mut self) {
        if let Some(stop) = self.0.take() {
            stop();
        }
    }
}

impl fmt::Debug for Reporting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Reporting")
    }
}

/// Why a device did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DeviceError {
    /// It can't, ever: the capability of this name is not there.
    #[error("this handset has no {0}")]
    Unsupported(&'static str),
    /// Not now: the hardware is in use, and for what.
    #[error("the handset is busy: {0}")]
    Busy(String),
    /// There is no radio network.
    #[error("the handset has no coverage")]
    NoCoverage,
    /// There is no video to end.
    #[error("no video is being recorded")]
    NotRecording,
    /// The network refused it, with its reason (`+CMS ERROR`, `+CME ERROR`, `NO CARRIER`).
    #[error("the network refused it: {0}")]
    Refused(String),
    /// The hardware failed.
    #[error("the hardware failed: {0}")]
    Failed(String),
}

/// A number as it is dialled: digits, with a `+` before them for an international one; `*` and `#` as the network's
/// services have them.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Number(String);

impl Number {
    /// Longest, without the `+`: what a TPDU's address field and a SIM card's record hold.
    pub const DIGITS_MAX: usize = 20;

    /// Reads a number as people write it: spaces, dots, hyphens, slashes and brackets are left out. `None`: it holds
    /// anything else, no digit at all, or more than [`Self::DIGITS_MAX`].
    pub fn parse(text: &str) -> Option<Self> {
        let plain: String = text
            .chars()
            .filter(|c| !matches!(c, ' ' | '\u{a0}' | '.' | '-' | '/' | '(' | ')'))
            .collect();
        let digits = plain.strip_prefix('+').unwrap_or(&plain);
        let dialled = |b: u8| b.is_ascii_digit() || matches!(b, b'*' | b'#');
        let fits = (1..=Self::DIGITS_MAX).contains(&digits.len())
            && digits.bytes().all(dialled)
            && digits.bytes().any(|b| b.is_ascii_digit());
        fits.then_some(Self(plain))
    }

    /// As it is dialled.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Somebody's number is personal data: logs get its ends alone.
impl fmt::Debug for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.0.get(..2), self.0.len().checked_sub(4)) {
            (Some(start), Some(end)) if end > 2 => {
                write!(f, "{start}…{}", self.0.get(end..).unwrap_or_default())
            }
            _ => f.write_str("…"),
        }
    }
}

/// What a device can do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
pub struct Capabilities {
    /// Reports its battery.
    pub battery: bool,
    /// Reports the radio network.
    pub coverage: bool,
    /// Knows how it calls for attention.
    pub mode: bool,
    /// Voice calls, and their logs.
    pub calls: bool,
    /// Diverts incoming calls.
    pub diversion: bool,
    /// Sends and receives SMS.
    pub sms: bool,
    /// Sends and receives MMS.
    pub mms: bool,
    /// Sends emails.
    pub email: bool,
    /// Takes photographs.
    pub camera: bool,
    /// Records videos.
    pub video: bool,
    /// Seconds of a video at most; a longer one ends by itself.
    pub video_s_max: u64,
    /// Has a slot for a SIM card.
    pub sim: bool,
}

/// The battery (R36).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Battery {
    /// 0 to 100.
    pub percent: u8,
    /// Whether it is being charged.
    pub charging: bool,
}

/// The radio network (R37).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coverage {
    /// 0, none, to 5, as the bars on a screen.
    pub bars: u8,
    /// How strong the signal is, in dBm; `None` without coverage.
    pub dbm: Option<i16>,
    /// How the radio network works: `none`, `gsm`, `umts`, `lte`, `nr`.
    pub technology: &'static str,
    /// Its name; `None` without coverage.
    pub operator: Option<String>,
}

/// How the handset calls for attention (R38).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It rings.
    Normal,
    /// It rings as loud as it can.
    High,
    /// It does nothing.
    Silent,
    /// It vibrates.
    Vibrate,
}

impl Mode {
    /// `normal`, `high`, `silent`, `vibrate`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::High => "high",
            Self::Silent => "silent",
            Self::Vibrate => "vibrate",
        }
    }
}

/// Names a call while it lasts, and is not given again while the device runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct CallId(pub u64);

/// A call as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Which.
    pub id: CallId,
    /// Whether the other side dialled.
    pub incoming: bool,
    /// The other side's number; `None` if it is withheld.
    pub number: Option<Number>,
    /// How far it is.
    pub state: CallState,
}

/// How far a call is (the states of `+CLCC`, and its end).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallState {
    /// The network looks for the other side.
    Dialing,
    /// It rings: there if the call is outgoing, here if it is incoming.
    Ringing,
    /// Somebody speaks.
    Active,
    /// It is over.
    Ended(CallEnd),
}

/// How a call ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// It was answered; for how long they spoke.
    Answered(Duration),
    /// Nobody took it.
    NoAnswer,
    /// The called side was engaged or declined it.
    Busy,
    /// The network could not bring it there.
    Failed,
}

/// When incoming calls are diverted (TS 22.082; the `<reason>` of `AT+CCFC`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DivertReason {
    /// Always (0).
    Unconditional,
    /// While the handset is engaged (1).
    Busy,
    /// When nobody takes the call (2).
    NoAnswer,
    /// While the network can't find the handset (3).
    Unreachable,
}

impl DivertReason {
    /// Each of them.
    pub const ALL: [Self; 4] = [
        Self::Unconditional,
        Self::Busy,
        Self::NoAnswer,
        Self::Unreachable,
    ];

    /// `unconditional`, `busy`, `no-answer`, `unreachable`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unconditional => "unconditional",
            Self::Busy => "busy",
            Self::NoAnswer => "no-answer",
            Self::Unreachable => "unreachable",
        }
    }
}

/// Where calls are diverted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diversion {
    /// The number that gets the calls.
    pub to: Number,
    /// For [`DivertReason::NoAnswer`]: seconds of ringing before, 5 to 30 in steps of 5. Otherwise `None`.
    pub after_s: Option<u8>,
}

/// What a camera made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// `image/jpeg`, `video/mp4`…
    pub media_type: &'static str,
    /// The file.
    pub bytes: Vec<u8>,
    /// How long it plays; `None` for a photograph.
    pub length: Option<Duration>,
}

/// What happens on a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The battery's level or charging changed.
    Battery(Battery),
    /// The radio network changed.
    Coverage(Coverage),
    /// The mode changed.
    Mode(Mode),
    /// A call began or went on.
    Call(Call),
    /// An SMS came: an SMS-DELIVER TPDU.
    Sms(Vec<u8>),
    /// A status report came: an SMS-STATUS-REPORT TPDU.
    Delivery(Vec<u8>),
    /// A multimedia message came, as a MIME message.
    Mms(Vec<u8>),
    /// An email came, in the form of RFC 5322.
    Email(Vec<u8>),
}
