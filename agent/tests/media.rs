//! Images, sounds and videos through the gateway, of any length and in any part: R21, R22, R23.

mod support;

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};
use serde_json::json;
use support::{Agent, Answer, Channel, Gateway, Signaling, soon, until};
use tokio::io::AsyncReadExt;

const OPEN: &str =
    "authentication = \"none\"\n[consent]\nenabled = false\n[builtin]\ndatabase = \"handset.db\"\n";

struct Handset {
    gateway: Gateway,
    agent: Agent,
    signaling: Signaling,
}

impl Handset {
    async fn start(config: &str) -> Self {
        let gateway = Gateway::start().await;
        let agent = Agent::start(&[&gateway], &format!("{OPEN}{config}"));
        let signaling = gateway.registered().await;
        Self {
            gateway,
            agent,
            signaling,
        }
    }

    /// A channel on which the head of a request went out.
    async fn begin(&mut self, start: &str, headers: &str) -> Channel {
        self.signaling.signal().await;
        let (mut channel, _) = self.gateway.channel().await;
        let head = format!("{start} HTTP/1.1\r\nHost: h\r\n{headers}\r\n");
        channel.send(head.as_bytes()).await;
        channel
    }

    async fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let headers = format!("Content-Length: {}\r\n{headers}", body.len());
        let mut channel = self.begin(&format!("POST {path}"), &headers).await;
        channel.send(body).await;
        channel.answer().await
    }

    async fn added(&mut self, path: &str, headers: &str, body: &[u8]) -> String {
        let added = self.post(path, headers, body).await;
        assert_eq!(added.status, 201, "{}", added.body);
        added.header("location").to_owned()
    }

    async fn get(&mut self, path: &str, headers: &str) -> Answer {
        let mut channel = self.begin(&format!("GET {path}"), headers).await;
        channel.answer().await
    }

    async fn head(&mut self, path: &str, headers: &str) -> Answer {
        let mut channel = self.begin(&format!("HEAD {path}"), headers).await;
        let head = channel.head().await;
        assert!(channel.is_closed().await, "a HEAD has no body");
        head
    }

    async fn delete(&mut self, path: &str) -> u16 {
        let mut channel = self.begin(&format!("DELETE {path}"), "").await;
        channel.answer().await.status
    }
}

fn slug(answer: &Answer) -> String {
    let slug = answer.json()["type"].as_str().unwrap().to_owned();
    slug.trim_start_matches("urn:everline:agent:").to_owned()
}

fn detail(answer: &Answer) -> String {
    answer.json()["detail"].as_str().unwrap().to_owned()
}

fn jpeg(width: u32, height: u32) -> Vec<u8> {
    let picture = RgbImage::from_fn(width, height, |x, y| {
        Rgb([
            u8::try_from(x % 256).unwrap(),
            u8::try_from(y % 256).unwrap(),
            90,
        ])
    });
    let mut bytes = Cursor::new(Vec::new());
    let picture = DynamicImage::ImageRgb8(picture);
    picture.write_to(&mut bytes, ImageFormat::Jpeg).unwrap();
    bytes.into_inner()
}

const JPEG: &str = "Content-Type: image/jpeg\r\n";

#[tokio::test]
async fn r21_a_picture_comes_goes_and_is_described() {
    let mut handset = Handset::start("").await;
    let picture = jpeg(640, 480);
    let headers = "Content-Type: image/jpg\r\nContent-Disposition: attachment; filename*=UTF-8''Caf%C3%A9.jpg\r\nSlug: The%20caf%C3%A9\r\n";
    let added = handset.post("/images", headers, &picture).await;
    assert_eq!(added.status, 201, "{}", added.body);
    let told = json!({
        "id": "1", "store": "phone", "title": "The café", "file_name": "Café.jpg",
        "media_type": "image/jpeg", "bytes": picture.len(), "width": 640, "height": 480,
    });
    assert_eq!(added.json(), told);
    assert_eq!(added.header("location"), "/images/1");

    // The bytes for whoever wants a picture, the description for everybody else.
    for accept in [
        "image/*",
        "image/jpeg",
        "image/avif,image/webp,image/*;q=0.8",
        "image/jpeg, application/json;q=0.9",
    ] {
        let answer = handset
            .get("/images/1", &format!("Accept: {accept}\r\n"))
            .await;
        assert_eq!(
            (answer.status, answer.header("content-type")),
            (200, "image/jpeg"),
            "{accept}"
        );
        assert!(answer.bytes == picture, "{accept}");
        assert_eq!(answer.header("vary"), "Accept");
    }
    for accept in ["*/*", "application/json", "text/html, */*;q=0.8"] {
        let answer = handset
            .get("/images/1", &format!("Accept: {accept}\r\n"))
            .await;
        assert_eq!(answer.json(), told, "{accept}");
    }
    let xml = handset
        .get("/images/1", "Accept: application/xml\r\n")
        .await;
    assert!(xml.body.contains("<width>640</width>"), "{}", xml.body);
    let refused = handset.get("/images/1", "Accept: image/png\r\n").await;
    assert_eq!(slug(&refused), "not-acceptable");
    assert!(detail(&refused).contains("image/jpeg"), "{}", refused.body);

    let content = handset
        .get("/images/1/content", "Accept: text/plain\r\n")
        .await;
    assert_eq!(content.status, 200);
    assert!(content.bytes == picture);
    let headers = [
        ("content-type", "image/jpeg"),
        ("accept-ranges", "bytes"),
        ("cache-control", "no-store"),
        ("x-content-type-options", "nosniff"),
        (
            "content-disposition",
            "inline; filename=\"Caf_.jpg\"; filename*=UTF-8''Caf%C3%A9.jpg",
        ),
    ];
    for (name, value) in headers {
        assert_eq!(content.header(name), value);
    }
    assert!(
        content
            .header("content-security-policy")
            .starts_with("sandbox;")
    );
    let allow = handset
        .begin("OPTIONS /images/1/content", "")
        .await
        .answer()
        .await;
    assert_eq!(
        (allow.status, allow.header("allow")),
        (204, "GET, HEAD, OPTIONS")
    );

    assert_eq!(handset.delete("/images/1").await, 204);
    for gone in [
        "/images/1",
        "/images/1/content",
        "/images/1/thumbnail",
        "/images/x/content",
        "/images/01/content",
    ] {
        assert_eq!(slug(&handset.get(gone, "").await), "not-found", "{gone}");
    }
    // Contacts have no files.
    assert_eq!(handset.get("/contacts/1/content", "").await.status, 404);
}

#[tokio::test]
async fn r21_r23_any_part_of_a_file_is_given() {
    let mut handset = Handset::start("").await;
    // Longer than what is kept in one piece.
    let mut film = b"\0\0\0\x18ftypisom\0\0\0\0isomiso2".to_vec();
    film.extend((0..700_000_u32).map(|at| u8::try_from(at % 251).unwrap()));
    let url = handset
        .added("/videos", "Content-Type: video/mp4\r\n", &film)
        .await;
    let (last, count) = (film.len() - 1, film.len());
    let content = format!("{url}/content");
    let whole = handset.head(&content, "Range: bytes=0-0\r\n").await;
    assert_eq!(
        (whole.status, whole.header("content-length")),
        (200, &*count.to_string())
    );
    let etag = whole.header("etag").to_owned();
    assert!(etag.starts_with('"'), "a strong one: {etag}");

    let parts = [
        ("bytes=0-0".to_owned(), 0..1),
        ("bytes=262143-262144".to_owned(), 262_143..262_145),
        ("bytes=100-".to_owned(), 100..count),
        ("bytes=-262145".to_owned(), count - 262_145..count),
        (format!("bytes={last}-999999999"), last..count),
    ];
    for (range, part) in parts {
        let answer = handset.get(&content, &format!("Range: {range}\r\n")).await;
        assert_eq!(answer.status, 206, "{range}");
        assert!(answer.bytes == film[part.clone()], "{range}");
        let told = format!("bytes {}-{}/{count}", part.start, part.end - 1);
        assert_eq!(answer.header("content-range"), told);
        assert_eq!(answer.header("etag"), etag);
    }
    let beyond = handset
        .get(&content, &format!("Range: bytes={count}-\r\n"))
        .await;
    assert_eq!(
        (beyond.status, beyond.header("content-range")),
        (416, &*format!("bytes */{count}"))
    );
    assert_eq!(slug(&beyond), "range-not-satisfiable");
    let several = handset.get(&content, "Range: bytes=0-0,5-6\r\n").await;
    assert_eq!((several.status, several.bytes.len()), (200, count));

    let known = handset
        .get(&content, &format!("If-None-Match: {etag}\r\n"))
        .await;
    assert_eq!(
        (known.status, known.bytes.len(), known.header("etag")),
        (304, 0, &*etag)
    );
    let resumed = format!("Range: bytes=9-\r\nIf-Range: {etag}\r\n");
    assert_eq!(handset.get(&content, &resumed).await.status, 206);
    let another = handset
        .get(&content, "Range: bytes=9-\r\nIf-Range: \"x\"\r\n")
        .await;
    assert_eq!((another.status, another.bytes.len()), (200, count));
    // The same from the item itself, for a caller that prefers the bytes.
    let part = handset
        .get(&url, "Accept: video/*\r\nRange: bytes=4-11\r\n")
        .await;
    assert_eq!((part.status, &part.bytes[..]), (206, &b"ftypisom"[..]));
    // The tag of the bytes is a tag of the item.
    let mut stale = handset
        .begin(&format!("DELETE {url}"), "If-Match: \"x\"\r\n")
        .await;
    assert_eq!(stale.answer().await.status, 412);
    let mut fresh = handset
        .begin(&format!("DELETE {url}"), &format!("If-Match: {etag}\r\n"))
        .await;
    assert_eq!(fresh.answer().await.status, 204);
}

#[tokio::test]
async fn r21_thumbnails_are_small_pictures() {
    let mut handset = Handset::start("").await;
    let url = handset.added("/images", JPEG, &jpeg(1000, 500)).await;
    let small = handset.get(&format!("{url}/thumbnail"), "").await;
    assert_eq!(
        (small.status, small.header("content-type")),
        (200, "image/jpeg")
    );
    let picture = image::load_from_memory(&small.bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), (160, 80));
    let again = handset.get(&format!("{url}/thumbnail"), "").await;
    assert!(again.bytes == small.bytes, "it was kept");
    let etag = format!("If-None-Match: {}\r\n", small.header("etag"));
    assert_eq!(
        handset.get(&format!("{url}/thumbnail"), &etag).await.status,
        304
    );
    assert_eq!(
        handset.get(&format!("{url}/content"), &etag).await.status,
        200
    );

    // A file that says that it has more pixels than memory should hold, and one that is broken.
    let mut bomb = jpeg(8, 8);
    let frame = bomb.windows(2).position(|w| w == b"\xff\xc0").unwrap();
    bomb[frame + 5..frame + 9].copy_from_slice(&[0xff; 4]);
    for odd in [bomb, b"\xff\xd8\xff\xe0 and nothing more".to_vec()] {
        let url = handset.added("/images", JPEG, &odd).await;
        for _ in 0..2 {
            let none = handset.get(&format!("{url}/thumbnail"), "").await;
            assert_eq!((none.status, &*slug(&none)), (404, "no-thumbnail"));
        }
    }
    let sound = b"ID3\x04\0\0\0\0\0\0";
    let url = handset
        .added("/sounds", "Content-Type: audio/mp3\r\n", sound)
        .await;
    let none = handset.get(&format!("{url}/thumbnail"), "").await;
    assert_eq!(slug(&none), "no-thumbnail");
}

#[tokio::test]
async fn r21_a_large_picture_takes_none_of_the_agents_own_memory() {
    let mut handset = Handset::start("").await;
    let mut file = Cursor::new(Vec::new());
    let large = DynamicImage::new_rgb8(4_000, 3_000);
    large.write_to(&mut file, ImageFormat::Png).unwrap();
    let url = handset
        .added("/images", "Content-Type: image/png\r\n", &file.into_inner())
        .await;
    let before = handset.agent.memory_peak_kib();
    let small = handset.get(&format!("{url}/thumbnail"), "").await;
    let picture = image::load_from_memory(&small.bytes).unwrap();
    assert_eq!((picture.width(), picture.height()), (160, 120));
    let more = handset.agent.memory_peak_kib() - before;
    assert!(more < 16 * 1024, "it held {more} KiB more");
}

#[tokio::test]
async fn r22_a_sound_tells_how_long_it_is() {
    let mut handset = Handset::start("").await;
    let mut wav = b"RIFF\xa4\x3e\0\0WAVEfmt \x10\0\0\0\x01\0\x01\0\x40\x1f\0\0\x80\x3e\0\0\x02\0\x10\0data\x80\x3e\0\0".to_vec();
    wav.resize(44 + 16_000, 0);
    let added = handset
        .post(
            "/sounds",
            "Content-Type: audio/x-wav\r\nSlug: beep.wav\r\n",
            &wav,
        )
        .await;
    assert_eq!(
        added.json(),
        json!({"id": "1", "store": "phone", "title": "beep.wav", "file_name": "beep.wav",
            "media_type": "audio/wav", "bytes": 16_044, "length_ms": 1000})
    );
    let sound = handset.get("/sounds/1", "Accept: audio/*\r\n").await;
    assert!(sound.bytes == wav);
    let list = handset.get("/sounds", "").await.json();
    assert_eq!(list["sounds"][0]["length_ms"], 1000);
}

/// Where, with which headers and body; status, slug, and what the detail says.
type Refused<'a> = (&'a str, &'a str, &'a [u8], u16, &'a str, &'a str);

#[tokio::test]
async fn r17_r21_what_is_no_picture_is_refused_and_leaves_nothing() {
    let mut handset = Handset::start("").await;
    let picture = jpeg(16, 16);
    let cases: [Refused<'_>; 6] = [
        (
            "/images",
            JPEG,
            b"\x89PNG\r\n\x1a\n",
            400,
            "bad-item",
            "They look like image/png",
        ),
        (
            "/images",
            JPEG,
            b"<html>",
            400,
            "bad-item",
            "not image/jpeg",
        ),
        ("/images", JPEG, b"", 400, "bad-item", "There are none"),
        (
            "/sounds",
            "Content-Type: audio/mpeg\r\n",
            &picture,
            400,
            "bad-item",
            "They look like image/jpeg",
        ),
        (
            "/sounds",
            JPEG,
            &picture,
            415,
            "unsupported-media-type",
            "audio/mpeg",
        ),
        (
            "/images",
            "Content-Type: application/json\r\n",
            b"{}",
            415,
            "unsupported-media-type",
            "image/jpeg",
        ),
    ];
    for (path, headers, body, status, kind, says) in cases {
        let refused = handset.post(path, headers, body).await;
        assert_eq!(
            (refused.status, &*slug(&refused)),
            (status, kind),
            "{headers}{body:?}"
        );
        assert!(detail(&refused).contains(says), "{}", refused.body);
    }
    // One that is said to be too long is refused before it is sent; one that says nothing, once it is.
    let long = format!("{JPEG}Content-Length: {}\r\n", 64 * 1024 * 1024 + 1);
    let refused = handset.begin("POST /images", &long).await.answer().await;
    assert_eq!((refused.status, &*slug(&refused)), (413, "too-large"));
    // One that is cut off.
    let headers = format!("{JPEG}Content-Length: 999999\r\n");
    let mut channel = handset.begin("POST /images", &headers).await;
    channel.send(&picture).await;
    drop(channel);
    for path in ["/images", "/sounds"] {
        let list = handset.get(path, "").await.json();
        assert_eq!(list[&path[1..]], json!([]));
    }
}

#[tokio::test]
async fn r17_r23_the_room_for_files_is_bounded_and_is_given_back() {
    let mut handset = Handset::start("content_bytes_max = 2000000\n").await;
    let mut film = b"\x1a\x45\xdf\xa3".to_vec();
    film.resize(1_500_000, 7);
    let webm = "Content-Type: video/webm\r\n";
    let url = handset.added("/videos", webm, &film).await;
    let full = handset.post("/videos", webm, &film).await;
    assert_eq!(
        (full.status, &*slug(&full)),
        (507, "store-full"),
        "{}",
        full.body
    );
    assert_eq!(
        handset.get("/videos", "").await.json()["videos"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    assert_eq!(handset.delete(&url).await, 204);
    // An agent that is killed in the middle keeps nothing of what came.
    let headers = format!("{webm}Content-Length: 1900000\r\n");
    let mut channel = handset.begin("POST /videos", &headers).await;
    channel.send(&film).await;
    handset.agent.kill();
    handset.agent.run();
    handset.signaling = handset.gateway.registered().await;
    // What was deleted is cleared away while nobody asks, which takes a moment.
    soon("there is room again", async {
        loop {
            let added = handset.post("/videos", webm, &film).await;
            match added.status {
                201 => break,
                status => assert_eq!(status, 507, "{}", added.body),
            }
        }
    })
    .await;
    assert_eq!(
        handset.get("/videos", "").await.json()["videos"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

#[tokio::test]
async fn r21_a_picture_that_is_sent_twice_with_one_key_is_there_once() {
    let mut handset = Handset::start("").await;
    let headers = format!("{JPEG}Idempotency-Key: \"k\"\r\n");
    let (picture, other) = (jpeg(16, 16), jpeg(17, 17));
    let first = handset.added("/images", &headers, &picture).await;
    let second = handset.added("/images", &headers, &picture).await;
    assert_eq!(first, second);
    let reused = handset.post("/images", &headers, &other).await;
    assert_eq!(slug(&reused), "key-reused");
    assert_eq!(
        handset.get("/images", "").await.json()["images"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
}

/// What stands at each place of the long film.
fn filling(at: u64) -> u8 {
    let mixed = at.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    u8::try_from(mixed >> 56).unwrap()
}

#[tokio::test]
async fn r23_a_long_film_is_never_in_memory() {
    const BYTES: u64 = 64 * 1024 * 1024;
    const MEMORY_KIB: u64 = 24 * 1024;
    let mut handset = Handset::start("").await;
    handset.added("/images", JPEG, &jpeg(16, 16)).await;
    let before = handset.agent.memory_peak_kib();

    let headers = format!("Content-Type: video/webm\r\nContent-Length: {BYTES}\r\n");
    let mut channel = handset.begin("POST /videos", &headers).await;
    let piece = 256 * 1024;
    let mut sent = 0;
    while sent < BYTES {
        let mut bytes: Vec<u8> = (sent..sent + piece).map(filling).collect();
        if sent == 0 {
            bytes[..4].copy_from_slice(b"\x1a\x45\xdf\xa3");
        }
        soon("a piece is taken", channel.send(&bytes)).await;
        sent += piece;
    }
    let added = channel.answer().await;
    assert_eq!(added.status, 201, "{}", added.body);
    assert_eq!(added.json()["bytes"], BYTES);

    let mut channel = handset.begin("GET /videos/1/content", "").await;
    let head = channel.head().await;
    assert_eq!(head.header("content-length"), BYTES.to_string());
    let (mut came, mut bytes) = (0, vec![0; 256 * 1024]);
    while came < BYTES {
        soon("a piece comes", channel.stream.read_exact(&mut bytes))
            .await
            .unwrap();
        let mut expected: Vec<u8> = (came..came + piece).map(filling).collect();
        if came == 0 {
            expected[..4].copy_from_slice(b"\x1a\x45\xdf\xa3");
        }
        assert!(bytes == expected, "at {came}");
        came += piece;
    }
    assert!(channel.is_closed().await);
    let grown = handset.agent.memory_peak_kib() - before;
    assert!(grown < MEMORY_KIB, "memory grew by {grown} KiB");

    // One who reads it while it is deleted notices that it is cut off.
    let mut channel = handset.begin("GET /videos/1/content", "").await;
    assert_eq!(channel.head().await.status, 200);
    // Once it is deleted, the disk gets back what it took.
    let file = handset.agent.path("handset.db");
    let bytes = || std::fs::metadata(&file).unwrap().len();
    assert!(bytes() > BYTES / 4 * 3);
    assert_eq!(handset.delete("/videos/1").await, 204);
    until("the file shrinks", || bytes() < BYTES / 2).await;
    let mut rest = Vec::new();
    // A reset is an end, too.
    let _ = soon("the rest", channel.stream.read_to_end(&mut rest)).await;
    assert!((rest.len() as u64) < BYTES, "{} bytes came", rest.len());
}
