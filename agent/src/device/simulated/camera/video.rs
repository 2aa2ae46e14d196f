//! A film: a square that wanders over the seed's colours, and the seconds that pass.

use std::time::Duration;

use super::Shot;
use super::digits::Digits;
use super::h264::{self, Frame};
use super::mp4::{Film, Sample};
use crate::device::Recorded;
use crate::device::simulated::chance;

/// Macroblocks: 176 × 144 pixels.
const COLUMNS: usize = 11;
const ROWS: usize = 9;

/// Pictures in a second, and how long each is shown.
const PICTURES_PER_S: u32 = 5;
const EACH: Duration = Duration::from_millis(1_000 / PICTURES_PER_S as u64);

/// Pictures from one that can be shown by itself to the next.
const WHOLE_EVERY: u32 = 10 * PICTURES_PER_S;

/// The side of the square that wanders, and how far it goes from picture to picture.
const SQUARE: u32 = 24;
const STEP: u32 = 4;

/// Records it.
pub(in super::super) fn video(shot: &Shot, length: Duration) -> Recorded {
    let count = u32::try_from(length.as_millis().div_ceil(EACH.as_millis())).unwrap_or(u32::MAX);
    let count = count.max(1);
    let mut samples = Vec::new();
    let mut before = Frame::new(COLUMNS, ROWS);
    let (sequence, pictures) = (h264::sequence(&before), h264::pictures());
    for at in 0..count {
        let mut frame = Frame::new(COLUMNS, ROWS);
        draw(&mut frame, shot, at);
        let whole = at % WHOLE_EVERY == 0;
        let unit = if whole {
            h264::whole(&frame, at / WHOLE_EVERY)
        } else {
            h264::changes(&before, &frame, at % WHOLE_EVERY)
        };
        samples.push(Sample { unit, whole });
        before = frame;
    }
    let film = Film {
        frame: &before,
        sequence: &sequence,
        pictures: &pictures,
        samples: &samples,
        each: EACH,
        at: shot.at,
    };
    Recorded {
        media_type: "video/mp4",
        bytes: film.file(),
        length: Some(EACH * count),
    }
}

fn draw(frame: &mut Frame, shot: &Shot, at: u32) {
    let [blue, red, grey, ..] = chance::draw(shot.seed, "film", shot.number).to_le_bytes();
    let colours = [64 + blue / 2, 64 + red / 2];
    let grey = 40 + grey / 4;
    let (width, height) = (u32::try_from(frame.width()), u32::try_from(frame.height()));
    let (width, height) = (width.unwrap_or(SQUARE), height.unwrap_or(SQUARE));
    let left = bounce(at * STEP, width - SQUARE);
    let top = bounce(at * STEP / 2, height - SQUARE);
    let seconds = Digits::new(u64::from(at / PICTURES_PER_S), 8, 8, 4);
    let number = Digits::new(shot.number, 8, height - 28, 4);
    frame.draw(|x, y| {
        let on_square = (left..left + SQUARE).contains(&x) && (top..top + SQUARE).contains(&y);
        if seconds.cover(x, y) || number.cover(x, y) {
            [235, 128, 128]
        } else if on_square {
            [180, colours[1], colours[0]]
        } else {
            let shade = u8::try_from((x + y) / 4).unwrap_or(u8::MAX);
            [grey.saturating_add(shade).min(160), colours[0], colours[1]]
        }
    });
}

/// There and back again, from 0 to `most`.
fn bounce(way: u32, most: u32) -> u32 {
    let turned = way % (2 * most.max(1));
    turned.min(2 * most - turned)
}
