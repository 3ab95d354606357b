"""Hooks and the log tell a task's life, and neither can disturb it."""

from __future__ import annotations

import logging
import time
from dataclasses import FrozenInstanceError, fields
from pathlib import Path
from typing import Any, get_args

import anyio
import httpx
import pytest

from kling_async import (
    ConfigurationError,
    Event,
    ExchangeFinished,
    Kling,
    KlingAI,
    KlingClosed,
    Polling,
    RetryScheduled,
    TaskFailed,
    TaskFinished,
    TaskPolled,
    TaskSubmitted,
    TaskTakenUp,
    Text2Video,
)
from kling_async._events import Hook, Hooks
from kling_async.emulator import Emulator, Fault
from tests.known_server import KnownCometAPI

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A boat")
TOLD_MODEL = "kling-v1"


def client(emulator: Emulator, *hooks: Hook) -> Kling:
    return Kling(KnownCometAPI(KEY), transport=emulator.transport(), hooks=hooks)


async def test_hook_is_told_a_tasks_life() -> None:
    events: list[Event] = []
    async with client(Emulator(duration=12), events.append) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        await task
    life = [
        event for event in events if isinstance(event, TaskSubmitted | TaskPolled | TaskFinished)
    ]

    assert isinstance(life[0], TaskSubmitted)
    assert all(isinstance(event, TaskPolled) for event in life[1:-2])
    assert isinstance(life[-1], TaskFinished)
    assert {event.task_id for event in life} == {task.id}


async def test_end_comes_with_its_cost_and_length() -> None:
    events: list[Event] = []
    async with client(Emulator(duration=12), events.append) as kling:
        video = await kling.text2video.run(prompt="A boat")
    end = next(event for event in events if isinstance(event, TaskFinished))

    assert end.units == video.units
    assert end.seconds == pytest.approx(12, abs=1)
    assert end.model_name == TOLD_MODEL


@pytest.mark.parametrize("interval", [2, 10])
async def test_end_comes_with_how_late_it_was_noticed(interval: float) -> None:
    """Whatever the server's clock says: this one's is years ahead."""
    events: list[Event] = []
    emulator = Emulator(duration=11, wall=lambda: 4e9)
    polling = Polling(interval=interval, guards=(), jitter=0)
    async with Kling(
        KnownCometAPI(KEY), transport=emulator.transport(), hooks=[events.append], polling=polling
    ) as kling:
        task = await kling.submit(BOAT)
        await task
        noticed = anyio.current_time()
    end = next(event for event in events if isinstance(event, TaskFinished))
    job = emulator.tasks[task.id]

    assert end.lag == pytest.approx(noticed - job.created - job.duration, abs=0.01)


@pytest.mark.parametrize(("ends_at", "lag"), [(10, None), (29.4, 0.0), (32, 2.0)])
async def test_lag_is_never_negative(ends_at: float, lag: float | None) -> None:
    """By its own clock the task took 30 seconds, so its create was longer ago than we think."""

    def answer(request: httpx.Request) -> httpx.Response:
        data: dict[str, Any] = {"task_id": "7", "task_status": "processing"}
        if anyio.current_time() >= ends_at:
            videos = [{"id": "8", "url": "https://files.test/8.mp4"}]
            times = {"created_at": 1_700_000_000_000, "updated_at": 1_700_000_030_000}
            data |= {"task_status": "succeed", "task_result": {"videos": videos}, **times}
        return httpx.Response(200, json={"code": 0, "data": data})

    events: list[Event] = []
    polling = Polling(interval=0.5, jitter=0)
    async with Kling(
        KnownCometAPI(KEY),
        transport=httpx.MockTransport(answer),
        hooks=[events.append],
        polling=polling,
    ) as kling:
        await kling.run(BOAT)

    assert [event.lag for event in events if isinstance(event, TaskFinished)] == [
        pytest.approx(lag, abs=0.5)
    ]


async def test_task_that_is_taken_up_is_told_once() -> None:
    emulator, events = Emulator(duration=60), list[Event]()
    async with client(emulator) as kling:
        token = (await kling.submit(BOAT)).token
    async with client(emulator, events.append) as kling:
        task, again = kling.task(token), kling.task(token)
        await task
        await again
        other = kling.task("cometapi/avatar/7")
    taken_up = [event for event in events if isinstance(event, TaskTakenUp)]
    end = next(event for event in events if isinstance(event, TaskFinished))

    assert taken_up == [
        TaskTakenUp("text2video", task.id, TOLD_MODEL),
        TaskTakenUp("avatar", other.id, None),
    ]
    assert end.lag is None  # nobody here knows when it was created


async def test_last_event_is_the_close() -> None:
    events: list[Event] = []
    async with client(Emulator(duration=60), events.append) as kling:
        await kling.submit(BOAT)

    assert [event for event in events if isinstance(event, KlingClosed)] == [events[-1]]


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


@pytest.mark.parametrize(
    ("fault", "told"),
    [
        (Fault.RATE, [("create", "RateLimited", True)]),
        (Fault.LOST_ANSWER, [("look-up", "AnswerLost", False)]),
        (
            Fault.LOST_BEFORE,
            [
                ("look-up", "AnswerLost", False),
                ("look-up", "AnswerLost", True),
                ("create", "AnswerLost", False),
            ],
        ),
    ],
)
async def test_create_that_failed_in_passing_is_told(
    fault: Fault, told: list[tuple[str, str, bool]]
) -> None:
    """With what is done next, and whether that has to wait."""
    events: list[Event] = []
    emulator = Emulator(duration=1)
    emulator.faults.add(fault, on="create")
    async with Kling(KlingAI(KEY), transport=emulator.transport(), hooks=[events.append]) as kling:
        await kling.run(BOAT)
    retries = [event for event in events if isinstance(event, RetryScheduled)]

    assert [
        (event.what, type(event.error).__name__, bool(event.seconds)) for event in retries
    ] == told


async def test_own_id_that_is_new_is_no_failure() -> None:
    events: list[Event] = []
    async with client(Emulator(duration=1), events.append) as kling:
        await kling.text2video.run(prompt="A boat", external_task_id="job-4711")

    assert not [event for event in events if isinstance(event, RetryScheduled)]


async def test_events_are_frozen() -> None:
    events: list[Any] = []
    async with client(Emulator(duration=1), events.append) as kling:
        await kling.text2video.run(prompt="A boat")

    for event in filter(fields, events):
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


async def test_without_a_hook_no_event_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made: list[object] = []
    for kind in get_args(Event):
        monkeypatch.setattr(kind, "__init__", lambda self, *args: made.append(self))
    emulator = Emulator(duration=12)
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    emulator.faults.add(Fault.HTML, on="query")
    async with client(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        await kling.download(await task, tmp_path / "boat.mp4")
    async with client(emulator) as kling:
        await kling.task(task.token)

    assert made == []
    assert ExchangeFinished in get_args(Event)
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
