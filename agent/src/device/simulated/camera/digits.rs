//! Digits that are drawn large, so that a picture tells which one it is.

/// Columns and rows of a digit.
const COLUMNS: u32 = 3;
const ROWS: usize = 5;

/// The rows of each digit from the top; the highest of three bits is the left column.
const SHAPES: [[u8; ROWS]; 10] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 2, 2, 2],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
];

/// A number at a place, in dots of so many pixels.
#[derive(Debug)]
pub(super) struct Digits {
    digits: Vec<usize>,
    left: u32,
    top: u32,
    dot: u32,
}

impl Digits {
    pub(super) fn new(number: u64, left: u32, top: u32, dot: u32) -> Self {
        let text = number.to_string();
        let digits = text.bytes().map(|b| usize::from(b.saturating_sub(b'0')));
        Self {
            digits: digits.collect(),
            left,
            top,
            dot: dot.max(1),
        }
    }

    /// Whether this pixel is of the number. A column of dots between two digits stays free.
    pub(super) fn cover(&self, x: u32, y: u32) -> bool {
        let (Some(x), Some(y)) = (x.checked_sub(self.left), y.checked_sub(self.top)) else {
            return false;
        };
        let (column, row) = (x / self.dot, y / self.dot);
        let (place, column) = (column / (COLUMNS + 1), column % (COLUMNS + 1));
        let digit = self.digits.get(place as usize);
        let shape = digit.and_then(|digit| SHAPES.get(*digit));
        let bits = shape.and_then(|shape| shape.get(row as usize));
        bits.is_some_and(|bits| column < COLUMNS && bits >> (COLUMNS - 1 - column) & 1 == 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn r45_a_number_can_be_read() {
        let digits = Digits::new(17, 1, 1, 1);
        let rows = (0..=6).map(|y| {
            let row = (0..9).map(|x| if digits.cover(x, y) { '#' } else { '.' });
            row.collect::<String>()
        });
        let expected = [
            ".........",
            "..#..###.",
            ".##....#.",
            "..#...#..",
            "..#...#..",
            ".###..#..",
            ".........",
        ];
        assert_eq!(rows.collect::<Vec<_>>(), expected);
    }
}
