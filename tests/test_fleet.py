"""A fleet on SQLite, which is for one process: what needs no server and no second machine."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from kling_async import (
    Kling,
    KlingAI,
    Polling,
    Retries,
    Text2Video,
    Timeouts,
)
from kling_async.emulator import Emulator
from kling_async.engines.dbos import JobStatus, KlingDBOS

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(60)]
BOAT = Text2Video(prompt="A paper boat")


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """DBOS knows asyncio alone."""
    return request.param


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(duration=0.3)


@pytest.fixture
def make(tmp_path: Path, emulator: Emulator) -> Callable[..., KlingDBOS]:
    def client() -> Kling:
        return Kling(
            KlingAI("a-secret-key-0123456789"),
            transport=emulator.transport(),
            polling=Polling(interval=0.1, guards=(), jitter=0.0),
            retries=Retries(look_ups=2, connect=1),
            timeouts=Timeouts(total=0.5),
        )

    def make(**options: Any) -> KlingDBOS:
        url = f"sqlite:///{tmp_path}/fleet.db"
        return KlingDBOS(url, **{"client": client, "beat": 0.1, **options})

    return make


@pytest.fixture
async def fleet(make: Callable[..., KlingDBOS]) -> AsyncIterator[KlingDBOS]:
    async with make().open() as fleet:
        yield fleet


async def test_job_is_done_and_saved(fleet: KlingDBOS, tmp_path: Path) -> None:
    saved = await fleet.submit(BOAT, key="boat-1", to=f"{tmp_path}/videos/")
    unsaved = await fleet.submit(BOAT, key="boat-2")
    assert (await saved.state()).status is JobStatus.QUEUED
    async with fleet.worker():
        result = await saved.result()
        assert await unsaved.files() == []

    [path] = await saved.files()
    assert path == tmp_path / "videos" / f"{result.task_id}-0.mp4"
    assert path.stat().st_size > 1000
    newest, oldest = await fleet.states(prefix="boat-")
    assert (newest.key, newest.status, newest.files) == ("boat-2", JobStatus.SUCCEEDED, ())
    assert (oldest.key, oldest.files, oldest.result) == ("boat-1", (path,), result)
    assert oldest.request == BOAT.named("boat-1")
    assert repr(saved) == "Job('boat-1')"
    assert repr(fleet) == "KlingDBOS(account='main')"
