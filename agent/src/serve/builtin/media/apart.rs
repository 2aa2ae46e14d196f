//! A process of its own for what is done with bytes that anybody may have made: decoding a picture for its thumbnail.
//!
//! Decoders take memory by the size of the picture, and an allocator keeps much of it afterwards: here all of it goes back
//! to the system with the process. A picture that was made to keep a decoder busy, or to break it, costs nothing but
//! itself either. The agent runs itself for it, as `agent thumbnail MEDIA-TYPE`: the picture goes in, the thumbnail comes out.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use image::ImageFormat;

use super::thumbnail::{SOURCE_BYTES_MAX, make};

/// How long a picture is worked at, at most.
const DECODE_TIMEOUT: Duration = Duration::from_secs(20);

/// Bytes of a thumbnail at most: it has 160 pixels on its longest side.
const THUMBNAIL_BYTES_MAX: u64 = 256 * 1024;

/// The program that runs, even if its file was replaced by a newer one meanwhile.
const ITSELF: &str = "/proc/self/exe";

/// The command by which the agent runs itself.
const COMMAND: &str = "thumbnail";

static APART: AtomicBool = AtomicBool::new(false);

/// Says that the program that runs is the agent: thumbnails are made apart from now on. Without this, as in a test, and
/// where a process can't be started, they are made in the process that wants them.
pub fn allow() {
    APART.store(true, Ordering::Relaxed);
}

/// The thumbnail of a picture; `None`: there can't be one. Blocks.
pub(super) fn thumbnail(media_type: &str, source: Vec<u8>) -> Option<Vec<u8>> {
    if APART.load(Ordering::Relaxed) && Path::new(ITSELF).exists() {
        match run(media_type, &source) {
            Ok(made) => return made,
            Err(error) => {
                tracing::warn!(%error, "no process can be started for a thumbnail; it is made here");
            }
        }
    }
    make(ImageFormat::from_mime_type(media_type)?, source)
}

/// Fails if there is no such process; what it was given may still be no picture.
fn run(media_type: &str, source: &[u8]) -> io::Result<Option<Vec<u8>>> {
    let mut child = Command::new(ITSELF)
        .args([COMMAND, media_type])
        .env_clear()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()?;
    // It reads all of it before it writes anything. One that has ended by itself reads no more: then there is nothing.
    let sent = child.stdin.take().map(|mut stdin| stdin.write_all(source));
    let mut made = Vec::new();
    let read = child
        .stdout
        .take()
        .map(|stdout| stdout.take(THUMBNAIL_BYTES_MAX).read_to_end(&mut made));
    let ended = child.wait()?;
    let whole = ended.success() && matches!((sent, read), (Some(Ok(())), Some(Ok(_))));
    Ok((whole && !made.is_empty()).then_some(made))
}

/// What that process does: reads a picture from its standard input, and writes the thumbnail to its standard output.
pub fn main(media_type: &str) -> ExitCode {
    let late = || {
        std::thread::sleep(DECODE_TIMEOUT);
        std::process::exit(1);
    };
    if std::thread::Builder::new().spawn(late).is_err() {
        return ExitCode::FAILURE;
    }
    let mut source = Vec::new();
    let read = io::stdin()
        .lock()
        .take(SOURCE_BYTES_MAX)
        .read_to_end(&mut source);
    let format = ImageFormat::from_mime_type(media_type);
    let made = read
        .ok()
        .and(format)
        .and_then(|format| make(format, source));
    match made.map(|made| io::stdout().lock().write_all(&made)) {
        Some(Ok(())) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}
