"""wrk: callers from outside, on two threads and 32 connections; and what nginx serves them as the origin."""

import re
import subprocess

ORIGIN = "server {{ listen 127.0.0.1:{port}; location / {{ default_type text/plain; return 200 '" + "x" * 64 + "'; }} }}"


def wrk(port, close, seconds, path="/", host="localhost"):
    """(requests/s, p50 ms, p99 ms, failures)"""
    fields = ["-H", f"Host: {host}"] + (["-H", "Connection: close"] if close else [])
    run = subprocess.run(
        ["wrk", "-t2", "-c32", f"-d{seconds}s", "--latency", *fields, f"http://127.0.0.1:{port}{path}"],
        check=True, capture_output=True, text=True,
    ).stdout
    unit = {"us": 0.001, "ms": 1.0, "s": 1000.0}
    percentile = lambda which: (lambda m: float(m[1]) * unit[m[2]])(re.search(rf"{which}%\s+([\d.]+)(us|ms|s)", run))
    failures = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout) (\d+)", run))
    if refused := re.search(r"Non-2xx or 3xx responses: (\d+)", run):
        failures += int(refused[1])
    return float(re.search(r"Requests/sec:\s+([\d.]+)", run)[1]), percentile(50), percentile(99), failures
