"""Lesson 11: with an id of your own, such as a job's number, a submit can be repeated safely."""

from __future__ import annotations

import anyio
import pytest

from kling_async import Kling, KlingAI, RequestChanged, Text2Video
from kling_async.emulator import Emulator

BOAT = Text2Video(prompt="A paper boat", external_task_id="job-4711")


async def test_double_click_is_one_task(kling: Kling, emulator: Emulator) -> None:
    """In one client the second submit waits for the first, and gives the same task."""
    ids: set[str] = set()

    async def click() -> None:
        ids.add((await kling.submit(BOAT)).id)

    async with anyio.create_task_group() as group:
        group.start_soon(click)
        group.start_soon(click)

    assert len(ids) == len(emulator.ledger) == 1


async def test_two_workers_at_once_make_one_task() -> None:
    """Both send, Kling refuses the later one, and its task is looked up."""
    emulator, ids = Emulator(latency=1), list[str]()

    async def work() -> None:
        async with Kling(KlingAI("our-common-key"), transport=emulator.transport()) as kling:
            ids.append((await kling.submit(BOAT)).id)

    async with anyio.create_task_group() as group:
        group.start_soon(work)
        group.start_soon(work)

    assert [seen.method for seen in emulator.requests].count("POST") == 2
    assert ids == [emulator.ledger[0].task_id] * 2
    assert len(emulator.ledger) == 1


async def test_job_that_is_run_again_finds_its_task(kling: Kling, emulator: Emulator) -> None:
    """Days later, in another process: the id is looked up before anything is sent."""
    first = await kling.run(BOAT)
    await anyio.sleep(3 * 24 * 3600)

    async with Kling(KlingAI("a-key-of-mine"), transport=emulator.transport()) as another:
        assert (await another.run(BOAT)).task_id == first.task_id

    assert len(emulator.ledger) == 1


async def test_other_request_by_the_same_id_is_refused(kling: Kling, emulator: Emulator) -> None:
    """Where the client knows what the id stood for, the error shows the difference."""
    task = await kling.submit(BOAT)
    with pytest.raises(RequestChanged, match="prompt: 'A paper boat' before, 'A ship' now"):
        await kling.text2video.submit(prompt="A ship", external_task_id="job-4711")

    assert len(emulator.ledger) == 1
    assert (await task).url
