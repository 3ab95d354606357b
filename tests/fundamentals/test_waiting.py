"""Lesson 3: a task can be waited for, watched, and left."""

from __future__ import annotations

import anyio
import pytest

from kling_async import Kling, KlingAI, Polling, TaskStatus, TaskTimeout
from kling_async.emulator import Emulator


async def test_submit_returns_at_once(kling: Kling) -> None:
    """`submit` is what costs; it returns a task as soon as Kling has accepted it."""
    task = await kling.text2video.submit(prompt="A paper boat")

    assert task.state.status is TaskStatus.SUBMITTED


async def test_task_is_awaited(kling: Kling) -> None:
    """`await task` gives the same result as `run`."""
    task = await kling.text2video.submit(prompt="A paper boat")

    video = await task

    assert video.task_id == task.id


async def test_updates_tell_every_change(kling: Kling) -> None:
    """The iterator begins with the present state and ends with the last one."""
    task = await kling.text2video.submit(prompt="A paper boat")

    statuses = [state.status.value async for state in task.updates()]

    assert statuses == ["submitted", "processing", "succeed"]


async def test_ended_task_answers_at_once(kling: Kling, emulator: Emulator) -> None:
    """Awaiting a finished task again asks nobody."""
    task = await kling.text2video.submit(prompt="A paper boat")
    first = await task
    asked = len(emulator.requests)

    assert await task == first
    assert len(emulator.requests) == asked


async def test_timeout_stops_the_waiting_not_the_task(kling: Kling) -> None:
    """After a `TaskTimeout`, wait on: nothing was lost and nothing is paid again."""
    task = await kling.text2video.submit(prompt="A paper boat")
    with pytest.raises(TaskTimeout):
        await task.result(timeout=30)

    assert (await task).url


async def test_cancelling_a_wait_leaves_the_task_alone(kling: Kling, emulator: Emulator) -> None:
    """A user who closes the page does not throw a paid video away."""
    task = await kling.text2video.submit(prompt="A paper boat")
    with anyio.move_on_after(30):
        await task

    assert (await task).url
    assert len(emulator.ledger) == 1


async def test_refresh_asks_once(kling: Kling) -> None:
    """For programs that have a rhythm of their own."""
    task = await kling.text2video.submit(prompt="A paper boat")
    await anyio.sleep(100)

    state = await task.refresh()

    assert state.status is TaskStatus.SUCCEEDED


async def test_polling_is_adjustable(emulator: Emulator) -> None:
    """A client asks every five seconds, or as often as it is told to."""
    polling = Polling(interval=25)
    async with Kling(KlingAI("a-key"), polling=polling, transport=emulator.transport()) as kling:
        await kling.text2video.run(prompt="A paper boat")

    assert len(emulator.requests) == 1 + 4  # the create, and 100 seconds of questions
