"""What was measured, kept and written: docs/benchmarks.json holds the figures beside their bars, docs/benchmarks.md shows
them in a table, and below it a section for each part. A part that runs alone replaces only what is its own."""

import dataclasses
import json
import re
import time

import readings
from lab import ROOT

DOCUMENT = ROOT / "docs/benchmarks.md"
KEPT = ROOT / "docs/benchmarks.json"

# What good looks like: (id, part, what is measured, bar, what the best others do or what it is compared with).
BARS = [
    ("sessions", "million", "idle sessions in one process", "1,000,000, none refused, none lost", "WhatsApp: 2.3 M on 24 threads and 96 GB"),
    ("sessions_more", "two-million", "the same, twice", "2,000,000, none refused, none lost", ""),
    ("rss", "million", "gateway RSS at 1,000,000, the store included", "≤ 300 MB", "Mosquitto 1.0 GB, NanoMQ 6.9 GB, rmqtt 33 GB"),
    ("tables", "million", "the session tables' part of it", "≤ 128 bytes a session", ""),
    ("kernel_memory", "million", "kernel memory a session", "≤ 1.05 × the floor's", "floor"),
    ("registrations", "million", "registrations/s to the millionth, handsets on the same cores", "≥ 15,000/s", "5,000/s published"),
    ("registration_cpu", "million", "CPU a registration, HS256", "≤ 1.6 × the floor's", "floor"),
    ("registration_cpu_eddsa", "million", "CPU a registration, EdDSA", "—", "floor"),
    ("keep_alive", "storm", "keep-alive of 1,000,000 at 300 s", "≤ 5 % of one core", ""),
    ("timer_lag", "storm", "timer lag p99 meanwhile", "≤ 100 ms", ""),
    ("wake", "million", "wake p99, 1,000,000 idle, 2,000 requests/s", "≤ 50 ms", ""),
    ("wake_ratio", "million", "the same beside 10,000 idle", "≤ 1.5 ×", "10,000 idle"),
    ("scrape", "million", "scrape at 1,000,000", "≤ 50 ms, ≤ 2,000 series", ""),
    ("storm_back", "storm", "kill -9 with 1,000,000: all are back", "≤ 120 s", ""),
    ("storm_p99", "storm", "p99 of settled handsets' requests meanwhile", "≤ 2 × the usual", "before the kill"),
    ("loadgen_rss", "million", "loadgen RSS at 1,000,000 handsets", "≤ 500 MB", ""),
    ("loadgen_cpu", "million", "loadgen CPU", "≤ 2.5 × the gateway's", "gateway"),
    ("requests_close", "requests", "requests/s, linger 0, callers that close", "≥ rathole's", "rathole"),
    ("requests_keep", "requests", "requests/s, linger 5, callers that keep", "≥ rathole's", "rathole"),
]


@dataclasses.dataclass
class Figure:
    """One figure beside its bar. `ratio`: to the floor or the peer that the bar names."""

    text: str
    met: bool | None = None
    ratio: float | None = None


@dataclasses.dataclass
class Outcome:
    """What a part found. `good` is False if something was lost or wrong; a bar that was missed is no such thing."""

    title: str
    text: list
    good: bool = True
    figures: dict = dataclasses.field(default_factory=dict)


def shown(outcome):
    """The outcome on the terminal, for a run that writes nothing."""
    bars = {row[0]: row for row in BARS}
    lines = [f"{bars[name][2]}: {figure.text} (bar {bars[name][3]}): {verdict(figure)}" for name, figure in outcome.figures.items()]
    return "\n".join([f"## {outcome.title}", "", *outcome.text, "", *lines])


def verdict(figure):
    return {True: "met", False: "**not met**", None: "—"}[figure.met]


def publish(part, outcome):
    """Replaces the part's section and its figures, and writes the table at the top anew."""
    known = json.loads(KEPT.read_text()) if KEPT.exists() else {"figures": {}}
    if unknown := set(outcome.figures) - {row[0] for row in BARS}:
        raise ValueError(f"no bar is called {unknown}")
    for name, figure in outcome.figures.items():
        known["figures"][name] = dataclasses.asdict(figure) | {
            "command": f"./bench {part}", "machine": readings.machine(), "processor": readings.processor(), "date": time.strftime("%Y-%m-%d"),
        }
    KEPT.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")
    where = f"`./bench {part}`, on {readings.machine()}, {time.strftime('%Y-%m-%d')}."
    sections = {part: "\n".join([f"## {outcome.title}", "", where, "", *outcome.text]), "summary": summary(known["figures"])}
    text = DOCUMENT.read_text() if DOCUMENT.exists() else HEADER
    for name, section in sections.items():
        text = replaced(text, name, section)
    DOCUMENT.write_text(re.sub(r"\n{3,}", "\n\n", text))
    print(sections[part])


def replaced(text, name, section):
    """The text with the section between its markers; a new one comes last, the summary first."""
    section = f"<!-- {name} -->\n{section.strip()}\n<!-- end of {name} -->"
    pattern = re.compile(rf"<!-- {name} -->.*?<!-- end of {name} -->", re.S)
    if pattern.search(text):
        return pattern.sub(lambda _: section, text)
    first = re.search(r"^<!-- ", text, re.M)
    if name == "summary" and first:
        return f"{text[:first.start()]}{section}\n\n{text[first.start():]}"
    return f"{text.rstrip()}\n\n{section}\n"


def summary(figures):
    rows = ["## The bars", "", "| what | bar | figure | met | ratio | command | measured |", "|---|---|---|---|---|---|---|"]
    for name, part, what, bar, beside in BARS:
        kept = figures.get(name)
        if kept is None:
            rows.append(f"| {what} | {bar} | not measured yet | — | {beside} | `./bench {part}` | |")
            continue
        figure = Figure(kept["text"], kept["met"], kept["ratio"])
        ratio = beside if figure.ratio is None else f"{figure.ratio:.2f} × {beside}"
        rows.append(f"| {what} | {bar} | {figure.text} | {verdict(figure)} | {ratio} | `{kept['command']}` | {kept['date']} |")
    machines = sorted({f"{kept['machine']}, {kept['processor']}" for kept in figures.values()})
    rows += ["", f"Machine: {'; '.join(machines) or 'none yet'}. The floor is the accept-only server of `uring/examples/floor`."]
    return "\n".join(rows)


HEADER = """# Benchmarks

What was measured, and the command that measures it. Machines differ and are shared: compare rows of one table, not figures of two.
Each section is written by its command and by nothing else.
"""
