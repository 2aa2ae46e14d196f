"""Requests a second through the gateway beside its peers: the origin itself, nginx, rathole."""

from lab import KEPT, Bench, answers, free_ports, wait_for
from parts.traffic import ORIGIN, wrk
from results import Figure, Outcome

RATHOLE = KEPT / "rathole/bin/rathole"


def measure(seconds=5, rounds=3):
    rows = {}
    with Bench() as bench:
        origin, proxy, rathole_out, rathole_control = free_ports(4)
        bench.nginx("origin", ORIGIN.format(port=origin))
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
    failures, figures = 0, {}
    text = [f"wrk, 2 threads, 32 connections, 64-byte answers; the median of {rounds} runs of {seconds} s each, taken in turn.", ""]
    for close in (True, False):
        peer = median(rows[close, "rathole 0.5"], 0)
        text += ["Callers with `Connection: close`:" if close else "Callers that keep their connection:", ""]
        text += ["| way | requests/s | to rathole | p50 ms | p99 ms | failed |", "|---|---|---|---|---|---|"]
        for (row_close, name), runs in rows.items():
            if row_close == close:
                failed = sum(run[3] for run in runs)
                failures += failed if "Everline" in name else 0
                rate = median(runs, 0)
                if (bar := {(True, "Everline, linger 0"): "requests_close", (False, "Everline, linger 5"): "requests_keep"}.get((close, name))):
                    figures[bar] = Figure(f"{rate:,.0f}/s", rate >= peer, rate / peer)
                text.append(f"| {name} | {rate:,.0f} | {rate / peer:.2f} | {median(runs, 1):.2f} | {median(runs, 2):.2f} | {failed} |")
        text.append("")
    return Outcome("Requests a second", text, failures == 0, figures)
