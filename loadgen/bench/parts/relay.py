"""A large file both ways, a WebSocket and an event stream: what a relay must neither keep nor touch."""

import hashlib
import json
import os
import subprocess
import sys
import threading
import time

from lab import HERE, MSISDN, Bench
from readings import rss
from results import Outcome


class PeakGrowth:
    """The most that a process grew over its size at the start, sampled; VmHWM would hold an earlier peak."""

    def __init__(self, pid):
        self.pid, self.start, self.peak, self.stop = pid, rss(pid), 0, threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()

    def sample(self):
        while not self.stop.wait(0.02):
            self.peak = max(self.peak, rss(self.pid))

    def end(self):
        self.stop.set()
        self.thread.join()
        return (max(self.peak, self.start) - self.start) / 2**20


def measure(size=1 << 30):
    text, good = [], True
    with Bench() as bench:
        path = bench.folder / "large"
        digest, block = hashlib.sha256(), os.urandom(1 << 20)
        with open(path, "wb") as file:
            for number in range(size >> 20):
                piece = number.to_bytes(8, "big") + block[8:]
                digest.update(piece)
                file.write(piece)
        gateway = bench.gateway()
        origin = bench.spawn("origin", sys.executable, HERE / "origin.py", bench.folder, stdout=subprocess.PIPE)
        port = int(origin.stdout.readline())
        agent = bench.agent(gateway, f"http://127.0.0.1:{port}", 0)
        base, host = f"http://127.0.0.1:{gateway.ingress}", f"Host: {MSISDN}.localhost"
        text += ["| what | seconds | MiB/s | checksum | gateway grew by MiB | agent grew by MiB |", "|---|---|---|---|---|---|"]
        for what in ("down (GET)", "up (PUT)", "up, chunked"):
            growth = [PeakGrowth(gateway.pid), PeakGrowth(agent.pid)]
            began = time.monotonic()
            if what.startswith("down"):
                curl = subprocess.Popen(["curl", "-sSf", "--max-time", "300", "-H", host, f"{base}/large"], stdout=subprocess.PIPE)
                heard = hashlib.sha256()
                while piece := curl.stdout.read(1 << 20):
                    heard.update(piece)
                curl.wait()
                equal = heard.hexdigest() == digest.hexdigest()
            else:
                chunked = ["-H", "Transfer-Encoding: chunked"] if "chunked" in what else []
                answer = subprocess.run(
                    ["curl", "-sSf", "--max-time", "300", "-H", host, *chunked, "-T", path, f"{base}/count"], capture_output=True, text=True
                ).stdout
                equal = json.loads(answer or "{}") == {"bytes": size, "sha256": digest.hexdigest()}
            seconds = time.monotonic() - began
            grown = [one.end() for one in growth]
            good &= equal and max(grown) < 64
            text.append(f"| {what} | {seconds:.1f} | {(size >> 20) / seconds:,.0f} | {'equal' if equal else 'DIFFERENT'} | {grown[0]:.1f} | {grown[1]:.1f} |")
        text.append("")
        for what in ("websocket", "events"):
            run = subprocess.run(
                [sys.executable, HERE / "through.py", f"127.0.0.1:{gateway.ingress}", f"{MSISDN}.localhost", what], capture_output=True, text=True
            )
            good &= run.returncode == 0
            text.append(f"- {run.stdout.strip() or 'FAILED: ' + run.stderr.strip().splitlines()[-1]}")
    text.insert(0, f"An agent in forward mode before a Python web server (`loadgen/bench/origin.py`); a file of {size >> 20:,} MiB. The bar is 64 MiB of growth.\n")
    return Outcome("A large file, a WebSocket and an event stream", text, good)
