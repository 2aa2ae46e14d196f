//! The simulated network: what becomes of a call or a message depends on the number's last digit, and else on the seed.
//!
//! | number ends in | a call | an SMS | an MMS |
//! |---|---|---|---|
//! | 1 | is answered | is delivered | is taken |
//! | 2 | is engaged | is delivered | is taken |
//! | 3 | nobody answers | is delivered late, after a report that it is still tried | is taken |
//! | 4 | the handset is not found | is given up: it expires | is taken |
//! | 5 | is refused by the network | is refused by the network | is refused |
//! | another | three of four are answered, as the seed has it | is delivered | is taken |

use super::chance;
use crate::device::Number;

/// What becomes of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CallFate {
    /// Somebody answers, and speaks for so many hundredths of the usual time.
    Answered(u64),
    /// They are engaged.
    Engaged,
    /// Nobody is there.
    Unanswered,
    /// The network does not find the handset.
    Unreachable,
    /// The network does not take it.
    Refused,
}

/// What becomes of a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum MessageFate {
    /// It is delivered.
    Delivered,
    /// It is delivered, but not at once.
    Late,
    /// It expires.
    Expired,
    /// The network does not take it.
    Refused,
}

/// What becomes of this handset's call of this turn to a number.
pub(super) fn call(seed: u64, to: &Number, turn: u64) -> CallFate {
    match last(to) {
        Some('1') => CallFate::Answered(100),
        Some('2') => CallFate::Engaged,
        Some('3') => CallFate::Unanswered,
        Some('4') => CallFate::Unreachable,
        Some('5') => CallFate::Refused,
        _ => match chance::between(seed, to.as_str(), turn, 0, 3) {
            0 => CallFate::Unanswered,
            _ => {
                let hundredths = chance::between(seed, to.as_str(), turn ^ u64::MAX, 50, 150);
                CallFate::Answered(hundredths)
            }
        },
    }
}

/// What becomes of a message to a number.
pub(super) fn message(to: &str) -> MessageFate {
    match to.chars().last() {
        Some('3') => MessageFate::Late,
        Some('4') => MessageFate::Expired,
        Some('5') => MessageFate::Refused,
        _ => MessageFate::Delivered,
    }
}

fn last(number: &Number) -> Option<char> {
    number.as_str().chars().last()
}
