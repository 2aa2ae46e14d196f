//! What the simulated camera makes, held against programs that know nothing of it: Pillow and ffmpeg (R45, R46).

use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use everline_agent::device::simulated::{Simulated, SimulatedConfig};
use everline_agent::device::{Device, DeviceError};
use time::{Date, Month, OffsetDateTime, Time};

/// A handset of this seed whose clock starts at a known moment.
fn handset(seed: u64) -> std::sync::Arc<Simulated> {
    let date = Date::from_calendar_date(2026, Month::November, 23).unwrap();
    let starts_at = OffsetDateTime::new_utc(date, Time::from_hms(12, 34, 56).unwrap());
    Simulated::new(SimulatedConfig {
        seed,
        starts_at: Some(starts_at),
        ..SimulatedConfig::default()
    })
}

/// Runs somebody else's program; it is part of what the tests need.
fn run(program: &str, arguments: &[&str]) -> Output {
    Command::new(program)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| {
            panic!("{program} can't be run: {error}; ./test installs ffmpeg and python3-pil")
        })
}

fn text(output: &Output) -> String {
    let told = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{told}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What Pillow tells of a picture: format, size, mode, the dates in its EXIF, and how many colours it has.
const PILLOW: &str = "
import sys
from PIL import Image
picture = Image.open(sys.argv[1])
picture.load()
exif = picture.getexif()
colours = len(set(picture.resize((64, 48)).getdata()))
print(picture.format, *picture.size, picture.mode, exif[306], exif.get_ifd(34665)[36867], exif[271], colours > 100, sep='|')
";

#[tokio::test]
async fn r45_a_photograph_is_a_jpeg_that_pillow_reads() {
    let directory = tempfile::tempdir().unwrap();
    let handset = handset(1);
    let first = handset.photograph().await.unwrap();
    assert_eq!((first.media_type, first.length), ("image/jpeg", None));
    let path = directory.path().join("1.jpg");
    std::fs::write(&path, &first.bytes).unwrap();
    let told = text(&run(
        "/usr/bin/python3",
        &["-c", PILLOW, path.to_str().unwrap()],
    ));
    assert_eq!(
        told.trim(),
        "JPEG|640|480|RGB|2026:11:23 12:34:56|2026:11:23 12:34:56|Everline|True"
    );
    let second = handset.photograph().await.unwrap();
    assert_ne!(first.bytes, second.bytes, "each shot shows its number");
}

/// Whole pictures of the film, as decoded bytes of YUV 4:2:0.
fn decoded(path: &Path) -> Vec<u8> {
    let film = path.to_str().unwrap();
    let output = run(
        "ffmpeg",
        &[
            "-v", "error", "-i", film, "-f", "rawvideo", "-pix_fmt", "yuv420p", "-",
        ],
    );
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "",
        "ffmpeg finds nothing wrong"
    );
    assert!(output.status.success());
    output.stdout
}

#[tokio::test(start_paused = true)]
async fn r46_a_video_is_an_mp4_that_ffmpeg_plays() {
    let directory = tempfile::tempdir().unwrap();
    let handset = handset(1);
    handset.start_video(Duration::from_secs(60)).await.unwrap();
    let taken = handset.photograph().await;
    assert!(matches!(taken, Err(DeviceError::Busy(_))), "{taken:?}");
    let again = handset.start_video(Duration::from_secs(1)).await;
    assert!(matches!(again, Err(DeviceError::Busy(_))), "{again:?}");
    tokio::time::advance(Duration::from_secs(12)).await;
    let film = handset.stop_video().await.unwrap();
    assert_eq!(
        (film.media_type, film.length),
        ("video/mp4", Some(Duration::from_secs(12)))
    );
    assert_eq!(handset.stop_video().await, Err(DeviceError::NotRecording));

    let path = directory.path().join("1.mp4");
    std::fs::write(&path, &film.bytes).unwrap();
    let entries =
        "stream=codec_name,profile,width,height,nb_read_frames,avg_frame_rate:format=duration";
    let probe = run(
        "ffprobe",
        &[
            "-v",
            "error",
            "-count_frames",
            "-show_entries",
            entries,
            "-of",
            "compact=nk=1:p=0",
            path.to_str().unwrap(),
        ],
    );
    let told = text(&probe);
    assert_eq!(
        String::from_utf8_lossy(&probe.stderr),
        "",
        "ffprobe finds nothing wrong"
    );
    let told: Vec<_> = told.lines().collect();
    assert_eq!(
        told,
        ["h264|Constrained Baseline|176|144|5/1|60", "12.000000"]
    );

    let frames = decoded(&path);
    let size = 176 * 144 * 3 / 2;
    assert_eq!(frames.len(), 60 * size);
    let pictures: Vec<_> = frames.chunks(size).collect();
    assert!(
        pictures.windows(2).all(|pair| pair[0] != pair[1]),
        "something moves all the time"
    );
    let corners = pictures.iter().map(|picture| picture[175]);
    let corners: std::collections::BTreeSet<_> = corners.collect();
    assert_eq!(
        corners.len(),
        1,
        "what does not move stays exactly as it was drawn"
    );
}

#[tokio::test(start_paused = true)]
async fn r46_a_video_ends_by_itself_and_waits_to_be_fetched() {
    let handset = handset(1);
    handset.start_video(Duration::from_secs(3)).await.unwrap();
    tokio::time::advance(Duration::from_secs(100)).await;
    assert!(
        handset.photograph().await.is_ok(),
        "the camera is free again"
    );
    let film = handset.stop_video().await.unwrap();
    assert_eq!(film.length, Some(Duration::from_secs(3)));
    let most = handset.capabilities().video_s_max;
    handset.start_video(Duration::MAX).await.unwrap();
    tokio::time::advance(Duration::from_secs(1_000)).await;
    let film = handset.stop_video().await.unwrap();
    assert_eq!(film.length, Some(Duration::from_secs(most)));
    assert!(film.bytes.len() < 16 * 1024 * 1024, "{}", film.bytes.len());
}

#[tokio::test(start_paused = true)]
async fn r45_r46_the_same_seed_makes_the_same_files() {
    let mut made = Vec::new();
    for seed in [1, 1, 2] {
        let handset = handset(seed);
        let photograph = handset.photograph().await.unwrap();
        handset.start_video(Duration::from_secs(1)).await.unwrap();
        tokio::time::advance(Duration::from_secs(1)).await;
        made.push((photograph, handset.stop_video().await.unwrap()));
    }
    assert_eq!(made[0], made[1]);
    assert_ne!(made[0], made[2]);
}
