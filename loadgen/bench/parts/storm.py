"""The gateway killed with everybody on it and started again: until all are back, and what those who are back feel of it."""

import dataclasses
import signal
import time

from parts.population import phase
from parts.words import ms, tally
from results import Figure

REQUESTS_PER_S = 500
# As long as the run would last if not all came back; it is ended when they are.
LIMIT_S = 300
# What the gateway admits is set so that all are in within this: enough to shed load, and in time.
ADMIT_WITHIN_S = 80


@dataclasses.dataclass
class Storm:
    ready_s: float
    back_s: float | None
    expected: float
    per_s_max: int
    refused: float
    returned: list


def run(bench, gateway, population, handsets):
    """Kills the gateway, starts it on the same ports and store, waits until all are back, and then ends the run."""
    per_s_max = max(handsets // ADMIT_WITHIN_S, 100)
    gateway.process.kill()
    gateway.process.wait()
    began = time.monotonic()
    gateway = bench.gateway(sessions_max=handsets, ports=gateway.ports, per_s_max=per_s_max)
    found = Storm(time.monotonic() - began, None, gateway.metric("everline_sessions_expected"), per_s_max, 0, [])
    while time.monotonic() < began + LIMIT_S - 20 and population.process.poll() is None:
        population.look()
        sessions = gateway.metric("everline_sessions")
        found.returned.append((time.monotonic() - began, sessions, gateway.metric("everline_sessions_returned")))
        if sessions >= handsets:
            found.back_s = time.monotonic() - began
            break
        time.sleep(0.5)
    found.refused = gateway.metric('everline_registrations_total{result="overloaded"}')
    # A second Ctrl-C would leave the handsets where they are; one ends the phase, and the report follows.
    population.process.send_signal(signal.SIGINT)
    return found


def told(figures, text, found):
    """The figures, and the section's lines; false if somebody did not come back."""
    storm, usual, crash = found.storm, phase(found.report, "usual")["requests"], phase(found.report, "crash")["requests"]
    handsets = found.report["registrations"]["handsets"]
    ratio = crash["latency_us"]["p99"] / max(usual["latency_us"]["p99"], 1)
    back = f"{storm.back_s:.0f} s" if storm.back_s else f"not all within {LIMIT_S - 20} s"
    figures["storm_back"] = Figure(back, storm.back_s is not None and storm.back_s <= 120)
    figures["storm_p99"] = Figure(f"{ms(crash['latency_us']['p99'])} beside {ms(usual['latency_us']['p99'])}", ratio <= 2, ratio)
    text += [
        f"| killed with {handsets:,} on it, started again admitting {storm.per_s_max:,}/s; {REQUESTS_PER_S} requests/s | |", "|---|---|",
        f"| ready again | after {storm.ready_s:.1f} s |",
        f"| expected by the store | {storm.expected:,.0f} |",
        f"| all are back | {back} |",
        *(f"| {share} % are back | {reached(storm, handsets * share / 100)} |" for share in (50, 90, 99)),
        f"| told to come back later (`overloaded`) | {storm.refused:,.0f} |",
        f"| the gateway's own count of those that are back, at the end | {storm.returned[-1][2] if storm.returned else 0:,.0f} |",
        f"| p50, p99 of requests to those who are registered | {ms(crash['latency_us']['p50'])}, {ms(crash['latency_us']['p99'])} |",
        f"| the same before the kill | {ms(usual['latency_us']['p50'])}, {ms(usual['latency_us']['p99'])} |",
        f"| requests good; bad, mostly while nobody listened | {crash['good']:,}; {crash['bad']:,} |",
        f"| what became of all requests of the run | answered {tally(found.report['requests']['answered'])}; failed {tally(found.report['requests']['failed'])}; not sent {tally(found.report['requests']['not_sent'])} |",
        "",
    ]
    return storm.back_s is not None


def reached(storm, wanted):
    moment = next((at for at, sessions, _ in storm.returned if sessions >= wanted), None)
    return "never" if moment is None else f"after {moment:.0f} s"
