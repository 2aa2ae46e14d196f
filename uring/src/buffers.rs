//! The ring's pool of transfer buffers: one allocation whose address never changes, lent out buffer by buffer.
//!
//! The kernel reads and writes through raw addresses while an operation is in flight, so no Rust reference to a
//! buffer exists except inside the two calls that copy in and look at what is there.

use std::alloc::{Layout, alloc_zeroed, dealloc, handle_alloc_error};
use std::ptr::NonNull;

/// `count` buffers of `bytes` each.
#[derive(Debug)]
pub(crate) struct Buffers {
    start: NonNull<u8>,
    layout: Layout,
    bytes: usize,
    free: Vec<u32>,
    count: u32,
}

impl Buffers {
    /// Panics if `count * bytes` is zero or does not fit an allocation.
    pub(crate) fn new(count: u32, bytes: usize) -> Self {
        let size = (count as usize)
            .checked_mul(bytes)
            .filter(|size| *size > 0)
            .expect("the pool has a size");
        // No stricter than malloc's own alignment: beyond it the allocator would write the zeroes itself, and so touch the
        // memory of buffers that may never be used.
        let layout = Layout::from_size_align(size, 16).expect("the pool fits an allocation");
        // SAFETY: the layout's size is not zero, as checked above.
        let start = unsafe { alloc_zeroed(layout) };
        let Some(start) = NonNull::new(start) else {
            handle_alloc_error(layout)
        };
        Self {
            start,
            layout,
            bytes,
            free: (0..count).rev().collect(),
            count,
        }
    }

    /// Size of one buffer.
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(crate) fn take(&mut self) -> Option<u32> {
        self.free.pop()
    }

    pub(crate) fn give_back(&mut self, buffer: u32) {
        assert!(
            buffer < self.count && self.free.len() < self.count as usize,
            "a buffer is given back once"
        );
        self.free.push(buffer);
    }

    pub(crate) fn any_free(&self) -> bool {
        !self.free.is_empty()
    }

    /// Where the kernel is to read or write.
    pub(crate) fn address(&self, buffer: u32) -> *mut u8 {
        assert!(buffer < self.count);
        // SAFETY: below `count`, so the offset stays inside the allocation.
        unsafe { self.start.as_ptr().add(buffer as usize * self.bytes) }
    }

    /// Copies in what is to be sent, as far as it fits; tells how much.
    pub(crate) fn fill(&mut self, buffer: u32, bytes: &[u8]) -> usize {
        let len = bytes.len().min(self.bytes);
        // SAFETY: the target is `self.bytes` long, the source a slice that cannot overlap a pool lent to nobody: the
        // caller has taken `buffer` and given it to no operation yet.
        unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), self.address(buffer), len) };
        len
    }

    /// Looks at the first `len` bytes of a buffer that no operation uses.
    pub(crate) fn look(&self, buffer: u32, len: u32) -> &[u8] {
        assert!(len as usize <= self.bytes);
        // SAFETY: inside the allocation, initialised (zeroed at first), and the lease that names the buffer says that
        // its receive has completed: the kernel writes to it no more until it is given back.
        unsafe { std::slice::from_raw_parts(self.address(buffer), len as usize) }
    }
}

impl Drop for Buffers {
    fn drop(&mut self) {
        // SAFETY: allocated in `new` with this very layout; the ring drops its pool only when nothing is in flight.
        unsafe { dealloc(self.start.as_ptr(), self.layout) };
    }
}
