"""A million handsets: registered, woken and scraped, beside the least that it could cost.

The floor server and the gateway are filled by the same loadgen with the same fleet, one after the other. What is per
session or per registration is compared with the floor; the rest has bars of its own. The gateway is filled by
loadgen's shipped scenario `million`, whose page is kept. How it holds them, and how they come back, is in `storm`.
"""

import re
import statistics

import readings
from lab import KEPT, ROOT, Bench, quiet
from parts.population import Population, all_there, fits, phase, register, slab_table
from parts.words import mb, ms, tally
from results import Figure, Outcome
from scrape import Sampler, Scrape, quantile

HANDSETS = 1_000_000
# As many as the ratios are measured with that need no million: a registration costs the same.
FEW = 100_000
IDLE_FEW = 10_000
# As the scenario `million` has it.
WAKES_PER_S = 2_000
WAKE_S = 60


def measure(handsets=HANDSETS):
    if missing := fits(handsets):
        raise SystemExit(f"bench: {missing}")
    figures, text = {}, []
    floor, floor_slab = floor_filled(handsets)
    found = gateway_filled(handsets)
    good = registering(figures, text, handsets, floor, found)
    few(figures, text, min(FEW, handsets))
    memory(figures, text, handsets, floor_slab, found)
    good &= waking(figures, text, found)
    loadgens(figures, text, found.report)
    text += ["", f"loadgen's own page of the scenario `million`, and its report: `{found.page.relative_to(KEPT.parent)}`, `{found.json.relative_to(KEPT.parent)}`."]
    return Outcome(f"{handsets:,} handsets", text, good, figures)


def floor_filled(handsets):
    quiet(at_rest=True)
    with Bench() as bench:
        report, growth = register(bench, bench.floor(handsets), handsets, hold_s=15)
        if report["sessions"]["open_max"] != handsets:
            raise SystemExit(f"bench: the floor server held {report['sessions']['open_max']:,} of {handsets:,} handsets: nothing to compare with")
        return report, growth


class Found:
    """What the run of the scenario `million` brought."""


def gateway_filled(handsets):
    quiet(at_rest=True)
    KEPT.mkdir(exist_ok=True)
    found = Found()
    found.page, found.json = KEPT / "million.html", KEPT / "million.json"
    with Bench() as bench:
        gateway = bench.gateway(sessions_max=handsets)
        found.rss_empty = readings.rss(gateway.pid)
        words = ["--scenario", "million", "--handsets", handsets, "--leave", "drop", "--html", found.page]
        population = Population(bench, gateway, handsets, *words, report=found.json)
        found.held = population.wait_until_held()
        # The scenario holds its handsets without requests for ten seconds: this takes about four.
        found.slab = population.slab_growth()
        found.rss = readings.rss(gateway.pid)
        found.scrapes = [Scrape(gateway.admin) for _ in range(20)]
        sampler = Sampler(gateway)
        found.report, _ = population.report(WAKE_S + 600)
        sampler.end()
        found.samples, found.memory_least = sampler, population.memory_least
    return found


def registering(figures, text, handsets, floor, found):
    ramp, least = phase(found.report, "ramp"), phase(floor, "ramp")
    rate, slowest = ramp["registrations_per_s"], ramp["registrations_per_s_slowest_10s"] or ramp["registrations_per_s"]
    cpu, floor_cpu = (one["gateway"]["cpu_us_per_registration"] for one in (found.report, floor))
    held, there = found.report["sessions"]["open_before_finish"], all_there(found.report, handsets)
    outcome = f"refused: {tally(found.report['registrations']['not_registered'])}; lost: {tally(found.report['sessions']['lost'])}"
    figures["sessions"] = Figure(f"{held:,} held; {outcome}", there and handsets == HANDSETS)
    figures["registrations"] = Figure(f"{rate:,.0f}/s, slowest 10 s {slowest:,.0f}/s", min(rate, slowest) >= 15_000)
    figures["registration_cpu"] = Figure(f"{cpu:.1f} µs", cpu <= 1.6 * floor_cpu, cpu / floor_cpu)
    latency = [one["registrations"]["latency_us"] for one in (floor, found.report)]
    text += [
        "| registering, tokens HS256 | floor | gateway |", "|---|---|---|",
        f"| registrations/s | {least['registrations_per_s']:,.0f} | {rate:,.0f} |",
        f"| the slowest ten seconds | {least['registrations_per_s_slowest_10s'] or least['registrations_per_s']:,.0f} | {slowest:,.0f} |",
        f"| server CPU a registration | {floor_cpu:.1f} µs | {cpu:.1f} µs |",
        f"| loadgen CPU a registration | {floor['loadgen']['cpu_us_per_registration']:.1f} µs | {found.report['loadgen']['cpu_us_per_registration']:.1f} µs |",
        f"| due to CONNREGISTERED p50, p99 | {ms(latency[0]['p50'])}, {ms(latency[0]['p99'])} | {ms(latency[1]['p50'])}, {ms(latency[1]['p99'])} |",
        f"| held | {floor['sessions']['open_before_finish']:,} | {held:,}; {outcome} |",
        "",
    ]
    return there


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
    last = phase(found.report, "requests")["gateway_rss_bytes"]
    figures["rss"] = Figure(f"{mb(found.rss)}, {found.rss / handsets:.0f} bytes a session", found.rss <= 300e6)
    figures["tables"] = tables()
    slowest, series = max(one.seconds for one in found.scrapes), len(found.scrapes[0].series)
    usual = statistics.median(one.seconds for one in found.scrapes)
    figures["scrape"] = Figure(f"{slowest * 1000:.1f} ms, {series:,} series", slowest <= 0.05 and series <= 2_000)
    text += [
        "| memory and scrapes, all registered | |", "|---|---|",
        f"| gateway RSS | {mb(found.rss)}; {mb(found.rss_empty)} before the first; {(found.rss - found.rss_empty) / handsets:.0f} bytes a session |",
        f"| gateway RSS after the requests | {mb(last)} |",
        f"| least memory of the machine that was free | {found.memory_least / readings.GIB:.1f} GiB |",
        f"| scrape, median and slowest of 20 | {usual * 1000:.1f} ms, {slowest * 1000:.1f} ms; {series:,} series, {found.scrapes[0].bytes:,} bytes |", "",
    ]
    if floor_slab is None or found.slab is None:
        text.append("The kernel's slab can't be read here (`/proc/slabinfo` is root's): kernel memory was not measured.\n")
        return
    rows, (least, total) = slab_table(floor_slab, found.slab)
    own = (total - least / 2) / (least / 2)
    figures["kernel_memory"] = Figure(f"{total - least / 2:,.0f} bytes", own <= 1.05, own)
    text += [
        "Kernel slab a session. Both ends of its connection are on this machine, and loadgen's end is the same for both: the "
        f"gateway's own is what is beyond half of the floor's, {total - least / 2:,.0f} bytes, {own:.3f} × the floor's {least / 2:,.0f}. "
        "The floor server, too, watches each socket with a poll. The kernel keeps objects of one size together, so a cache may bear another's name.",
        "", *rows, "",
    ]


def tables():
    """The sum that docs/limits.md adds up, which a test holds against the program."""
    found = re.search(r"^\| sum \| (\d+) \|", (ROOT / "docs/limits.md").read_text(), re.M)
    if not found:
        raise SystemExit("bench: docs/limits.md has no row `sum` with the bytes of a session's tables")
    return Figure(f"{found[1]} bytes, docs/limits.md", int(found[1]) <= 128)


def waking(figures, text, found):
    """REQUESTPENDING to bound, beside a million idle ones and beside ten thousand."""
    name, label = "everline_stage_seconds", 'stage="wake"'
    requests = phase(found.report, "requests")
    begins = found.report["started_unix_s"] + requests["from_s"]
    before, after = (found.samples.at(at).scrape.buckets(name, label) for at in (begins, begins + requests["seconds"]))
    p99, many = quantile(after, before, 0.99), requests["requests"]
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
    phases = [phase(report, name) for name in ("ramp", "requests")]
    ratios = [one["loadgen_cpu_s"] / max(one["gateway_cpu_s"], 0.01) for one in phases]
    memory = max(one["loadgen_rss_bytes"] for one in phases)
    figures["loadgen_rss"] = Figure(mb(memory), memory <= 500e6)
    figures["loadgen_cpu"] = Figure(f"{ratios[0]:.2f} × registering, {ratios[1]:.2f} × requesting", max(ratios) <= 2.5, max(ratios))
    text += ["| loadgen's own cost | CPU to the gateway's | RSS |", "|---|---|---|"]
    text += [f"| {one['name']} | {ratio:.2f} | {mb(one['loadgen_rss_bytes'])} |" for one, ratio in zip(phases, ratios)]
    text.append("")
