//! How a page writes values and divides axes: units, round steps, decades.

use crate::report::shown::grouped;

/// What a value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    /// Things of a kind, named behind the topmost label of an axis.
    Count(&'static str),
    /// Microseconds.
    Micros,
    /// Bytes, shown in powers of 1,000.
    Bytes,
    /// CPU: 1 is one core.
    Cores,
}

impl Unit {
    /// As a person reads it: `1.25 M`, `12.3 ms`, `300 MB`, `0.35`.
    pub(super) fn show(self, value: f64) -> String {
        match self {
            // A few thousand are better counted than rounded.
            Self::Count(_) if value.abs() < 9_995.0 => scaled(value, &[], ""),
            Self::Count(_) => scaled(value, &[(1e9, " G"), (1e6, " M"), (1e3, " k")], ""),
            Self::Micros => scaled(value, &[(1e6, " s"), (1e3, " ms")], " µs"),
            Self::Bytes => scaled(
                value,
                &[(1e12, " TB"), (1e9, " GB"), (1e6, " MB"), (1e3, " kB")],
                " B",
            ),
            Self::Cores => scaled(value, &[], ""),
        }
    }

    /// What stands behind the topmost label of an axis, where the values do not say it themselves.
    pub(super) fn noun(self) -> &'static str {
        match self {
            Self::Count(noun) => noun,
            Self::Cores => "cores",
            Self::Micros | Self::Bytes => "",
        }
    }
}

/// In the first scale that fits, with three digits that count.
fn scaled(value: f64, scales: &[(f64, &str)], plain: &str) -> String {
    // What would round up to the next scale belongs there.
    let fits = |scale: f64| value.abs() >= scale * 0.9995;
    let (scale, name) = scales
        .iter()
        .find(|(scale, _)| fits(*scale))
        .copied()
        .unwrap_or((1.0, plain));
    let value = value / scale;
    let digits = match value.abs() {
        _ if value.fract() == 0.0 => 0,
        100.0.. => 0,
        10.0.. => 1,
        _ => 2,
    };
    let text = format!("{value:.digits$}");
    let text = if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.')
    } else {
        &text
    };
    if scale == 1.0 && value.abs() >= 1000.0 {
        return format!("{}{name}", grouped(value.round().abs() as u64));
    }
    format!("{text}{name}")
}

/// A length of time: `8.25 s`, `3 min 5 s`, `2 h 10 min`.
pub(super) fn span(seconds: f64) -> String {
    let whole = seconds.round() as u64;
    match whole {
        0..60 => scaled(seconds, &[], " s"),
        60..3600 if whole.is_multiple_of(60) => format!("{} min", whole / 60),
        60..3600 => format!("{} min {} s", whole / 60, whole % 60),
        _ if (whole % 3600) < 60 => format!("{} h", whole / 3600),
        _ => format!("{} h {} min", whole / 3600, whole % 3600 / 60),
    }
}

/// Round values from 0 to `max` or a little above it, about `steps` of them.
pub(super) fn linear_ticks(max: f64, steps: f64) -> Vec<f64> {
    if !max.is_finite() || max <= 0.0 {
        return vec![0.0, 1.0];
    }
    let rough = max / steps;
    let magnitude = 10_f64.powf(rough.log10().floor());
    let step = [1.0, 2.0, 2.5, 5.0, 10.0]
        .map(|nice| nice * magnitude)
        .into_iter()
        .find(|step| *step >= rough)
        .unwrap_or(magnitude * 10.0);
    let count = (max / step).ceil().max(1.0) as u32;
    (0..=count).map(|number| f64::from(number) * step).collect()
}

/// Powers of ten around the values; with the steps between where there are few decades.
pub(super) fn log_ticks(min: f64, max: f64) -> Vec<f64> {
    let (first, last) = (min.max(1.0).log10().floor(), max.max(10.0).log10().ceil());
    let (first, last) = (first as i32, (last as i32).max(first as i32 + 1));
    let decade = |exponent: i32| 10_f64.powi(exponent);
    if last - first > 2 {
        return (first..=last).map(decade).collect();
    }
    let ticks: Vec<_> = (first..last)
        .flat_map(|exponent| [1.0, 2.0, 5.0].map(|step| step * decade(exponent)))
        .chain([decade(last)])
        .collect();
    // One step below the least value and one above the greatest are enough.
    let from = ticks.iter().rposition(|tick| *tick <= min).unwrap_or(0);
    let to = ticks
        .iter()
        .position(|tick| *tick >= max)
        .unwrap_or(ticks.len().saturating_sub(1));
    ticks
        .get(from..=to.max(from + 1))
        .map_or_else(|| ticks.clone(), <[f64]>::to_vec)
}

/// Labelled moments of a run of so many seconds, few enough for a narrow screen.
pub(super) fn time_ticks(seconds: f64) -> Vec<(f64, String)> {
    const STEPS: [u32; 17] = [
        1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200,
    ];
    let step = STEPS
        .into_iter()
        .map(f64::from)
        .find(|step| seconds / step <= 6.0)
        .unwrap_or((seconds / 6.0 / 86_400.0).ceil().max(1.0) * 86_400.0);
    let count = (seconds / step).floor() as u32;
    (0..=count)
        .map(|number| f64::from(number) * step)
        .map(|at| {
            let label = match step {
                60.0..3600.0 => format!("{} min", at / 60.0),
                3600.0.. => format!("{} h", at / 3600.0),
                _ => format!("{at} s"),
            };
            (at, label)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_with_their_unit_and_three_digits() {
        for (unit, value, text) in [
            (Unit::Count(""), 0.0, "0"),
            (Unit::Count(""), 1234.0, "1,234"),
            (Unit::Count(""), 15_234.0, "15.2 k"),
            (Unit::Count(""), 999_990.0, "1 M"),
            (Unit::Count(""), 1e6, "1 M"),
            (Unit::Micros, 840.0, "840 µs"),
            (Unit::Micros, 12_345.0, "12.3 ms"),
            (Unit::Micros, 4_200_000.0, "4.2 s"),
            (Unit::Bytes, 300e6, "300 MB"),
            (Unit::Cores, 0.353, "0.35"),
        ] {
            assert_eq!(unit.show(value), text);
        }
        for (seconds, text) in [
            (8.25, "8.25 s"),
            (60.0, "1 min"),
            (185.0, "3 min 5 s"),
            (7805.0, "2 h 10 min"),
            (86_400.0, "24 h"),
        ] {
            assert_eq!(span(seconds), text);
        }
    }

    #[test]
    fn axes_reach_beyond_their_values_in_round_steps() {
        assert_eq!(
            linear_ticks(1_000_000.0, 4.0),
            [0.0, 250e3, 500e3, 750e3, 1e6]
        );
        assert_eq!(linear_ticks(0.0, 4.0), [0.0, 1.0]);
        assert_eq!(linear_ticks(f64::NAN, 4.0), [0.0, 1.0]);
        assert_eq!(log_ticks(300.0, 40_000.0), [100.0, 1e3, 1e4, 1e5]);
        assert_eq!(log_ticks(3000.0, 4000.0), [2000.0, 5000.0]);
        assert_eq!(log_ticks(0.0, 0.0), [1.0, 2.0]);
        let labels = |seconds| -> Vec<_> {
            time_ticks(seconds)
                .into_iter()
                .map(|(_, label)| label)
                .collect()
        };
        assert_eq!(
            labels(12.0),
            ["0 s", "2 s", "4 s", "6 s", "8 s", "10 s", "12 s"]
        );
        assert_eq!(labels(400.0), ["0 min", "2 min", "4 min", "6 min"]);
        assert_eq!(labels(86_400.0).len(), 5);
        assert_eq!(labels(0.0), ["0 s"]);
    }
}
