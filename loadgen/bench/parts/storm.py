"""A million held for a round of keep-alives; then the gateway is killed with everybody on it and started again: until all
are back, and what those who are back feel of it.

A run of its own, since every handset is lost in it on purpose. Two processes of loadgen share the handsets: the *crowd*,
which only comes back, and the few that are *asked* all the time. In production the crowd is a million other machines;
here it has the gateway's two cores, so during the storm it runs at idle priority: it gets what the gateway and the asked
leave. In one process the asked would moreover wait behind the crowd's closed connections, in the same threads.
"""

import contextlib
import dataclasses
import os
import signal
import time

import readings
from lab import KEPT, Bench, quiet, wait_for
from parts.population import Population, fits, phase
from parts.words import ms, tally
from results import Figure, Outcome
from scrape import Sampler, Scrape, quantile

HANDSETS = 1_000_000
# Few enough that their own return, in the threads that also answer, is over at once, and is nothing beside the crowd's.
ASKED = 1_000
FIRST_MSISDN = 34_700_000_000
# Apart from the crowd's, which are those that loadgen takes by itself: no two processes may use the same.
ASKED_SOURCES = "127.2.0.0/16"
# The asked come once the crowd is there, and the hold begins when they are there, too.
JOIN_S = 10
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
    few = min(ASKED, handsets // 10)
    many = handsets - few
    quiet()
    with Bench() as bench:
        gateway = bench.gateway(sessions_max=handsets)
        crowd = Population(bench, gateway, many, "--scenario", bench.write("crowd.toml", CROWD.format(
            handsets=many, first=FIRST_MSISDN, timeout_s=timeout_s, join_s=JOIN_S, hold_s=hold_s, after_s=USUAL_S + LIMIT_S,
        )), report=KEPT / "crash.json")
        wait_for("the crowd is registered", lambda: crowd.look() or gateway.metric("everline_sessions") >= many, 900)
        sampler = Sampler(gateway, every_s=5)
        # They hold for as long as the crowd joins and holds, so that no request falls into its hold.
        asked = Population(bench, gateway, few, "--sources", ASKED_SOURCES, "--scenario", bench.write("asked.toml", ASKING.format(
            handsets=few, first=FIRST_MSISDN + many, timeout_s=timeout_s, hold_s=JOIN_S + hold_s, usual_s=USUAL_S,
            per_second=REQUESTS_PER_S, crash_s=LIMIT_S,
        )), report=KEPT / "crash-asked.json")
        wait_for("all are registered", lambda: gateway.metric("everline_sessions") >= handsets, JOIN_S)
        # A second into the last phase of the asked, so that the kill falls into it.
        crowd.wait_until(time.monotonic() + JOIN_S + hold_s + USUAL_S + 1)
        sampler.end()
        storm = killed(bench, gateway, crowd, asked, handsets)
        (crowd_report, _), (asked_report, _) = crowd.report(300), asked.report(300)
    there = holding(figures, text, handsets, timeout_s, crowd_report, asked_report, sampler)
    good = storming(figures, text, handsets, storm, crowd_report, asked_report) and there
    return Outcome(f"{handsets:,} handsets held, thrown off and back again", text, good, figures)


def holding(figures, text, handsets, timeout_s, report, asked, sampler):
    hold = phase(report, "hold")
    begins = report["started_unix_s"] + hold["from_s"]
    # What the gateway's CPU went into is everybody's: the crowd's own count, and the rows of the asked in that time.
    answered = keep_alives(report, begins, hold["seconds"])
    for second, count in keep_alives(asked, begins, hold["seconds"]).items():
        answered[second] = answered.get(second, 0) + count
    count = hold["keep_alives"] + sum(keep_alives(asked, begins, hold["seconds"]).values())
    there, lost = (hold[name] + phase(asked, "hold")[name] for name in ("open_at_end", "lost"))
    name = "everline_timer_lag_seconds"
    before, after = (sampler.at(at).scrape.buckets(name) for at in (begins, begins + hold["seconds"]))
    # As if they came as evenly as they do in the long run: about a round fits into the hold, but not exactly one.
    steady = hold["gateway_cpu_s"] / max(count, 1) * handsets / timeout_s
    figures["keep_alive"] = Figure(f"{100 * steady:.1f} % of one core", count > 0 and steady <= 0.05)
    lag = quantile(after, before, 0.99)
    figures["timer_lag"] = Figure("no timers" if lag is None else f"{lag * 1000:.0f} ms", lag is not None and lag <= 0.1)
    text += [
        f"| held for {hold['seconds']:.0f} s at timeout {timeout_s} s, no requests | |", "|---|---|",
        f"| still there; lost | {there:,}; {lost} |",
        f"| KEEPALIVEs answered | {count:,}; most in a second {max(answered.values(), default=0):,}, evenly spread they would be {handsets / timeout_s:,.0f} |",
        f"| gateway CPU | {100 * hold['gateway_cores']:.1f} % of one core; {hold['gateway_cpu_s'] / max(count, 1) * 1e6:.1f} µs a KEEPALIVE, {100 * steady:.1f} % if all come evenly |",
        f"| timer lag p99 | {figures['timer_lag'].text} |", "",
    ]
    return there == handsets and lost == 0


def keep_alives(report, begins_unix_s, seconds):
    """KEEPALIVEs answered, by the second since a moment, for so many seconds."""
    since = lambda row: report["started_unix_s"] + row["at"] - begins_unix_s
    # A row tells of the second that ends with it.
    return {round(since(row)): row["keep_alives"] for row in report["seconds"] if 0.5 <= since(row) < seconds + 0.5}


def killed(bench, gateway, crowd, asked, handsets):
    """Kills the gateway, starts it on the same ports and store, waits until all are back, and then ends the run."""
    per_s_max = max(handsets // ADMIT_WITHIN_S, 100)
    give_way(crowd.process)
    gateway.process.kill()
    gateway.process.wait()
    began = time.monotonic()
    gateway = bench.gateway(sessions_max=handsets, ports=gateway.ports, per_s_max=per_s_max)
    storm = Storm(time.monotonic() - began, None, 0, per_s_max, 0, [], 0)
    while time.monotonic() < began + LIMIT_S - 20 and crowd.process.poll() is None:
        crowd.look()
        now = Scrape(gateway.admin)
        storm.returned.append((time.monotonic() - began, now["everline_sessions"], now["everline_sessions_returned"]))
        if now["everline_sessions"] >= handsets:
            storm.back_s = time.monotonic() - began
            break
        time.sleep(0.5)
    # A gateway serves before it has read all that the store knows.
    storm.expected = gateway.metric("everline_sessions_expected")
    storm.refused = gateway.metric('everline_registrations_total{result="overloaded"}')
    storm.rss = readings.rss(gateway.pid)
    # One Ctrl-C ends the phase, and the report follows: what is measured in it is the storm and nothing else.
    for population in (asked, crowd):
        population.process.send_signal(signal.SIGINT)
    return storm


def give_way(process):
    """From now on its threads run only when no other wants the core. The kernel knows threads, not processes, here."""
    for thread in os.listdir(f"/proc/{process.pid}/task"):
        with contextlib.suppress(ProcessLookupError):  # ended since they were listed
            os.sched_setscheduler(int(thread), os.SCHED_IDLE, os.sched_param(0))


def storming(figures, text, handsets, storm, crowd, report):
    usual, crash = phase(report, "usual")["requests"], phase(report, "crash")["requests"]
    ratio = crash["latency_us"]["p99"] / max(usual["latency_us"]["p99"], 1)
    back = f"{storm.back_s:.0f} s" if storm.back_s else f"not all within {LIMIT_S - 20} s"
    figures["storm_back"] = Figure(back, storm.back_s is not None and storm.back_s <= 120)
    figures["storm_p99"] = Figure(f"{ms(crash['latency_us']['p99'])} beside {ms(usual['latency_us']['p99'])}", ratio <= 2, ratio)
    asked = report["requests"]
    text += [
        f"| killed with {handsets:,} on it, started again admitting {storm.per_s_max:,}/s; {REQUESTS_PER_S} requests/s to {report['registrations']['handsets']:,} of them | |", "|---|---|",
        f"| ready again | after {storm.ready_s:.1f} s |",
        f"| expected by the store | {storm.expected:,.0f} |",
        f"| all are back | {back} |",
        *(f"| {share} % are back | {reached(storm, handsets * share / 100)} |" for share in (50, 90, 99)),
        f"| told to come back later (`overloaded`) | {storm.refused:,.0f} |",
        f"| the gateway's own count of those that are back, at the end | {storm.returned[-1][2] if storm.returned else 0:,.0f} |",
        f"| gateway RSS then | {storm.rss / 1e6:,.1f} MB |",
        f"| p50, p99 of requests to those of them that are back, until all are | {ms(crash['latency_us']['p50'])}, {ms(crash['latency_us']['p99'])} |",
        f"| the same before the kill | {ms(usual['latency_us']['p50'])}, {ms(usual['latency_us']['p99'])} |",
        f"| requests good; bad, mostly while nobody listened | {crash['good']:,}; {crash['bad']:,} |",
        f"| what became of all requests of the run | answered {tally(asked['answered'])}; failed {tally(asked['failed'])}; not sent {tally(asked['not_sent'])} |",
        "",
        "The other handsets, the crowd, are a process of loadgen of their own. During the storm it runs at idle priority, on the cores"
        " that the gateway and the requested handsets leave: in production these handsets are other machines."
        " A kernel built without preemption still lets it finish each call, some of which take milliseconds, before it gives a core up.",
        "",
    ]
    # The bench itself interrupts the runs; anything else that does not add up is told.
    faults = [fault for one in (crowd, report) for fault in one["faults"] if "interrupted" not in fault]
    text += [f"- {fault}" for fault in faults]
    return storm.back_s is not None and not faults


def reached(storm, wanted):
    moment = next((at for at, sessions, _ in storm.returned if sessions >= wanted), None)
    return "never" if moment is None else f"after {moment:.0f} s"


FLEET = """
[fleet]
handsets = {handsets}
first_msisdn = "{first}"
timeout_s = {timeout_s}
connecting = 1024
leave = "drop"

[[phase]]
name = "ramp"
ramp = {{}}
"""

CROWD = """
name = "held-and-killed"
description = "Held for a round of keep-alives; then the gateway is killed in the last phase, and started again"
""" + FLEET + """
[[phase]]
name = "join"
duration_s = {join_s}

[[phase]]
name = "hold"
duration_s = {hold_s}

[[phase]]
name = "crash"
duration_s = {after_s}
"""

ASKING = """
name = "asked-while-others-come-back"
description = "Held as long as the crowd, then requested; the gateway is killed in the last phase, and started again"
""" + FLEET + """
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
