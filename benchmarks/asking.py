"""(b) Requests and mean lag of a finished task, with 1 to 10,000 of them in flight.

Run: python benchmarks/asking.py [in flight ...]

Real HTTP with a server on loopback, in virtual time: a request takes 0.2 s. All tasks are created
at once and last as polling.py has it (median 120 s); a lone one is made ten times. Creates are not
counted. Who asks about each task by itself asks as often about one as about many: where so many
requests would take minutes, such a client stands with the figures of fewer tasks, marked by *.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from math import inf
from pathlib import Path
from statistics import fmean
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.peers.contenders import OURS
from benchmarks.peers.league import League, contenders, league

SIZES = [1, 10, 100, 1_000, 10_000]
LONE = 10
CALM = "kling_async, KlingAI"
CALMER = f"{CALM}, sweep_interval=5"
MOST: dict[str, float] = {
    "fal-client": 10,
    "replicate": 10,
    "openai": 10,
    "runwayml": 100,
    "a loop on httpx": 100,
    "a loop on aiohttp": 1_000,
    "kling_async, CometAPI": 100,
}


@dataclass(frozen=True)
class Cell:
    requests: float
    lag: float
    is_of_fewer: bool

    def __str__(self) -> str:
        requests = f"{self.requests:.2f}" if self.requests < 10 else f"{self.requests:.0f}"
        return f"{requests:>8} {self.lag:5.1f}{'*' if self.is_of_fewer else ' '}"


def options(name: str, number: int) -> dict[str, Any]:
    """What a program with so many tasks sets."""
    if name not in OURS and name != CALMER:
        return {}
    polling = {"polling": {"sweep_interval": 5}} if name == CALMER else {}
    # Twenty connections, the default, take longer to create very many than the tasks last.
    return {"max_connections": min(100, max(20, number // 20)), **polling}


def measure(place: League, name: str, number: int) -> Cell:
    rounds = LONE if number == 1 else 1
    contender = CALM if name == CALMER else name
    figures: Mapping[str, Any] = place.tasks(
        contender, number, rounds=rounds, options=options(name, number)
    )
    requests, lags = figures["requests"], figures["lags"]
    asked = sum(requests.values()) - requests["create"]
    return Cell(asked / len(lags), fmean(lags), False)


def main() -> None:
    sizes = [int(size) for size in sys.argv[1:]] or SIZES
    names = [*contenders(), CALMER]
    print("requests a finished task, and mean lag in seconds, by tasks in flight")
    print(f"{'':<41}" + "".join(f"{size:>15,}" for size in sizes))
    rows = dict[str, list[Cell]]()
    with league() as place:
        for name in names:
            cells = rows[name] = []
            for size in sizes:
                if size <= MOST.get(name, inf) or not cells:
                    cells.append(measure(place, name, size))
                else:
                    cells.append(Cell(cells[-1].requests, cells[-1].lag, True))
            print(f"{name:<41}" + "".join(f"{cell!s:>15}" for cell in cells), flush=True)
    peers = {name: cells for name, cells in rows.items() if not name.startswith("kling_async")}
    if peers:
        show_ratios(sizes, rows, peers)


def show_ratios(
    sizes: list[int], rows: dict[str, list[Cell]], peers: dict[str, list[Cell]]
) -> None:
    """Against the peer that asks least, and the one whose lag is least."""
    for at, size in enumerate(sizes):
        for what, best in {
            "fewest requests": min(peers, key=lambda name: peers[name][at].requests),
            "least lag": min(peers, key=lambda name: peers[name][at].lag),
        }.items():
            theirs = rows[best][at]
            ratios = ", ".join(
                f"{theirs.requests / rows[ours][at].requests:.0f} times as many at"
                f" {theirs.lag - rows[ours][at].lag:+.1f} s"
                for ours in (CALM, CALMER)
            )
            print(f"{size:>6,} in flight, {what} of a peer: {best}, {ratios}")


if __name__ == "__main__":
    main()
