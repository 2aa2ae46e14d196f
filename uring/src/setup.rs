//! Making a ring: what the kernel must offer, and what to say to the operator when it does not.

use std::io;

use io_uring::{IoUring, Probe, opcode};

/// Why there is no ring, and how to get one.
#[derive(Debug, thiserror::Error)]
pub enum RingError {
    /// `io_uring_setup` does not exist here.
    #[error(
        "this kernel offers no io_uring (ENOSYS): Everline needs Linux 6.1 or newer, built with CONFIG_IO_URING; \
         in a container the runtime's seccomp profile may hide it: allow io_uring_setup, io_uring_enter and io_uring_register there"
    )]
    Missing,
    /// `io_uring_setup` is forbidden.
    #[error("io_uring is forbidden here: {why}")]
    Forbidden {
        /// What forbids it, and how to allow it.
        why: String,
    },
    /// The kernel is too old for an operation.
    #[error("this kernel's io_uring lacks {operation}: it came with Linux {since}")]
    Operation {
        /// As the kernel calls it.
        operation: &'static str,
        /// The release that brought it.
        since: &'static str,
    },
    /// The table of sockets is larger than the process may have descriptors.
    #[error(
        "a table of {slots} sockets does not fit: this process may have {limit} descriptors (RLIMIT_NOFILE), and a table may be no larger; \
         ask for smaller tables in more rings, or raise the limit (LimitNOFILE= in systemd, --ulimit nofile= in a container)"
    )]
    TableTooLarge {
        /// As asked for.
        slots: u32,
        /// What is allowed.
        limit: u32,
    },
    /// Locked memory ran out: only kernels that count rings against RLIMIT_MEMLOCK.
    #[error(
        "no memory for a ring (ENOMEM): raise RLIMIT_MEMLOCK (LimitMEMLOCK= in systemd), or free memory"
    )]
    NoMemory,
    /// Something else.
    #[error("{call}: {error}")]
    Os {
        /// What was tried.
        call: &'static str,
        /// What the kernel said.
        error: io::Error,
    },
}

/// The most slots that one ring's table may have: the process's descriptor limit, raised to its hard value first.
/// Sockets in a table do not count against that limit, but no table may be larger.
pub fn table_slots_max() -> io::Result<u32> {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: `limit` outlives the call, which writes only to it.
    if unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) } != 0 {
        return Err(io::Error::last_os_error());
    }
    if limit.rlim_cur < limit.rlim_max {
        let raised = libc::rlimit {
            rlim_cur: limit.rlim_max,
            rlim_max: limit.rlim_max,
        };
        // SAFETY: `raised` outlives the call, which only reads it.
        if unsafe { libc::setrlimit(libc::RLIMIT_NOFILE, &raised) } == 0 {
            limit = raised;
        }
    }
    // The kernel's own bound on a table (IORING_MAX_FIXED_FILES).
    Ok(u32::try_from(limit.rlim_cur)
        .unwrap_or(u32::MAX)
        .min(1 << 20))
}

/// A ring with an empty table of `slots`, for the thread that calls.
pub(crate) fn build(entries: u32, slots: u32) -> Result<IoUring, RingError> {
    let completions = entries.saturating_mul(4).clamp(64, 32_768);
    let mut builder = IoUring::builder();
    builder
        .setup_cqsize(completions)
        .setup_clamp()
        .setup_single_issuer()
        .setup_defer_taskrun();
    let ring = match builder.build(entries) {
        // Kernels before 6.1 do not know the last two flags, which only save time.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => IoUring::builder()
            .setup_cqsize(completions)
            .setup_clamp()
            .build(entries)
            .map_err(refused)?,
        other => other.map_err(refused)?,
    };
    probe(&ring)?;
    ring.submitter()
        .register_files_sparse(slots)
        .map_err(|error| match error.raw_os_error() {
            Some(libc::EMFILE) => RingError::TableTooLarge {
                slots,
                limit: table_slots_max().unwrap_or(0),
            },
            Some(libc::ENOMEM) => RingError::NoMemory,
            _ => RingError::Os {
                call: "register a table of sockets",
                error,
            },
        })?;
    Ok(ring)
}

/// Whether this kernel can bind a socket in a ring's table (Linux 6.11), which only dialling from a given address needs.
pub(crate) fn can_bind(ring: &IoUring) -> bool {
    let mut probe = Probe::new();
    ring.submitter().register_probe(&mut probe).is_ok() && probe.is_supported(opcode::Bind::CODE)
}

fn probe(ring: &IoUring) -> Result<(), RingError> {
    let mut probe = Probe::new();
    ring.submitter()
        .register_probe(&mut probe)
        .map_err(|error| RingError::Os {
            call: "probe the ring",
            error,
        })?;
    let needed = [
        (opcode::Accept::CODE, "IORING_OP_ACCEPT", "5.5"),
        (opcode::AsyncCancel::CODE, "IORING_OP_ASYNC_CANCEL", "5.5"),
        (opcode::Connect::CODE, "IORING_OP_CONNECT", "5.5"),
        (opcode::Send::CODE, "IORING_OP_SEND", "5.6"),
        (opcode::Recv::CODE, "IORING_OP_RECV", "5.6"),
        (opcode::Close::CODE, "IORING_OP_CLOSE", "5.6"),
        (opcode::Socket::CODE, "IORING_OP_SOCKET", "5.19"),
    ];
    match needed
        .into_iter()
        .find(|(code, ..)| !probe.is_supported(*code))
    {
        Some((_, operation, since)) => Err(RingError::Operation { operation, since }),
        None => Ok(()),
    }
}

fn refused(error: io::Error) -> RingError {
    match error.raw_os_error() {
        Some(libc::ENOSYS) => RingError::Missing,
        Some(libc::EPERM | libc::EACCES) => {
            let sysctl =
                std::fs::read_to_string("/proc/sys/kernel/io_uring_disabled").unwrap_or_default();
            RingError::Forbidden {
                why: forbidden(sysctl.trim()),
            }
        }
        Some(libc::ENOMEM) => RingError::NoMemory,
        _ => RingError::Os {
            call: "io_uring_setup",
            error,
        },
    }
}

fn forbidden(sysctl: &str) -> String {
    match sysctl {
        "2" => "the sysctl kernel.io_uring_disabled is 2 (nobody may); allow it with `sysctl kernel.io_uring_disabled=0`".into(),
        "1" => "the sysctl kernel.io_uring_disabled is 1 (only the group kernel.io_uring_group or CAP_SYS_ADMIN may); \
                allow it with `sysctl kernel.io_uring_disabled=0`, or add this user to that group"
            .into(),
        _ => "the kernel allows it, so a seccomp filter does not, as container runtimes install one; allow io_uring_setup, \
              io_uring_enter and io_uring_register in its profile (--security-opt seccomp=PROFILE)"
            .into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_forbids_io_uring_is_named_with_the_remedy() {
        for (sysctl, named) in [
            ("2", "io_uring_disabled is 2"),
            ("1", "io_uring_group"),
            ("0", "seccomp"),
            ("", "seccomp"),
        ] {
            assert!(
                forbidden(sysctl).contains(named),
                "{sysctl}: {}",
                forbidden(sysctl)
            );
        }
        let denied = refused(io::Error::from_raw_os_error(libc::EPERM));
        assert!(matches!(denied, RingError::Forbidden { .. }), "{denied}");
        assert!(matches!(
            refused(io::Error::from_raw_os_error(libc::ENOSYS)),
            RingError::Missing
        ));
    }

    #[test]
    fn a_table_larger_than_the_descriptor_limit_says_so() {
        let limit = table_slots_max().expect("the limit can be read");
        let error = build(8, limit + 1).err();
        assert!(
            matches!(error, Some(RingError::TableTooLarge { .. })) || limit == 1 << 20,
            "{error:?}"
        );
    }
}
