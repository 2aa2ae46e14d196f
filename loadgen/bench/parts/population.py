"""Handsets brought onto a gateway or onto the floor server, and what the kernel holds for them."""

import json
import time

import readings
from lab import wait_for
from readings import GIB

# A session of both ends on loopback, in the kernel, the gateway and loadgen together: to tell beforehand whether it fits.
BYTES_A_SESSION = 9_600
# Connections of others that were there before and may have ended meanwhile.
OTHERS_GONE = 500
# Below this the kernel would soon end a process of its choice; the run is ended before.
LEFT_MIN = GIB


def fits(handsets):
    """None, or what is missing."""
    needed, there = handsets * BYTES_A_SESSION + LEFT_MIN, readings.meminfo("MemAvailable")
    if needed <= there:
        return None
    return f"{handsets:,} sessions with both ends on this machine take about {needed / GIB:.1f} GiB, and {there / GIB:.1f} GiB are free"


class Population:
    """A run of loadgen against a server: the wait for its handsets, and its report."""

    def __init__(self, bench, server, handsets, *words, report=None):
        self.handsets, self.server = handsets, server
        self.report_file = report or bench.folder / f"report-{time.monotonic_ns()}.json"
        self.report_file.unlink(missing_ok=True)
        self.sockets_before, self.slab_before = readings.tcp_sockets(), readings.slab()
        self.process = bench.loadgen(server, "--report", self.report_file, *words)
        self.memory_least = readings.meminfo("MemAvailable")

    def look(self):
        """Ends the run, and the bench, before memory does."""
        free = readings.meminfo("MemAvailable")
        self.memory_least = min(self.memory_least, free)
        if free < LEFT_MIN:
            self.process.kill()
            raise MemoryError(f"less than {LEFT_MIN / GIB:.0f} GiB of memory was left with {readings.tcp_sockets() // 2:,} sessions: the run was ended")
        if self.process.poll() is not None and not self.report_file.exists():
            raise SystemExit(f"bench: loadgen ended with status {self.process.returncode} and without a report")

    def wait_until_held(self, seconds=900):
        """Until both ends of every handset's connection are there; false if the run ended before."""

        def held():
            self.look()
            return self.process.poll() is not None or readings.tcp_sockets() - self.sockets_before >= 2 * self.handsets - OTHERS_GONE

        wait_for(f"{self.handsets:,} connections", held, seconds, 0.2)
        return self.process.poll() is None

    def wait_until(self, moment):
        while time.monotonic() < moment and self.process.poll() is None:
            self.look()
            time.sleep(0.2)

    def slab_growth(self):
        """Once it has come to rest: what RCU is about to free counts otherwise."""
        time.sleep(3)
        return readings.slab_growth(self.slab_before, readings.slab(), self.handsets)

    def report(self, seconds):
        """The report, once the run has ended by itself; (report, exit status)."""
        end = time.monotonic() + seconds
        while self.process.poll() is None and time.monotonic() < end:
            self.look()
            time.sleep(0.2)
        if self.process.poll() is None:
            raise SystemExit(f"bench: loadgen did not end within {seconds} s")
        return json.loads(self.report_file.read_text()), self.process.returncode


def phase(report, name):
    return next(phase for phase in report["phases"] if phase["name"] == name)


def all_there(report, handsets):
    """Nobody was refused, and nobody lost, until the finish."""
    sessions, registrations = report["sessions"], report["registrations"]
    return sessions["open_before_finish"] == handsets and not registrations["not_registered"] and not sessions["lost"]


def register(bench, server, handsets, hold_s=2):
    """Registers as the scenario `million` does, holds a moment, leaves: the report, and the slab if there is time for it."""
    words = ["--handsets", handsets, "--hold", f"{hold_s}s", "--leave", "drop", "--timeout", 300, "--connecting", 1024]
    population = Population(bench, server, handsets, *words)
    growth = population.slab_growth() if hold_s > 3 and population.wait_until_held() else None
    report, _ = population.report(1200)
    return report, growth


def slab_table(floor, gateway):
    """Cache by cache: objects and bytes a session, both ends."""
    rows = ["| cache | floor, objects | floor, bytes | gateway, objects | gateway, bytes |", "|---|---|---|---|---|"]
    names = sorted(floor | gateway, key=lambda name: -max(grown.get(name, (0, 0))[1] for grown in (floor, gateway)))
    for name in names:
        cells = [cell for grown in (floor, gateway) for cell in grown.get(name, (0, 0))]
        rows.append(f"| {name} | {cells[0]:.2f} | {cells[1]:,.0f} | {cells[2]:.2f} | {cells[3]:,.0f} |")
    total = [sum(size for _, size in grown.values()) for grown in (floor, gateway)]
    rows.append(f"| all | | {total[0]:,.0f} | | {total[1]:,.0f} |")
    return rows, total
