//! Everything that is left to chance, drawn from the seed and from what it is about.
//!
//! There is no generator with a state: what happens to the third call to a number does not depend on what else was
//! drawn before it, so requests that run at the same time can't change each other's luck.

/// A number that looks random and is always the same for the same seed, subject and turn.
pub(super) fn draw(seed: u64, subject: &str, turn: u64) -> u64 {
    // FNV-1a over the subject; then splitmix64's finalizer, whose every output bit depends on every input bit.
    let mut hash = 0xcbf2_9ce4_8422_2325 ^ seed.rotate_left(32);
    for byte in subject.bytes().chain(turn.to_le_bytes()) {
        hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A number from `least` to `most`.
pub(super) fn between(seed: u64, subject: &str, turn: u64, least: u64, most: u64) -> u64 {
    let span = most.saturating_sub(least).saturating_add(1).max(1);
    least + draw(seed, subject, turn) % span
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn luck_is_the_seeds_alone_and_spreads() {
        assert_eq!(draw(1, "call 1", 0), draw(1, "call 1", 0));
        assert_ne!(draw(1, "call 1", 0), draw(1, "call 1", 1));
        assert_ne!(draw(1, "call 1", 0), draw(2, "call 1", 0));
        let mut seen = [0; 4];
        for turn in 0..4_000 {
            seen[usize::try_from(between(7, "dice", turn, 0, 3)).unwrap()] += 1;
        }
        assert!(
            seen.iter().all(|count| (800..1_200).contains(count)),
            "{seen:?}"
        );
        assert_eq!(between(1, "", 0, u64::MAX, u64::MAX), u64::MAX);
    }
}
