"""What a server does with external ids is learned from what it was seen to do, and no more."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest

from kling_async import CometAPI, Gateway, Kling, KlingAI, SubmissionUnknown, Text2Video
from kling_async._abilities import Abilities
from kling_async.emulator import Emulator, Fault
from tests.known_server import KnownCometAPI

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A paper boat")
PATH = "/kling/v1/videos/text2video"


def learned(*events: str) -> Abilities:
    abilities = Abilities(CometAPI(KEY))
    for event in events:
        getattr(abilities, event)()
    return abilities


def cometapi(emulator: Emulator) -> Kling:
    return Kling(CometAPI(KEY), transport=emulator.transport())


def asked(emulator: Emulator) -> list[str]:
    """What was asked by another id than the server's own."""
    paths = [seen.path for seen in emulator.requests if seen.method == "GET"]
    return [path for path in paths if path.rpartition("/")[2] not in emulator.tasks]


# The rules


@pytest.mark.parametrize(
    ("events", "answers", "trusts"),
    [
        ([], True, False),
        (["found"], True, False),
        (["refused_duplicate"], True, False),
        (["found", "refused_duplicate"], True, True),
        (["missed"] * 2, True, False),
        (["missed"] * 3, False, False),
        (["missed"] * 2 + ["found"], True, False),
        (["found"] + ["missed"] * 9, True, False),
        (["missed"] * 3 + ["refused_duplicate"], False, False),
        (["missed"] * 3 + ["refused_duplicate", "found"], True, True),
    ],
)
def test_unknown_server_is_believed_what_it_shows(
    events: list[str], answers: bool, trusts: bool
) -> None:
    abilities = learned(*events)

    assert abilities.answers_look_ups is answers
    assert abilities.trusts_not_found is trusts


def test_declared_abilities_need_no_lesson() -> None:
    kling = Abilities(KlingAI(KEY))
    gateway = Abilities(Gateway("https://gateway.example", KEY))

    assert (kling.answers_look_ups, kling.trusts_not_found) == (True, True)
    assert (gateway.answers_look_ups, gateway.trusts_not_found) == (False, False)


# The lessons


@pytest.mark.parametrize(("finds", "questions"), [(True, 1), (False, 3)])
async def test_first_task_teaches(finds: bool, questions: int) -> None:
    emulator = Emulator(finds_external_id=finds)
    async with cometapi(emulator) as kling:
        await kling.submit(BOAT)
        await anyio.sleep(100)
        await kling.submit(BOAT)
        await anyio.sleep(100)

    assert asked(emulator) == [f"{PATH}/{emulator.ledger[0].external_task_id}"] * questions


async def test_adopted_task_teaches_too() -> None:
    emulator = Emulator(finds_external_id=True)
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    async with cometapi(emulator) as kling:
        await kling.submit(BOAT)
        await kling.submit(BOAT)
        await anyio.sleep(100)

    assert asked(emulator) == [f"{PATH}/{emulator.ledger[0].external_task_id}"]


async def test_replica_that_lags_teaches_nothing_wrong() -> None:
    emulator = Emulator(finds_external_id=True)
    emulator.faults.add(Fault.NOT_FOUND, on="query", times=2)
    async with cometapi(emulator) as kling:
        for _ in range(9):  # all in the same second
            await kling.submit(BOAT)
        await anyio.sleep(100)
        emulator.faults.add(Fault.LOST_ANSWER, on="create")
        await kling.submit(BOAT)

    assert len(emulator.ledger) == 10


async def test_server_that_finds_nothing_is_not_asked_when_an_answer_is_lost() -> None:
    emulator = Emulator(finds_external_id=False)
    async with cometapi(emulator) as kling:
        await kling.submit(BOAT)
        await anyio.sleep(100)
        before = len(emulator.requests)
        emulator.faults.add(Fault.LOST_ANSWER, on="create")
        with pytest.raises(SubmissionUnknown) as caught:
            await kling.submit(BOAT)

    assert len(emulator.requests) == before + 1
    assert caught.value.token is None


@pytest.mark.parametrize("fault", [Fault.SERVER_ERROR, Fault.LOST_BEFORE, Fault.HTML, Fault.RATE])
async def test_failed_question_teaches_nothing(fault: Fault) -> None:
    emulator = Emulator(finds_external_id=True)
    emulator.faults.add(fault, on="query")
    async with cometapi(emulator) as kling:
        await kling.submit(BOAT)
        await anyio.sleep(100)
        await kling.submit(BOAT)
        await anyio.sleep(100)

    first, second = (entry.external_task_id for entry in emulator.ledger)
    assert asked(emulator) == [f"{PATH}/{first}", f"{PATH}/{second}"]


@pytest.mark.parametrize("strict", [True, False])
@pytest.mark.parametrize("finds", [True, False])
async def test_only_both_lessons_allow_a_second_create(finds: bool, strict: bool) -> None:
    emulator = Emulator(finds_external_id=finds, strict_ids=strict)
    taken = Text2Video(prompt="A paper boat", external_task_id="taken")
    other = Kling(KnownCometAPI(KEY), transport=emulator.transport())
    async with other, cometapi(emulator) as kling:
        await kling.submit(BOAT)
        await anyio.sleep(100)
        await other.submit(taken)
        if finds:  # the question before the create is told a lie
            emulator.faults.add(Fault.NOT_FOUND, on="query", task="taken")
            await kling.submit(taken)
        emulator.faults.add(Fault.LOST_BEFORE, on="create")
        if finds and strict:
            await kling.submit(BOAT)
        else:
            with pytest.raises(SubmissionUnknown):
                await kling.submit(BOAT)


async def test_closing_stops_the_question() -> None:
    emulator = Emulator(finds_external_id=False)
    async with cometapi(emulator) as kling:
        await kling.submit(BOAT)
        await anyio.sleep(1)

    assert anyio.current_time() == pytest.approx(1)
    assert len(asked(emulator)) == 1


# Servers that word it otherwise


def refusing(status: int, body: dict[str, Any]) -> Callable[[httpx.Request], httpx.Response]:
    """A server that creates, and refuses every question like this."""

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "GET":
            return httpx.Response(status, json=body)
        task = {"task_id": "7", "task_status": "submitted"}
        return httpx.Response(200, json={"code": 0, "data": task})

    return answer


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (400, {"code": 1201, "message": "no record"}),
        (400, {"error": {"message": "unknown", "type": "comet_api_error", "code": ""}}),
        (405, {}),
    ],
)
async def test_question_that_is_refused_finds_nothing(status: int, body: dict[str, Any]) -> None:
    requests: list[str] = []
    answer = refusing(status, body)

    def note(request: httpx.Request) -> httpx.Response:
        requests.append(request.method)
        return answer(request)

    async with Kling(CometAPI(KEY), transport=httpx.MockTransport(note)) as kling:
        task = await kling.text2video.submit(prompt="A boat", external_task_id="boat-1")
        await anyio.sleep(100)

    assert task.id == "7"
    assert requests == ["GET", "POST", "GET", "GET", "GET"]
