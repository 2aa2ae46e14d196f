//! How many shards there are, and how many slots each: from the sessions, the cores and what a ring's table may hold.

use crate::directory::{SHARDS_MAX, SLOTS_MAX};

/// Slots beside those of the registered sessions, for each shard: connections that register, are refused or replace.
const SPARE_SLOTS_MIN: usize = 64;
/// As much again as this part of all sessions, for the same: a storm of them after an outage.
const SPARE_PART: usize = 16;

/// Shards, and slots of each, for `sessions_max` sessions with room to spare: at least one shard a core, and as many as
/// a ring's table of `table_slots` (the process's descriptor limit: no table may be larger) makes necessary.
///
/// Held to [`SHARDS_MAX`] shards of [`SLOTS_MAX`] slots; where that is too little, connections beyond it are not
/// accepted.
pub fn shard_count(sessions_max: usize, cores: usize, table_slots: usize) -> (usize, u32) {
    let table_slots = table_slots.clamp(SPARE_SLOTS_MIN * 2, SLOTS_MAX as usize);
    let wanted = sessions_max.saturating_add(sessions_max / SPARE_PART);
    let for_sessions = table_slots - SPARE_SLOTS_MIN;
    let shards = wanted
        .div_ceil(for_sessions)
        .max(cores)
        .clamp(1, SHARDS_MAX);
    let slots = wanted
        .div_ceil(shards)
        .saturating_add(SPARE_SLOTS_MIN)
        .min(table_slots);
    (shards, u32::try_from(slots).unwrap_or(SLOTS_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_million_sessions_fit_into_tables_of_twenty_thousand() {
        let (shards, slots) = shard_count(1_000_000, 2, 20_000);
        assert!((50..=56).contains(&shards) && slots <= 20_000);
        assert_eq!(shard_count(100, 2, 20_000), (2, 117), "one shard a core");
    }

    proptest! {
        #[test]
        fn every_session_has_a_slot_and_some_are_to_spare(
            sessions in 0usize..5_000_000,
            cores in 0usize..300,
            table in 1024usize..1_100_000,
        ) {
            let (shards, slots) = shard_count(sessions, cores, table);
            prop_assert!(slots as usize <= table && (1..=SHARDS_MAX).contains(&shards) && slots <= SLOTS_MAX);
            if shards < SHARDS_MAX {
                prop_assert!(shards * slots as usize >= sessions + shards * SPARE_SLOTS_MIN);
            }
        }
    }
}
