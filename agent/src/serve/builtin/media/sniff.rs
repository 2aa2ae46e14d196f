//! What bytes are by how they begin: a picture that is sent as a sound is refused before it is stored.
//!
//! It tells formats apart and checks nothing else: whether a film can be played is for whoever plays it.

/// Bytes of the beginning that are enough to tell.
pub const HEAD_BYTES: usize = 64;

/// Other names of the media types that are taken, and the one by which each is kept.
const ALIASES: &[(&str, &str)] = &[
    ("image/jpg", "image/jpeg"),
    ("image/pjpeg", "image/jpeg"),
    ("image/x-png", "image/png"),
    ("audio/mp3", "audio/mpeg"),
    ("audio/x-mpeg", "audio/mpeg"),
    ("audio/m4a", "audio/mp4"),
    ("audio/x-m4a", "audio/mp4"),
    ("audio/x-aac", "audio/aac"),
    ("audio/x-wav", "audio/wav"),
    ("audio/wave", "audio/wav"),
    ("audio/vnd.wave", "audio/wav"),
    ("audio/x-flac", "audio/flac"),
    ("audio/opus", "audio/ogg"),
    ("application/ogg", "audio/ogg"),
    ("video/x-m4v", "video/mp4"),
    ("video/3gp", "video/3gpp"),
];

/// The name by which a media type is kept, from a `Content-Type`: lower case, and without parameters.
pub fn canonical(content_type: &str) -> String {
    let name = content_type.split(';').next().unwrap_or_default();
    let name = name.trim().to_ascii_lowercase();
    let alias = ALIASES.iter().find(|(alias, _)| *alias == name);
    alias.map_or(name, |(_, kept)| (*kept).to_owned())
}

/// Whether bytes that begin like this are of this media type. A media type that is not known here has no such bytes.
pub fn is(media_type: &str, head: &[u8]) -> bool {
    match told_by(head) {
        // Files of one family, whose members borrow each other's brands.
        Some("video/mp4") => matches!(
            media_type,
            "video/mp4" | "video/3gpp" | "video/quicktime" | "audio/mp4"
        ),
        Some(told) => media_type == told,
        None => false,
    }
}

/// The media type that a file begins like.
pub fn told_by(head: &[u8]) -> Option<&'static str> {
    let riff = |kind: &[u8]| head.starts_with(b"RIFF") && head.get(8..12) == Some(kind);
    let brand = match head.get(4..8) {
        Some(b"ftyp") => head.get(8..12),
        // QuickTime from before there were brands.
        Some(b"moov" | b"mdat" | b"wide" | b"free" | b"skip" | b"pnot") => Some(&b"qt  "[..]),
        _ => None,
    };
    Some(match (head, brand) {
        (_, Some(b"heic" | b"heix" | b"heim" | b"heis" | b"mif1")) => "image/heic",
        (_, Some(b"avif" | b"avis")) => "image/avif",
        (_, Some(_)) => "video/mp4",
        ([0xff, 0xd8, 0xff, ..], _) => "image/jpeg",
        (b, _) if b.starts_with(b"\x89PNG\r\n\x1a\n") => "image/png",
        (b, _) if b.starts_with(b"GIF87a") || b.starts_with(b"GIF89a") => "image/gif",
        _ if riff(b"WEBP") => "image/webp",
        _ if riff(b"WAVE") => "audio/wav",
        (b, _) if b.starts_with(b"OggS") => "audio/ogg",
        (b, _) if b.starts_with(b"fLaC") => "audio/flac",
        (b, _) if b.starts_with(b"#!AMR") => "audio/amr",
        (b, _) if b.starts_with(b"ID3") => "audio/mpeg",
        (b, _) if b.starts_with(b"\x1a\x45\xdf\xa3") => "video/webm",
        // The frame sync of MPEG audio: twelve bits, then the layer, which is 0 in AAC's frames alone.
        ([0xff, second, ..], _) if second & 0xf6 == 0xf0 => "audio/aac",
        ([0xff, second, ..], _) if second & 0xe0 == 0xe0 && second & 0x06 != 0 => "audio/mpeg",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::super::resource::ALL;
    use super::*;

    const HEADS: &[(&str, &[u8])] = &[
        ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF"),
        ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"),
        ("image/gif", b"GIF89a\x01\0"),
        ("image/webp", b"RIFF\x24\0\0\0WEBPVP8 "),
        ("image/heic", b"\0\0\0\x18ftypheic\0\0\0\0"),
        ("audio/mpeg", b"ID3\x04\0"),
        ("audio/mpeg", b"\xff\xfb\x90\x44"),
        ("audio/mp4", b"\0\0\0\x20ftypM4A \0\0\0\0"),
        ("audio/aac", b"\xff\xf1\x50\x80"),
        ("audio/ogg", b"OggS\0\x02"),
        ("audio/wav", b"RIFF\x24\0\0\0WAVEfmt "),
        ("audio/flac", b"fLaC\0\0\0\x22"),
        ("audio/amr", b"#!AMR\n"),
        ("video/mp4", b"\0\0\0\x20ftypisom\0\0\x02\0"),
        ("video/3gpp", b"\0\0\0\x18ftyp3gp5\0\0\x01\0"),
        ("video/webm", b"\x1a\x45\xdf\xa3\x9f"),
        ("video/quicktime", b"\0\0\0\x14ftypqt  \0\0\0\0"),
        ("video/quicktime", b"\0\0\0\x08wide\0\0\0\0mdat"),
    ];

    #[test]
    fn r21_r22_r23_every_type_that_is_taken_can_be_told() {
        for resource in ALL {
            for media_type in resource.content.iter().flat_map(|c| c.media_types) {
                let known = HEADS.iter().any(|(known, _)| known == media_type);
                assert!(known, "{media_type}");
                assert_eq!(canonical(media_type), *media_type);
            }
        }
        for (media_type, head) in HEADS {
            assert!(is(media_type, head), "{media_type}");
            let others = HEADS.iter().filter(|(other, _)| !is(other, head)).count();
            assert!(others >= 12, "{media_type} is taken for too much");
        }
        assert_eq!(told_by(b"<html>"), None);
        assert_eq!(told_by(b""), None);
        assert!(!is("text/html", b"<html>"));
        assert_eq!(canonical(" Image/JPG; q=1"), "image/jpeg");
    }
}
