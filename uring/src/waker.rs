//! Ends a ring's wait from another thread: an eventfd that the ring always reads.

use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, RawFd};
use std::sync::Arc;

use crate::Wake;

/// Wakes a [`crate::Ring`]; clones wake the same one. Costs one descriptor a ring.
#[derive(Debug, Clone)]
pub struct Waker(Arc<File>);

impl Waker {
    pub(crate) fn new() -> io::Result<Self> {
        // SAFETY: no pointers are passed; the result is checked below.
        let fd = unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: `fd` is a new descriptor that nothing else owns.
        Ok(Self(Arc::new(unsafe { File::from_raw_fd(fd) })))
    }

    pub(crate) fn fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

impl Wake for Waker {
    fn wake(&self) {
        // A write to an eventfd fails only when its count is about to overflow, and then the wake is already due.
        let _ = (&*self.0).write(&1u64.to_ne_bytes());
    }
}
