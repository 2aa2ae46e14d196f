//! Buffers that the kernel takes one of at the moment when bytes are there: none is held by a socket that waits.

use std::alloc::{Layout, alloc_zeroed, handle_alloc_error};
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::IoUring;
use io_uring::types::BufRingEntry;

/// Buffers of a ring, a power of two, and their size: a line of the protocol is no longer.
const BUFFERS: u16 = 1024;
pub(crate) const BUFFER_BYTES: usize = 2048;
pub(crate) const BUFFER_GROUP: u16 = 0;

/// A ring of provided buffers (`IORING_REGISTER_PBUF_RING`), for the thread that made its io_uring.
pub(crate) struct Buffers {
    /// Shared with the kernel, never freed: the process ends with its rings.
    ring: NonNull<BufRingEntry>,
    bytes: NonNull<u8>,
    tail: u16,
}

impl Buffers {
    pub(crate) fn register(uring: &IoUring) -> io::Result<Self> {
        let ring = allocate(usize::from(BUFFERS) * size_of::<BufRingEntry>()).cast();
        let bytes = allocate(usize::from(BUFFERS) * BUFFER_BYTES);
        // SAFETY: the memory has room for so many entries, is aligned to a page and is never freed.
        unsafe {
            uring.submitter().register_buf_ring_with_flags(
                ring.as_ptr() as u64,
                BUFFERS,
                BUFFER_GROUP,
                0,
            )?;
        };
        let mut buffers = Self {
            ring,
            bytes,
            tail: 0,
        };
        (0..BUFFERS).for_each(|buffer| buffers.give_back(buffer));
        Ok(buffers)
    }

    /// One byte of what was received into a buffer that was not yet given back.
    pub(crate) fn byte(&self, buffer: u16, at: usize) -> u8 {
        assert!(buffer < BUFFERS && at < BUFFER_BYTES);
        // SAFETY: inside the memory, as was asserted; the kernel writes to a buffer only after it was given back.
        unsafe {
            *self
                .bytes
                .as_ptr()
                .add(usize::from(buffer) * BUFFER_BYTES + at)
        }
    }

    pub(crate) fn give_back(&mut self, buffer: u16) {
        assert!(buffer < BUFFERS);
        // SAFETY: the entry and the buffer lie inside the memory, as was asserted, and the kernel reads the entry only
        // after the tail has passed it; the tail is a 16-bit word inside the first entry, written by nobody else.
        unsafe {
            let entry = &mut *self.ring.as_ptr().add(usize::from(self.tail % BUFFERS));
            entry.set_addr(self.bytes.as_ptr().add(usize::from(buffer) * BUFFER_BYTES) as u64);
            entry.set_len(BUFFER_BYTES as u32);
            entry.set_bid(buffer);
            self.tail = self.tail.wrapping_add(1);
            let tail = BufRingEntry::tail(self.ring.as_ptr()).cast_mut();
            AtomicU16::from_ptr(tail).store(self.tail, Ordering::Release);
        }
    }
}

/// Zeroed memory that begins at a page.
fn allocate(bytes: usize) -> NonNull<u8> {
    let layout = Layout::from_size_align(bytes, 4096).expect("a page is a power of two");
    // SAFETY: the size is not 0.
    let memory = unsafe { alloc_zeroed(layout) };
    NonNull::new(memory).unwrap_or_else(|| handle_alloc_error(layout))
}
