"""(h) What the journal costs: `kling.batch` without files against `kling.map`.

Run: python benchmarks/journal.py

Both run the same tasks on the emulator in process, by turns, each on a new journal. A ticker in
the loop comes late by as long as the loop was held up.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from statistics import median

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent))

from kling_async import Journal, Kling, KlingAI, Polling, Text2Video
from kling_async.emulator import Emulator

TASKS, ROUNDS, AT_ONCE = 1_000, 7, 50
TICK = 0.001
KEY = "a-secret-key-0123456789"


@dataclass
class Figures:
    """Of one round; seconds, a task where nothing else is said."""

    seconds: float = 0.0
    cpu: float = 0.0
    blocked: float = 0.0
    """The longest that the loop was held up."""
    late: float = 0.0
    """How late the ticker came at the 99th percentile."""


def boats() -> Iterator[Text2Video]:
    return (Text2Video(prompt=f"Boat {index}") for index in range(TASKS))


async def plain(kling: Kling, folder: Path) -> None:
    async for outcome in kling.map(boats(), max_at_once=AT_ONCE):
        outcome.unwrap()


async def with_journal(kling: Kling, folder: Path) -> None:
    async with kling.batch(folder / "boats.db", boats(), max_at_once=AT_ONCE) as batch:
        async for outcome in batch:
            outcome.unwrap()


async def once_more(kling: Kling, folder: Path) -> None:
    """A batch that is done already."""
    await with_journal(kling, folder)


@asynccontextmanager
async def measured(figures: Figures) -> AsyncIterator[None]:
    late = list[float]()

    async def tick() -> None:
        while True:
            due = time.perf_counter() + TICK
            await anyio.sleep(TICK)
            late.append(time.perf_counter() - due)

    async with anyio.create_task_group() as group:
        group.start_soon(tick)
        await anyio.sleep(10 * TICK)
        late.clear()
        started, cpu = time.perf_counter(), time.process_time()
        yield
        figures.seconds = (time.perf_counter() - started) / TASKS
        figures.cpu = (time.process_time() - cpu) / TASKS
        group.cancel_scope.cancel()
    late.sort()
    figures.blocked, figures.late = late[-1], late[len(late) * 99 // 100]


WAYS = {"map": plain, "batch": with_journal, "batch, done already": once_more}


async def rounds() -> dict[str, list[Figures]]:
    seen: dict[str, list[Figures]] = {name: [] for name in WAYS}
    polling = Polling(interval=0.05, sweep_interval=0.05, guards=(), learn=False)
    for _ in range(ROUNDS):
        emulator = Emulator(duration=0.01)
        with tempfile.TemporaryDirectory() as folder:
            for name, way in WAYS.items():
                figures = Figures()
                transport = emulator.transport()
                kling = Kling(KlingAI(KEY), transport=transport, polling=polling)
                async with kling, measured(figures):
                    await way(kling, Path(folder))
                seen[name].append(figures)
    return seen


async def journal_alone() -> float:
    """Seconds of a row, from its claim until its files are on record, 50 at once."""
    facts = {"prompt": "A paper boat", "duration": "5"}
    with tempfile.TemporaryDirectory() as folder:
        async with Journal(Path(folder) / "alone.db") as journal:

            async def write(first: int) -> None:
                for number in range(first, TASKS, AT_ONCE):
                    name = f"boat-{number}"
                    row = await journal.claim(
                        key=name, digest=name.encode(), endpoint="text2video", request=facts
                    )
                    await journal.intend(row, name, now=0.0, estimate=Decimal(2))
                    await journal.created(name, f"klingai/text2video/{number}")
                    await journal.succeeded(name, facts, Decimal(2))
                    await journal.saved(name, [f"videos/{number}.mp4"])

            started = time.perf_counter()
            async with anyio.create_task_group() as group:
                for first in range(AT_ONCE):
                    group.start_soon(write, first)
            return (time.perf_counter() - started) / TASKS


async def run() -> None:
    seen, alone = await rounds(), await journal_alone()
    print(f"{TASKS:,} tasks, {AT_ONCE} at once, medians of {ROUNDS} rounds by turns")
    print("ms                     a task  CPU a task  ticker late, p99   loop held up, longest")
    for name, found in seen.items():
        middle = [
            1000 * median(getattr(one, what) for one in found)
            for what in ("seconds", "cpu", "late", "blocked")
        ]
        print(f"{name:<20} {middle[0]:8.2f} {middle[1]:11.2f} {middle[2]:17.2f} {middle[3]:23.2f}")
    pairs = list(zip(seen["batch"], seen["map"], strict=True))
    extra = median(batch.seconds - bare.seconds for batch, bare in pairs) * 1000
    cpu = median(batch.cpu - bare.cpu for batch, bare in pairs) * 1000
    held = median(batch.blocked - bare.blocked for batch, bare in pairs) * 1000
    print(f"{'batch over map':<20} {extra:8.2f} {cpu:11.2f} {'':17} {held:23.2f}")
    print(f"the journal alone: {alone * 1000:.2f} ms a row, claimed to saved, each step durable")


def main() -> None:
    anyio.run(run)


if __name__ == "__main__":
    main()
