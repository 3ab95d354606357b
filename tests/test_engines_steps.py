"""The steps that engines journal: repeated at will, paid for once, and JSON in and out."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async import (
    CometAPI,
    IntentExpired,
    Kling,
    KlingAI,
    RateLimited,
    SubmissionUnknown,
    TaskFailed,
    TaskTimeout,
    Text2Video,
    Timeouts,
)
from kling_async.emulator import Emulator, Fault
from kling_async.engines import download, intend, settle, submit_or_adopt, wait
from tests.harbour import KEY, creates, official

BOAT = Text2Video(prompt="A paper boat")


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(duration=60)


@pytest.fixture
async def kling(emulator: Emulator) -> AsyncIterator[Kling]:
    async with official(emulator) as kling:
        yield kling


async def another(emulator: Emulator, intent: dict[str, Any] | None) -> str:
    """What a further attempt gives, made by another client."""
    async with official(emulator) as kling:
        return await submit_or_adopt(kling, BOAT, "order17-3", intent=intent)


async def test_whole_life_passes_through_json(kling: Kling, tmp_path: Path) -> None:
    intent = json.loads(json.dumps(await intend()))
    token = await submit_or_adopt(kling, BOAT, "order17-3", intent=intent)
    result = json.loads(json.dumps(await wait(kling, token)))
    files = await download(kling, result, tmp_path / "boat.mp4")

    assert result["external_task_id"] == "order17-3"
    assert files == [str(tmp_path / "boat.mp4")]
    assert Path(files[0]).stat().st_size > 1000
    assert abs(intent["at"] - time.time()) < 3600


async def test_every_attempt_gives_the_same_task(emulator: Emulator) -> None:
    tokens = {await another(emulator, None) for _ in range(3)}

    assert len(tokens) == 1
    assert len(emulator.ledger) == creates(emulator) == 1


async def test_first_attempt_looks_before_it_pays(emulator: Emulator) -> None:
    await another(emulator, await intend())

    methods = [seen.method for seen in emulator.requests]
    assert methods[:2] == ["GET", "POST"]


async def test_intent_of_another_process_is_given_its_time(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent = await intend()
    monkeypatch.setattr("kling_async._steps._unused", {})  # the process that made it is gone
    began = anyio.current_time()

    with pytest.raises(IntentExpired, match="Journal another intent"):
        await another(emulator, intent)

    # Its create had half a minute to leave and two to arrive; then it is certainly not there.
    assert anyio.current_time() - began >= 150
    assert creates(emulator) == 0
    await another(emulator, await intend())
    assert len(emulator.ledger) == 1


async def test_create_of_a_dead_process_that_arrives_late_is_adopted(
    kling: Kling, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent, tokens = await intend(), set[str]()

    async def dying() -> None:
        await anyio.sleep(100)
        tokens.add(await submit_or_adopt(kling, BOAT, "order17-3"))

    monkeypatch.setattr("kling_async._steps._unused", {})
    async with anyio.create_task_group() as group:
        group.start_soon(dying)
        tokens.add(await another(emulator, intent))

    assert len(tokens) == len(emulator.ledger) == 1


async def test_intent_is_good_for_one_attempt(emulator: Emulator) -> None:
    intent = await intend()
    emulator.faults.add(Fault.RATE, on="create", times=100)
    async with official(emulator) as kling:
        with pytest.raises((RateLimited, IntentExpired)):
            await submit_or_adopt(kling, BOAT, "order17-3", intent=intent)
    emulator.faults.clear()

    with pytest.raises(IntentExpired):
        await another(emulator, intent)

    assert len(emulator.ledger) == 0


async def test_process_that_slept_too_long_sends_nothing(kling: Kling, emulator: Emulator) -> None:
    intent = await intend()
    await anyio.sleep(31)  # say, frozen between its step and the create

    with pytest.raises(IntentExpired):
        await submit_or_adopt(kling, BOAT, "order17-3", intent=intent)

    assert creates(emulator) == 0


async def test_machine_that_slept_too_long_sends_nothing(
    kling: Kling, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    intent, today = await intend(), time.time()
    # The loop's clock stands still while a machine sleeps.
    monkeypatch.setattr("time.time", lambda: today + 3600)

    with pytest.raises(IntentExpired):
        await submit_or_adopt(kling, BOAT, "order17-3", intent=intent)

    assert creates(emulator) == 0


async def test_create_of_a_more_patient_client_is_waited_for(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    patient = Kling(KlingAI(KEY), transport=emulator.transport(), timeouts=Timeouts(total=600))
    async with patient:
        intent = await intend(patient)
        monkeypatch.setattr("kling_async._steps._unused", {})
        began = anyio.current_time()

        with pytest.raises(IntentExpired):
            await another(emulator, intent)

    assert anyio.current_time() - began >= 630


async def test_old_intents_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    unused: dict[str, object] = {}
    monkeypatch.setattr("kling_async._steps._unused", unused)
    await intend()
    await anyio.sleep(31)
    await intend()

    assert len(unused) == 1


async def test_intent_that_expires_before_a_second_create_says_so(
    kling: Kling, emulator: Emulator
) -> None:
    emulator.faults.add(Fault.LOST_BEFORE, on="create")

    # The first create is known to have made nothing after two minutes; a second one needs more.
    with pytest.raises(IntentExpired):
        await submit_or_adopt(kling, BOAT, "order17-3", intent=await intend())

    assert creates(emulator) == 1
    await submit_or_adopt(kling, BOAT, "order17-3", intent=await intend())
    assert len(emulator.ledger) == 1


async def test_lost_create_of_a_server_that_cannot_be_asked_stays_unknown(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    emulator = Emulator(finds_external_id=False, strict_ids=False)
    intent = await intend()
    monkeypatch.setattr("kling_async._steps._unused", {})
    async with Kling(CometAPI(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(SubmissionUnknown) as caught:
            await submit_or_adopt(kling, BOAT, "order17-3", intent=intent)

    assert caught.value.external_task_id == "order17-3"
    assert creates(emulator) == 0


async def test_lost_create_is_settled_later(kling: Kling, emulator: Emulator) -> None:
    emulator.faults.add(Fault.SERVER_ERROR, on="query", times=1)
    with pytest.raises(SubmissionUnknown, match="cannot be found out now"):
        await settle(kling, "klingai/text2video/order17-3", "order17-3")
    with pytest.raises(SubmissionUnknown, match="as yet"):
        await settle(kling, "klingai/text2video/order17-3", "order17-3")

    token = await another(emulator, None)

    assert (await settle(kling, "klingai/text2video/order17-3", "order17-3")).id in token


async def test_wait_without_time_asks_once(kling: Kling, emulator: Emulator) -> None:
    token = await another(emulator, None)
    before = len(emulator.requests)

    with pytest.raises(TaskTimeout) as caught:
        await wait(kling, token, timeout=0)

    assert len(emulator.requests) == before + 1
    assert caught.value.token == token
    await anyio.sleep(60)
    assert (await wait(kling, token, timeout=0))["videos"]


async def test_failure_carries_the_token(kling: Kling, emulator: Emulator) -> None:
    token = await another(emulator, None)
    (task_id,) = emulator.tasks
    emulator.tasks[task_id].fail("the boat sank")

    with pytest.raises(TaskFailed, match="the boat sank") as caught:
        await wait(kling, token)

    assert caught.value.token == token


async def test_repeated_download_replaces_its_own_file(
    kling: Kling, emulator: Emulator, tmp_path: Path
) -> None:
    result = await wait(kling, await another(emulator, None))
    first = await download(kling, result, f"{tmp_path}/")
    again = await download(kling, result, f"{tmp_path}/", overwrite=True)

    assert first == again
