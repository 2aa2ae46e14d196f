"""A million held for a round of keep-alives; then the gateway is killed with everybody on it and started again: until all
are back, and what those who are back feel of it.

A run of its own, since every handset is lost in it on purpose.
"""

import dataclasses
import signal
import time

import readings
from lab import KEPT, Bench, quiet, wait_for
from parts.population import Population, fits, phase
from parts.words import ms, tally
from results import Figure, Outcome
from scrape import Sampler, quantile

HANDSETS = 1_000_000
REQUESTS_PER_S = 500
USUAL_S = 30
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
    rss: float


def measure(handsets=HANDSETS):
    if missing := fits(handsets):
        raise SystemExit(f"bench: {missing}")
    figures, text = {}, []
    # A smaller population would see no keep-alive in a time that somebody waits for.
    timeout_s, hold_s = (300, 330) if handsets == HANDSETS else (30, 45)
    quiet()
    with Bench() as bench:
        gateway = bench.gateway(sessions_max=handsets)
        scenario = bench.write("crash.toml", SCENARIO.format(
            handsets=handsets, timeout_s=timeout_s, hold_s=hold_s, usual_s=USUAL_S, per_second=REQUESTS_PER_S, crash_s=LIMIT_S,
        ))
        population = Population(bench, gateway, handsets, "--scenario", scenario, report=KEPT / "crash.json")
        wait_for("all are registered", lambda: population.look() or gateway.metric("everline_sessions") >= handsets, 900)
        sampler = Sampler(gateway, every_s=5)
        # Five seconds into the last phase, so that the kill falls into it.
        population.wait_until(time.monotonic() + hold_s + USUAL_S + 5)
        sampler.end()
        storm = killed(bench, gateway, population, handsets)
        report, _ = population.report(300)
    there = holding(figures, text, handsets, timeout_s, report, sampler)
    good = storming(figures, text, storm, report) and there
    return Outcome(f"{handsets:,} handsets held, thrown off and back again", text, good, figures)


def holding(figures, text, handsets, timeout_s, report, sampler):
    hold = phase(report, "hold")
    begins = report["started_unix_s"] + hold["from_s"]
    name = "everline_timer_lag_seconds"
    before, after = (sampler.at(at).scrape.buckets(name) for at in (begins, begins + hold["seconds"]))
    # As if they came as evenly as they do in the long run: about a round fits into the hold, but not exactly one.
    steady = hold["gateway_cpu_s"] / max(hold["keep_alives"], 1) * handsets / timeout_s
    figures["keep_alive"] = Figure(f"{100 * steady:.1f} % of one core", hold["keep_alives"] > 0 and steady <= 0.05)
    lag = quantile(after, before, 0.99)
    figures["timer_lag"] = Figure("no timers" if lag is None else f"{lag * 1000:.0f} ms", lag is not None and lag <= 0.1)
    text += [
        f"| held for {hold['seconds']:.0f} s at timeout {timeout_s} s, no requests | |", "|---|---|",
        f"| still there; lost | {hold['open_at_end']:,}; {hold['lost']} |",
        f"| KEEPALIVEs answered | {hold['keep_alives']:,}; most in a second {busiest(report, hold):,}, evenly spread they would be {handsets / timeout_s:,.0f} |",
        f"| gateway CPU | {100 * hold['gateway_cores']:.1f} % of one core; {hold['gateway_cpu_s'] / max(hold['keep_alives'], 1) * 1e6:.1f} µs a KEEPALIVE, {100 * steady:.1f} % if all come evenly |",
        f"| timer lag p99 | {figures['timer_lag'].text} |", "",
    ]
    return hold["open_at_end"] == handsets and hold["lost"] == 0


def busiest(report, hold):
    """Most KEEPALIVEs in a second of the hold."""
    inside = lambda at: hold["from_s"] <= at <= hold["from_s"] + hold["seconds"]
    return max((row["keep_alives"] for row in report["seconds"] if inside(row["at"])), default=0)


def killed(bench, gateway, population, handsets):
    """Kills the gateway, starts it on the same ports and store, waits until all are back, and then ends the run."""
    per_s_max = max(handsets // ADMIT_WITHIN_S, 100)
    gateway.process.kill()
    gateway.process.wait()
    began = time.monotonic()
    gateway = bench.gateway(sessions_max=handsets, ports=gateway.ports, per_s_max=per_s_max)
    storm = Storm(time.monotonic() - began, None, 0, per_s_max, 0, [], 0)
    while time.monotonic() < began + LIMIT_S - 20 and population.process.poll() is None:
        population.look()
        sessions = gateway.metric("everline_sessions")
        storm.returned.append((time.monotonic() - began, sessions, gateway.metric("everline_sessions_returned")))
        if sessions >= handsets:
            storm.back_s = time.monotonic() - began
            break
        time.sleep(0.5)
    # A gateway serves before it has read all that the store knows.
    storm.expected = gateway.metric("everline_sessions_expected")
    storm.refused = gateway.metric('everline_registrations_total{result="overloaded"}')
    storm.rss = readings.rss(gateway.pid)
    # One Ctrl-C ends the phase, and the report follows: what is measured in it is the storm and nothing else.
    population.process.send_signal(signal.SIGINT)
    return storm


def storming(figures, text, storm, report):
    usual, crash = phase(report, "usual")["requests"], phase(report, "crash")["requests"]
    handsets = report["registrations"]["handsets"]
    ratio = crash["latency_us"]["p99"] / max(usual["latency_us"]["p99"], 1)
    back = f"{storm.back_s:.0f} s" if storm.back_s else f"not all within {LIMIT_S - 20} s"
    figures["storm_back"] = Figure(back, storm.back_s is not None and storm.back_s <= 120)
    figures["storm_p99"] = Figure(f"{ms(crash['latency_us']['p99'])} beside {ms(usual['latency_us']['p99'])}", ratio <= 2, ratio)
    asked = report["requests"]
    text += [
        f"| killed with {handsets:,} on it, started again admitting {storm.per_s_max:,}/s; {REQUESTS_PER_S} requests/s | |", "|---|---|",
        f"| ready again | after {storm.ready_s:.1f} s |",
        f"| expected by the store | {storm.expected:,.0f} |",
        f"| all are back | {back} |",
        *(f"| {share} % are back | {reached(storm, handsets * share / 100)} |" for share in (50, 90, 99)),
        f"| told to come back later (`overloaded`) | {storm.refused:,.0f} |",
        f"| the gateway's own count of those that are back, at the end | {storm.returned[-1][2] if storm.returned else 0:,.0f} |",
        f"| gateway RSS then | {storm.rss / 1e6:,.1f} MB |",
        f"| p50, p99 of requests to those who are registered | {ms(crash['latency_us']['p50'])}, {ms(crash['latency_us']['p99'])} |",
        f"| the same before the kill | {ms(usual['latency_us']['p50'])}, {ms(usual['latency_us']['p99'])} |",
        f"| requests good; bad, mostly while nobody listened | {crash['good']:,}; {crash['bad']:,} |",
        f"| what became of all requests of the run | answered {tally(asked['answered'])}; failed {tally(asked['failed'])}; not sent {tally(asked['not_sent'])} |",
        "",
    ]
    # The bench itself interrupts the run; anything else that does not add up is told.
    faults = [fault for fault in report["faults"] if "interrupted" not in fault]
    text += [f"- {fault}" for fault in faults]
    return storm.back_s is not None and not faults


def reached(storm, wanted):
    moment = next((at for at, sessions, _ in storm.returned if sessions >= wanted), None)
    return "never" if moment is None else f"after {moment:.0f} s"


SCENARIO = """
name = "held-and-killed"
description = "Held for a round of keep-alives; then the gateway is killed in the last phase, and started again"

[fleet]
handsets = {handsets}
timeout_s = {timeout_s}
connecting = 1024
leave = "drop"

[[phase]]
name = "ramp"
ramp = {{}}

[[phase]]
name = "hold"
duration_s = {hold_s}

[[phase]]
name = "usual"
duration_s = {usual_s}
requests = {{ per_second = {per_second} }}

[[phase]]
name = "crash"
duration_s = {crash_s}
requests = {{ per_second = {per_second} }}
"""
