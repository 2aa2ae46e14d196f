//! The scenarios that this program brings along, each a file in `loadgen/scenarios` that a tester can copy.

/// By name, the shortest first.
const SHIPPED: [(&str, &str); 5] = [
    ("smoke", include_str!("../../scenarios/smoke.toml")),
    ("storm", include_str!("../../scenarios/storm.toml")),
    ("hostile", include_str!("../../scenarios/hostile.toml")),
    ("mixed-day", include_str!("../../scenarios/mixed-day.toml")),
    ("million", include_str!("../../scenarios/million.toml")),
];

/// The names.
pub fn names() -> impl Iterator<Item = &'static str> {
    SHIPPED.iter().map(|(name, _)| *name)
}

/// The file of this name.
pub fn text(name: &str) -> Option<&'static str> {
    let found = SHIPPED.iter().find(|(shipped, _)| *shipped == name);
    found.map(|(_, text)| *text)
}
