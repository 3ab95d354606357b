"""What is asked of a fleet that it cannot do is told at once, and in words."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async import ConfigurationError, Kling, KlingAI, Text2Video
from kling_async.engines._presence import presence
from kling_async.engines.dbos import Job, KlingDBOS
from kling_async.webhooks import parse_callback
from tests.lone_fleet import anyio_backend as anyio_backend
from tests.lone_fleet import emulator as emulator
from tests.lone_fleet import make as make

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(60)]
BOAT = Text2Video(prompt="A paper boat")


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
    jobs: list[Job] = []
    async with anyio.create_task_group() as group:
        async with make().open() as fleet:
            jobs.append(await fleet.submit(BOAT, key="boat-1"))

            async def wait() -> None:
                with pytest.raises(RuntimeError, match="the fleet was closed"):
                    await jobs[0].result()

            group.start_soon(wait)
            await anyio.sleep(0.2)
    with pytest.raises(RuntimeError, match="the fleet was closed"):
        await jobs[0].result()


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_trio_is_told_so(make: Callable[..., KlingDBOS]) -> None:
    with pytest.raises(ConfigurationError, match="asyncio alone"):
        async with make().open():
            pass


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("mysql://u:sesame@host/kling", "no address of PostgreSQL"),
        ("", "no address of PostgreSQL"),
        (None, "no address of PostgreSQL"),
        ("sqlite:///:memory:", "SQLite needs a file"),
    ],
)
def test_address_of_no_database_is_refused(url: Any, says: str) -> None:
    with pytest.raises(ConfigurationError, match=says) as caught:
        KlingDBOS(url)

    assert "sesame" not in str(caught.value)


def test_sqlite_that_is_too_old_for_dbos_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kling_async.engines._address._PYTHON", (3, 12))
    monkeypatch.setattr("sqlite3.sqlite_version_info", (3, 40, 1))
    with pytest.raises(ConfigurationError, match="SQLite 3.42 or later"):
        KlingDBOS("sqlite:///fleet.db")


@pytest.mark.parametrize("account", ["", "a:b", "main.files"])
def test_account_whose_queues_would_be_anothers_is_refused(account: str) -> None:
    with pytest.raises(ConfigurationError, match="without a colon"):
        KlingDBOS("postgresql://host/kling", account=account)


async def test_second_worker_on_sqlite_is_refused(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/fleet.db"
    limits: dict[str, Any] = {"silence": 2.0, "grace": 1.0}
    async with presence(url, "kling_async.main", "first", **limits):
        with pytest.raises(ConfigurationError, match="this one.*on SQLite there is one worker"):
            async with presence(url, "kling_async.main", "second", **limits):
                pass


async def test_worker_that_cannot_show_itself_begins_nothing() -> None:
    url = "postgresql://kling:sesame@127.0.0.1:1/kling"
    with pytest.raises(ConfigurationError, match=r"(?s)refused.*PostgreSQL 14 or later") as caught:
        async with presence(url, "kling_async.main", "first", silence=2.0, grace=1.0):
            pass

    assert "sesame" not in str(caught.value)


async def test_storm_of_forged_callbacks_does_not_fill_the_database(
    make: Callable[..., KlingDBOS], tmp_path: Path
) -> None:
    body = b'{"task_id":"1","task_status":"succeed","task_info":{"external_task_id":"boat-1"}}'
    async with make().open() as fleet:
        await fleet.submit(BOAT, key="boat-1")
        for _ in range(400):
            assert await fleet.hear(parse_callback(body))

    with closing(sqlite3.connect(tmp_path / "fleet.db")) as database:
        [(kept,)] = database.execute("SELECT count(*) FROM notifications").fetchall()
    assert 0 < kept <= 200


async def test_worker_that_changes_the_limit_of_all_says_so(
    make: Callable[..., KlingDBOS], caplog: pytest.LogCaptureFixture
) -> None:
    for concurrency in (20, 20, None):
        fleet = make(concurrency=concurrency, client=lambda: Kling(KlingAI("a-key")))
        async with fleet.worker():
            pass

    said = [line for line in caplog.messages if "concurrency was" in line]
    assert said == ["account main: concurrency was 20, and is None for all workers from now on"]
