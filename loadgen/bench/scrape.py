"""What the gateway tells of itself: a scrape, quantiles of its histograms, and a thread that samples while a run goes on."""

import re
import threading
import time
import urllib.request

import readings

SERIES = re.compile(r'^([a-zA-Z_:][\w:]*)(\{[^}]*\})? (\S+)$')
LE = re.compile(r'le="([^"]+)"')


class Scrape:
    """One answer of /metrics: its series, how long it took, how large it was."""

    def __init__(self, admin_port):
        began = time.monotonic()
        with urllib.request.urlopen(f"http://127.0.0.1:{admin_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        self.seconds, self.bytes, self.unix_s = time.monotonic() - began, len(text), time.time()
        self.series = {}
        for line in text.splitlines():
            if found := SERIES.match(line):
                self.series[found[1] + (found[2] or "")] = float(found[3])

    def __getitem__(self, name):
        return self.series.get(name, 0.0)

    def buckets(self, name, label=""):
        """[(upper bound, count up to it)] of a histogram, in order."""
        rows = []
        for series, value in self.series.items():
            if series.startswith(f"{name}_bucket{{") and label in series:
                bound = LE.search(series)[1]
                rows.append((float("inf") if bound == "+Inf" else float(bound), value))
        return sorted(rows)


def quantile(after, before, share):
    """The value below which this share of what came between two readings of a histogram lies, interpolated within its
    bucket as Prometheus does; None if nothing came. A value beyond the last bound is that bound."""
    earlier = dict(before or [])
    counts = [(bound, count - earlier.get(bound, 0.0)) for bound, count in after]
    if not counts or counts[-1][1] <= 0:
        return None
    wanted, low, below = counts[-1][1] * share, 0.0, 0.0
    for bound, count in counts:
        if count >= wanted:
            if bound == float("inf"):
                return low
            return low + (bound - low) * (wanted - below) / (count - below)
        low, below = bound, count
    return low


class Sampler:
    """Reads processes, memory and the gateway's histograms every so often, until it is ended."""

    def __init__(self, gateway, loadgen_pid=None, every_s=1.0):
        self.gateway, self.loadgen_pid, self.every_s = gateway, loadgen_pid, every_s
        self.samples, self.stop = [], threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stop.wait(self.every_s):
            try:
                self.samples.append(Sample(self.gateway, self.loadgen_pid))
            except (OSError, KeyError, IndexError, ValueError):
                pass  # The gateway is being restarted, or a process has just ended: there is nothing to be read.

    def end(self):
        self.stop.set()
        self.thread.join()

    def at(self, unix_s):
        """The sample that is nearest to a moment."""
        return min(self.samples, key=lambda sample: abs(sample.unix_s - unix_s), default=None)


class Sample:
    def __init__(self, gateway, loadgen_pid):
        self.unix_s = time.time()
        self.gateway_cpu_s, self.gateway_rss = readings.cpu_s(gateway.pid), readings.rss(gateway.pid)
        self.loadgen_rss = readings.rss(loadgen_pid) if loadgen_pid else 0
        self.scrape = Scrape(gateway.admin)
