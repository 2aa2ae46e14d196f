//! When and with what a photograph was taken, as cameras write it (EXIF 2.3: a TIFF with two directories).

use time::OffsetDateTime;

const MAKE: &[u8] = b"Everline\0";
const MODEL: &[u8] = b"Simulated handset\0";

/// Types of TIFF.
const ASCII: u16 = 2;
const LONG: u16 = 4;

/// Octets of a directory's entry, and of all of it around them.
const ENTRY: usize = 12;
const AROUND: usize = 6;

/// Octets of the header.
const HEADER: usize = 8;

/// One entry of a directory.
struct Entry {
    tag: u16,
    kind: u16,
    value: Vec<u8>,
}

/// The TIFF, without what announces it in a JPEG.
pub(super) fn exif(at: OffsetDateTime) -> Vec<u8> {
    let text = |tag, value: &[u8]| Entry {
        tag,
        kind: ASCII,
        value: value.to_vec(),
    };
    let moment = format!(
        "{:04}:{:02}:{:02} {:02}:{:02}:{:02}\0",
        at.year(),
        u8::from(at.month()),
        at.day(),
        at.hour(),
        at.minute(),
        at.second()
    );
    let first = |exif_at: u32| {
        vec![
            text(0x010f, MAKE),
            text(0x0110, MODEL),
            text(0x0132, moment.as_bytes()),
            Entry {
                tag: 0x8769,
                kind: LONG,
                value: exif_at.to_le_bytes().to_vec(),
            },
        ]
    };
    let mut tiff = b"II\x2a\x00\x08\x00\x00\x00".to_vec();
    // The second directory lies behind the first, whose length does not depend on where that is.
    let behind = HEADER + directory(&first(0), HEADER).len();
    let behind = u32::try_from(behind).unwrap_or_default();
    tiff.extend(directory(&first(behind), HEADER));
    tiff.extend(directory(
        &[text(0x9003, moment.as_bytes())],
        behind as usize,
    ));
    tiff
}

/// A directory that lies at this offset, and behind it the values that do not fit into it.
fn directory(entries: &[Entry], offset: usize) -> Vec<u8> {
    let short = |value: usize| u16::try_from(value).unwrap_or_default().to_le_bytes();
    let long = |value: usize| u32::try_from(value).unwrap_or_default().to_le_bytes();
    let mut bytes = short(entries.len()).to_vec();
    let mut values = Vec::new();
    for entry in entries {
        bytes.extend(entry.tag.to_le_bytes());
        bytes.extend(entry.kind.to_le_bytes());
        let count = if entry.kind == LONG {
            1
        } else {
            entry.value.len()
        };
        bytes.extend(long(count));
        if entry.value.len() <= 4 {
            let mut value = entry.value.clone();
            value.resize(4, 0);
            bytes.extend(value);
        } else {
            bytes.extend(long(offset + AROUND + entries.len() * ENTRY + values.len()));
            values.extend(&entry.value);
            values.resize(values.len().next_multiple_of(2), 0);
        }
    }
    // No directory follows as a chain; the second one is pointed to.
    bytes.extend([0; 4]);
    bytes.extend(values);
    bytes
}
