"""Leaving a map, a gather or the client pays for nothing more and loses nothing that was paid."""

from __future__ import annotations

import gc
import logging
from collections.abc import Iterator
from itertools import count
from typing import Any

import anyio
import httpx
import pytest

from kling_async import (
    ClientClosed,
    ConnectFailed,
    Kling,
    KlingAI,
    Polling,
    SubmissionUnknown,
    TaskFailed,
    TaskStatus,
    TaskTimeout,
    Text2Video,
)
from kling_async.emulator import Emulator, Fault
from tests.known_server import KnownCometAPI

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A boat")


def official(emulator: Emulator, **options: Any) -> Kling:
    return Kling(KlingAI(KEY), transport=emulator.transport(), **options)


def boats(number: int) -> Iterator[Text2Video]:
    for index in range(number):
        yield Text2Video(prompt=f"Boat {index}")


async def test_creates_that_wait_for_a_connection_are_not_paid_for() -> None:
    emulator = Emulator(latency=20)
    async with official(emulator, max_connections=2) as kling:
        async with kling.map(boats(99), max_at_once=8) as outcomes:
            with anyio.move_on_after(5):
                await anext(aiter(outcomes))
        left = anyio.current_time()

    assert len(emulator.ledger) == len(outcomes.pending) == 2
    assert left == pytest.approx(20)


async def test_creates_in_a_pause_are_not_paid_for() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.RATE, on="create", times=99, retry_after=60)
    async with (
        official(emulator) as kling,
        kling.map(boats(99), max_at_once=8) as outcomes,
    ):
        with anyio.move_on_after(5):
            await anext(aiter(outcomes))

    assert anyio.current_time() == pytest.approx(5)
    assert len(emulator.ledger) == len(outcomes.pending) == 0


async def test_lost_create_is_settled_before_the_map_is_left() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.STALL, on="create")
    async with (
        official(emulator) as kling,
        kling.map(boats(1)) as outcomes,
    ):
        with anyio.move_on_after(5):
            await anext(aiter(outcomes))

    assert len(emulator.ledger) == len(outcomes.pending) == 1


async def test_unknown_create_can_be_looked_up_by_the_token_of_its_outcome() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.LOST_BEFORE, on="create")
    kling = Kling(KnownCometAPI(KEY), transport=emulator.transport())
    async with kling, kling.map([BOAT]) as outcomes:
        outcome = await anext(aiter(outcomes))

    assert isinstance(outcome.error, SubmissionUnknown)
    assert outcome.token == outcome.error.token
    assert outcome.token is not None


async def test_source_that_never_waits_is_left_when_the_client_closes() -> None:
    kling = official(Emulator(latency=10))
    outcomes = kling.map(Text2Video(prompt=f"Boat {index}") for index in count())
    reader = aiter(outcomes)
    async with anyio.create_task_group() as group:

        async def read() -> None:
            with pytest.raises(ClientClosed):
                while True:
                    await anext(reader)

        group.start_soon(read)
        await anyio.sleep(1)
        await kling.aclose()


async def test_closing_side_by_side_takes_as_long_as_the_slowest() -> None:
    emulator = Emulator(latency=30)
    kling = official(emulator)
    maps = [kling.map(boats(1)) for _ in range(5)]
    for outcomes in maps:
        with anyio.move_on_after(1):
            await anext(aiter(outcomes))
    await kling.aclose()

    assert anyio.current_time() == pytest.approx(4 + 30)
    assert sum(len(outcomes.pending) for outcomes in maps) == len(emulator.ledger) == 5


async def test_closing_that_is_cancelled_closes_everything() -> None:
    closed: list[bool] = []

    class Noted(httpx.MockTransport):
        async def aclose(self) -> None:
            await anyio.sleep(1)
            closed.append(True)

    async def stall(request: httpx.Request) -> httpx.Response:
        await anyio.sleep(500)
        raise AssertionError

    kling = Kling(KlingAI(KEY), transport=Noted(stall))
    with anyio.move_on_after(1):
        await anext(aiter(kling.map(boats(3))))
    with anyio.move_on_after(5) as scope:
        await kling.aclose()

    assert scope.cancelled_caught
    assert closed == [True]
    with pytest.raises(ClientClosed):
        await kling.task("klingai/text2video/7")
    await anyio.sleep(200)


async def test_gather_that_is_cancelled_names_what_was_paid_for(
    caplog: pytest.LogCaptureFixture,
) -> None:
    emulator = Emulator(duration=lambda _, body: 10 if body["prompt"] == "Boat 0" else 500)
    async with official(emulator) as kling:
        with anyio.move_on_after(60):
            await kling.gather(*boats(3))
    [record] = [each for each in caplog.records if each.levelno == logging.WARNING]

    assert all(entry.task_id in record.getMessage() for entry in emulator.ledger)
    assert len(emulator.ledger) == 3


async def test_gather_that_ends_says_nothing(caplog: pytest.LogCaptureFixture) -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.FAIL)
    async with official(emulator) as kling:
        with pytest.raises(TaskFailed):
            await kling.gather(*boats(2))

    assert [each for each in caplog.records if each.levelno >= logging.WARNING] == []


async def test_tasks_that_nobody_waits_for_are_not_remembered_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kling_async._slots._FORGOTTEN", 20)
    emulator = Emulator(duration=30)
    async with official(emulator) as kling:
        for request in boats(60):
            await kling.submit(request)
            await anyio.sleep(2)
        await anyio.sleep(300)
        gc.collect()
        remembered = [each for path in kling._poller.records.values() for each in path]

    assert len(emulator.ledger) == 60
    assert len(remembered) <= 20


async def test_connection_that_fails_is_no_paid_task() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    kling = Kling(KlingAI(KEY), transport=httpx.MockTransport(refuse))
    async with kling, kling.map(boats(1)) as outcomes:
        outcome = await anext(aiter(outcomes))

    assert isinstance(outcome.error, ConnectFailed)
    assert outcomes.pending == []


async def test_stuck_tasks_do_not_hold_a_loop_for_ever() -> None:
    emulator = Emulator(duration=30)
    emulator.faults.add(Fault.STUCK, times=2)
    async with official(emulator, polling=Polling(timeout=600)) as kling:
        outcomes = [outcome async for outcome in kling.map(boats(5), max_at_once=2)]

        late = [outcome for outcome in outcomes if not outcome.ok]
        assert {outcome.index for outcome in late} == {0, 1}
        for outcome in late:
            assert isinstance(outcome.error, TaskTimeout)
            assert "still processing after 600 s" in str(outcome.error)
            assert outcome.token is not None
            state = await kling.task(outcome.token).refresh()
            assert state.status is TaskStatus.PROCESSING


async def test_late_task_is_looked_at_once_more() -> None:
    emulator = Emulator(duration=30)
    polling = Polling(timeout=31, interval=40, learn=False, guards=(), sweeps=False)
    async with official(emulator, polling=polling) as kling:
        assert [outcome.ok async for outcome in kling.map(boats(3))] == [True] * 3


async def test_last_look_that_fails_changes_nothing() -> None:
    emulator = Emulator(duration=3600)
    emulator.faults.add(Fault.RESET, on="query", times=9999)
    async with official(emulator, polling=Polling(timeout=60)) as kling:
        (outcome,) = [outcome async for outcome in kling.map(boats(1))]
        assert isinstance(outcome.error, TaskTimeout)


async def test_without_a_timeout_a_map_waits_for_ever() -> None:
    emulator = Emulator(duration=9000)
    async with official(emulator, polling=Polling(timeout=None, interval=60)) as kling:
        assert [outcome.ok async for outcome in kling.map(boats(1))] == [True]
