//! How many arenas the C library's allocator may have. It has nothing to do with rings, but it takes an unsafe call.

/// Lets glibc's malloc have at most `count` arenas; elsewhere it does nothing. To be called before the first thread is
/// started: an arena that is there stays.
///
/// Without it there are up to eight a core, and each of fifty threads fills its own: a third of a gateway's memory at a
/// million sessions was holes in them.
pub fn limit_malloc_arenas(count: usize) {
    #[cfg(target_env = "gnu")]
    {
        let count = i32::try_from(count.max(1)).unwrap_or(i32::MAX);
        // SAFETY: no pointers are passed; the call only sets a number that malloc reads under its own lock. That it
        // could not be set costs memory, nothing else.
        unsafe { libc::mallopt(libc::M_ARENA_MAX, count) };
    }
    #[cfg(not(target_env = "gnu"))]
    let _ = count;
}
