//! The rows of a run as a chart draws them: at most a few hundred columns, each with its least and its greatest value,
//! so that a spike of one second in a day is still seen.

use crate::report::Second;

/// More than a screen tells apart, and few enough for a page that is sent by mail.
const COLUMNS_MAX: usize = 480;

/// Columns of a run's course.
#[derive(Debug)]
pub(super) struct Course<'a> {
    columns: Vec<&'a [Second]>,
}

/// The least and the greatest value of a column; `None`: nothing was measured in it.
pub(super) type Range = Option<(f64, f64)>;

impl<'a> Course<'a> {
    pub(super) fn new(rows: &'a [Second]) -> Self {
        let width = rows.len().div_ceil(COLUMNS_MAX).max(1);
        Self {
            columns: rows.chunks(width).collect(),
        }
    }

    /// The moment of each column, seconds since the run began.
    pub(super) fn moments(&self) -> Vec<f64> {
        let firsts = self.columns.iter().filter_map(|rows| rows.first());
        firsts.map(|row| row.at as f64).collect()
    }

    /// One value of every row.
    pub(super) fn of(&self, value: impl Fn(&Second) -> Option<f64>) -> Vec<Range> {
        self.columns
            .iter()
            .map(|rows| {
                let values = rows.iter().filter_map(&value);
                values.fold(None, |range: Range, value| {
                    let (least, greatest) = range.unwrap_or((value, value));
                    Some((least.min(value), greatest.max(value)))
                })
            })
            .collect()
    }

    /// Whether any row says so.
    pub(super) fn any(&self, has: impl Fn(&Second) -> bool) -> bool {
        self.columns.iter().any(|rows| rows.iter().any(&has))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spike_of_one_second_in_a_day_is_kept() {
        let mut rows: Vec<_> = (0..86_400)
            .map(|at| Second {
                at,
                open: 1000,
                ..Second::default()
            })
            .collect();
        rows[50_000].open = 7;
        let course = Course::new(&rows);
        let open = course.of(|row| Some(row.open as f64));
        assert!(open.len() <= COLUMNS_MAX && course.moments().len() == open.len());
        assert_eq!(
            open.iter()
                .filter(|range| **range == Some((7.0, 1000.0)))
                .count(),
            1
        );
        let unknown = course.of(|row| row.gateway_cores);
        assert!(unknown.iter().all(Option::is_none));
    }

    #[test]
    fn a_short_run_has_a_column_for_each_second() {
        let rows = [1, 2, 3].map(|at| Second {
            at,
            good: at,
            ..Second::default()
        });
        let course = Course::new(&rows);
        assert_eq!(course.moments(), [1.0, 2.0, 3.0]);
        assert_eq!(
            course.of(|row| Some(row.good as f64)).last(),
            Some(&Some((3.0, 3.0)))
        );
        assert!(course.any(|row| row.good == 3) && !course.any(|row| row.good == 4));
        assert!(Course::new(&[]).moments().is_empty());
    }
}
