//! What the next request is: for whom, by which method, how large. Every draw of the callers is made here.

use everline_protocol::Msisdn;
use http::Method;
use rand::{Rng as _, RngExt as _, SeedableRng as _, rngs::SmallRng};
use rand_distr::{Distribution as _, Zipf};

use crate::caller::CallPlan;
use crate::roster::Roster;

/// Draws of a skewed target that find nobody registered before any registered handset will do.
const SKEWED_DRAWS_MAX: usize = 32;

/// Whom requests are for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Whom {
    /// Any registered handset, each as often as the others.
    Uniform,
    /// A few handsets get most: the one of rank `r` in proportion to `1 / r^exponent` (Zipf's law).
    Skewed {
        /// Above 0.
        exponent: f64,
    },
    /// This one, registered here or not.
    One(Msisdn),
}

/// The methods of requests, by weight.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Methods {
    /// Each with the sum of the weights up to and including its own.
    up_to: Vec<(Method, u32)>,
}

/// Numbers from `min` to `max`; small ones as often as large ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    min: u64,
    max: u64,
    /// Logarithm of the quotient of the ends, from 1 more than the one to 1 behind the other: 0 has no logarithm.
    width: f64,
}

/// How large the bodies of answers are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum AnswerSize {
    /// As the fleet was told; the requests say nothing of it.
    HandsetsOwn(u64),
    /// As each request asks.
    Asked(Spread),
}

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Call {
    pub(crate) msisdn: Msisdn,
    pub(crate) method: Method,
    pub(crate) upload_bytes: u64,
    pub(crate) answer_bytes: u64,
}

/// Draws calls. Each dispatcher and each caller of a closed loop has its own.
pub(crate) struct Dice {
    random: SmallRng,
    /// Ranks of handsets, and the stride by which ranks are scattered over the places of the roster.
    skewed: Option<(Zipf<f64>, u64)>,
}

impl Methods {
    /// One only.
    pub fn one(method: Method) -> Self {
        Self::new(vec![(method, 1)])
    }

    /// These, by weight. Of none, GET is all.
    pub fn new(weighted: Vec<(Method, u32)>) -> Self {
        let mut sum = 0u32;
        let mut up_to: Vec<_> = weighted
            .into_iter()
            .map(|(method, weight)| {
                sum = sum.saturating_add(weight);
                (method, sum)
            })
            .collect();
        if sum == 0 {
            up_to = vec![(Method::GET, 1)];
        }
        Self { up_to }
    }

    /// Whether a request of one of them has a body.
    pub fn any_uploads(&self) -> bool {
        self.up_to.iter().any(|(method, _)| uploads(method))
    }

    fn draw(&self, random: &mut SmallRng) -> &Method {
        let (last, total) = &self.up_to[self.up_to.len() - 1];
        if self.up_to.len() == 1 {
            return last;
        }
        let drawn = random.random_range(0..*total);
        self.up_to
            .iter()
            .find(|(_, up_to)| drawn < *up_to)
            .map_or(last, |(method, _)| method)
    }
}

impl Spread {
    /// From `min` to `max`, which is not below it.
    pub fn new(min: u64, max: u64) -> Self {
        let width = ((max as f64 + 2.0) / (min as f64 + 1.0)).ln();
        Self { min, max, width }
    }

    /// Always this.
    pub fn fixed(size: u64) -> Self {
        Self::new(size, size)
    }

    /// The most that is drawn.
    pub fn max(&self) -> u64 {
        self.max
    }

    pub(crate) fn draw(&self, random: &mut SmallRng) -> u64 {
        if self.min == self.max {
            return self.min;
        }
        let grown = (self.width * random.random::<f64>()).exp() * (self.min as f64 + 1.0) - 1.0;
        (grown as u64).clamp(self.min, self.max)
    }
}

impl AnswerSize {
    /// Whether requests have to say it.
    pub(crate) fn is_asked(&self) -> bool {
        matches!(self, Self::Asked(_))
    }
}

impl Dice {
    /// For requests of `plan` to the handsets of `roster`.
    pub(crate) fn new(plan: &CallPlan, roster: &Roster, seed: u64) -> Self {
        let handsets = u64::from(roster.handsets());
        let skewed = match plan.whom {
            Whom::Skewed { exponent } => Zipf::new(handsets as f64, exponent)
                .ok()
                .map(|zipf| (zipf, stride(handsets))),
            Whom::Uniform | Whom::One(_) => None,
        };
        Self {
            random: SmallRng::seed_from_u64(seed),
            skewed,
        }
    }

    /// The next request; `None` if nobody is registered.
    pub(crate) fn call(&mut self, plan: &CallPlan, roster: &Roster) -> Option<Call> {
        let msisdn = match plan.whom {
            Whom::One(msisdn) => msisdn,
            Whom::Uniform => roster.pick(self.random.next_u64())?,
            Whom::Skewed { .. } => match self.skewed(roster) {
                Some(msisdn) => msisdn,
                None => roster.pick(self.random.next_u64())?,
            },
        };
        let method = plan.methods.draw(&mut self.random).clone();
        let upload_bytes = if uploads(&method) {
            plan.upload_bytes.draw(&mut self.random)
        } else {
            0
        };
        let answer_bytes = match &plan.answer {
            AnswerSize::HandsetsOwn(bytes) => *bytes,
            AnswerSize::Asked(spread) => spread.draw(&mut self.random),
        };
        Some(Call {
            msisdn,
            method,
            upload_bytes,
            answer_bytes,
        })
    }

    /// A number of `spread`.
    pub(crate) fn draw(&mut self, spread: &Spread) -> u64 {
        spread.draw(&mut self.random)
    }

    fn skewed(&mut self, roster: &Roster) -> Option<Msisdn> {
        let handsets = u64::from(roster.handsets());
        let (zipf, stride) = self.skewed.as_ref()?;
        for _ in 0..SKEWED_DRAWS_MAX {
            let rank = zipf.sample(&mut self.random) as u64;
            // Scattered, or the most wanted handsets would all be of one fleet, and of one shard of the gateway.
            let place = (rank * stride % handsets) as u32;
            if roster.is_registered(place) {
                return Some(roster.msisdn(place));
            }
        }
        None
    }
}

/// Whether requests of this method have a body. One that this program does not know has: it was asked for.
fn uploads(method: &Method) -> bool {
    ![
        Method::GET,
        Method::HEAD,
        Method::DELETE,
        Method::OPTIONS,
        Method::TRACE,
    ]
    .contains(method)
}

/// A number that has no divisor in common with `handsets`, so that its multiples meet every place once; near the
/// golden section, so that they scatter.
fn stride(handsets: u64) -> u64 {
    let common = |mut a: u64, mut b: u64| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let near = (handsets as f64 * 0.618_033_988_75) as u64;
    (near.max(1)..)
        .find(|stride| common(*stride, handsets) == 1)
        .unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn dice() -> SmallRng {
        SmallRng::seed_from_u64(5)
    }

    #[test]
    fn methods_come_by_their_weight() {
        let methods = Methods::new(vec![(Method::GET, 9), (Method::POST, 1)]);
        let mut random = dice();
        let posts = (0..10_000)
            .filter(|_| methods.draw(&mut random) == Method::POST)
            .count();
        assert!((850..1150).contains(&posts), "{posts}");
    }

    #[test]
    fn small_sizes_come_as_often_as_large_ones() {
        let spread = Spread::new(100, 99_999);
        let mut random = dice();
        let drawn: Vec<_> = (0..10_000).map(|_| spread.draw(&mut random)).collect();
        assert!(drawn.iter().all(|size| (100..=99_999).contains(size)));
        // Three tenfoldings: a third each.
        for (from, to) in [(100, 1_000), (1_000, 10_000), (10_000, 100_000)] {
            let share = drawn
                .iter()
                .filter(|size| (from..to).contains(*size))
                .count();
            assert!((3_000..3_700).contains(&share), "{from}: {share}");
        }
        let nothing_too = Spread::new(0, 3);
        let mut seen: Vec<_> = (0..1000).map(|_| nothing_too.draw(&mut random)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen, [0, 1, 2, 3]);
        assert_eq!(Spread::fixed(7).draw(&mut random), 7);
    }

    #[test]
    fn multiples_of_the_stride_meet_every_place_once() {
        for handsets in [1, 2, 3, 6, 100, 1000, 65_536] {
            let stride = stride(handsets);
            let mut places: Vec<_> = (1..=handsets)
                .map(|rank| rank * stride % handsets)
                .collect();
            places.sort_unstable();
            assert!(places.iter().copied().eq(0..handsets), "{handsets}");
        }
    }

    #[test]
    fn skewed_targets_are_wanted_as_the_law_says() {
        let roster = Roster::new(Msisdn::from_u64(34_700_000_000).unwrap(), 1000).unwrap();
        let plan = crate::caller::tests::plan(Whom::Skewed { exponent: 1.0 });
        let mut dice = Dice::new(&plan, &roster, 5);
        assert_eq!(dice.call(&plan, &roster), None);
        (0..1000).for_each(|place| roster.set(place, true));
        let mut wanted: HashMap<Msisdn, u32> = HashMap::new();
        for _ in 0..75_000 {
            *wanted
                .entry(dice.call(&plan, &roster).unwrap().msisdn)
                .or_default() += 1;
        }
        let mut counts: Vec<_> = wanted.into_values().collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        // The thousandth harmonic number is 7.49: about 10,000 for the first, 5,000 for the second.
        assert!((9_500..10_600).contains(&counts[0]), "{}", counts[0]);
        assert!((4_700..5_400).contains(&counts[1]), "{}", counts[1]);
        assert!(counts.len() > 950, "the last are wanted too");
    }

    #[test]
    fn who_is_not_registered_is_not_called() {
        let roster = Roster::new(Msisdn::from_u64(34_700_000_000).unwrap(), 1000).unwrap();
        let plan = crate::caller::tests::plan(Whom::Skewed { exponent: 2.0 });
        let mut dice = Dice::new(&plan, &roster, 5);
        roster.set(500, true);
        for _ in 0..100 {
            let call = dice.call(&plan, &roster).unwrap();
            assert_eq!(call.msisdn, roster.msisdn(500));
        }
    }
}
