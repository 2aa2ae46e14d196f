//! The simulated camera: it draws what it sees, and makes of it files that any program can show.

mod digits;
mod exif;
mod h264;
mod mp4;
mod photograph;
mod video;

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::Instant;

use super::State;
use crate::device::{DeviceError, Recorded};

pub(super) use photograph::photograph;
pub(super) use video::video;

/// What it is told to make: everything that the file depends on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shot {
    /// Where its luck comes from.
    pub(super) seed: u64,
    /// Which one it is, from 1; it can be read on the picture.
    pub(super) number: u64,
    /// When.
    pub(super) at: OffsetDateTime,
}

/// A camera, and the film that it records.
#[derive(Debug, Default)]
pub(super) struct Camera {
    shots: u64,
    film: Option<Film>,
}

#[derive(Debug)]
struct Film {
    shot: Shot,
    since: Instant,
    length: Duration,
}

/// Films at most: what a recorded one takes of memory stays bounded with it.
pub(super) const VIDEO_MAX: Duration = Duration::from_secs(120);

impl State {
    /// Presses the button.
    pub(super) fn shoot(&mut self, now: Instant) -> Result<Shot, DeviceError> {
        if self.records(now) {
            return Err(DeviceError::Busy("the camera records a video".to_owned()));
        }
        Ok(self.shot(now))
    }

    /// Begins to record.
    pub(super) fn start_film(&mut self, length: Duration, now: Instant) -> Result<(), DeviceError> {
        if self.camera.film.is_some() {
            let what = "it records a video, or has one that nobody took";
            return Err(DeviceError::Busy(what.to_owned()));
        }
        let shot = self.shot(now);
        self.camera.film = Some(Film {
            shot,
            since: now,
            length: length.min(VIDEO_MAX),
        });
        Ok(())
    }

    /// Ends the recording: what was begun, and how long it is.
    pub(super) fn end_film(&mut self, now: Instant) -> Result<(Shot, Duration), DeviceError> {
        let film = self.camera.film.take().ok_or(DeviceError::NotRecording)?;
        let recorded = now.saturating_duration_since(film.since);
        Ok((film.shot, recorded.min(film.length)))
    }

    fn records(&self, now: Instant) -> bool {
        let film = self.camera.film.as_ref();
        film.is_some_and(|film| now.saturating_duration_since(film.since) < film.length)
    }

    fn shot(&mut self, now: Instant) -> Shot {
        self.camera.shots += 1;
        Shot {
            seed: self.config.seed,
            number: self.camera.shots,
            at: self.wall(now),
        }
    }
}

/// Makes a file beside the runtime's thread, which has others to serve meanwhile.
pub(super) async fn develop(
    make: impl FnOnce() -> Result<Recorded, DeviceError> + Send + 'static,
) -> Result<Recorded, DeviceError> {
    let made = tokio::task::spawn_blocking(make).await;
    made.unwrap_or_else(|error| Err(DeviceError::Failed(format!("its camera: {error}"))))
}
