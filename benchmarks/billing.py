"""(a) What one intent is billed for when its create goes wrong: creates carried out.

Run: python benchmarks/billing.py

Real time, a server on loopback, each client as it is but for its own time-out option, which is
one second. The first six faults meet every create of the intent, and it is carried out all the
same: whoever sends again pays again.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.peers.league import League, contenders, league, result
from benchmarks.peers.server import FAULTS

TIMEOUT = 1.0
STRUCK = list(FAULTS)


def start(place: League, names: list[str]) -> list[tuple[str, subprocess.Popen[str]]]:
    """All of them at once: they wait most of the time."""
    runs: list[tuple[str, subprocess.Popen[str]]] = []
    for number, name in enumerate(names):
        others = [fault for fault in STRUCK if fault != "refused"]
        for faults in (others, [fault for fault in STRUCK if fault == "refused"]):
            wish = {"faults": faults, "timeout": TIMEOUT, "tag": str(number)}
            runs.append((name, place.start(name, **wish)))
    return runs


def main() -> None:
    names = contenders()
    with league() as place:
        place.control("begin", takes=0.0)
        ended: dict[str, dict[str, str]] = {name: {} for name in names}
        for name, run in start(place, names):
            ended[name] |= result(run)
        billed = place.control("figures")["billed"]
    print("creates billed for one intent, and whether it came to a result")
    wide = max(map(len, FAULTS.values()))
    for line in range(2):
        print(" " * wide + "".join(f"{heading(name)[line]:>13}" for name in names))
    for fault in STRUCK:
        cells = (
            f"{billed.get(f'intent-{number}-{fault}', 0)} {word(ended[name][fault])}"
            for number, name in enumerate(names)
        )
        print(f"{FAULTS[fault]:<{wide}}" + "".join(f"{cell:>13}" for cell in cells))


def heading(name: str) -> tuple[str, str]:
    """Two lines: whose, and of what."""
    first, _, second = name.rpartition(" ")
    return first.rstrip(","), second


def word(end: str) -> str:
    """How it ended, in one word."""
    return {"SubmissionUnknown": "unknown"}.get(end, end if end in ("result", "hung") else "error")


if __name__ == "__main__":
    main()
