"""A million handsets: registered, held, woken, scraped, and thrown off and back again, beside the least that it could cost.

The floor server and the gateway are filled by the same loadgen with the same flags, one after the other. What is per
session or per registration is compared with the floor; the rest has bars of its own.
"""

import statistics
import time

import readings
from lab import KEPT, Bench, quiet
from parts import storm
from parts.population import Population, all_there, fits, phase, register, slab_table
from parts.words import mb, ms, tally
from results import Figure, Outcome
from scrape import Sampler, Scrape, quantile

HANDSETS = 1_000_000
# As many as the ratios are measured with that need no million: a registration costs the same.
FEW = 100_000
IDLE_FEW = 10_000
WAKES_PER_S = 2_000
WAKE_S = 60
USUAL_S = 30


def measure(handsets=HANDSETS):
    if missing := fits(handsets):
        raise SystemExit(f"bench: {missing}")
    full = handsets == HANDSETS
    # A smaller population would see no keep-alive in a time that somebody waits for.
    timeout_s, hold_s = (300, 330) if full else (30, 45)
    figures, text = {}, []
    floor, floor_slab = floor_filled(handsets)
    found = gateway_filled(handsets, timeout_s, hold_s)
    report, good = found.report, found.good
    registering(figures, text, handsets, floor, found)
    few(figures, text, min(FEW, handsets))
    memory(figures, text, handsets, floor_slab, found)
    holding(figures, text, handsets, timeout_s, found)
    good &= waking(figures, text, found)
    good &= storm.told(figures, text, found)
    loadgens(figures, text, report)
    text += ["", f"The run as loadgen tells it: `{found.page.relative_to(KEPT.parent)}`, `{found.json.relative_to(KEPT.parent)}`."]
    if report["faults"]:
        text += ["", "What was not well:", "", *(f"- {fault}" for fault in report["faults"])]
    return Outcome(f"{handsets:,} handsets", text, good, figures)


def floor_filled(handsets):
    quiet()
    with Bench() as bench:
        report, growth = register(bench, bench.floor(handsets), handsets, hold_s=15)
        if report["sessions"]["open_max"] != handsets:
            raise SystemExit(f"bench: the floor server held {report['sessions']['open_max']:,} of {handsets:,} handsets: nothing to compare with")
        return report, growth


class Found:
    """What the gateway's run brought."""


def gateway_filled(handsets, timeout_s, hold_s):
    """One run of loadgen through all phases; the gateway is killed and started again in the last one."""
    quiet()
    KEPT.mkdir(exist_ok=True)
    found = Found()
    found.page, found.json = KEPT / "million.html", KEPT / "million.json"
    found.json.unlink(missing_ok=True)
    with Bench() as bench:
        gateway = bench.gateway(sessions_max=handsets)
        found.rss_empty = readings.rss(gateway.pid)
        scenario = bench.write("million.toml", SCENARIO.format(
            handsets=handsets, timeout_s=timeout_s, hold_s=hold_s, wake_s=WAKE_S, wakes_per_s=WAKES_PER_S,
            usual_s=USUAL_S, usual_per_s=storm.REQUESTS_PER_S, crash_s=storm.LIMIT_S,
        ))
        population = Population(bench, gateway, handsets, "--scenario", scenario, "--html", found.page, report=found.json)
        sampler = Sampler(gateway, population.process.pid, every_s=5)
        found.held = population.wait_until_held()
        began = time.monotonic()
        found.slab = population.slab_growth()
        found.rss = readings.rss(gateway.pid)
        found.scrapes = [Scrape(gateway.admin) for _ in range(20)]
        # Into the last phase, so that the kill falls into it.
        population.wait_until(began + hold_s + WAKE_S + USUAL_S + 5)
        found.rss_last = readings.rss(gateway.pid)
        sampler.end()
        found.storm = storm.run(bench, gateway, population, handsets)
        found.report, _ = population.report(300)
        found.samples, found.memory_least = sampler, population.memory_least
    ramp = phase(found.report, "ramp")
    hold = phase(found.report, "hold")
    found.good = ramp["not_registered"] == 0 and hold["open_at_end"] == handsets and ramp["lost"] + hold["lost"] == 0
    return found


def border(found, name, end):
    """The sample that is nearest to a phase's beginning or end."""
    one = phase(found.report, name)
    return found.samples.at(found.report["started_unix_s"] + one["from_s"] + (one["seconds"] if end else 0))


def registering(figures, text, handsets, floor, found):
    ramp, least = phase(found.report, "ramp"), phase(floor, "ramp")
    rate, slowest = ramp["registrations_per_s"], ramp["registrations_per_s_slowest_10s"] or ramp["registrations_per_s"]
    cpu, floor_cpu = (one["gateway"]["cpu_us_per_registration"] for one in (found.report, floor))
    refused = ramp["not_registered"] + ramp["lost"]
    held = phase(found.report, "usual")["open_at_end"]
    figures["sessions"] = Figure(f"{held:,} held, {refused} refused or lost", held == HANDSETS and found.good and not refused)
    figures["registrations"] = Figure(f"{rate:,.0f}/s, slowest 10 s {slowest:,.0f}/s", min(rate, slowest) >= 15_000, rate / least["registrations_per_s"])
    figures["registration_cpu"] = Figure(f"{cpu:.1f} µs", cpu <= 1.6 * floor_cpu, cpu / floor_cpu)
    latency = found.report["registrations"]["latency_us"]
    text += [
        "| registering, tokens HS256 | floor | gateway |", "|---|---|---|",
        f"| registrations/s | {least['registrations_per_s']:,.0f} | {rate:,.0f} |",
        f"| the slowest ten seconds | {least['registrations_per_s_slowest_10s'] or 0:,.0f} | {slowest:,.0f} |",
        f"| server CPU a registration | {floor_cpu:.1f} µs | {cpu:.1f} µs |",
        f"| loadgen CPU a registration | {floor['loadgen']['cpu_us_per_registration']:.1f} µs | {found.report['loadgen']['cpu_us_per_registration']:.1f} µs |",
        f"| refused or lost | {tally(floor['registrations']['not_registered'])} | {refused} |",
        f"| due to CONNREGISTERED p50, p99 | {ms(floor['registrations']['latency_us']['p50'])}, {ms(floor['registrations']['latency_us']['p99'])} | {ms(latency['p50'])}, {ms(latency['p99'])} (reconnects after the kill included) |",
        "",
    ]


def few(figures, text, handsets):
    """The same with fewer, for the algorithms: what a token costs does not depend on how many are registered."""
    cpu = {}
    for server in ("floor", "HS256", "EdDSA"):
        quiet()
        with Bench() as bench:
            filled = bench.floor(handsets) if server == "floor" else bench.gateway(sessions_max=handsets, algorithm=server)
            report, _ = register(bench, filled, handsets)
            cpu[server] = (report["gateway"]["cpu_us_per_registration"], phase(report, "ramp")["registrations_per_s"])
    ratio = cpu["EdDSA"][0] / cpu["floor"][0]
    figures["registration_cpu_eddsa"] = Figure(f"{cpu['EdDSA'][0]:.1f} µs, at {handsets:,}", None, ratio)
    text += [f"| {handsets:,} handsets | server CPU a registration | to the floor | registrations/s |", "|---|---|---|---|"]
    text += [f"| {name} | {one:.1f} µs | {one / cpu['floor'][0]:.2f} | {rate:,.0f} |" for name, (one, rate) in cpu.items()]
    text.append("")


def memory(figures, text, handsets, floor_slab, found):
    figures["rss"] = Figure(f"{mb(found.rss)}, {found.rss / handsets:.0f} bytes a session", found.rss <= 300e6)
    text += [
        "| memory | |", "|---|---|",
        f"| gateway RSS with all registered | {mb(found.rss)}; {mb(found.rss_empty)} before the first; {(found.rss - found.rss_empty) / handsets:.0f} bytes a session |",
        f"| gateway RSS after keep-alives and requests | {mb(found.rss_last)} |",
        f"| least memory that was free | {found.memory_least / readings.GIB:.1f} GiB |", "",
    ]
    if floor_slab is None or found.slab is None:
        text.append("The kernel's slab can't be read here (`/proc/slabinfo` is root's): kernel memory was not measured.\n")
        return
    rows, (least, total) = slab_table(floor_slab, found.slab)
    own = (total - least / 2) / (least / 2)
    figures["kernel_memory"] = Figure(f"{total:,.0f} bytes both ends, the gateway's own {own:.3f} × the floor's", total <= 1.05 * least, total / least)
    text += ["Kernel slab a session, both ends of its connection (the floor server, too, watches each socket with a poll):", "", *rows, ""]


def holding(figures, text, handsets, timeout_s, found):
    hold, began, ended = phase(found.report, "hold"), border(found, "hold", False), border(found, "hold", True)
    # As if they came as evenly as they do in the long run: a round fits into the hold, but not exactly one.
    steady = hold["gateway_cpu_s"] / max(hold["keep_alives"], 1) * handsets / timeout_s
    figures["keep_alive"] = Figure(f"{100 * steady:.1f} % of one core", steady <= 0.05)
    name = "everline_timer_lag_seconds"
    lag = quantile(ended.scrape.buckets(name), began.scrape.buckets(name), 0.99)
    figures["timer_lag"] = Figure("no timers" if lag is None else f"{lag * 1000:.0f} ms", lag is not None and lag <= 0.1)
    slowest, series = max(one.seconds for one in found.scrapes), len(found.scrapes[0].series)
    figures["scrape"] = Figure(f"{slowest * 1000:.1f} ms, {series:,} series", slowest <= 0.05 and series <= 2_000)
    usual = statistics.median(one.seconds for one in found.scrapes)
    text += [
        f"| held for {hold['seconds']:.0f} s at timeout {timeout_s} s, no requests | |", "|---|---|",
        f"| still there; lost | {hold['open_at_end']:,}; {hold['lost']} |",
        f"| KEEPALIVEs answered | {hold['keep_alives']:,} |",
        f"| gateway CPU | {100 * hold['gateway_cores']:.1f} % of one core; {hold['gateway_cpu_s'] / max(hold['keep_alives'], 1) * 1e6:.1f} µs a KEEPALIVE, {100 * steady:.1f} % if all come evenly |",
        f"| timer lag p99 | {figures['timer_lag'].text} |",
        f"| scrape, median and slowest of 20 | {usual * 1000:.1f} ms, {slowest * 1000:.1f} ms; {series:,} series, {found.scrapes[0].bytes:,} bytes |", "",
    ]


def waking(figures, text, found):
    """REQUESTPENDING to bound, beside a million idle ones and beside ten thousand."""
    name, label = "everline_stage_seconds", 'stage="wake"'
    buckets = [border(found, "wake", end).scrape.buckets(name, label) for end in (False, True)]
    many = phase(found.report, "wake")["requests"]
    p99 = quantile(buckets[1], buckets[0], 0.99)
    quiet()
    with Bench() as bench:
        gateway = bench.gateway(sessions_max=IDLE_FEW)
        words = ["--handsets", IDLE_FEW, "--hold", f"{WAKE_S}s", "--requests-per-second", WAKES_PER_S]
        report, _ = Population(bench, gateway, IDLE_FEW, *words).report(WAKE_S + 120)
        few_p99 = quantile(Scrape(gateway.admin).buckets(name, label), None, 0.99)
    idle = phase(report, "hold")["requests"]
    if p99 is None or few_p99 is None:
        text += ["No handset was woken: the wake latency was not measured.", ""]
        return False
    figures["wake"] = Figure(f"{p99 * 1000:.1f} ms", p99 <= 0.05)
    figures["wake_ratio"] = Figure(f"{p99 * 1000:.1f} ms beside {few_p99 * 1000:.1f} ms", p99 <= 1.5 * few_p99, p99 / few_p99)
    text += [
        f"| {WAKES_PER_S:,} requests/s to random handsets for {WAKE_S} s | {found.report['registrations']['handsets']:,} idle | {IDLE_FEW:,} idle |", "|---|---|---|",
        f"| REQUESTPENDING to bound data channel p99 | {p99 * 1000:.2f} ms | {few_p99 * 1000:.2f} ms |",
        *(f"| request due to answered {key.replace('_', '.')} | {ms(many['latency_us'][key])} | {ms(idle['latency_us'][key])} |" for key in ("p50", "p99", "p99_9", "max")),
        f"| good, bad | {many['good']:,}, {many['bad']:,} | {idle['good']:,}, {idle['bad']:,} |", "",
    ]
    return many["bad"] == 0 and idle["bad"] == 0


def loadgens(figures, text, report):
    ramp, usual = phase(report, "ramp"), phase(report, "usual")
    ratio = ramp["loadgen_cpu_s"] / max(ramp["gateway_cpu_s"], 0.01)
    memory = usual["loadgen_rss_bytes"]
    figures["loadgen_rss"] = Figure(mb(memory), memory <= 500e6)
    figures["loadgen_cpu"] = Figure(f"{ramp['loadgen_cpu_s']:.1f} s to {ramp['gateway_cpu_s']:.1f} s registering", ratio <= 2.5, ratio)
    text += ["| loadgen's own cost | to the gateway's CPU | |", "|---|---|---|"]
    for one in (ramp, phase(report, "hold"), phase(report, "wake"), usual):
        text.append(f"| {one['name']} | {one['loadgen_cpu_s'] / max(one['gateway_cpu_s'], 0.01):.2f} | {mb(one['loadgen_rss_bytes'])} |")


SCENARIO = """
name = "million-and-a-crash"
description = "Registered, held, woken, and thrown off by a gateway that is killed in the last phase"

[fleet]
handsets = {handsets}
timeout_s = {timeout_s}
leave = "drop"

[[phase]]
name = "ramp"
ramp = {{}}

[[phase]]
name = "hold"
duration_s = {hold_s}

[[phase]]
name = "wake"
duration_s = {wake_s}
requests = {{ per_second = {wakes_per_s} }}

[[phase]]
name = "usual"
duration_s = {usual_s}
requests = {{ per_second = {usual_per_s} }}

[[phase]]
name = "crash"
duration_s = {crash_s}
requests = {{ per_second = {usual_per_s} }}
"""
