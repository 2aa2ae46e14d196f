#!/usr/bin/env python3
"""The parts of ./bench: each starts what it measures on free loopback ports, measures, ends it, and writes its section.

Figures are ratios within one run wherever there is something to compare with; a part that finds anything lost says so in
its section and ends with a failure.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import platform
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = ROOT / "target/release"
RATHOLE = ROOT / ".bench/rathole/bin/rathole"
DOCUMENT = ROOT / "docs/benchmarks.md"
HERE = pathlib.Path(__file__).resolve().parent
MSISDN = "34600000001"


def free_ports(count):
    """Ports that nobody uses, below those that the kernel hands to clients: a restarted gateway finds them free again."""
    ports = []
    while len(ports) < count:
        port = random.randrange(20_000, 32_000)
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            if port not in ports:
                ports.append(port)
    return ports


def wait_for(what, condition, seconds=30):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(0.05)
    raise SystemExit(f"bench: {what} did not happen within {seconds} s")


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def accepts(port):
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
        return True
    return False


def status(pid, key):
    """A line of /proc/PID/status in bytes: VmRSS, VmHWM."""
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith(key + ":"):
            return int(line.split()[1]) * 1024
    raise KeyError(key)


class Bench(contextlib.ExitStack):
    """A folder and the processes of one part; leaving it ends them all, by their ids."""

    def __enter__(self):
        super().__enter__()
        self.folder = pathlib.Path(self.enter_context(tempfile.TemporaryDirectory(prefix="everline-bench.")))
        return self

    def __exit__(self, kind, error, trace):
        if kind:
            for log in sorted(self.folder.glob("*.log")):
                print(f"--- the end of {log.name}", *log.read_text(errors="replace").splitlines()[-15:], sep="\n", file=sys.stderr)
        return super().__exit__(kind, error, trace)

    def write(self, name, text):
        path = self.folder / name
        path.write_text(text)
        return path

    def spawn(self, name, *command, **options):
        log = open(self.folder / f"{name}.log", "ab")
        process = subprocess.Popen([str(word) for word in command], stdout=options.pop("stdout", log), stderr=log, **options)
        self.callback(self.end, process)
        return process

    @staticmethod
    def end(process, patience=20):
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(patience)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def keys(self):
        if not (self.folder / "keys").exists():
            # HS256: tokens are made by the hundred thousand here, on the same cores as everything else.
            subprocess.run(
                [BIN / "gateway", "keygen", "--out", self.folder / "keys", "--algorithm", "HS256"], check=True, stdout=subprocess.DEVNULL
            )
        return self.folder / "keys"

    def gateway(self, sessions_max=1000, ports=None, binary=BIN / "gateway", name="gateway"):
        signaling, data, ingress, admin = ports or free_ports(4)
        store = "store" if name == "gateway" else f"{name}-store"
        config = self.write(
            f"{name}.toml",
            f"""
[signaling]
listen = "127.0.0.1:{signaling}"
sessions_max = {sessions_max}
timeout_min_s = 1
[data]
listen = "127.0.0.1:{data}"
advertise = "127.0.0.1:{data}"
[ingress]
listen = "127.0.0.1:{ingress}"
domains = ["localhost"]
requests_per_handset_max = 1024
requests_per_caller_max = 4096
[auth]
jwks_file = "{self.keys()}/jwks.json"
[store]
path = "{self.folder}/{store}"
[admin]
listen = "127.0.0.1:{admin}"
[drain]
spread_ms = 100
finish_ms = 1000
[log]
filter = "info"
""",
        )
        process = self.spawn(name, binary, "run", "--config", config)
        wait_for("the gateway is ready", lambda: answers(f"http://127.0.0.1:{admin}/readyz"))
        return Gateway(process, signaling, data, ingress, admin)

    def agent(self, gateway, forward, linger_s, msisdn=MSISDN):
        token = subprocess.run(
            [BIN / "gateway", "token", "--key", self.keys() / "private.jwks.json", "--msisdn", msisdn],
            check=True, capture_output=True, text=True,
        ).stdout.strip()
        config = self.write(
            f"agent-{msisdn}.toml",
            AGENT.format(msisdn=msisdn, token=token, signaling=gateway.signaling, data=gateway.data, linger_s=linger_s, forward=forward),
        )
        process = self.spawn(f"agent-{msisdn}", BIN / "agent", "run", "--config", config)
        wait_for("the handset is registered", lambda: answers(f"http://127.0.0.1:{gateway.admin}/sessions/{msisdn}"))
        return process

    def nginx(self, name, config):
        """Debian's nginx in the foreground, with everything it writes in our folder."""
        path = self.write(
            f"{name}.conf",
            f"""
daemon off; pid {self.folder}/{name}.pid; error_log {self.folder}/{name}.err; worker_processes 2; master_process on;
events {{ worker_connections 4096; }}
http {{ access_log off; client_body_temp_path {self.folder}; proxy_temp_path {self.folder}; fastcgi_temp_path {self.folder};
uwsgi_temp_path {self.folder}; scgi_temp_path {self.folder}; keepalive_requests 1000000000;
{config} }}""",
        )
        return self.spawn(name, shutil.which("nginx") or "/usr/sbin/nginx", "-c", path, "-p", self.folder)

    def loadgen(self, gateway, *words, **options):
        return self.spawn(
            "loadgen", BIN / "loadgen", "run", "--signaling", f"127.0.0.1:{gateway.signaling}", "--data-port", gateway.data,
            "--ingress", f"127.0.0.1:{gateway.ingress}", "--key", self.keys() / "private.jwks.json", *words, **options,
        )


AGENT = """
msisdn = "{msisdn}"
token = "{token}"
gateways = ["127.0.0.1:{signaling}"]
data_port = {data}
linger_s = {linger_s}
forward = "{forward}"
"""


class Gateway:
    def __init__(self, process, signaling, data, ingress, admin):
        self.process, self.pid = process, process.pid
        self.signaling, self.data, self.ingress, self.admin = signaling, data, ingress, admin

    @property
    def ports(self):
        return self.signaling, self.data, self.ingress, self.admin

    def metric(self, start):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.admin}/metrics", timeout=10) as answer:
            for line in answer.read().decode().splitlines():
                if line.startswith(start + " "):
                    return float(line.split()[-1])
        return 0.0


# --- requests -------------------------------------------------------------------------------------------------------------


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


def requests(seconds=5, rounds=3):
    rows = {}
    with Bench() as bench:
        origin, proxy, rathole_out, rathole_control = free_ports(4)
        bench.nginx("origin", f"server {{ listen 127.0.0.1:{origin}; location / {{ default_type text/plain; return 200 '{'x' * 64}'; }} }}")
        bench.nginx(
            "proxy",
            f"upstream origin {{ server 127.0.0.1:{origin}; keepalive 64; }} server {{ listen 127.0.0.1:{proxy}; "
            "location / { proxy_pass http://origin; proxy_http_version 1.1; proxy_set_header Connection ''; } }",
        )
        server = f'[server]\nbind_addr = "127.0.0.1:{rathole_control}"\n[server.services.web]\ntoken = "t"\nbind_addr = "127.0.0.1:{rathole_out}"\n'
        client = f'[client]\nremote_addr = "127.0.0.1:{rathole_control}"\n[client.services.web]\ntoken = "t"\nlocal_addr = "127.0.0.1:{origin}"\n'
        bench.spawn("rathole-server", RATHOLE, "--server", bench.write("server.toml", server))
        bench.spawn("rathole-client", RATHOLE, "--client", bench.write("client.toml", client))
        gateway = bench.gateway()
        hosts = {linger: f"3460000000{number}" for number, linger in enumerate((0, 5), 1)}
        for linger, msisdn in hosts.items():
            bench.agent(gateway, f"http://127.0.0.1:{origin}", linger, msisdn)
        for port in (origin, proxy, rathole_out):
            wait_for(f"port {port} answers", lambda port=port: answers(f"http://127.0.0.1:{port}/"))
        ways = [
            ("the origin itself (nginx)", origin, "localhost"),
            ("nginx as reverse proxy", proxy, "localhost"),
            ("rathole 0.5", rathole_out, "localhost"),
            ("Everline, linger 0", gateway.ingress, f"{hosts[0]}.localhost"),
            ("Everline, linger 5", gateway.ingress, f"{hosts[5]}.localhost"),
        ]
        for close in (True, False):
            for _ in range(rounds):  # in turn, so that a slow minute of the machine meets all of them
                for name, port, host in ways:
                    rows.setdefault((close, name), []).append(wrk(port, close, seconds, host=host))
    median = lambda runs, at: sorted(run[at] for run in runs)[len(runs) // 2]
    failures = 0
    text = [f"wrk, 2 threads, 32 connections, 64-byte answers; the median of {rounds} runs of {seconds} s each, taken in turn.", ""]
    for close in (True, False):
        peer = median(rows[close, "rathole 0.5"], 0)
        text += [f"Callers with `Connection: close`:" if close else "Callers that keep their connection:", ""]
        text += ["| way | requests/s | to rathole | p50 ms | p99 ms | failed |", "|---|---|---|---|---|---|"]
        for (row_close, name), runs in rows.items():
            if row_close == close:
                failed = sum(run[3] for run in runs)
                failures += failed if "Everline" in name else 0
                rate = median(runs, 0)
                text.append(f"| {name} | {rate:,.0f} | {rate / peer:.2f} | {median(runs, 1):.2f} | {median(runs, 2):.2f} | {failed} |")
        text.append("")
    return "Requests a second", text, failures == 0


def versus(other, seconds=4, rounds=5):
    """The gateway that was built against another build of it, pair by pair."""
    rows, failed = {}, 0
    with Bench() as bench:
        (origin,) = free_ports(1)
        bench.nginx("origin", f"server {{ listen 127.0.0.1:{origin}; location / {{ default_type text/plain; return 200 '{'x' * 64}'; }} }}")
        ways = []
        for number, binary in enumerate((BIN / "gateway", other)):
            gateway = bench.gateway(binary=binary, name=f"gateway-{number}")
            for linger in (0, 5):
                msisdn = f"346000000{number}{linger}"
                bench.agent(gateway, f"http://127.0.0.1:{origin}", linger, msisdn)
                ways.append((linger, number, gateway.ingress, f"{msisdn}.localhost"))
        for close in (True, False):
            for _ in range(rounds):
                for linger, number, port, host in sorted(ways):
                    run = wrk(port, close, seconds, host=host)
                    failed += run[3]
                    rows.setdefault((close, linger), ([], []))[number].append(run)
    text = [f"wrk, 2 threads, 32 connections, 64-byte answers; {rounds} pairs of {seconds} s. B is {pathlib.Path(other).name}.", ""]
    text += ["| callers | linger | A requests/s | B / A: median (least to most) | A p99 ms | B / A |", "|---|---|---|---|---|---|"]
    for (close, linger), (a, b) in rows.items():
        rates, tails = (sorted(two[at] / one[at] for one, two in zip(a, b)) for at in (0, 2))
        middle = len(rates) // 2
        text.append(
            f"| {'close' if close else 'keep-alive'} | {linger} | {sorted(run[0] for run in a)[middle]:,.0f} | {rates[middle]:.2f} ({rates[0]:.2f} to {rates[-1]:.2f}) "
            f"| {sorted(run[2] for run in a)[middle]:.2f} | {tails[middle]:.2f} ({tails[0]:.2f} to {tails[-1]:.2f}) |"
        )
    print("\n".join([*text, "", f"{failed} requests failed"]))


# --- relay: a large file, both ways -------------------------------------------------------------------------------------------


class PeakGrowth:
    """The most that a process grew over its size at the start, sampled; VmHWM would hold an earlier peak."""

    def __init__(self, pid):
        self.pid, self.start, self.peak, self.stop = pid, status(pid, "VmRSS"), 0, threading.Event()
        self.thread = threading.Thread(target=self.sample, daemon=True)
        self.thread.start()

    def sample(self):
        while not self.stop.wait(0.02):
            self.peak = max(self.peak, status(self.pid, "VmRSS"))

    def end(self):
        self.stop.set()
        self.thread.join()
        return (max(self.peak, self.start) - self.start) / 2**20


def relay(size=1 << 30):
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
    return "A large file, a WebSocket and an event stream", text, good


# --- hold and crash -----------------------------------------------------------------------------------------------------------


def cpu_s(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def tally(counts):
    return ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items())) or "none"


def ms(microseconds):
    return f"{microseconds / 1000:,.1f} ms"


def hold(handsets=100_000, hold_s=180, timeout_s=60):
    with Bench() as bench:
        gateway = bench.gateway(sessions_max=handsets + handsets // 10)
        empty = status(gateway.pid, "VmRSS")
        report_file = bench.folder / "report.json"
        run = bench.loadgen(
            gateway, "--handsets", handsets, "--timeout", timeout_s, "--hold", f"{hold_s}s", "--requests-per-second", 100,
            "--gateway-pid", gateway.pid, "--report", report_file,
        )
        code = run.wait(hold_s + 900)
        report = json.loads(report_file.read_text())
        ramp, held = (next(phase for phase in report["phases"] if phase["name"] == name) for name in ("ramp", "hold"))
        registrations, sessions, asked = report["registrations"], report["sessions"], report["requests"]
        descriptors = report["machine"]["descriptors_max"]
        refused = gateway.metric('everline_signaling_failures_total{cause="full"}')
        rows = [
            ("handsets", f"{handsets:,}, in one gateway process that may have {descriptors:,} descriptors"),
            ("registrations/s", f"{registrations['per_second']:,.0f}, clients on the same cores, tokens HS256"),
            ("registration latency p50, p99", f"{ms(registrations['latency_us']['p50'])}, {ms(registrations['latency_us']['p99'])}"),
            ("gateway CPU per registration", f"{ramp['gateway_cpu_s'] / registrations['registered'] * 1e6:,.0f} µs, user and system"),
            ("refused or not registered", tally(registrations["not_registered"])),
            ("gateway memory per session (RSS)", f"{(ramp['gateway_rss_bytes'] - empty) / handsets:,.0f} bytes; {ramp['gateway_rss_bytes'] / 2**20:,.1f} MiB in all, {empty / 2**20:,.1f} MiB before the first"),
            (f"held for {hold_s} s at timeout {timeout_s} s", f"{sessions['open_after_hold']:,} still there; lost: {tally(sessions['lost'])}"),
            ("keep-alives in that time", f"{sessions['keep_alives']:,}"),
            ("gateway CPU while holding, requests included", f"{held['gateway_cpu_s'] / held['seconds'] * 100:.1f} % of one core"),
            ("requests to random handsets meanwhile", f"{asked['sent']:,} at 100/s; answered: {tally(asked['answered'])}; failed: {tally(asked['failed'])}"),
            ("their latency p50, p99, max", ", ".join(ms(asked["latency_us"][key]) for key in ("p50", "p99", "max"))),
        ]
        text = ["| what | figure |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)]
        good = code == 0 and sessions["open_after_hold"] == handsets and not refused
        if report["findings"]:
            text += ["", "What was not well:", "", *(f"- {finding}" for finding in report["findings"])]
    return f"{handsets:,} handsets held", text, good


def crash(handsets=20_000, hold_s=100):
    with Bench() as bench:
        gateway = bench.gateway(sessions_max=2 * handsets)
        report_file = bench.folder / "report.json"
        run = bench.loadgen(
            gateway, "--handsets", handsets, "--timeout", 60, "--hold", f"{hold_s}s", "--requests-per-second", 200, "--report", report_file,
        )
        wait_for("all are registered", lambda: gateway.metric("everline_sessions") == handsets, 300)
        time.sleep(5)  # under load for a while; nothing waits for this
        rows = []
        for what, damage in (("kill -9", False), ("kill -9, and the store overwritten with garbage", True)):
            gateway.process.kill()
            gateway.process.wait()
            if damage:
                for file in (bench.folder / "store").rglob("*"):
                    if file.is_file():
                        file.write_bytes(os.urandom(max(4096, file.stat().st_size)))
            began = time.monotonic()
            gateway = bench.gateway(sessions_max=2 * handsets, ports=gateway.ports)
            ready = time.monotonic() - began
            expected = gateway.metric("everline_sessions_expected")
            wait_for("every handset is back", lambda gateway=gateway: gateway.metric("everline_sessions") == handsets, 120)
            back = time.monotonic() - began
            aside = len(list(bench.folder.glob("store.broken-*")))
            rows.append(
                f"| {what} | {ready:.2f} s | {back:.1f} s | {expected:,.0f} | {'up' if gateway.metric('everline_store_up') else 'DOWN'}, {aside} set aside |"
            )
            good_store = gateway.metric("everline_store_up") == 1 and aside == int(damage)
            if not good_store:
                rows[-1] += " ← not as it should be"
        run.wait(hold_s + 300)
        report = json.loads(report_file.read_text())
        asked, sessions = report["requests"], report["sessions"]
        balanced = asked["in_flight"] == 0 and asked["sent"] == sum(asked["answered"].values()) + sum(asked["failed"].values())
        text = [
            f"{handsets:,} handsets, 200 requests/s to random ones; the gateway is killed under them and started again on the same ports.",
            "", "| what | ready after | every handset back after | expected by the store | store |", "|---|---|---|---|---|", *rows, "",
            f"- requests: {asked['sent']:,} sent; answered: {tally(asked['answered'])}; with a problem: {tally(asked['problems'])}; "
            f"without an answer, while nobody listened or as the gateway died: {tally(asked['failed'])}; without any outcome: {asked['in_flight']}",
            f"- sessions: {sessions['open_after_hold']:,} there at the end of the hold; lost: {tally(sessions['lost'])}",
        ]
        good = balanced and sessions["open_after_hold"] == handsets and not any("not as it" in row for row in rows)
    return "A gateway killed under load", text, good


PARTS = {"requests": requests, "relay": relay, "hold": hold, "crash": crash}


def machine():
    memory = next(line for line in open("/proc/meminfo") if line.startswith("MemTotal")).split()[1]
    return f"Linux {platform.release().split('-')[0]}, {platform.machine()}, {os.cpu_count()} cores, {int(memory) >> 20} GiB"


def publish(part, title, text):
    """Replaces the part's section between its markers, or appends it."""
    command = f"`./bench {part}`, on {machine()}, {time.strftime('%Y-%m-%d')}."
    section = "\n".join([f"<!-- {part} -->", f"## {title}", "", command, "", *text, f"<!-- end of {part} -->"])
    old = DOCUMENT.read_text() if DOCUMENT.exists() else HEADER
    pattern = re.compile(rf"<!-- {part} -->.*?<!-- end of {part} -->", re.S)
    new = pattern.sub(lambda _: section, old) if pattern.search(old) else f"{old.rstrip()}\n\n{section}\n"
    DOCUMENT.write_text(re.sub(r"\n{3,}", "\n\n", new))
    print(section)


HEADER = """# Benchmarks

What was measured, and the command that measures it. Machines differ and are shared: compare rows of one table, not figures of two.
Each section is written by its command and by nothing else.
"""


def main(names):
    if names[:1] == ["versus"]:
        return versus(*names[1:])
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        raise SystemExit(f"bench: no part is called {unknown[0]}; there are {', '.join(PARTS)}")
    failed = []
    for name in names or PARTS:
        print(f"bench: {name} …", file=sys.stderr)
        title, text, good = PARTS[name]()
        publish(name, title, text)
        if not good:
            failed.append(name)
    if failed:
        raise SystemExit(f"bench: did not hold: {', '.join(failed)}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(sys.argv[1:])
