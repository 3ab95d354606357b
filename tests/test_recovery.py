"""After an outage, or an error that ended a wait, the asking is what it was before."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import aclosing

import anyio
import httpx
import pytest

from kling_async import (
    AuthenticationError,
    Kling,
    KlingAI,
    Polling,
    Task,
    TaskStatus,
    Text2Video,
    VideoResult,
)
from kling_async.emulator import Emulator, Fault

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A boat")


class SlowServer(httpx.AsyncBaseTransport):
    """Takes its time for every question; counts those under way at once."""

    def __init__(
        self, emulator: Emulator, seconds: float, is_out: Callable[[float], bool] = lambda _: False
    ) -> None:
        self.asked: list[tuple[float, int]] = []
        """When each question came, and how many were under way then."""
        self.pages: list[tuple[float, int]] = []
        """When each page was asked for, and which."""
        self._inner = emulator.transport()
        self._seconds = seconds
        self._is_out = is_out
        self._under_way = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            return await self._inner.handle_async_request(request)
        self._under_way += 1
        now = anyio.current_time()
        self.asked.append((now, self._under_way))
        if number := request.url.params.get("pageNum"):
            self.pages.append((now, int(number)))
        await anyio.sleep(self._seconds)
        self._under_way -= 1
        if self._is_out(now):
            return httpx.Response(503)
        return await self._inner.handle_async_request(request)


async def lags(transport: SlowServer, polling: Polling, number: int, takes: float) -> list[float]:
    """How late the end of each of so many tasks is noticed."""
    client = Kling(KlingAI(KEY), transport=transport, polling=polling, max_connections=100)
    async with client as kling:
        tasks = [await kling.submit(BOAT) for _ in range(number)]
        return [anyio.current_time() - takes async for _ in kling.as_completed(tasks)]


async def test_questions_at_once_grow_back_after_an_outage() -> None:
    transport = SlowServer(Emulator(duration=100), 2, lambda now: 20 <= now < 40)

    late = await lags(transport, Polling(max_polls_at_once=50, sweeps=False), 200, takes=100)

    assert min(many for now, many in transport.asked if 40 <= now < 80) == 1
    assert max(many for now, many in transport.asked if 80 <= now < 100) == 50
    assert sum(late) / len(late) < 8


async def test_pages_of_a_slow_server_are_asked_for_at_once() -> None:
    transport = SlowServer(Emulator(duration=30), 2.5)

    late = await lags(transport, Polling(), 600, takes=30)

    begun = {now for now, page in transport.pages if page == 1}
    assert {now for now, page in transport.pages if page == 2} == begun
    assert len(transport.asked) == len(transport.pages)
    assert max(late) < 3


async def test_new_waiter_is_not_given_an_old_error() -> None:
    emulator = Emulator(duration=60)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        task = await kling.submit(BOAT)
        async with aclosing(task.updates()) as updates:
            await anext(updates)
            emulator.faults.add(Fault.UNAUTHORIZED, on="query")
            await anyio.sleep(10)  # in the loop's body, which still holds its watch
            video = await task
            seen = [state.status async for state in updates]

    assert (Fault.UNAUTHORIZED, "query") in emulator.faults.struck
    assert video.task_id == task.id
    assert seen == [TaskStatus.SUCCEEDED]


async def test_error_that_lasts_reaches_old_and_new_waiters() -> None:
    emulator = Emulator(duration=60)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        task = await kling.submit(BOAT)
        async with aclosing(task.updates()) as updates:
            await anext(updates)
            emulator.faults.add(Fault.UNAUTHORIZED, on="query", times=2)
            await anyio.sleep(10)
            with pytest.raises(AuthenticationError):
                await task
            with pytest.raises(AuthenticationError):
                await anext(updates)

    assert len(emulator.faults.struck) == 2


async def test_loop_hears_of_an_error_in_its_body() -> None:
    emulator = Emulator(duration=60)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        task: Task[VideoResult] = await kling.submit(BOAT)
        async with aclosing(task.updates()) as updates:
            await anext(updates)
            emulator.faults.add(Fault.UNAUTHORIZED, on="query")
            await anyio.sleep(10)
            with pytest.raises(AuthenticationError):
                await anext(updates)
