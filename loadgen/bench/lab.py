"""The stage of one part: a folder, free loopback ports, and the processes to measure, which end with it."""

import contextlib
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request

import readings

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BIN = ROOT / "target/release"
HERE = pathlib.Path(__file__).resolve().parent
# What outlives a run: reports, and the peers that were installed.
KEPT = ROOT / ".bench"
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


def wait_for(what, condition, seconds=30, every_s=0.05):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return
        time.sleep(every_s)
    raise SystemExit(f"bench: {what} did not happen within {seconds} s")


def answers(url):
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status == 200
    except OSError:
        return False


def quiet(at_rest=False):
    """Waits until the kernel has taken apart what an earlier run left: a million sockets take it a while. `at_rest`: until
    TIME_WAIT is over, too, which keeps a port's bookkeeping alive, and would hide it from who looks at what is added.

    Files that were read and written before, by the compiler above all, are still in memory, all of it by and by: the kernel
    taking it back for a million sockets' own held everybody up for half a second at a time. So that is done here, if it may."""
    try:
        pathlib.Path("/proc/sys/vm/drop_caches").write_text("1")
    except OSError as error:
        print(f"bench: files stay in memory, and taking it back may show as latency: {error}", file=sys.stderr)
    kinds = ("alloc", "tw") if at_rest else ("alloc",)
    gone = lambda: all(readings.tcp_sockets(kind) < 2000 for kind in kinds)
    wait_for(f"the end of an earlier run (fewer than 2,000 TCP sockets on this machine, {' and '.join(kinds)} in /proc/net/sockstat)", gone, 300, 0.5)


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
        log.close()
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

    def keys(self, algorithm="HS256"):
        """HS256 unless asked: loadgen makes tokens by the hundred thousand, on the same cores as everything else."""
        folder = self.folder / f"keys-{algorithm}"
        if not folder.exists():
            command = [BIN / "gateway", "keygen", "--out", folder, "--algorithm", algorithm]
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return folder

    def gateway(self, sessions_max=1000, ports=None, binary=BIN / "gateway", name="gateway", algorithm="HS256", per_s_max=0):
        signaling, data, ingress, admin = ports or free_ports(4)
        store = "store" if name == "gateway" else f"{name}-store"
        config = self.write(
            f"{name}.toml",
            GATEWAY.format(
                signaling=signaling, data=data, ingress=ingress, admin=admin, sessions_max=sessions_max, per_s_max=per_s_max,
                keys=self.keys(algorithm), store=self.folder / store,
            ),
        )
        process = self.spawn(name, binary, "run", "--config", config)
        gateway = Gateway(process, signaling, data, ingress, admin, algorithm)
        wait_for("the gateway is ready", lambda: process.poll() is not None or answers(f"http://127.0.0.1:{admin}/readyz"), 60)
        if process.poll() is not None:
            raise RuntimeError(f"the gateway ended with {process.returncode}")
        return gateway

    def floor(self, sessions, watch="poll"):
        """The accept-only server of uring/examples/floor."""
        log = self.folder / "floor.log"
        begins = log.stat().st_size if log.exists() else 0
        process = self.spawn("floor", BIN / "examples/floor", "--sessions", sessions, "--watch", watch)
        said = lambda: log.read_text()[begins:].split("\n")[0].split()
        wait_for("the floor server listens", lambda: len(said()) > 1)
        return Floor(process, int(said()[1].rsplit(":", 1)[1]))

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

    def loadgen(self, server, *words, **options):
        """`loadgen run` against a gateway or the floor server, which takes any token."""
        where = ["--signaling", f"127.0.0.1:{server.signaling}", "--gateway-pid", server.pid]
        if isinstance(server, Gateway):
            where += ["--data-port", server.data, "--ingress", f"127.0.0.1:{server.ingress}"]
        # The same tokens for both: what they cost to make and to send is no difference between them.
        key = self.keys(getattr(server, "algorithm", "HS256")) / "private.jwks.json"
        return self.spawn("loadgen", BIN / "loadgen", "run", *where, "--key", key, *words, **options)


GATEWAY = """
[signaling]
listen = "127.0.0.1:{signaling}"
sessions_max = {sessions_max}
timeout_min_s = 1
registrations_per_s_max = {per_s_max}
[data]
listen = "127.0.0.1:{data}"
advertise = "127.0.0.1:{data}"
[ingress]
listen = "127.0.0.1:{ingress}"
domains = ["localhost"]
requests_per_handset_max = 1024
requests_per_caller_max = 4096
[auth]
jwks_file = "{keys}/jwks.json"
[store]
path = "{store}"
[admin]
listen = "127.0.0.1:{admin}"
[drain]
spread_ms = 100
finish_ms = 1000
[log]
filter = "info"
"""

AGENT = """
msisdn = "{msisdn}"
token = "{token}"
gateways = ["127.0.0.1:{signaling}"]
data_port = {data}
linger_s = {linger_s}
forward = "{forward}"
"""


class Floor:
    def __init__(self, process, signaling):
        self.process, self.pid, self.signaling = process, process.pid, signaling


class Gateway:
    def __init__(self, process, signaling, data, ingress, admin, algorithm):
        self.process, self.pid, self.algorithm = process, process.pid, algorithm
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
