"""The micro-benchmarks (divan) of what a session is made of, as a table: codec, timer wheel, directory, mailbox, tokens."""

import re
import subprocess

from lab import ROOT
from results import Outcome

BENCHES = {
    "everline-protocol": ("codec", "wheel"),
    "everline-gateway": ("directory", "mailbox", "tokens"),
}
# A row of divan's tree: its depth is the length of what precedes the name. Rows of rates, which have no name, follow a row of times.
ROW = re.compile(r"^((?:[│ ]  )*)[├╰]─ (.*?)\s{2,}(\S.*)?$")
TIME = re.compile(r"^[\d.]+ (?:ps|ns|µs|ms|s)$")


def measure():
    text, good = [], True
    for package, names in BENCHES.items():
        for name in names:
            run = subprocess.run(["cargo", "bench", "--quiet", "-p", package, "--bench", name], cwd=ROOT, capture_output=True, text=True)
            rows = parsed(run.stdout)
            if run.returncode or not rows:
                text += [f"`{name}` FAILED: {(run.stderr.strip().splitlines() or ['it printed no rows'])[-1]}", ""]
                good = False
                continue
            text += [f"`cargo bench -p {package} --bench {name}`", "", "| what | fastest | median | slowest |", "|---|---|---|---|"]
            text += [f"| {' '.join(path)} | {fastest} | {median} | {slowest} |" for path, fastest, slowest, median in rows]
            text.append("")
    return Outcome("Micro-benchmarks", text, good)


def parsed(output):
    """[(path, fastest, slowest, median)] out of divan's tree."""
    rows, path = [], []
    for line in output.splitlines():
        if not (found := ROW.match(line)):
            continue
        depth = len(found[1]) // 3
        path = [*path[:depth], found[2].strip()]
        cells = [cell.strip() for cell in (found[3] or "").split("│")]
        if len(cells) >= 4 and all(TIME.match(cell) for cell in cells[:3]):
            rows.append((path, *cells[:3]))
    return rows
