"""Where the gateway's CPU goes while requests pass through it: sampled by perf, by layer and by function."""

import re
import shutil
import subprocess
import time

from lab import Bench, free_ports
from parts.traffic import ORIGIN
from readings import cpu_s
from results import Outcome

SECONDS = 8
# The first that matches a function's name, or the library that it is in, has it.
LAYERS = [
    ("kernel: sockets, TCP, loopback", r"\[k\] _*(tcp|ip|inet|sk|skb|sock|net|dev|process_backlog|loopback|lo_|nf_|napi|kfree_skb|alloc_skb|build_skb|secure_|bictcp|cubic|validate_xmit|eth_|csum|move_addr|import_|security_sock|mptcp|neigh|fib|rt_|dst_|consume_skb|release_sock|lock_sock|sys_(send|recv|accept|connect|shutdown))"),
    ("kernel: io_uring", r"\[k\] _*(io_|sys_io_uring)"),
    ("kernel: waking, scheduling, locks", r"\[k\] _*(sched|schedule|try_to_wake|ttwu|futex|finish_task|raw_spin|_raw|eventfd|ep_|epoll|do_epoll|sys_epoll|wake|pick|enqueue|dequeue|update_|select_task|set_next|put_prev|hrtimer|tick|clock|ktime|native_|rcu|psi|cpuacct|place_|reweight|avg_|switch|prepare_task|mutex|x2apic|kvm|pv_)"),
    ("kernel: entry, files, memory, the rest", r"\[k\]"),
    ("hyper, http", r"hyper|httparse|http(_body)?::|httpdate|http_body"),
    ("tokio", r"tokio|mio::"),
    ("Everline", r"everline"),
    ("allocation and copying", r"malloc|calloc|realloc|cfree|_int_free|tcache|unlink_chunk|alloc::|memcpy|memmove|memset|memcmp|bytes::|__rust"),
    ("the rest", r""),
]
SHOWN = 15


def measure():
    title = "Where a request's CPU goes"
    if not shutil.which("perf"):
        return Outcome(title, ["perf is not installed here (Debian: `linux-perf`): not measured."])
    columns, functions = {}, []
    with Bench() as bench:
        (origin,) = free_ports(1)
        bench.nginx("origin", ORIGIN.format(port=origin))
        gateway = bench.gateway()
        for number, linger in enumerate((0, 5)):
            msisdn = f"3460000001{number}"
            bench.agent(gateway, f"http://127.0.0.1:{origin}", linger, msisdn)
            rows, share, rate = profiled(bench, gateway, f"{msisdn}.localhost")
            if rows is None:
                return Outcome(title, [f"perf could not sample the gateway here: {share}"])
            columns[linger] = (layers(rows), share, rate)
            functions += [f"Linger {linger}:", "", "| share | function |", "|---|---|"]
            functions += [f"| {part:.1f} % | `{function.replace('|', ' ')}` |" for part, function in rows[:SHOWN]]
            functions.append("")
    text = [
        "Samples of the gateway while wrk's 32 callers, who keep their connections, request a handset that forwards to nginx.", "",
        "| | linger 0 | linger 5 |", "|---|---|---|",
        "| requests/s | " + " | ".join(f"{rate:,.0f}" for _, _, rate in columns.values()) + " |",
        "| gateway CPU a request | " + " | ".join(f"{cores / rate * 1e6:,.0f} µs" for _, cores, rate in columns.values()) + " |",
        *(f"| {layer} | " + " | ".join(f"{parts[layer]:.1f} %" for parts, _, _ in columns.values()) + " |" for layer, _ in LAYERS), "",
        *functions,
    ]
    return Outcome(title, text)


def profiled(bench, gateway, host):
    """([(share in %, function)], cores used, requests/s) or (None, why, None)."""
    data = bench.folder / "perf.data"
    load = subprocess.Popen(
        ["wrk", "-t2", "-c32", f"-d{SECONDS + 3}s", "-H", f"Host: {host}", f"http://127.0.0.1:{gateway.ingress}/"],
        stdout=subprocess.PIPE, text=True,
    )
    time.sleep(1)  # the connections are made
    before = cpu_s(gateway.pid)
    record = subprocess.run(
        ["perf", "record", "-q", "-o", data, "-F", "997", "-p", str(gateway.pid), "--", "sleep", str(SECONDS)], capture_output=True, text=True
    )
    cores = (cpu_s(gateway.pid) - before) / SECONDS
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", load.communicate()[0])[1])
    if record.returncode:
        return None, (record.stderr.strip().splitlines() or ["no reason given"])[-1], None
    report = subprocess.run(
        ["perf", "report", "-i", data, "--stdio", "--no-children", "-g", "none", "--sort", "symbol"], capture_output=True, text=True
    ).stdout
    rows = [(float(found[1]), found[2].strip(" -")) for found in re.finditer(r"^\s+([\d.]+)%\s+(.*?)\s*$", report, re.M)]
    return sorted(rows, reverse=True), cores, rate


def layers(rows):
    parts = dict.fromkeys((layer for layer, _ in LAYERS), 0.0)
    for share, function in rows:
        parts[next(layer for layer, pattern in LAYERS if re.search(pattern, function))] += share
    return parts
