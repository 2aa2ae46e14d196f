"""The gateway of this checkout beside another build of it, pair by pair. Writes nothing."""

import pathlib

from lab import BIN, Bench, free_ports
from parts.traffic import ORIGIN, wrk


def measure(other, seconds=4, rounds=5):
    rows, failed = {}, 0
    with Bench() as bench:
        (origin,) = free_ports(1)
        bench.nginx("origin", ORIGIN.format(port=origin))
        ways = []
        for number, binary in enumerate((BIN / "gateway", other)):
            gateway = bench.gateway(binary=binary, name=f"gateway-{number}")
            for linger in (0, 5):
                msisdn = f"346000000{number}{linger}"
                bench.agent(gateway, f"http://127.0.0.1:{origin}", linger, msisdn)
                ways.append((linger, number, gateway.ingress, f"{msisdn}.localhost"))
        for close in (True, False):
            for _ in range(rounds):
                for linger, number, port, host in sorted(ways):
                    run = wrk(port, close, seconds, host=host)
                    failed += run[3]
                    rows.setdefault((close, linger), ([], []))[number].append(run)
    text = [f"wrk, 2 threads, 32 connections, 64-byte answers; {rounds} pairs of {seconds} s. B is {pathlib.Path(other).name}.", ""]
    text += ["| callers | linger | A requests/s | B / A: median (least to most) | A p99 ms | B / A |", "|---|---|---|---|---|---|"]
    for (close, linger), (a, b) in rows.items():
        rates, tails = (sorted(two[at] / one[at] for one, two in zip(a, b)) for at in (0, 2))
        middle = len(rates) // 2
        text.append(
            f"| {'close' if close else 'keep-alive'} | {linger} | {sorted(run[0] for run in a)[middle]:,.0f} | {rates[middle]:.2f} ({rates[0]:.2f} to {rates[-1]:.2f}) "
            f"| {sorted(run[2] for run in a)[middle]:.2f} | {tails[middle]:.2f} ({tails[0]:.2f} to {tails[-1]:.2f}) |"
        )
    print("\n".join([*text, "", f"{failed} requests failed"]))
