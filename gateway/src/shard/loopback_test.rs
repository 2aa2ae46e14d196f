//! Shards on real rings, over loopback.
