"""Lesson 7: what breaks on the way costs nothing twice and loses nothing."""

from __future__ import annotations

import anyio
import pytest

from kling_async import CometAPI, Gateway, Kling, SubmissionUnknown, Text2Video
from kling_async.emulator import Emulator, Fault

# Gateways want all of these named.
BOAT = Text2Video(
    prompt="A paper boat",
    model_name="kling-v1-6",
    mode="std",
    duration=5,
    multi_shot=False,
    external_task_id="order-4711",
)


async def test_lost_answer_is_looked_up(kling: Kling, emulator: Emulator) -> None:
    """Kling took the money and the connection broke: the task is found by its external id."""
    emulator.faults.add(Fault.LOST_ANSWER, on="create")

    await kling.text2video.run(prompt="A paper boat")

    assert len(emulator.ledger) == 1


async def test_lost_request_is_sent_again(kling: Kling, emulator: Emulator) -> None:
    """Nothing had arrived: it goes out again under the same id, once it cannot arrive any more."""
    emulator.faults.add(Fault.LOST_BEFORE, on="create")

    await kling.text2video.run(prompt="A paper boat")

    assert len(emulator.ledger) == 1


async def test_lost_answer_is_looked_up_at_cometapi(emulator: Emulator) -> None:
    """Where nobody knows whether ids are found, asking is free: found is found."""
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    async with Kling(CometAPI("a-key-of-mine"), transport=emulator.transport()) as kling:
        await kling.text2video.run(prompt="A paper boat")

    assert len(emulator.ledger) == 1


async def test_nobody_knows_is_said_out_loud(emulator: Emulator) -> None:
    """A gateway cannot be asked, so there is an error with the id, and no second bill."""
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    gateway = Gateway("https://acme.example/gateway/newapi", "a-key-of-mine")
    async with Kling(gateway, transport=emulator.transport()) as kling:
        with pytest.raises(SubmissionUnknown) as caught:
            await kling.submit(BOAT)

    assert caught.value.external_task_id == "order-4711"
    assert len(emulator.ledger) == 1


async def test_bad_answers_do_not_end_a_wait(kling: Kling, emulator: Emulator) -> None:
    """Resets, error pages, nonsense: as long as it may pass, the wait goes on."""
    for fault in (Fault.RESET, Fault.HTML, Fault.GARBAGE, Fault.NOT_FOUND, Fault.RATE):
        emulator.faults.add(fault, on="query")

    assert (await kling.text2video.run(prompt="A paper boat")).url


async def test_cancelled_create_is_not_forgotten(kling: Kling, emulator: Emulator) -> None:
    """A create that is on the wire is heard out; your external id finds what it made."""
    emulator.faults.add(Fault.STALL, on="create", seconds=5)
    with anyio.move_on_after(1):
        await kling.text2video.submit(prompt="A paper boat", external_task_id="order-4711")

    state = await kling.text2video.get("order-4711")

    assert state.id == emulator.ledger[0].task_id


async def test_same_id_is_the_same_task(kling: Kling, emulator: Emulator) -> None:
    """With an `external_task_id` of your own, a program that starts over pays only once."""
    first = await kling.text2video.submit(prompt="A paper boat", external_task_id="order-4711")
    second = await kling.text2video.submit(prompt="A paper boat", external_task_id="order-4711")

    assert second.id == first.id
    assert len(emulator.ledger) == 1
