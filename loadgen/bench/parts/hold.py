"""A hundred thousand handsets held for some keep-alives, with a few requests meanwhile."""

import json

from lab import Bench
from parts.words import ms, tally
from readings import rss
from results import Outcome


def measure(handsets=100_000, hold_s=180, timeout_s=60):
    with Bench() as bench:
        gateway = bench.gateway(sessions_max=handsets + handsets // 10)
        empty = rss(gateway.pid)
        report_file = bench.folder / "report.json"
        run = bench.loadgen(
            gateway, "--handsets", handsets, "--timeout", timeout_s, "--hold", f"{hold_s}s", "--requests-per-second", 100,
            "--report", report_file,
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
            (f"held for {hold_s} s at timeout {timeout_s} s", f"{sessions['open_before_finish']:,} still there; lost: {tally(sessions['lost'])}"),
            ("keep-alives in that time", f"{sessions['keep_alives']:,}"),
            ("gateway CPU while holding, requests included", f"{held['gateway_cpu_s'] / held['seconds'] * 100:.1f} % of one core"),
            ("requests to random handsets meanwhile", f"{asked['sent']:,} at 100/s; answered: {tally(asked['answered'])}; failed: {tally(asked['failed'])}"),
            ("their latency p50, p99, max", ", ".join(ms(asked["latency_us"][key]) for key in ("p50", "p99", "max"))),
        ]
        text = ["| what | figure |", "|---|---|", *(f"| {what} | {figure} |" for what, figure in rows)]
        good = code == 0 and sessions["open_before_finish"] == handsets and not refused
        if report["findings"]:
            text += ["", "What was not well:", "", *(f"- {finding}" for finding in report["findings"])]
    return Outcome(f"{handsets:,} handsets held", text, good)
