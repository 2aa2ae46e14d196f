"""What the kernel tells of processes and of itself: CPU, memory, slab caches, sockets. Nothing here changes anything."""

import os
import pathlib
import platform

TICKS_PER_S = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")
GIB = 1 << 30
# One session is a socket at each end, and whatever hangs on it; a cache that grew by less than this share of the
# sessions belongs to something else.
SHARE_OF_SESSIONS = 0.05
# Caches of file systems, and of what their pages hang on: a build beside a measurement fills them. And connections that
# nobody has any more, of an earlier run.
OTHERS = ("tw_sock", "request_sock", "btrfs", "ext4", "xfs", "fuse", "overlay", "erofs", "jbd2", "inode_cache", "shmem", "radix_tree", "xarray", "extent",
         "buffer_head", "proc_inode", "vm_area", "maple", "anon_vma")


def status(pid, key):
    """A line of /proc/PID/status in bytes: VmRSS, VmHWM."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def rss(pid):
    return status(pid, "VmRSS")


def cpu_s(pid):
    """CPU that a process has used, user and system."""
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / TICKS_PER_S


def threads(pid):
    """The names of a process's threads."""
    return [(task / "comm").read_text().strip() for task in pathlib.Path(f"/proc/{pid}/task").iterdir()]


def meminfo(key):
    for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


def tcp_sockets(kind="alloc"):
    """TCP sockets that the kernel holds, those included that nobody owns any more; those in TIME_WAIT are of kind `tw`."""
    for line in pathlib.Path("/proc/net/sockstat").read_text().splitlines():
        if line.startswith("TCP:"):
            words = line.split()
            return int(words[words.index(kind) + 1])
    return 0


def slab():
    """{cache: (objects in use, bytes of slab an object)}; None for whom may not read it."""
    try:
        lines = pathlib.Path("/proc/slabinfo").read_text().splitlines()[2:]
    except OSError:
        return None
    caches = {}
    for line in lines:
        name, active, _, _, per_slab, pages = line.split()[:6]
        caches[name] = (int(active), int(pages) * PAGE / int(per_slab))
    return caches


def slab_growth(before, after, sessions):
    """{cache: (objects a session, bytes a session)} of the caches that grew with the sessions."""
    if before is None or after is None:
        return None
    grown = {}
    for name, (active, size) in after.items():
        more = active - before.get(name, (0, size))[0]
        if more >= SHARE_OF_SESSIONS * sessions and not name.startswith(OTHERS):
            grown[name] = (more / sessions, more * size / sessions)
    return grown


def machine():
    memory = meminfo("MemTotal") >> 30
    return f"Linux {platform.release().split('-')[0]}, {platform.machine()}, {os.cpu_count()} cores, {memory} GiB"


def processor():
    for line in pathlib.Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return "unknown processor"
