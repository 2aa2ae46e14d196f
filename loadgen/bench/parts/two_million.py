"""Two million sessions in one process, if both ends of them fit into this machine."""

import readings
from lab import Bench, quiet
from parts.population import Population, all_there, fits, phase
from parts.words import mb, tally
from results import Figure, Outcome

HANDSETS = 2_000_000
HOLD_S = 30


def measure(handsets=HANDSETS):
    title = f"{handsets:,} handsets"
    quiet()
    if missing := fits(handsets):
        return Outcome(title, [f"Not measured: {missing}."], True, {"sessions_more": Figure(f"does not fit: {missing}")})
    with Bench() as bench:
        gateway = bench.gateway(sessions_max=handsets)
        words = ["--handsets", handsets, "--hold", f"{HOLD_S}s", "--leave", "drop", "--timeout", 3600]
        population = Population(bench, gateway, handsets, *words)
        try:
            population.wait_until_held()
            rss = readings.rss(gateway.pid)
            report, _ = population.report(1800)
        except MemoryError as error:
            return Outcome(title, [f"Not all fitted: {error}."], True, {"sessions_more": Figure(str(error), False)})
        shards = sum(1 for task in readings.threads(gateway.pid) if task.startswith("shard"))
    ramp, hold = phase(report, "ramp"), phase(report, "hold")
    there = all_there(report, handsets)
    figure = Figure(f"{hold['open_at_end']:,} held, {tally(report['registrations']['not_registered'])} refused", there and handsets == HANDSETS)
    text = [
        "| what | figure |", "|---|---|",
        f"| sessions held for {HOLD_S} s | {hold['open_at_end']:,} in {shards} shards; refused: {tally(report['registrations']['not_registered'])}; lost: {tally(report['sessions']['lost'])} |",
        f"| registrations/s; the slowest ten seconds | {ramp['registrations_per_s']:,.0f}; {ramp['registrations_per_s_slowest_10s'] or ramp['registrations_per_s']:,.0f} |",
        f"| gateway CPU a registration | {report['gateway']['cpu_us_per_registration']:.1f} µs |",
        f"| gateway RSS | {mb(rss)}, {rss / handsets:.0f} bytes a session |",
        f"| loadgen RSS | {mb(hold['loadgen_rss_bytes'])} |",
        f"| least memory that was free | {population.memory_least / readings.GIB:.1f} GiB |",
    ]
    return Outcome(title, text, there, {"sessions_more": figure})
