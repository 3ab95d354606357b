"""How a fleet would do at 10,000, 1,000,000 and 100,000,000 tasks a day: a simulation.

Run: python benchmarks/at_scale.py

A day goes by in virtual time: tasks come by chance, more at noon than at night, wait in their
account's queue for a slot, and hold it as long as Kling takes. Accounts are added until nearly
nobody waits long. What a task costs the machines was measured, by the benchmarks that are named;
what nobody here can measure is assumed, and stands apart. Accounts share nothing, so a large fleet
is a small one many times over: at most SAMPLE tasks are simulated, by so many fewer accounts.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, exp, log, pi, sin
from random import Random

DAY = 86_400
SAMPLE = 1_000_000

# Measured: fleet_database.py, for each job.
WORKER_CPU, DATABASE_CPU = 0.026, 0.0063
TRANSACTIONS, LOG_BYTES, DISK_BYTES = 18, 11_000, 7_500
SESSIONS = 14
# Measured: the same, for each idle worker, by its beat.
WORKER_CPU_IDLE = {1.0: 0.029, 5.0: 0.019}
DATABASE_CPU_IDLE = {1.0: 0.0073, 5.0: 0.0043}
TRANSACTIONS_IDLE = {1.0: 26, 5.0: 15}
# Measured: polling.py, questions a task at so many in flight of one client.
QUESTIONS = ((3, 11.538), (10, 5.538), (100, 0.545), (1_000, 0.321), (10_000, 0.325))
# A look-up and a create; the file comes from elsewhere.
FIXED_REQUESTS = 2

# Assumed.
VIDEO_BYTES = 10e6
LONGEST_WAIT = 600.0
"""Seconds that 19 of 20 tasks may wait for a slot at most."""
PEAK = 1.8
"""What comes at noon, over the mean."""
WORKERS = 2
"""For each account, so that one may die."""
DATABASE_CORES, DATABASE_SESSIONS, DATABASE_DISK, DATABASE_LOG = 16 * 0.7, 1_000, 4e12, 100e6
"""What one PostgreSQL may be asked for: cores, sessions, bytes, and bytes of log a second."""
MACHINE_CORES, MACHINE_NETWORK = 8 * 0.7, 10e9 / 8 * 0.5


@dataclass
class Fleet:
    """What is asked for, and how it is set up."""

    tasks: int
    slots: int
    beat: float
    keep: int
    """Days."""


@dataclass
class Day:
    """What the simulated day was like."""

    accounts: int
    wait_p50: float
    wait_p95: float
    filled: float
    starts: float
    """A second, in the busiest minute."""
    in_progress: int


FLEETS = (
    Fleet(10_000, 50, 1.0, 90),
    Fleet(1_000_000, 50, 1.0, 90),
    Fleet(1_000_000, 1_000, 5.0, 30),
    Fleet(100_000_000, 1_000, 5.0, 2),
)


def lasts(chance: Random) -> float:
    """How long Kling takes; the same law as in polling.py."""
    return max(30.0, chance.lognormvariate(log(120.0), 0.5))


def arrivals(count: int, chance: Random) -> list[float]:
    """Times of a day, more at noon than at midnight."""
    times: list[float] = []
    while len(times) < count:
        at = chance.random() * DAY
        if chance.random() * PEAK <= 1 + (PEAK - 1) * sin(2 * pi * (at / DAY - 0.25)):
            times.append(at)
    return sorted(times)


def simulated(fleet: Fleet, accounts: int, times: list[float], chance: Random) -> Day:
    """One day of so many accounts; a task goes to the one whose turn it is."""
    free = [[0.0] * fleet.slots for _ in range(accounts)]
    waits: list[float] = []
    changes: list[tuple[float, int]] = []
    busy = 0.0
    minutes = [0] * (2 * DAY // 60)
    for number, at in enumerate(times):
        slots = free[number % accounts]
        begins = max(at, slots[0])
        ends = begins + lasts(chance)
        heapq.heapreplace(slots, ends)
        waits.append(begins - at)
        busy += ends - begins
        changes += [(begins, 1), (ends, -1)]
        minutes[min(int(begins // 60), len(minutes) - 1)] += 1
    running = most = 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    waits.sort()
    return Day(
        accounts,
        waits[len(waits) // 2],
        waits[len(waits) * 95 // 100],
        busy / (accounts * fleet.slots * DAY),
        max(minutes) / 60,
        most,
    )


def needed(fleet: Fleet, share: float) -> Day:
    """The day with the fewest accounts that nearly nobody waits long with."""
    times = arrivals(round(fleet.tasks * share), Random(1))

    def day(accounts: int) -> Day:
        return simulated(fleet, accounts, times, Random(2))

    most = 1
    while day(most).wait_p95 > LONGEST_WAIT:
        most *= 2
    least = most // 2
    while most - least > 1:
        middle = (least + most) // 2
        if day(middle).wait_p95 > LONGEST_WAIT:
            least = middle
        else:
            most = middle
    return day(most)


def questions(in_flight: float) -> float:
    """Questions a task, between the measured points on a doubly logarithmic scale."""
    if in_flight <= QUESTIONS[0][0]:
        return QUESTIONS[0][1]
    for (low, most), (high, least) in pairwise(QUESTIONS):
        if in_flight <= high:
            way = log(in_flight / low) / log(high / low)
            return exp(log(most) + way * log(least / most))
    return QUESTIONS[-1][1]


def report(fleet: Fleet) -> dict[str, str]:
    """A column of the table."""
    share = min(1.0, SAMPLE / fleet.tasks)
    day = needed(fleet, share)
    accounts, starts = ceil(day.accounts / share), day.starts / share
    workers = accounts * WORKERS
    idle = workers * WORKER_CPU_IDLE[fleet.beat]
    in_flight = day.in_progress / share / workers
    cores = starts * WORKER_CPU + idle
    transactions = starts * TRANSACTIONS + workers * TRANSACTIONS_IDLE[fleet.beat]
    database = {
        "sessions": workers * SESSIONS / DATABASE_SESSIONS,
        "disk": fleet.tasks * fleet.keep * DISK_BYTES / DATABASE_DISK,
        "CPU": (starts * DATABASE_CPU + workers * DATABASE_CPU_IDLE[fleet.beat]) / DATABASE_CORES,
        "log": starts * LOG_BYTES / DATABASE_LOG,
    }
    traffic = starts * VIDEO_BYTES
    machine = {"CPU": cores / MACHINE_CORES, "network": traffic / MACHINE_NETWORK}
    return {
        "slots an account": f"{fleet.slots:,}",
        "beat, s / keep, days": f"{fleet.beat:g} / {fleet.keep}",
        "tasks simulated": f"{round(fleet.tasks * share):,}",
        "accounts": f"{accounts:,}",
        "slots filled over the day": f"{day.filled:.0%}",
        "wait for a slot, p50 / p95, s": f"{day.wait_p50:.0f} / {day.wait_p95:.0f}",
        "in progress at most": f"{day.in_progress / share:,.0f}",
        "begun a second at most": f"{starts:,.1f}",
        "requests/s to Kling, by polls": f"{starts * (FIXED_REQUESTS + questions(in_flight)):,.0f}",
        "requests/s to Kling, callbacks": f"{starts * (FIXED_REQUESTS + 1):,.0f}",
        "worker processes": f"{workers:,}",
        "worker cores, of them idling": f"{cores:,.1f}, {idle:,.1f}",
        "worker machines": f"{max(WORKERS, ceil(max(machine.values()))):,}",
        "videos, Gbit/s at most": f"{traffic * 8 / 1e9:,.2f}",
        "videos, TB a day": f"{fleet.tasks * VIDEO_BYTES / 1e12:,.1f}",
        "database, transactions/s": f"{transactions:,.0f}",
        "database, cores": f"{database['CPU'] * DATABASE_CORES:,.2f}",
        "database, sessions": f"{workers * SESSIONS:,}",
        "database, log GB a day": f"{fleet.tasks * LOG_BYTES / 1e9:,.1f}",
        "database, journal GB": f"{fleet.tasks * fleet.keep * DISK_BYTES / 1e9:,.0f}",
        "databases": f"{ceil(max(database.values())):,}",
        "first to fill one database": first(database),
        "first to fill one machine": first(machine),
    }


def first(load: dict[str, float]) -> str:
    """What comes nearest to its limit, and how near."""
    name = max(load, key=lambda name: load[name])
    return f"{name} {load[name]:.0%}"


def main() -> None:
    print(f"{'':32}" + "".join(f"{fleet.tasks:>16,}" for fleet in FLEETS) + "  tasks a day")
    reports = list(map(report, FLEETS))
    for name in reports[0]:
        print(f"{name:32}" + "".join(f"{each[name]:>16}" for each in reports))


if __name__ == "__main__":
    main()
