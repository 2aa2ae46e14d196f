"""The gateway killed under twenty thousand handsets and their callers, with its store whole and with it destroyed."""

import json
import os
import time

from lab import Bench, wait_for
from parts.words import tally
from results import Outcome


def measure(handsets=20_000, hold_s=100):
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
            f"- sessions: {sessions['open_before_finish']:,} there at the end of the hold; lost: {tally(sessions['lost'])}",
        ]
        good = balanced and sessions["open_before_finish"] == handsets and not any("not as it" in row for row in rows)
    return Outcome("A gateway killed under load", text, good)
