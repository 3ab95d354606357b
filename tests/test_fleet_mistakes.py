"""What is asked of a fleet that it cannot do is told at once, and in words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async import Text2Video
from kling_async.engines.dbos import KlingDBOS

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(60)]
BOAT = Text2Video(prompt="A paper boat")


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """DBOS knows asyncio alone."""
    return request.param


@pytest.fixture
def make(tmp_path: Path) -> Callable[..., KlingDBOS]:
    def make(**options: Any) -> KlingDBOS:
        return KlingDBOS(f"sqlite:///{tmp_path}/fleet.db", **{"beat": 0.1, **options})

    return make


async def test_job_that_nobody_submitted_has_no_end(make: Callable[..., KlingDBOS]) -> None:
    async with make().open() as fleet:
        with pytest.raises(LookupError, match="there is no job 'bota-1'"):
            await fleet.job("bota-1").result()


async def test_job_that_is_deleted_meanwhile_has_no_end(
    make: Callable[..., KlingDBOS], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_async.engines._watch._COUNT", 0.2)
    async with make().open() as fleet, anyio.create_task_group() as group:
        job = await fleet.submit(BOAT, key="boat-1")

        async def wait() -> None:
            with pytest.raises(LookupError, match="or no more"):
                await job.result()

        group.start_soon(wait)
        await anyio.sleep(0.3)
        await fleet._opened_link().database.delete_workflows_async(["kling_async.main:boat-1"])


async def test_nobody_waits_in_a_fleet_that_is_closed(make: Callable[..., KlingDBOS]) -> None:
    async with anyio.create_task_group() as group:
        async with make().open() as fleet:
            job = await fleet.submit(BOAT, key="boat-1")

            async def wait() -> None:
                with pytest.raises(RuntimeError, match="the fleet was closed"):
                    await job.result()

            group.start_soon(wait)
            await anyio.sleep(0.2)
    with pytest.raises(RuntimeError, match="the fleet was closed"):
        await job.result()
