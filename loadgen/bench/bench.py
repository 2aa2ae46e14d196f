#!/usr/bin/env python3
"""The parts of ./bench: each starts what it measures on free loopback ports, measures, ends it, and writes its section.

Figures are ratios within one run wherever there is something to compare with. A part that finds anything lost or wrong
says so in its section and ends with a failure; a bar that is missed is written as missed, and is none.
"""

import argparse
import functools
import signal
import sys
import time

import results
from parts import crash, hold, micro, million, profile, relay, requests, storm, two_million, versus

# In the order in which they run; each tells about how long it takes.
PARTS = {
    "requests": (requests.measure, "3 min"),
    "profile": (profile.measure, "1 min"),
    "relay": (relay.measure, "1 min"),
    "crash": (crash.measure, "3 min"),
    "hold": (hold.measure, "5 min"),
    "micro": (micro.measure, "3 min"),
    "million": (million.measure, "8 min"),
    "storm": (storm.measure, "9 min"),
    "two-million": (two_million.measure, "8 min"),
}
SCALED = ("million", "storm", "two-million")


def main(words):
    if words[:1] == ["versus"]:
        if len(words) != 2:
            raise SystemExit("bench: versus takes one argument, the other gateway: ./bench versus FILE")
        return versus.measure(words[1])
    arguments = argparse.ArgumentParser(prog="./bench", allow_abbrev=False, description="Measures what Everline claims.")
    arguments.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all without any")
    arguments.add_argument("--handsets", type=int, metavar="N", help=f"another scale for {' and '.join(SCALED)}: prints, and writes nothing")
    asked = arguments.parse_args(words)
    if unknown := [name for name in asked.parts if name not in PARTS]:
        raise SystemExit(f"bench: no part is called {unknown[0]}; there are {', '.join(PARTS)}, and versus")
    if asked.handsets is not None and (asked.handsets < 1000 or not asked.parts or set(asked.parts) - set(SCALED)):
        raise SystemExit(f"bench: --handsets takes at least 1000, and goes with the parts {' and '.join(SCALED)}, named")
    failed = []
    for name in asked.parts or PARTS:
        measure, about = PARTS[name]
        print(f"bench: {name}, about {about} …", file=sys.stderr)
        began = time.monotonic()
        outcome = (functools.partial(measure, asked.handsets) if asked.handsets else measure)()
        if asked.handsets:
            print(results.shown(outcome), f"\nWith {asked.handsets:,} handsets only: nothing was written.", sep="\n")
        else:
            results.publish(name, outcome)
        print(f"bench: {name} took {time.monotonic() - began:.0f} s", file=sys.stderr)
        if not outcome.good:
            failed.append(name)
    if failed:
        raise SystemExit(f"bench: something was lost or wrong, see above: {', '.join(failed)}")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    main(sys.argv[1:])
