//! Small pictures of large ones: made when somebody first asks, one at a time, and kept beside the bytes.
//!
//! To decode a picture takes memory by its size in pixels, whatever few bytes it came in: what would take too much, and
//! what can't be decoded, has no thumbnail. It is done in a process of its own ([`apart`]).

use std::io::Cursor;

use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits, RgbImage};
use rusqlite::{Connection, OptionalExtension, params};
use tokio::sync::Semaphore;

use super::apart;
use super::probe::{self, Source};
use crate::serve::builtin::blobs::{self, Blob};
use crate::serve::builtin::problem::Problem;
use crate::serve::builtin::store::{Store, StoreError, full};

/// The longest side of a thumbnail, in pixels.
pub const SIDE_PIXELS: u32 = 160;

/// Of what a thumbnail is kept; no bytes: there can't be one.
pub const SCHEMA: &str = "
    CREATE TABLE IF NOT EXISTS thumbnails (blob INTEGER PRIMARY KEY, bytes BLOB) STRICT;
    CREATE TRIGGER IF NOT EXISTS thumbnails_go AFTER DELETE ON blobs BEGIN
        DELETE FROM thumbnails WHERE blob = old.id;
    END;";

/// Bytes of a picture that is decoded, at most.
pub(super) const SOURCE_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// See [`source`].
const SOURCE_ROOM_BYTES: usize = 40 * 1024 * 1024;

const _: () = assert!(SOURCE_BYTES_MAX < SOURCE_ROOM_BYTES as u64);

/// Pixels of a picture that is decoded, at most: what the cameras of handsets make.
const PIXELS_MAX: u64 = 51_200_000;

/// The same for a picture that has to be held twice.
const PROGRESSIVE_PIXELS_MAX: u64 = 16_000_000;

/// Pixels of either side, at most.
const DECODED_SIDE_MAX: u32 = 20_000;

/// Bytes of the decoded picture, at most.
const DECODED_BYTES_MAX: u64 = 4 * PIXELS_MAX;

const QUALITY: u8 = 80;

/// Who makes a thumbnail waits until nobody else does.
static TURN: Semaphore = Semaphore::const_new(1);

/// The thumbnail of a picture, as JPEG; `None`: it has none.
pub async fn thumbnail(store: &Store, blob: &Blob) -> Result<Option<Vec<u8>>, Problem> {
    if ImageFormat::from_mime_type(&blob.media_type).is_none() {
        return Ok(None);
    }
    if let Some(known) = known(store, blob.id).await? {
        return Ok(known);
    }
    // The semaphore is never closed, so there is always a turn.
    let _turn = TURN.acquire().await;
    // Whoever had the turn before may have made it.
    if let Some(known) = known(store, blob.id).await? {
        return Ok(known);
    }
    let made = match source(store, blob).await? {
        Some(source) => {
            let media_type = blob.media_type.clone();
            tokio::task::spawn_blocking(move || apart::thumbnail(&media_type, source))
                .await
                .unwrap_or_default()
        }
        None => None,
    };
    let (id, kept) = (blob.id, made.clone());
    store
        .run(move |database| keep(database.connection(), id, kept.as_deref()))
        .await?;
    Ok(made)
}

async fn known(store: &Store, id: i64) -> Result<Option<Option<Vec<u8>>>, StoreError> {
    let sql = "SELECT bytes FROM thumbnails WHERE blob = ?1";
    store
        .run(move |database| {
            let db = database.connection();
            let mut select = db.prepare_cached(sql)?;
            Ok(select.query_row([id], |row| row.get(0)).optional()?)
        })
        .await
}

/// A picture that was deleted meanwhile keeps nothing.
fn keep(db: &Connection, id: i64, bytes: Option<&[u8]>) -> Result<(), StoreError> {
    let sql = "INSERT OR REPLACE INTO thumbnails (blob, bytes)
        SELECT id, ?2 FROM blobs WHERE id = ?1 AND state = 'joined'";
    db.prepare_cached(sql)?
        .execute(params![id, bytes])
        .map_err(full)?;
    Ok(())
}

/// A chunk at a time, so that others can use the store meanwhile. `None`: it is too long, or gone.
async fn source(store: &Store, blob: &Blob) -> Result<Option<Vec<u8>>, StoreError> {
    if blob.bytes > SOURCE_BYTES_MAX {
        return Ok(None);
    }
    let id = blob.id;
    // More than malloc ever keeps for later (32 MiB in glibc), so that it goes back to the system at once; what is beyond
    // the picture is never touched, and so never there.
    let mut bytes = Vec::with_capacity(SOURCE_ROOM_BYTES);
    loop {
        let offset = bytes.len() as u64;
        let chunk = store
            .run(move |database| blobs::read(database.connection(), id, offset))
            .await?;
        if chunk.is_empty() {
            return Ok((offset == blob.bytes).then_some(bytes));
        }
        bytes.extend_from_slice(&chunk);
    }
}

/// Decodes a picture and makes it small; `None`: it takes too much, or it is none.
pub(super) fn make(format: ImageFormat, source: Vec<u8>) -> Option<Vec<u8>> {
    let progressive = format == ImageFormat::Jpeg && {
        let mut fetch = |offset| {
            let rest = usize::try_from(offset).ok().and_then(|at| source.get(at..));
            rest.map_or(Vec::new(), |rest| rest.iter().copied().take(4096).collect())
        };
        probe::is_progressive(&mut Source::new(source.len() as u64, &mut fetch))
    };
    let pixels_max = match progressive {
        true => PROGRESSIVE_PIXELS_MAX,
        false => PIXELS_MAX,
    };
    let mut limits = Limits::default();
    limits.max_image_width = Some(DECODED_SIDE_MAX);
    limits.max_image_height = Some(DECODED_SIDE_MAX);
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    let mut reader = ImageReader::with_format(Cursor::new(source), format);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().ok()?;
    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > pixels_max
        || decoder.total_bytes() > DECODED_BYTES_MAX
    {
        return None;
    }
    let orientation = decoder.orientation().ok();
    let image = DynamicImage::from_decoder(decoder).ok()?;
    let mut small = match width.max(height) {
        ..=SIDE_PIXELS => image,
        _ => image.thumbnail(SIDE_PIXELS, SIDE_PIXELS),
    };
    if let Some(orientation) = orientation {
        small.apply_orientation(orientation);
    }
    let mut jpeg = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut jpeg, QUALITY);
    opaque(&small).write_with_encoder(encoder).ok()?;
    Some(jpeg)
}

/// On white, as a page is: JPEG knows no transparency.
fn opaque(image: &DynamicImage) -> RgbImage {
    let mut rgba = image.to_rgba8();
    for pixel in rgba.pixels_mut() {
        let [.., alpha] = pixel.0;
        for part in pixel.0.iter_mut().take(3) {
            let (color, alpha) = (u16::from(*part), u16::from(alpha));
            let mixed = (color * alpha + 255 * (255 - alpha)) / 255;
            *part = u8::try_from(mixed).unwrap_or(u8::MAX);
        }
    }
    DynamicImage::ImageRgba8(rgba).to_rgb8()
}

#[cfg(test)]
mod tests {
    use image::{Rgba, RgbaImage};

    use super::*;

    fn encoded(width: u32, height: u32, format: ImageFormat) -> Vec<u8> {
        let picture = RgbaImage::from_fn(width, height, |x, _| match x < width / 2 {
            true => Rgba([255, 0, 0, 255]),
            false => Rgba([0, 0, 0, 0]),
        });
        let mut bytes = Cursor::new(Vec::new());
        let picture = DynamicImage::ImageRgba8(picture);
        match format {
            ImageFormat::Jpeg => picture.to_rgb8().write_to(&mut bytes, format).unwrap(),
            _ => picture.write_to(&mut bytes, format).unwrap(),
        }
        bytes.into_inner()
    }

    #[test]
    fn r21_a_picture_of_each_kind_gets_smaller_and_keeps_its_shape() {
        for format in [
            ImageFormat::Jpeg,
            ImageFormat::Png,
            ImageFormat::Gif,
            ImageFormat::WebP,
        ] {
            let small = make(format, encoded(640, 480, format)).unwrap();
            let small = image::load_from_memory_with_format(&small, ImageFormat::Jpeg).unwrap();
            assert_eq!((small.width(), small.height()), (160, 120), "{format:?}");
            let small = small.to_rgb8();
            let [red, green, _] = small.get_pixel(20, 60).0;
            assert!(red > 200 && green < 60, "{format:?}");
            if format != ImageFormat::Jpeg {
                // What was transparent is white.
                assert!(
                    small.get_pixel(140, 60).0.iter().all(|c| *c > 240),
                    "{format:?}"
                );
            }
        }
        let tiny = make(ImageFormat::Png, encoded(3, 2, ImageFormat::Png)).unwrap();
        let tiny = image::load_from_memory(&tiny).unwrap();
        assert_eq!((tiny.width(), tiny.height()), (3, 2), "nothing is blown up");
    }

    #[test]
    fn r21_a_photograph_that_was_taken_upright_is_shown_upright() {
        // TIFF, big-endian, one entry: orientation 6, a quarter turn to the right.
        let exif = b"Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
        let length = u16::try_from(exif.len() + 2).unwrap().to_be_bytes();
        let plain = encoded(320, 200, ImageFormat::Jpeg);
        let turned = [&plain[..2], b"\xff\xe1", &length, exif, &plain[2..]].concat();
        let small = image::load_from_memory(&make(ImageFormat::Jpeg, turned).unwrap()).unwrap();
        assert_eq!((small.width(), small.height()), (100, 160));
    }

    #[test]
    fn r21_a_picture_that_would_not_fit_into_memory_is_not_decoded() {
        // A few bytes that say they are a picture of billions of pixels.
        let mut gif = encoded(8, 8, ImageFormat::Gif);
        gif[6..10].copy_from_slice(&[0xff; 4]);
        assert_eq!(make(ImageFormat::Gif, gif), None);
        let mut jpeg = encoded(8, 8, ImageFormat::Jpeg);
        let frame = jpeg.windows(2).position(|w| w == b"\xff\xc0").unwrap();
        jpeg[frame + 5..frame + 9].copy_from_slice(&[0x4e, 0x00, 0x4e, 0x00]);
        assert_eq!(make(ImageFormat::Jpeg, jpeg), None);
        assert_eq!(make(ImageFormat::Gif, b"GIF89a".to_vec()), None);
        assert_eq!(make(ImageFormat::WebP, Vec::new()), None);
    }
}
