//! One process's part of a run that several processes share: the K-th of N equal ranges of handsets, and the same
//! share of every rate.

use std::fmt;
use std::ops::Range;
use std::str::FromStr;

const PARTS_MAX: u32 = 1000;

/// Part `number` (from 1) of `of`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part {
    number: u32,
    of: u32,
}

/// The text names no part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected K/N with K from 1 to N and N at most 1000, such as 2/3 for the second of three processes"
)]
pub struct BadPart;

impl Part {
    /// The only part.
    pub const WHOLE: Self = Self { number: 1, of: 1 };

    /// Its number, from 0.
    pub fn index(self) -> u32 {
        self.number - 1
    }

    /// How many parts there are.
    pub fn count(self) -> u32 {
        self.of
    }

    /// This part's range of `whole` things that are numbered from 0. All parts' ranges are all of them, each once.
    pub fn range(self, whole: u32) -> Range<u32> {
        let border = |number: u32| {
            let border = u64::from(whole) * u64::from(number) / u64::from(self.of);
            u32::try_from(border).unwrap_or(whole)
        };
        border(self.number - 1)..border(self.number)
    }

    /// How many of `whole` things are this part's.
    pub fn of(self, whole: u32) -> u32 {
        let range = self.range(whole);
        range.end - range.start
    }

    /// This part of a rate.
    pub fn rate(self, whole: f64) -> f64 {
        whole / f64::from(self.of)
    }
}

impl FromStr for Part {
    type Err = BadPart;

    fn from_str(text: &str) -> Result<Self, BadPart> {
        let (number, of) = text.split_once('/').ok_or(BadPart)?;
        let parse = |text: &str| text.parse::<u32>().map_err(|_not_a_number| BadPart);
        let (number, of) = (parse(number)?, parse(of)?);
        if (1..=of).contains(&number) && of <= PARTS_MAX {
            Ok(Self { number, of })
        } else {
            Err(BadPart)
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.number, self.of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_whole_and_each_thing_is_in_one() {
        for whole in [0, 1, 7, 1_000_000, u32::MAX] {
            for of in [1, 2, 3, 7, 1000] {
                let mut next = 0;
                for number in 1..=of {
                    let part = Part { number, of };
                    let range = part.range(whole);
                    assert_eq!(range.start, next, "{part} of {whole}");
                    assert!(part.of(whole) <= whole.div_ceil(of));
                    next = range.end;
                }
                assert_eq!(next, whole);
            }
        }
    }

    #[test]
    fn a_part_is_written_k_of_n() {
        assert_eq!("2/3".parse::<Part>().unwrap().to_string(), "2/3");
        assert_eq!("1/1".parse(), Ok(Part::WHOLE));
        for bad in [
            "", "0/3", "4/3", "1/0", "3", "1/2/3", "a/b", "1/1001", "-1/2",
        ] {
            assert_eq!(bad.parse::<Part>(), Err(BadPart), "{bad}");
        }
    }
}
