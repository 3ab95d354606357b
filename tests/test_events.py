"""Hooks and the log tell a task's life, and neither can disturb it."""

from __future__ import annotations

import logging
import time
from dataclasses import FrozenInstanceError, fields
from typing import Any

import pytest

from kling_async import (
    ConfigurationError,
    Event,
    Kling,
    KlingAI,
    Polling,
    RetryScheduled,
    SlotsChanged,
    TaskFailed,
    TaskFinished,
    TaskPolled,
    TaskSubmitted,
    Text2Video,
)
from kling_async._events import Hook, Hooks
from kling_async.emulator import Emulator, Fault
from tests.known_server import KnownCometAPI

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A boat")


def client(emulator: Emulator, *hooks: Hook) -> Kling:
    return Kling(KnownCometAPI(KEY), transport=emulator.transport(), hooks=hooks)


async def test_hook_is_told_a_tasks_life() -> None:
    events: list[Event] = []
    async with client(Emulator(duration=12), events.append) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        await task
    life = [event for event in events if not isinstance(event, SlotsChanged)]

    assert isinstance(life[0], TaskSubmitted)
    assert all(isinstance(event, TaskPolled) for event in life[1:-2])
    assert isinstance(life[-1], TaskFinished)
    assert {event.task_id for event in life if not isinstance(event, RetryScheduled)} == {task.id}


async def test_end_comes_with_its_cost_and_length() -> None:
    events: list[Event] = []
    async with client(Emulator(duration=12), events.append) as kling:
        video = await kling.text2video.run(prompt="A boat")
    end = next(event for event in events if isinstance(event, TaskFinished))

    assert end.units == video.units
    assert end.seconds == pytest.approx(12, abs=1)


async def test_failure_comes_with_its_reason() -> None:
    events: list[Event] = []
    emulator = Emulator()
    emulator.faults.add(Fault.FAIL, message="Image pixel is invalid")
    async with client(emulator, events.append) as kling:
        with pytest.raises(TaskFailed):
            await kling.text2video.run(prompt="A boat")

    assert [event.message for event in events if isinstance(event, TaskFinished)] == [
        "Image pixel is invalid"
    ]


@pytest.mark.parametrize(("make", "what"), [(KnownCometAPI, "question"), (KlingAI, "page")])
async def test_repeated_question_is_told(make: type[KlingAI], what: str) -> None:
    events: list[Event] = []
    emulator = Emulator(duration=30)
    emulator.faults.add(Fault.HTML, on="list" if what == "page" else "query")
    async with Kling(make(KEY), transport=emulator.transport(), hooks=[events.append]) as kling:
        await kling.gather(*[BOAT] * 20)

    assert what in {event.what for event in events if isinstance(event, RetryScheduled)}


async def test_events_are_frozen() -> None:
    events: list[Any] = []
    async with client(Emulator(duration=1), events.append) as kling:
        await kling.text2video.run(prompt="A boat")

    for event in events:
        with pytest.raises(FrozenInstanceError):
            setattr(event, fields(event)[0].name, "other")


async def test_hook_that_fails_is_logged_and_disturbs_nothing(
    caplog: pytest.LogCaptureFixture,
) -> None:
    events: list[Event] = []

    def fail(event: Event) -> None:
        raise ZeroDivisionError

    async with client(Emulator(duration=1), fail, events.append) as kling:
        await kling.text2video.run(prompt="A boat")

    assert any(isinstance(event, TaskFinished) for event in events)
    assert "a hook failed on TaskFinished" in caplog.text
    assert "ZeroDivisionError" in caplog.text


@pytest.mark.real_time
async def test_slow_hook_costs_time_and_nothing_else() -> None:
    def dawdle(event: Event) -> None:
        until = time.perf_counter() + 0.01
        while time.perf_counter() < until:
            pass

    emulator, polling = Emulator(duration=0.01), Polling(interval=0.05, jitter=0)
    transport = emulator.transport()
    async with Kling(
        KnownCometAPI(KEY), transport=transport, hooks=[dawdle], polling=polling
    ) as kling:
        results = await kling.gather(*[BOAT] * 3)

    assert len(results) == 3


def test_hook_that_would_have_to_be_awaited_is_refused() -> None:
    async def hook(event: Event) -> None:
        raise NotImplementedError

    with pytest.raises(ConfigurationError, match="never awaited"):
        client(Emulator(), hook)


async def test_without_a_hook_no_event_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    for kind in (TaskSubmitted, TaskPolled, TaskFinished, SlotsChanged, RetryScheduled):
        monkeypatch.setattr(kind, "__init__", lambda self, *args: made.append(self))
    async with client(Emulator(duration=12)) as kling:
        await kling.text2video.run(prompt="A boat")

    assert made == []
    assert not Hooks()


async def test_log_has_a_line_at_submit_and_one_at_the_end(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO, logger="kling_async")
    async with client(Emulator(duration=12)) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        await task
    lines = [record.getMessage() for record in caplog.records if record.name == "kling_async"]

    assert len(lines) == 2
    assert lines[0].startswith(f"submitted text2video task {task.id}")
    assert lines[1] == f"finished text2video task {task.id}: succeed"


async def test_debug_log_has_a_line_per_poll(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="kling_async")
    emulator = Emulator(duration=12)
    emulator.faults.add(Fault.HTML, on="query")
    async with client(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        await task
    lines = [record.getMessage() for record in caplog.records if record.levelname == "DEBUG"]

    assert [line for line in lines if line.startswith("a question failed")]
    assert f"task {task.id}: processing" in lines
    assert f"task {task.id}: succeed" in lines
    assert KEY not in caplog.text
