"""A thousand tasks with callbacks take hardly more than a question each; without, all arrive."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest

from kling_async import KlingAI, Polling, Text2Video
from kling_async._durations import Durations
from kling_async._job import Job
from kling_async._pace import Pace
from kling_async.emulator import Fault
from kling_async.testing import virtual_backend
from tests.known_server import KnownCometAPI
from tests.switchboard import Line, connected

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

NUMBER = 1_000
BOATS = [Text2Video(prompt=f"Boat {number}") for number in range(NUMBER)]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """So many take long: trio has its turn in the other tests of callbacks."""
    return virtual_backend(request.param)


def requests_a_task(line: Line) -> float:
    return (len(line.emulator.requests) - NUMBER) / NUMBER


@pytest.mark.parametrize(
    ("provider", "duration"), [(KlingAI, None), (KlingAI, 120), (KnownCometAPI, None)]
)
async def test_thousand_tasks_take_hardly_more_than_a_question_each(
    provider: Any, duration: float | None
) -> None:
    client = {"max_at_once": NUMBER}
    async with connected(provider=provider, duration=duration, client=client) as line:
        results = await line.kling.gather(*BOATS)

    assert len(results) == NUMBER
    assert requests_a_task(line) <= 1.2


@pytest.mark.parametrize("provider", [KlingAI, KnownCometAPI])
async def test_all_arrive_though_every_callback_is_lost(provider: Any) -> None:
    lag: list[float] = []
    async with connected(provider=provider, client={"max_at_once": NUMBER}) as line:
        line.switchboard.down = True
        async with anyio.create_task_group() as group:

            async def run(request: Text2Video) -> None:
                task = await line.kling.submit(request)
                await task
                assert task.state.updated_at is not None
                lag.append(line.emulator.clock.unix(anyio.current_time()) - task.state.updated_at)

            for request in BOATS:
                group.start_soon(run, request)

    assert len(lag) == NUMBER
    assert sum(lag) / NUMBER < 15


async def test_all_arrive_though_one_callback_in_ten_is_lost() -> None:
    async with connected(client={"max_at_once": NUMBER}) as line:
        count = iter(range(1_000_000))
        reach = line.switchboard.app

        class Lossy(httpx.AsyncBaseTransport):
            async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
                if next(count) % 10 == 0:
                    raise httpx.ConnectError("down")
                return await reach.handle_async_request(request)

        line.switchboard.app = Lossy()
        line.emulator.faults.add(Fault.DOUBLE_CALLBACK, times=300)
        results = await line.kling.gather(*BOATS)

    assert len(results) == NUMBER
    assert requests_a_task(line) <= 2.5


def waits(pace: Pace, job: Job) -> float:
    return pace.pause(job, 0)


def job(*, heard: bool = False, called: float | None = None, born: float | None = 0.0) -> Job:
    made = Job("1", "/path", "t2v", born=born, callback=True)
    made.heard = heard
    made.called = made.called if called is None else called
    return made


def test_task_that_was_called_about_is_left_longer() -> None:
    pace = Pace(Polling(), Durations())

    assert (waits(pace, job()), waits(pace, job(heard=True))) == (60, 300)


def test_calls_that_do_not_come_are_not_relied_on() -> None:
    pace = Pace(Polling(), Durations())
    for _ in range(3):
        assert waits(pace, job(heard=True)) == 300
        assert not pace.is_ripe(job(), 0)
        pace.ended(job())
    assert waits(pace, job(heard=True)) == 5
    assert pace.is_ripe(job(), 0)

    pace.ended(job(born=None))  # it may have ended, and been called about, long ago
    assert waits(pace, job()) == 5

    pace.ended(job(called=7))
    assert waits(pace, job()) == 60
