//! How wide, how high and how long: read from the few bytes of a file that say so, wherever they lie in it.
//!
//! A file that does not say it where it should is kept all the same, without these fields. What a caller sent decides
//! nothing here: every step is counted, and every number is checked.

/// What a file says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Probed {
    /// Pixels.
    pub width: Option<u32>,
    /// Pixels.
    pub height: Option<u32>,
    /// Milliseconds for which it plays.
    pub length_ms: Option<u64>,
}

/// Pixels of either side that are believed.
const SIDE_PIXELS_MAX: u32 = 1_000_000;

/// Parts of a file that are looked at, at most.
const STEPS_MAX: u32 = 4_096;

/// Times that bytes are fetched, at most: a file whose parts lie far from each other is not worth more.
const FETCHES_MAX: u32 = 64;

/// The bytes of a file, fetched where they are wanted.
pub struct Source<'a> {
    fetch: &'a mut dyn FnMut(u64) -> Vec<u8>,
    bytes: u64,
    held: Vec<u8>,
    held_at: u64,
    fetches: u32,
}

impl<'a> Source<'a> {
    /// A file of so many bytes. `fetch` gives some from an offset on, and none behind the end.
    pub fn new(bytes: u64, fetch: &'a mut dyn FnMut(u64) -> Vec<u8>) -> Self {
        Self {
            fetch,
            bytes,
            held: Vec::new(),
            held_at: 0,
            fetches: 0,
        }
    }

    /// `N` bytes from this offset on.
    fn array<const N: usize>(&mut self, offset: u64) -> Option<[u8; N]> {
        let mut array = [0; N];
        for (at, byte) in (offset..).zip(&mut array) {
            *byte = self.byte(at)?;
        }
        Some(array)
    }

    fn byte(&mut self, offset: u64) -> Option<u8> {
        let within = |held_at: u64| usize::try_from(offset.checked_sub(held_at)?).ok();
        if let Some(byte) = within(self.held_at).and_then(|at| self.held.get(at)) {
            return Some(*byte);
        }
        if offset >= self.bytes || self.fetches >= FETCHES_MAX {
            return None;
        }
        self.fetches += 1;
        self.held = (self.fetch)(offset);
        self.held_at = offset;
        self.held.first().copied()
    }

    fn u16(&mut self, offset: u64) -> Option<u32> {
        self.array(offset).map(|b| u32::from(u16::from_be_bytes(b)))
    }

    fn u32(&mut self, offset: u64) -> Option<u32> {
        self.array(offset).map(u32::from_be_bytes)
    }

    fn u16_le(&mut self, offset: u64) -> Option<u32> {
        self.array(offset).map(|b| u32::from(u16::from_le_bytes(b)))
    }

    fn u24_le(&mut self, offset: u64) -> Option<u32> {
        let [low, middle, high] = self.array(offset)?;
        Some(u32::from_le_bytes([low, middle, high, 0]))
    }

    fn u32_le(&mut self, offset: u64) -> Option<u32> {
        self.array(offset).map(u32::from_le_bytes)
    }
}

/// What a file of this media type says of itself.
pub fn probe(media_type: &str, source: &mut Source<'_>) -> Probed {
    let size = match media_type {
        "image/jpeg" => jpeg(source),
        "image/png" => png(source),
        "image/gif" => gif(source),
        "image/webp" => webp(source),
        "audio/wav" => return lasting(wav(source)),
        "audio/flac" => return lasting(flac(source)),
        "audio/mp4" | "video/mp4" | "video/3gpp" | "video/quicktime" => return film(source),
        _ => None,
    };
    let believed = |pixels: u32| (1..=SIDE_PIXELS_MAX).contains(&pixels);
    match size {
        Some((width, height)) if believed(width) && believed(height) => Probed {
            width: Some(width),
            height: Some(height),
            length_ms: None,
        },
        _ => Probed::default(),
    }
}

fn lasting(length_ms: Option<u64>) -> Probed {
    Probed {
        length_ms,
        ..Probed::default()
    }
}

/// ITU-T T.81, B.2.2: the frame's header has the height before the width.
fn jpeg(source: &mut Source<'_>) -> Option<(u32, u32)> {
    let (_, at) = jpeg_frame(source)?;
    Some((source.u16(at + 7)?, source.u16(at + 5)?))
}

/// Whether a JPEG file is of the kind that can't be decoded a strip at a time.
pub fn is_progressive(source: &mut Source<'_>) -> bool {
    jpeg_frame(source).is_some_and(|(marker, _)| !matches!(marker, 0xc0 | 0xc1))
}

/// ITU-T T.81, B.1.1: segments until the header of the frame, its marker, and where that stands.
fn jpeg_frame(source: &mut Source<'_>) -> Option<(u8, u64)> {
    let mut at = 2;
    for _ in 0..STEPS_MAX {
        let [ff, marker] = source.array(at)?;
        match (ff, marker) {
            // Fill bytes may stand before a marker.
            (0xff, 0xff) => at += 1,
            (0xff, 0x01 | 0xd0..=0xd7) => at += 2,
            (0xff, 0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf) => {
                return Some((marker, at));
            }
            // Data begins or the file ends, and there was no frame.
            (0xff, 0xd9 | 0xda) => return None,
            (0xff, _) => at += 2 + u64::from(source.u16(at + 2)?.max(2)),
            _ => return None,
        }
    }
    None
}

fn png(source: &mut Source<'_>) -> Option<(u32, u32)> {
    Some((source.u32(16)?, source.u32(20)?))
}

fn gif(source: &mut Source<'_>) -> Option<(u32, u32)> {
    Some((source.u16_le(6)?, source.u16_le(8)?))
}

/// RFC 9649, 2.5 to 2.7.
fn webp(source: &mut Source<'_>) -> Option<(u32, u32)> {
    match &source.array(12)? {
        b"VP8X" => Some((source.u24_le(24)? + 1, source.u24_le(27)? + 1)),
        b"VP8 " => Some((source.u16_le(26)? & 0x3fff, source.u16_le(28)? & 0x3fff)),
        b"VP8L" => {
            let sizes = source.u32_le(21)?;
            Some(((sizes & 0x3fff) + 1, ((sizes >> 14) & 0x3fff) + 1))
        }
        _ => None,
    }
}

/// The chunks of RIFF: the rate from `fmt `, the length from `data`.
fn wav(source: &mut Source<'_>) -> Option<u64> {
    let (mut at, mut rate) = (12_u64, None);
    for _ in 0..STEPS_MAX {
        let kind: [u8; 4] = source.array(at)?;
        let bytes = u64::from(source.u32_le(at + 4)?);
        match &kind {
            b"fmt " => rate = Some(u64::from(source.u32_le(at + 16)?)),
            b"data" => {
                // A recorder that could not go back says 0 or all ones: then it is what there is.
                let there = source.bytes.saturating_sub(at + 8);
                let bytes = if bytes == 0 { there } else { bytes.min(there) };
                return (bytes * 1000).checked_div(rate?);
            }
            _ => {}
        }
        at += 8 + bytes + bytes % 2;
    }
    None
}

/// RFC 9639, 8.2: the rate has twenty bits, the number of samples thirty-six.
fn flac(source: &mut Source<'_>) -> Option<u64> {
    let bits = u64::from_be_bytes(source.array(18)?);
    let (rate, samples) = (bits >> 44, bits & 0xf_ffff_ffff);
    (samples > 0)
        .then(|| (samples * 1000).checked_div(rate))
        .flatten()
}

/// ISO/IEC 14496-12: boxes in boxes. `moov` holds `mvhd`, which has the length, and a `tkhd` for each track; the largest
/// one that is seen at all is the picture.
fn film(source: &mut Source<'_>) -> Probed {
    let mut probed = Probed::default();
    let end = source.bytes;
    let mut steps = STEPS_MAX;
    let Some(moov) = find(source, 0..end, b"moov", &mut steps) else {
        return probed;
    };
    if let Some(mvhd) = find(source, moov.clone(), b"mvhd", &mut steps) {
        probed.length_ms = movie_length(source, mvhd.start);
    }
    let mut rest = moov;
    let mut pixels = 0;
    while let Some(trak) = find(source, rest.clone(), b"trak", &mut steps) {
        rest.start = trak.end;
        let Some(tkhd) = find(source, trak, b"tkhd", &mut steps) else {
            continue;
        };
        let Some((width, height)) = track_size(source, tkhd.start) else {
            continue;
        };
        let seen = u64::from(width) * u64::from(height);
        if seen > pixels {
            pixels = seen;
            (probed.width, probed.height) = (Some(width), Some(height));
        }
    }
    probed
}

/// The inside of the first box of this kind.
fn find(
    source: &mut Source<'_>,
    within: std::ops::Range<u64>,
    kind: &[u8; 4],
    steps: &mut u32,
) -> Option<std::ops::Range<u64>> {
    let mut at = within.start;
    while at < within.end {
        *steps = steps.checked_sub(1)?;
        let (head, bytes) = match source.u32(at)? {
            0 => (8, within.end - at),
            1 => (16, u64::from_be_bytes(source.array(at + 8)?)),
            bytes => (8, u64::from(bytes)),
        };
        let end = at.checked_add(bytes)?;
        if bytes < head || end > within.end {
            return None;
        }
        if &source.array::<4>(at + 4)? == kind {
            return Some(at + head..end);
        }
        at = end;
    }
    None
}

fn movie_length(source: &mut Source<'_>, at: u64) -> Option<u64> {
    let (scale, length) = match source.byte(at)? {
        1 => (
            source.u32(at + 20)?,
            u64::from_be_bytes(source.array(at + 24)?),
        ),
        _ => (source.u32(at + 12)?, u64::from(source.u32(at + 16)?)),
    };
    // All ones: a film that is sent while it is made does not know.
    if length == u64::MAX || length == u64::from(u32::MAX) {
        return None;
    }
    let length_ms = u128::from(length) * 1000;
    u64::try_from(length_ms.checked_div(scale.into())?).ok()
}

fn track_size(source: &mut Source<'_>, at: u64) -> Option<(u32, u32)> {
    let sizes = match source.byte(at)? {
        1 => at + 88,
        _ => at + 76,
    };
    // Fixed-point numbers: the upper half is whole pixels.
    Some((source.u32(sizes)? >> 16, source.u32(sizes + 4)? >> 16))
}

#[cfg(test)]
mod tests {
    use super::super::super::resource::ALL;
    use super::super::describe;
    use super::*;

    /// Fetched in pieces of a few bytes, so that every number lies across an edge once.
    fn probed(media_type: &str, bytes: &[u8]) -> Probed {
        let mut fetch = |offset: u64| {
            let from = usize::try_from(offset).unwrap();
            let rest = bytes.get(from..).unwrap_or_default();
            rest[..rest.len().min(97)].to_vec()
        };
        let mut source = Source::new(bytes.len() as u64, &mut fetch);
        probe(media_type, &mut source)
    }

    fn sized(width: u32, height: u32) -> Probed {
        Probed {
            width: Some(width),
            height: Some(height),
            length_ms: None,
        }
    }

    fn part(kind: &[u8; 4], inside: &[u8]) -> Vec<u8> {
        let bytes = u32::try_from(inside.len() + 8).unwrap();
        [&bytes.to_be_bytes(), &kind[..], inside].concat()
    }

    #[test]
    fn r21_pictures_tell_their_size() {
        let exif = [&b"\xff\xe1\x01\x00"[..], &[7; 254]].concat();
        let jpeg = [
            &b"\xff\xd8"[..],
            &exif,
            b"\xff\xff\xdb\x00\x03\x00\xff\xc2\x00\x11\x08\x01\xe0\x02\x80\x03",
        ]
        .concat();
        assert_eq!(probed("image/jpeg", &jpeg), sized(640, 480));
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\x02\x80\0\0\x01\xe0\x08\x02";
        assert_eq!(probed("image/png", png), sized(640, 480));
        assert_eq!(probed("image/gif", b"GIF89a\x03\0\x02\0"), sized(3, 2));
        let webp = |rest: &[u8]| [&b"RIFF\0\0\0\0WEBP"[..], rest].concat();
        let cases: [&[u8]; 3] = [
            b"VP8X\x0a\0\0\0\0\0\0\0\x7f\x02\0\xdf\x01\0",
            b"VP8 \0\0\0\0\0\0\0\x9d\x01\x2a\x80\x02\xe0\x01",
            // Fourteen bits each, less one.
            b"VP8L\0\0\0\0\x2f\x7f\xc2\x77\0",
        ];
        for case in cases {
            assert_eq!(probed("image/webp", &webp(case)), sized(640, 480));
        }
    }

    #[test]
    fn r22_sounds_tell_their_length() {
        let fmt = b"fmt \x10\0\0\0\x01\0\x01\0\x44\xac\0\0\x88\x58\x01\0\x02\0\x10\0";
        for told in [[0x88, 0x58, 0x01, 0], [0; 4], [0xff; 4]] {
            let wav = [
                &b"RIFF\0\0\0\0WAVELIST\x03\0\0\0abc\0"[..],
                fmt,
                b"data",
                &told,
                &vec![0; 88_200],
            ]
            .concat();
            assert_eq!(probed("audio/wav", &wav).length_ms, Some(1000), "{told:?}");
        }
        let flac = [
            &b"fLaC\0\0\0\x22"[..],
            &[0; 10],
            b"\x0a\xc4\x42\xf0\0\x01\x58\x88",
        ]
        .concat();
        assert_eq!(probed("audio/flac", &flac).length_ms, Some(2000));
    }

    #[test]
    fn r23_films_tell_their_size_and_length_wherever_it_lies() {
        let mut mvhd = vec![0; 100];
        mvhd[12..20].copy_from_slice(b"\0\0\x02\x58\0\0\x0b\xb8");
        let track = |width: u32, height: u32| {
            let mut tkhd = vec![0; 84];
            tkhd[76..80].copy_from_slice(&(width << 16).to_be_bytes());
            tkhd[80..84].copy_from_slice(&(height << 16).to_be_bytes());
            part(b"trak", &part(b"tkhd", &tkhd))
        };
        let moov = [
            part(b"mvhd", &mvhd),
            track(0, 0),
            track(320, 240),
            track(16, 9),
        ];
        let moov = part(b"moov", &moov.concat());
        let ftyp = part(b"ftyp", b"isom\0\0\0\0");
        let mdat = part(b"mdat", &vec![1; 100_000]);
        let told = Probed {
            length_ms: Some(5000),
            ..sized(320, 240)
        };
        for film in [
            [&ftyp[..], &moov, &mdat].concat(),
            [&ftyp[..], &mdat, &moov].concat(),
        ] {
            assert_eq!(probed("video/mp4", &film), told);
            assert_eq!(probed("video/quicktime", &film), told);
        }
        // Cut off in the middle, or a box that says it is longer than the file.
        assert_eq!(probed("video/mp4", &mdat), Probed::default());
        let long = [&b"\0\0\0\x01moov"[..], &[0xff; 8]].concat();
        assert_eq!(probed("video/mp4", &long), Probed::default());
    }

    proptest::proptest! {
        #[test]
        fn r21_what_is_told_of_a_picture_fits_its_description(width: u32, height: u32) {
            let png = [&b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"[..], &width.to_be_bytes(), &height.to_be_bytes()].concat();
            let images = ALL.iter().find(|resource| resource.name == "images").unwrap();
            images.check(describe(images, "image/png", &png, None, None)).unwrap();
        }

        #[test]
        fn r21_r22_r23_no_bytes_panic(bytes: Vec<u8>, kind in 0_usize..8) {
            let kinds = [
                ("image/jpeg", &b"\xff\xd8\xff"[..]),
                ("image/png", b"\x89PNG"),
                ("image/gif", b"GIF89a"),
                ("image/webp", b"RIFF\0\0\0\0WEBPVP8X"),
                ("audio/wav", b"RIFF\0\0\0\0WAVEfmt "),
                ("audio/flac", b"fLaC"),
                ("video/mp4", b"\0\0\0\x20moov\0\0\0\x18mvhd"),
                ("video/webm", b"\x1a\x45\xdf\xa3"),
            ];
            let (media_type, head) = kinds[kind];
            let _ = probed(media_type, &[head, &bytes].concat());
            let _ = probed(media_type, &bytes);
        }
    }
}
