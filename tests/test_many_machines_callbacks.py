"""Callbacks that arrive on one machine wake a job on another, and only wake it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from kling_async.emulator import Emulator, Fault
from kling_async.webhooks import parse_callback
from tests.fleet import Fleet, fleet, seconds, until

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(180)]
TOKEN = "a-path-that-nobody-can-guess"


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """DBOS knows asyncio alone."""
    return request.param


class Post(httpx.AsyncBaseTransport):
    """Brings each callback to the desk so many times."""

    def __init__(self) -> None:
        self.times = 1
        self.brought: list[int] = []
        self.app: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        desk = httpx.ASGITransport(self.app)
        for _ in range(self.times):
            fresh = httpx.Request("POST", request.url, headers=request.headers, content=content)
            self.brought.append((await desk.handle_async_request(fresh)).status_code)
        return httpx.Response(200)


@pytest.fixture
def post() -> Post:
    return Post()


@pytest.fixture
def emulator(post: Post) -> Emulator:
    return Emulator(strict_ids=False, duration=seconds(0.5, 1.5), seed=7, callback_transport=post)


@pytest.fixture
async def ships(
    postgres_url: str, emulator: Emulator, post: Post, tmp_path: Path
) -> AsyncIterator[Fleet]:
    async with fleet(postgres_url, tmp_path, emulator) as ships:
        post.app = ships.desk.callback_app(path_token=TOKEN)
        yield ships


def called(patience: float = 60.0) -> dict[str, Any]:
    return {"callback_url": f"https://desk.example/{TOKEN}", "patience": patience}


def questions(emulator: Emulator) -> int:
    """What was asked about tasks; the look-ups before the creates go by the keys."""
    return sum(
        seen.method == "GET"
        and "/videos/" in seen.path
        and "/boat-" not in seen.path
        and not seen.path.startswith("/files")
        for seen in emulator.requests
    )


@pytest.mark.parametrize("times", [1, 2])
async def test_callback_wakes_the_job(
    ships: Fleet, post: Post, emulator: Emulator, times: int
) -> None:
    post.times = times
    emulator.faults.add(Fault.STUCK, on="create", times=12)
    await ships.submit(12)
    await ships.worker(fleet=called(), total=30.0)
    await ships.journaled(12, "submit")
    await until(lambda: len(emulator.ledger) == 12)
    before = questions(emulator)
    for task_id in emulator.tasks:
        emulator.tasks[task_id].succeed()

    await ships.done(12)

    assert set(post.brought) == {200}
    assert questions(emulator) - before == 12  # one for each, when its callback came
    assert (ships.paid, ships.paid_twice) == (12, {})


async def test_callback_before_the_id_is_journaled_waits_for_its_job(
    ships: Fleet, emulator: Emulator
) -> None:
    emulator.faults.add(Fault.STALL, on="create", times=100, seconds=2.0)
    await ships.submit(5)
    await ships.worker(fleet=called(), total=10.0)

    await ships.done(5)

    assert questions(emulator) == 5


async def test_job_is_asked_about_when_no_callback_comes(ships: Fleet, post: Post) -> None:
    post.times = 0
    await ships.submit(5)
    await ships.worker(fleet=called(patience=1.0))

    await ships.done(5)

    assert ships.paid == 5


async def test_forged_callbacks_change_nothing(ships: Fleet, emulator: Emulator) -> None:
    emulator.faults.add(Fault.STUCK, on="create")  # however long it takes to lie
    [job] = await ships.submit(1)
    await ships.worker(fleet=called(patience=2.0))
    await until(lambda: len(emulator.ledger) == 1)
    lie = json.dumps(
        {"task_id": "1", "task_status": "succeed", "task_info": {"external_task_id": "boat-0"}}
    )
    for _ in range(60):  # of those that get the same name, one is kept
        assert await ships.desk.hear(parse_callback(lie.encode()))
    (task_id,) = emulator.tasks
    await until(lambda: questions(emulator) > 20)  # so many are believed to be worth one
    emulator.tasks[task_id].succeed()

    result = await job.result()

    assert result.task_id == task_id
    assert not await ships.desk.hear(parse_callback(lie.encode()))  # nobody waits any more


async def test_callback_about_nothing_known_is_nobodys(ships: Fleet) -> None:
    for info, status in [
        ({"external_task_id": "a-strangers"}, "succeed"),
        ({}, "succeed"),
        ({"external_task_id": "boat-0"}, "processing"),
    ]:
        body = json.dumps({"task_id": "1", "task_status": status, "task_info": info})
        assert not await ships.desk.hear(parse_callback(body.encode()))


async def test_callback_finds_its_job_after_a_take_over(ships: Fleet, emulator: Emulator) -> None:
    await ships.submit(12)
    first = await ships.worker(fleet=called())
    await until(lambda: len(emulator.ledger) >= 6)
    await first.kill()
    await ships.worker(fleet=called(patience=5.0))

    await ships.done(12)

    assert (ships.paid, ships.paid_twice) == (12, {})
