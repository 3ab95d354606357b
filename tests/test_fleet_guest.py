"""A fleet whose worker is a guest in an app that runs DBOS itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest
from dbos import DBOS, DBOSPortableJSONSerializer

from kling_async import ConfigurationError, Text2Video
from kling_async.emulator import Emulator, Fault
from kling_async.engines.dbos import JobStatus, KlingDBOS
from tests.fleet import until
from tests.lone_fleet import anyio_backend as anyio_backend
from tests.lone_fleet import emulator as emulator
from tests.lone_fleet import make as make

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(60)]
BOAT = Text2Video(prompt="A paper boat")


@asynccontextmanager
async def cinema(tmp_path: Path, **options: Any) -> AsyncGenerator[None]:
    """An app with a DBOS of its own."""
    config: Any = {
        "name": "cinema",
        "system_database_url": f"sqlite:///{tmp_path}/fleet.db",
        "serializer": DBOSPortableJSONSerializer(),
        **options,
    }
    DBOS(config=config)
    try:
        yield
    finally:
        await closed()


@asynccontextmanager
async def launched_cinema(tmp_path: Path) -> AsyncGenerator[None]:
    """One that has done all that is asked of it."""
    async with cinema(tmp_path, executor_id="one-start", application_version="7"):
        DBOS.launch()
        yield


async def closed() -> None:
    await anyio.to_thread.run_sync(DBOS.destroy)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())


async def test_app_that_runs_dbos_has_it_as_a_guest(
    make: Callable[..., KlingDBOS], tmp_path: Path
) -> None:
    fleet = make(attach=True, application="cinema")
    async with fleet.open():
        job = await fleet.submit(BOAT, key="boat-1")
        async with launched_cinema(tmp_path):
            async with fleet.worker():
                await job.result()


async def test_app_that_closes_dbos_in_the_block_leaves_its_jobs_to_others(
    make: Callable[..., KlingDBOS], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.faults.add(Fault.STUCK, on="create")
    fleet = make(attach=True, application="cinema")
    async with fleet.open():
        job = await fleet.submit(BOAT, key="boat-1")
        async with launched_cinema(tmp_path):
            async with fleet.worker():
                await until(lambda: len(emulator.ledger) == 1)
                await closed()
            assert (await job.state()).status is JobStatus.QUEUED


@pytest.mark.parametrize(
    ("options", "launches", "words"),
    [
        ({"application_version": "7"}, True, "no executor_id of its own"),
        ({"executor_id": "one-start"}, False, "not launched"),
    ],
)
async def test_app_must_have_set_dbos_up(
    make: Callable[..., KlingDBOS],
    tmp_path: Path,
    options: dict[str, Any],
    launches: bool,
    words: str,
) -> None:
    fleet = make(attach=True, application="cinema")
    async with cinema(tmp_path, **options):
        if launches:
            DBOS.launch()
        with pytest.raises(ConfigurationError, match=words):
            async with fleet.worker():
                pass


async def test_app_that_is_not_attached_to_is_told(
    make: Callable[..., KlingDBOS], tmp_path: Path
) -> None:
    async with launched_cinema(tmp_path):
        with pytest.raises(ConfigurationError, match="attach=True"):
            async with make().worker():
                pass
        assert await DBOS.list_workflows_async() == []  # it goes on


async def test_app_must_have_dbos(make: Callable[..., KlingDBOS]) -> None:
    with pytest.raises(ConfigurationError, match="not launched"):
        async with make(attach=True).worker():
            pass


async def test_workflow_that_comes_before_its_crew_waits_for_it(
    make: Callable[..., KlingDBOS], tmp_path: Path
) -> None:
    fleet = make(attach=True, application="cinema")
    async with fleet.open():
        async with launched_cinema(tmp_path):
            async with fleet.worker():  # its queues are known from now on
                pass
            job = await fleet.submit(BOAT, key="boat-1")
            while True:
                if (await job.state()).status is JobStatus.RUNNING:
                    break
                await anyio.sleep(0.05)
            async with fleet.worker():
                await job.result()
