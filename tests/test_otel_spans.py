"""Each task is one span, from its accepted create to its end, and none stays open for ever."""

from __future__ import annotations

import gc
import importlib
import sys
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.trace import SpanKind, StatusCode, get_tracer

from kling_async import (
    ConfigurationError,
    Gateway,
    Kling,
    KlingAI,
    SubmissionUnknown,
    TaskFailed,
    Text2Video,
)
from kling_async.emulator import Emulator, Fault
from kling_async.otel import Telemetry
from tests.observatory import KEY, Observatory

BOAT = Text2Video(prompt="A boat")


async def test_task_is_a_span() -> None:
    sky, emulator = Observatory(), Emulator(duration=30)
    async with sky.client(emulator) as kling:
        task = await kling.submit(BOAT)
        assert sky.spans == []
        video = await task
    (span,) = sky.spans
    seen = dict(span.attributes or {})

    assert (span.name, span.kind) == ("kling text2video", SpanKind.CLIENT)
    assert span.status.status_code is StatusCode.UNSET
    assert video.units is not None
    assert 0 <= float(str(seen.pop("kling.task.lag"))) < 6
    assert seen == {
        "kling.endpoint": "text2video",
        "kling.model": "kling-v1",
        "kling.task.id": task.id,
        "kling.task.external_id": task.external_task_id,
        "kling.task.status": "succeed",
        "kling.task.duration": pytest.approx(30, abs=1),
        "kling.units": float(video.units),
    }


async def test_failed_task_is_an_error_with_its_reason() -> None:
    sky, emulator = Observatory(), Emulator(duration=30)
    emulator.faults.add(Fault.FAIL, message="Image pixel is invalid")
    async with sky.client(emulator) as kling:
        with pytest.raises(TaskFailed):
            await kling.run(BOAT)
    (span,) = sky.spans

    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == "Image pixel is invalid"
    assert span.attributes is not None
    assert span.attributes["error.type"] == "TaskFailed"
    assert span.attributes["kling.task.status"] == "failed"


@pytest.mark.parametrize("way", ["run", "map", "batch"])
async def test_span_is_a_child_of_the_one_that_is_current(way: str, tmp_path: Path) -> None:
    sky = Observatory()
    tracer = get_tracer("an app", tracer_provider=sky.tracers)
    async with sky.client(Emulator(duration=10)) as kling:
        await kling.run(BOAT)  # so that the poller was begun in another context
        with tracer.start_as_current_span("a page") as page:
            if way == "run":
                await kling.run(BOAT)
            if way == "map":
                _ = [outcome async for outcome in kling.map([BOAT])]
            if way == "batch":
                async with kling.batch(tmp_path / "boats.db", [BOAT]) as batch:
                    _ = [outcome async for outcome in batch]
    alone, child = sky.spans

    assert alone.parent is None
    assert child.parent == page.get_span_context()


async def test_what_the_server_does_not_tell_is_left_out() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        data: dict[str, Any] = {"task_id": "7", "task_status": "submitted"}
        if request.method == "GET":
            data["task_status"] = "succeed"
            data["task_result"] = {"videos": [{"id": "8", "url": "https://files.test/8.mp4"}]}
        return httpx.Response(200, json={"code": 0, "data": data})

    sky = Observatory()
    transport = httpx.MockTransport(answer)
    async with Kling(KlingAI(KEY), transport=transport, hooks=[sky.telemetry]) as kling:
        await kling.run(BOAT)
    (span,) = sky.spans

    assert not {"kling.task.duration", "kling.task.lag", "kling.units"} & set(span.attributes or {})
    assert not {"kling.task.duration", "kling.task.lag", "kling.units"} & set(sky.metrics())


async def test_task_whose_answer_was_lost_is_one_span() -> None:
    sky, emulator = Observatory(), Emulator(duration=30)
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    async with sky.client(emulator) as kling:
        await kling.run(BOAT)

    assert len(sky.spans) == len(emulator.ledger) == 1


async def test_create_that_stays_unknown_is_no_span() -> None:
    sky, emulator = Observatory(), Emulator()
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    async with sky.client(emulator, Gateway("https://gateway.test", KEY)) as kling:
        with pytest.raises(SubmissionUnknown):
            await kling.run(BOAT)

    assert sky.spans == []
    assert sky.total("kling.tasks.in_flight") == 0


async def test_task_that_is_taken_up_is_a_span_of_its_own() -> None:
    emulator, sky = Emulator(duration=30), Observatory()
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        token = (await kling.submit(BOAT)).token
    async with sky.client(emulator) as kling:
        await kling.task(token)
    (span,) = sky.spans

    assert span.attributes is not None
    assert span.attributes["kling.task.taken_up"] is True
    assert span.attributes["kling.task.status"] == "succeed"
    assert "kling.task.lag" not in span.attributes


async def test_task_that_has_ended_is_not_told_again() -> None:
    """As by a web page that asks for it by its token, again and again."""
    emulator, sky = Emulator(duration=10), Observatory()
    async with sky.client(emulator) as kling:
        token = await done(kling)
        for _ in range(3):
            gc.collect()  # or the task would be known yet
            await kling.task(token).refresh()

    assert len(sky.spans) == 1
    assert sky.total("kling.task.duration") == 1
    assert sky.total("kling.units") == emulator.ledger[0].units


async def test_span_of_a_task_under_way_ends_with_the_client() -> None:
    sky = Observatory()
    async with sky.client(Emulator(duration=600)) as kling:
        await kling.submit(BOAT)
        await kling.submit(BOAT)
        assert sky.total("kling.tasks.in_flight") == 2
    statuses = [dict(span.attributes or {})["kling.task.status"] for span in sky.spans]

    assert statuses == ["unknown", "unknown"]
    assert {span.status.status_code for span in sky.spans} == {StatusCode.UNSET}
    assert sky.total("kling.tasks.in_flight") == 0


async def test_tasks_that_nobody_sees_end_do_not_pile_up() -> None:
    sky = Observatory(max_spans=3)
    async with sky.client(Emulator(duration=60)) as kling:
        tasks = [await kling.submit(BOAT) for _ in range(5)]
        given_up = [dict(span.attributes or {})["kling.task.id"] for span in sky.spans]
        assert given_up == [task.id for task in tasks[:2]]
        assert sky.total("kling.tasks.in_flight") == 3
        for task in tasks:
            await task

    assert len(sky.spans) == 5
    assert sky.total("kling.task.duration", kling_task_status="succeed") == 5
    assert sky.total("kling.tasks.in_flight") == 0


async def done(kling: Kling) -> str:
    """The token of a task that has ended, and of which no handle is left."""
    task = await kling.submit(BOAT)
    await task
    return task.token


async def test_memory_of_ended_tasks_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kling_async.otel._telemetry._ENDED", 2)
    sky = Observatory()
    async with sky.client(Emulator(duration=1)) as kling:
        tokens = [await done(kling) for _ in range(3)]
        gc.collect()
        await kling.task(tokens[2]).refresh()
        assert len(sky.spans) == 3
        await kling.task(tokens[0]).refresh()

    assert len(sky.spans) == 4


async def test_polls_are_events_of_the_span_on_demand() -> None:
    sky, quiet = Observatory(poll_events=True), Observatory()
    for seen in (sky, quiet):
        async with seen.client(Emulator(duration=30)) as kling:
            await kling.run(BOAT)
    (span,), (other,) = sky.spans, quiet.spans
    polls = [dict(event.attributes or {}) for event in span.events]

    assert {event.name for event in span.events} == {"kling.poll"}
    assert len(polls) == sky.total("kling.polls")
    assert polls[-1] == {"kling.task.status": "succeed", "kling.poll.kind": "single"}
    assert other.events == ()


async def test_without_an_sdk_nothing_happens() -> None:
    transport = Emulator(duration=1).transport()
    async with Kling(KlingAI(KEY), transport=transport, hooks=[Telemetry()]) as kling:
        assert (await kling.run(BOAT)).videos


def test_table_without_room_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="max_spans is 0"):
        Telemetry(max_spans=0)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.startswith("kling_async.otel")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", None)

    with pytest.raises(ModuleNotFoundError, match=r"pip install .kling_async\[otel\]"):
        importlib.import_module("kling_async.otel")
