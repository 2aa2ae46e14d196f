//! A photograph: a picture of the seed's colours with the shot's number on it, as a JPEG with its date.

use image::codecs::jpeg::JpegEncoder;
use image::{ExtendedColorType, ImageEncoder};

use super::digits::Digits;
use super::{Shot, exif};
use crate::device::simulated::chance;
use crate::device::{DeviceError, Recorded};

const WIDTH: u32 = 640;
const HEIGHT: u32 = 480;
const QUALITY: u8 = 85;

/// Discs on a picture.
const DISCS: u64 = 5;

struct Disc {
    x: u32,
    y: u32,
    radius: u32,
    colour: [u8; 3],
}

/// Takes it.
pub(in super::super) fn photograph(shot: &Shot) -> Result<Recorded, DeviceError> {
    let pixels = draw(shot);
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, QUALITY);
    encoder
        .set_exif_metadata(exif::exif(shot.at))
        .map_err(|error| DeviceError::Failed(format!("its camera: {error}")))?;
    encoder
        .write_image(&pixels, WIDTH, HEIGHT, ExtendedColorType::Rgb8)
        .map_err(|error| DeviceError::Failed(format!("its camera: {error}")))?;
    Ok(Recorded {
        media_type: "image/jpeg",
        bytes,
        length: None,
    })
}

fn draw(shot: &Shot) -> Vec<u8> {
    let (seed, turn) = (shot.seed, shot.number);
    let (sky, ground) = (colour(seed, "sky", turn), colour(seed, "ground", turn));
    let discs: Vec<Disc> = (0..DISCS).map(|at| disc(seed, turn * DISCS + at)).collect();
    let digits = Digits::new(shot.number, 40, 300, 28);
    let mut pixels = Vec::with_capacity((WIDTH * HEIGHT * 3) as usize);
    for y in 0..HEIGHT {
        for x in 0..WIDTH {
            let covers = |disc: &&Disc| {
                disc.x.abs_diff(x).pow(2) + disc.y.abs_diff(y).pow(2) < disc.radius.pow(2)
            };
            let pixel = if digits.cover(x, y) {
                [255; 3]
            } else if let Some(disc) = discs.iter().rev().find(covers) {
                disc.colour
            } else {
                mix(sky, ground, y)
            };
            pixels.extend(pixel);
        }
    }
    pixels
}

fn disc(seed: u64, turn: u64) -> Disc {
    let number = |what: &str, least, most| {
        u32::try_from(chance::between(seed, what, turn, least, most)).unwrap_or_default()
    };
    Disc {
        x: number("x", 0, WIDTH.into()),
        y: number("y", 0, HEIGHT.into()),
        radius: number("radius", 20, 120),
        colour: colour(seed, "disc", turn),
    }
}

/// Never as bright as the number.
fn colour(seed: u64, what: &str, turn: u64) -> [u8; 3] {
    let [red, green, blue, ..] = chance::draw(seed, what, turn).to_le_bytes();
    [red / 4 * 3, green / 4 * 3, blue / 4 * 3]
}

/// From the first at the top to the second at the bottom.
fn mix(top: [u8; 3], bottom: [u8; 3], y: u32) -> [u8; 3] {
    let blend = |from: u8, to: u8| {
        let mixed = (u32::from(from) * (HEIGHT - y) + u32::from(to) * y) / HEIGHT;
        u8::try_from(mixed).unwrap_or(u8::MAX)
    };
    [
        blend(top[0], bottom[0]),
        blend(top[1], bottom[1]),
        blend(top[2], bottom[2]),
    ]
}
