//! Images, sounds and videos (R21 to R23): files, and what the handset read from them.

use super::super::resource::{BODY_BYTES_MAX, Content, Field, Manager, Memory, Resource, Shape};
use super::DATA;

const TITLE: Field = Field::new("title", Shape::Line { chars_max: 256 }).told();
const FILE_NAME: Field = Field::new("file_name", Shape::Line { chars_max: 255 }).told();
const MEDIA_TYPE: Field = Field::new("media_type", Shape::Line { chars_max: 127 })
    .given()
    .told();
const BYTES: Field = Field::new("bytes", Shape::Number(0, i64::MAX))
    .given()
    .told();
const WIDTH: Field = Field::new("width", Shape::Number(0, 1_000_000)).given();
const HEIGHT: Field = Field::new("height", Shape::Number(0, 1_000_000)).given();
const LENGTH_MS: Field = Field::new("length_ms", Shape::Number(0, i64::MAX)).given();
const TAKEN: Field = Field::new("taken", Shape::Moment);

/// R21.
pub static IMAGES: Resource = Resource {
    name: "images",
    item: "image",
    manager: Manager::PersonalData,
    actions: DATA,
    memories: &[Memory::phone(20_000)],
    fields: &[TITLE, FILE_NAME, MEDIA_TYPE, BYTES, WIDTH, HEIGHT, TAKEN],
    forms: &[],
    content: Some(Content {
        media_types: &["image/jpeg", "image/png", "image/gif", "image/webp"],
        bytes_max: 64 * 1024 * 1024,
    }),
    complete: None,
    body_bytes_max: BODY_BYTES_MAX,
};

/// R22.
pub static SOUNDS: Resource = Resource {
    name: "sounds",
    item: "sound",
    manager: Manager::PersonalData,
    actions: DATA,
    memories: &[Memory::phone(20_000)],
    fields: &[TITLE, FILE_NAME, MEDIA_TYPE, BYTES, LENGTH_MS, TAKEN],
    forms: &[],
    content: Some(Content {
        media_types: &[
            "audio/mpeg",
            "audio/mp4",
            "audio/aac",
            "audio/ogg",
            "audio/wav",
            "audio/flac",
            "audio/amr",
        ],
        bytes_max: 256 * 1024 * 1024,
    }),
    complete: None,
    body_bytes_max: BODY_BYTES_MAX,
};

/// R23.
pub static VIDEOS: Resource = Resource {
    name: "videos",
    item: "video",
    manager: Manager::PersonalData,
    actions: DATA,
    memories: &[Memory::phone(5_000)],
    fields: &[
        TITLE, FILE_NAME, MEDIA_TYPE, BYTES, WIDTH, HEIGHT, LENGTH_MS, TAKEN,
    ],
    forms: &[],
    content: Some(Content {
        media_types: &["video/mp4", "video/3gpp", "video/webm", "video/quicktime"],
        bytes_max: 2 * 1024 * 1024 * 1024,
    }),
    complete: None,
    body_bytes_max: BODY_BYTES_MAX,
};
