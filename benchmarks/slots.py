"""(f) How well the slots learn an account's limit: creates refused, slots filled, time lost.

Run: python benchmarks/slots.py

Everything runs against the emulator in virtual time, so hours take seconds. The seed draws how
long each task takes; the client's own jitter is as random as ever, so of each case several runs
are made and the worst figures are printed.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any

import anyio
from trio.testing import MockClock

from kling_async import Kling, KlingAI, ParallelLimit, Text2Video
from kling_async._events import Event, RetryScheduled
from kling_async.emulator import Emulator, Job

SEEDS = range(3)
LATENCY = 0.3
KEY = "one-key-one-account-0123456789"
Happening = Callable[[Emulator], Coroutine[Any, Any, None]]


async def nothing(emulator: Emulator) -> None:
    """The limit stays, and nobody else is there."""


async def doubling(emulator: Emulator) -> None:
    """A larger resource pack is bought."""
    await anyio.sleep(900)
    emulator.limits.parallel = 40


async def strangers(emulator: Emulator) -> None:
    """Another program with the same key takes up to ten of the slots."""
    await anyio.sleep(600)
    async with client(emulator, max_at_once=10) as other:
        await other.gather(*[Text2Video(prompt="A stranger's") for _ in range(60)])


@dataclass(frozen=True)
class Case:
    name: str
    limit: int
    happening: Happening = nothing
    tasks: int = 500


CASES = [
    Case("limit 5", 5),
    Case("limit 20", 20),
    Case("limit 100", 100),
    Case("20, then 40", 20, doubling),
    Case("20, strangers take 10", 20, strangers),
]


@dataclass(frozen=True)
class Figures:
    refused: float
    """Refused creates, of all creates."""
    filled: float
    """Tasks in progress, of the limit: the mean over the middle half of the time in which
    there were tasks left to create."""
    seconds: float
    """From the first create to the last end."""
    ideal: float
    """The same with a limit that is known and ends that are known at once."""
    surfaced: int
    """Tasks that brought the user no video: 1303 must never be one of the reasons."""


def client(emulator: Emulator, max_at_once: int | None = None) -> Kling:
    return Kling(KlingAI(KEY), transport=emulator.transport(), max_at_once=max_at_once)


async def run(case: Case, seed: int) -> Figures:
    emulator = Emulator(parallel=case.limit, seed=seed, latency=LATENCY)
    refused = surfaced = 0

    def count(event: Event) -> None:
        nonlocal refused
        refused += isinstance(event, RetryScheduled) and isinstance(event.error, ParallelLimit)

    limits = [(0.0, case.limit)]
    async with anyio.create_task_group() as group:
        group.start_soon(case.happening, emulator)
        group.start_soon(_watch_limit, emulator, limits)
        kling = Kling(KlingAI(KEY), transport=emulator.transport(), hooks=[count])
        async with kling:
            requests = [Text2Video(prompt=f"Ours {number}") for number in range(case.tasks)]
            async for outcome in kling.map(requests):
                surfaced += not outcome.ok
        group.cancel_scope.cancel()

    jobs = list(emulator.tasks.values())
    ours = [job for job in jobs if str(job.body["prompt"]).startswith("Ours")]
    return Figures(
        refused=refused / (refused + len(ours)),
        filled=_filled(jobs, limits),
        seconds=emulator.clock.now(),
        ideal=_ideal([job.duration for job in jobs], limits),
        surfaced=surfaced,
    )


async def _watch_limit(emulator: Emulator, limits: list[tuple[float, int]]) -> None:
    while True:
        await anyio.sleep(1)
        limit = emulator.limits.parallel
        if limit is not None and limit != limits[-1][1]:
            limits.append((emulator.clock.now(), limit))


def _filled(jobs: Sequence[Job], limits: Sequence[tuple[float, int]]) -> float:
    end = max(job.created for job in jobs)
    first, last = end / 4, end * 3 / 4
    used = sum(_overlap(job.created, job.created + job.duration, first, last) for job in jobs)
    ends = [start for start, _ in limits[1:]] + [end]
    slots = sum(
        limit * _overlap(start, until, first, last)
        for (start, limit), until in zip(limits, ends, strict=True)
    )
    return used / slots


def _overlap(start: float, end: float, first: float, last: float) -> float:
    return max(0.0, min(end, last) - max(start, first))


def _ideal(durations: Sequence[float], limits: Sequence[tuple[float, int]]) -> float:
    """Every slot is taken again the moment it is free."""
    free = [0.0] * limits[0][1]
    for (_, before), (at, limit) in zip(limits, limits[1:], strict=False):
        free += [at] * (limit - before)
    heapq.heapify(free)
    for duration in durations:
        heapq.heappush(free, heapq.heappop(free) + duration)
    return max(free)


def figures(case: Case, seed: int) -> Figures:
    """One run, on a clock that jumps."""
    clock = MockClock(autojump_threshold=0)
    return anyio.run(run, case, seed, backend="trio", backend_options={"clock": clock})


def main() -> None:
    print(f"{CASES[0].tasks} tasks, no max_at_once; the worst of {len(SEEDS)} runs")
    print(f"{'':<24} refused   filled   virtual s    ideal s    time lost   without a video")
    for case in CASES:
        runs = [figures(case, seed) for seed in SEEDS]
        slowest = max(runs, key=lambda one: one.seconds / one.ideal)
        print(
            f"{case.name:<24}"
            f" {max(one.refused for one in runs):6.1%}"
            f" {min(one.filled for one in runs):8.1%}"
            f" {slowest.seconds:11.0f} {slowest.ideal:10.0f}"
            f" {slowest.seconds / slowest.ideal - 1:12.1%}"
            f" {sum(one.surfaced for one in runs):17}"
        )


if __name__ == "__main__":
    main()
