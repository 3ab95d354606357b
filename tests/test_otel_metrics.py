"""Metrics count what happened, under documented names, few attributes and no secrets."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async import (
    AuthenticationError,
    CometAPI,
    ExchangeFinished,
    KlingAI,
    KlingError,
    SlotsChanged,
    TaskSubmitted,
    Text2Video,
)
from kling_async.emulator import Emulator, Fault
from tests.media_samples import png
from tests.observatory import KEY, Observatory

BOAT = Text2Video(prompt="A boat")
TABLE = Path(__file__).parent.parent / "docs" / "telemetry.md"
TASK = {"kling.endpoint": "text2video", "kling.model": "kling-v1"}


async def test_tasks_in_flight_rise_and_fall() -> None:
    sky = Observatory()
    async with sky.client(Emulator(duration=30)) as kling:
        tasks = [await kling.submit(BOAT) for _ in range(3)]
        assert sky.points("kling.tasks.in_flight") == [(TASK, 3)]
        for task in tasks:
            await task
        assert sky.points("kling.tasks.in_flight") == [(TASK, 0)]


async def test_slots_are_counted() -> None:
    sky = Observatory()
    async with sky.client(Emulator(duration=30), max_at_once=2) as kling:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(kling.run, BOAT)
            await anyio.sleep(10)
            assert sky.total("kling.slots.taken", kling_model="kling-v1") == 2
            assert sky.total("kling.slots.queued", kling_model="kling-v1") == 3
            assert sky.total("kling.slots.limit", kling_model="kling-v1") == 2
        assert sky.total("kling.slots.taken") == sky.total("kling.slots.queued") == 0


async def test_learned_limit_is_shown_and_slots_end_with_the_client() -> None:
    sky = Observatory()
    async with sky.client(Emulator(duration=60, parallel=2)) as kling:
        with anyio.move_on_after(20):
            await kling.gather(*[BOAT] * 4)
        ((model, limit),) = sky.points("kling.slots.limit")
        assert model == {"kling.model": "kling-v1"}
        assert limit <= 2  # by how many were known to run when the refused one was sent
        assert sky.total("kling.retries", kling_retry_what="create", error_type="ParallelLimit")
        assert sky.total("kling.slots.taken") == 2

    assert sky.total("kling.slots.taken") == 0


async def test_end_is_measured_by_status() -> None:
    sky, emulator = Observatory(), Emulator(duration=30)
    emulator.faults.add(Fault.FAIL)
    async with sky.client(emulator) as kling:
        _ = [outcome async for outcome in kling.map([BOAT] * 3)]
    durations = {
        found["kling.task.status"]: value for found, value in sky.points("kling.task.duration")
    }
    failed, succeeded = durations["failed"], durations["succeed"]

    assert (failed[0], succeeded[0]) == (1, 2)
    assert succeeded[1] == pytest.approx(60, abs=1)
    assert sky.total("kling.task.lag") == 3
    assert sky.total("kling.units", kling_task_status="succeed") == 2


async def test_lost_answer_is_a_request_with_an_error_and_a_look_up() -> None:
    sky, emulator = Observatory(), Emulator(duration=30)
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    async with sky.client(emulator) as kling:
        await kling.run(BOAT)
    lost = {"http_request_method": "POST", "error_type": "AnswerLost"}

    assert sky.total("http.client.request.duration", **lost) == 1
    assert sky.points("kling.retries") == [
        ({"kling.retry.what": "look-up", "error.type": "AnswerLost"}, 1)
    ]


async def test_polls_are_counted_by_kind() -> None:
    for provider, kind in (KlingAI(KEY), "page"), (CometAPI(KEY), "single"):
        sky = Observatory()
        async with sky.client(Emulator(duration=60), provider) as kling:
            await kling.gather(*[BOAT] * 50)

        assert sky.total("kling.polls", kling_poll_kind=kind) >= 50
        assert sky.total("kling.polls") == sky.total("kling.polls", kling_poll_kind=kind)


async def test_downloaded_bytes_are_counted(tmp_path: Path) -> None:
    sky = Observatory()
    async with sky.client(Emulator(duration=1)) as kling:
        (path,) = await kling.download(await kling.run(BOAT), tmp_path / "boat.mp4")

    assert sky.points("kling.download.io") == [({}, path.stat().st_size)]
    assert sky.total("kling.download.duration") == 1


async def test_requests_have_the_names_of_the_semantic_conventions() -> None:
    sky, emulator = Observatory(), Emulator(duration=1)
    async with sky.client(emulator) as kling:
        await kling.run(BOAT)
        emulator.faults.add(Fault.NOT_FOUND, on="query")
        with pytest.raises(KlingError):
            await kling.text2video.get("7")
    series = [found for found, _ in sky.points("http.client.request.duration")]
    host = {"server.address": "api-singapore.klingai.com", "server.port": 443}

    assert {
        "http.request.method": "POST",
        "http.response.status_code": 200,
        **host,
    } in series
    refused = [found for found in series if found.get("http.response.status_code", 0) >= 400]
    assert [found["error.type"] for found in refused] == [
        str(found["http.response.status_code"]) for found in refused
    ]
    assert refused
    assert sky.metrics()["http.client.request.duration"].unit == "s"


def test_attributes_stay_few_whatever_models_and_hosts_there_are() -> None:
    sky = Observatory()
    for number in range(300):
        name = f"model-{number}"
        sky.telemetry(TaskSubmitted("text2video", str(number), f"ka-{number}", name))
        sky.telemetry(SlotsChanged(name, 1, 0, None))
        sky.telemetry(ExchangeFinished("GET", f"{number}.test", None, 200, 0.1, None))

    for name in ("kling.tasks.in_flight", "kling.slots.taken", "http.client.request.duration"):
        assert len(sky.points(name)) == 101
        assert sky.total(name) == 300
    assert sky.total("kling.slots.taken", kling_model="_OTHER") == 200


def documented() -> dict[str, tuple[str, set[str]]]:
    """The table: each metric's unit and attributes."""
    rows = re.findall(
        r"^\| `([\w.]+)` \| [\w -]+ \| `([^`]+)` \|(.*?)\|", TABLE.read_text("utf-8"), re.M
    )
    return {name: (unit, set(re.findall(r"`([^`]+)`", more))) for name, unit, more in rows}


async def everything(tmp_path: Path) -> Observatory:
    """All that can be told, with secrets in every place where there can be any."""
    sky, emulator = Observatory(poll_events=True), Emulator(duration=30, parallel=20, keys=[KEY])
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    emulator.faults.add(Fault.HTML, on="query")
    emulator.faults.add(Fault.HTML, on="list")
    emulator.faults.add(Fault.FAIL)
    emulator.faults.add(Fault.EXPIRED_URL)
    image = png(640, 640)
    async with sky.client(emulator) as kling:
        secret = Text2Video(prompt="a prompt that is nobody's business")
        token = (await kling.submit(secret)).token
        _ = [outcome async for outcome in kling.map([secret] * 30)]
        video = await kling.image2video.run(image=image, prompt="nobody's business either")
        await kling.download(video, tmp_path / "boat.mp4")
        await kling.task(token)
        await kling.submit(secret)
    wrong = KlingAI("another-key-that-is-wrong")
    async with sky.client(emulator, wrong) as kling:
        with pytest.raises(AuthenticationError):
            await kling.submit(secret)
    async with sky.client(emulator, CometAPI(KEY)) as kling:
        await kling.run(secret)
    return sky


async def test_every_metric_is_in_the_table_and_the_other_way_round(tmp_path: Path) -> None:
    sky = await everything(tmp_path)
    found: dict[str, tuple[str, set[str]]] = {}
    for name, metric in sky.metrics().items():
        found[name] = metric.unit, {key for told, _ in sky.points(name) for key in told}

    assert found == documented()


async def test_no_secret_prompt_or_media_is_exported(tmp_path: Path) -> None:
    sky = await everything(tmp_path)
    text = sky.exported()

    assert len(sky.spans) >= 33
    for secret in (KEY, "another-key", "nobody", "business", "iVBORw0KGgo", "Bearer", "?"):
        assert secret not in text, secret


async def test_no_task_is_named_in_metrics(tmp_path: Path) -> None:
    sky = await everything(tmp_path)
    words: set[Any] = set()
    for name in sky.metrics():
        words |= {word for told, _ in sky.points(name) for word in told.values()}
    ids = {str(dict(span.attributes or {})["kling.task.id"]) for span in sky.spans}

    assert not ids & words
    assert len(words) < 50
