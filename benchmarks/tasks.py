"""(d) The client's CPU and memory for many tasks from submit to result, waiting included.

Run: python benchmarks/tasks.py [tasks ...]

Real HTTP with a server on loopback, a process of its own that is not counted, in virtual time as
in asking.py: all the waiting is done, and costs what it costs, but for the idle time. All tasks
are in flight together. CPU is what the client's process spends from the first create to the last
result; memory is its highest, and what it was with everything imported. A client with which so
many would take many minutes stands with fewer: a task of more costs no less.
"""

from __future__ import annotations

import sys
from math import inf
from pathlib import Path
from statistics import median

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.asking import MOST, options
from benchmarks.peers.league import contenders, league

SIZES = [1_000, 10_000, 100_000]
ROUNDS = 3
FARTHER: dict[str, float] = {"a loop on aiohttp": 10_000}
MANY = 50_000
LONG = 600.0
"""Seconds that each task lasts where creating so many takes longer than the usual task lasts."""


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    most = {**MOST, **FARTHER}
    print(f"medians of {ROUNDS} rounds by turns; from 10,000 tasks on, one round")
    print(f"{'':<24}{'tasks':>9}{'in flight':>11}{'CPU ms a task':>15}{'MB':>7}{'before':>8}")
    with league() as place:
        for size in sizes:
            takes = LONG if size >= MANY else None
            names = {
                name: int(min(size, most.get(name, inf)))
                for name in contenders()
                if size <= most.get(name, inf) or size == sizes[0]
            }
            runs = [
                {
                    name: place.tasks(name, number, takes=takes, options=options(name, number))
                    for name, number in names.items()
                }
                for _ in range(ROUNDS if size < 10_000 else 1)
            ]
            for name, number in names.items():
                mine = [each[name] for each in runs]
                cost = median(one["cpu"] for one in mine) / number * 1000
                peak, before = (max(one[key] for one in mine) / 1024 for key in ("peak", "before"))
                together = max(one["most_in_flight"] for one in mine)
                print(
                    f"{name:<24}{number:>9,}{together:>11,}{cost:>15.2f}{peak:>7.0f}{before:>8.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    main()
