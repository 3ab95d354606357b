"""A batch whose process is killed at any moment, and run again, pays for each row once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import anyio
import pytest

from kling_async import Stage
from kling_async.emulator import Emulator
from tests.batch_runs import NEVER, WAYS, Event, Kill, Runs

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(300)]
SEED = 7


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Uvicorn knows asyncio alone; the program that is killed runs on both."""
    return request.param


@asynccontextmanager
async def running(folder: Path, **options: Any) -> AsyncGenerator[Runs]:
    emulator = Emulator(seed=SEED, duration=lambda chance, _: chance.uniform(0.2, 0.5))
    async with Runs(emulator, folder, **options) as runs:
        yield runs
    assert "Traceback" not in runs.errors, runs.errors


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_killed_at_random_moments(backend: str, tmp_path: Path) -> None:
    random = Random(SEED)
    async with running(tmp_path, rows=40, at_once=8, backend=backend) as runs:
        while runs.kills < 8:
            await runs.once(Kill.by_chance(random))

        await runs.check(await runs.to_the_end())


@pytest.mark.parametrize("moment", ["before commit", "after commit"])
async def test_killed_at_each_write_of_the_journal(moment: str, tmp_path: Path) -> None:
    writes = list[int]()

    async def some(first: int, backend: str) -> None:
        """Every fourth write, until there are no more."""
        async with running(tmp_path / str(first), rows=4, backend=backend) as runs:
            for number in count(first, 4):
                await kill_once(runs, number, dies=(moment, number))
                if not runs.kills:
                    break
                writes.append(number)

    async with anyio.create_task_group() as group:  # it is mostly waiting
        for first, backend in enumerate(["asyncio", "trio"] * 2, 1):
            group.start_soon(some, first, backend)

    assert len(writes) > 12


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_killed_where_the_world_and_the_journal_differ(backend: str, tmp_path: Path) -> None:
    async with running(tmp_path / "here", rows=3, backend=backend) as runs:
        # Nothing has left, but the journal says that it may have.
        await kill_once(runs, "unsent", dies=("before create", 2))
        assert runs.kills == 1
        # The file has its name, but the journal does not know it.
        await kill_once(runs, "renamed", dies=("after rename", 2))
        assert runs.kills == 1
        for way in WAYS:
            await kill_once(runs, way, Kill(requests=2, method="POST", way=way))
            assert runs.kills == 1


async def kill_once(runs: Runs, name: object, kill: Kill = NEVER, **options: Any) -> None:
    """A batch that is killed in its first run."""
    runs.begin(runs.start / str(name), f"Boat {name}")
    await runs.once(kill, **options)
    await runs.check(await runs.to_the_end())


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
async def test_without_look_ups_each_row_is_done_or_known_to_be_unknown(
    backend: str, tmp_path: Path
) -> None:
    """No server that cannot be asked is asked to make a thing twice."""
    random = Random(SEED)
    options = {"rows": 30, "at_once": 8, "dialect": "newapi", "backend": backend}
    async with running(tmp_path, **options) as runs:
        while runs.kills < 6:
            await runs.once(Kill.by_chance(random))
        last = [outcomes(await runs.once()) for _ in range(3)]
        unknown = {prompt for prompt, event in last[0].items() if event["unknown"]}
        stages = await runs.stages()

    prompts = {f"Boat {number}" for number in range(30)}
    assert unknown
    assert [set(events) for events in last] == [prompts] * 3
    # Always the same rows, always by the same id.
    assert len({str(sorted(ids(events).items())) for events in last}) == 1
    assert stages == {Stage.SAVED: 30 - len(unknown), Stage.INTENDED: len(unknown)}
    paid = Counter(str(entry.body["prompt"]) for entry in runs.paid())
    assert set(paid.values()) == {1}
    assert paid.keys() | unknown == prompts


def outcomes(events: list[Event]) -> dict[str, Event]:
    return {event["prompt"]: event for event in events if "files" in event}


def ids(events: dict[str, Event]) -> dict[str, str]:
    return {prompt: event["unknown"] for prompt, event in events.items() if event["unknown"]}
