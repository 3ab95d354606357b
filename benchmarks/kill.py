"""A batch of 300 rows whose process is killed 50 times: what is lost, what is paid twice.

Run: python benchmarks/kill.py [seed]

The emulator is on a port, tasks take 0.2 to 0.6 s, and a lost create may be on the wire for 1 s.
The kills are SIGKILL at random moments: after some lines of news, at some request, before or
after it was carried out, and after some time.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path
from random import Random

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent))

from kling_async import Stage
from kling_async.emulator import Emulator
from tests.batch_runs import Kill, Runs

ROWS, KILLS = 300, 50


async def run(folder: Path, seed: int) -> None:
    random, started = Random(seed), time.perf_counter()
    emulator = Emulator(seed=seed, duration=lambda chance, _: chance.uniform(0.2, 0.6))
    async with Runs(emulator, folder, rows=ROWS, at_once=10) as runs:
        while runs.kills < KILLS:
            await runs.once(Kill.by_chance(random))
        unsaved = ROWS - (await runs.stages())[Stage.SAVED]
        events = await runs.to_the_end()
        seconds = time.perf_counter() - started
        await runs.check(events)
    files = sum(1 for _ in (folder / "videos").glob("*.mp4"))
    parts = sum(1 for _ in (folder / "videos").glob(".*.part"))
    print(
        f"{ROWS} rows, {runs.kills} kills, {runs.times} runs, {seconds:.0f} s:"
        f" {files} files, {len(emulator.ledger)} creates paid,"
        f" {len(emulator.ledger.billed_twice)} twice, {unsaved} rows left after the last kill,"
        f" {parts} part files left behind"
    )


def main() -> None:
    seed = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    with tempfile.TemporaryDirectory() as folder:
        anyio.run(run, Path(folder), seed)


if __name__ == "__main__":
    main()
