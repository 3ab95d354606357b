"""Many workflows are waited for by few questions, and by none while nobody waits."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from kling_async.engines._watch import Watch
from tests.fleet_database import Database, Row


async def test_many_are_waited_for_by_one_question(caplog: pytest.LogCaptureFixture) -> None:
    database = Database([Row(str(number)) for number in range(700)], outages=1)
    made: Any = database
    watch, ended = Watch(made, 1.0), list[str]()

    async def wait(workflow_id: str) -> None:
        row = await watch.end(workflow_id)
        assert row is not None
        ended.append(row.workflow_id)

    async with anyio.create_task_group() as group:
        for row in database.rows:
            group.start_soon(wait, row.workflow_id)
        group.start_soon(wait, "699")
        await anyio.sleep(10.5)
        assert database.asked < 30
        assert not ended
        for row in database.rows:
            row.status = "SUCCESS"
    await watch.aclose()

    assert len(ended) == 701
    assert "jobs cannot be asked about now" in caplog.text


async def test_what_has_ended_is_told_at_once_and_nobody_asks_for_nobody() -> None:
    database = Database([Row(str(number), status="ERROR") for number in range(9)] + [Row("x")])
    made: Any = database
    watch = Watch(made, 1.0)
    began = anyio.current_time()
    for number in range(9):
        await watch.end(str(number))
    assert anyio.current_time() - began < 1

    with anyio.move_on_after(5):
        await watch.end("x")
    await anyio.sleep(2)
    asked = database.asked
    await anyio.sleep(100)

    assert database.asked == asked
    await watch.aclose()


async def test_who_comes_or_goes_during_a_question_is_served() -> None:
    database = Database([Row("a", status="SUCCESS"), Row("b", status="SUCCESS")])
    database.takes = 0.5
    made: Any = database
    watch = Watch(made, 1.0)

    async with anyio.create_task_group() as group:
        with anyio.move_on_after(0.2):
            await watch.end("a")
        group.start_soon(watch.end, "b")
    await watch.aclose()


async def test_what_is_not_there_has_no_end() -> None:
    database = Database([Row("a")])
    made: Any = database
    watch, ended = Watch(made, 1.0), list[object]()

    async def wait() -> None:
        ended.append(await watch.end("a"))

    assert await watch.end("raft") is None
    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(100)
        assert not ended
        database.rows.clear()
    await watch.aclose()

    assert ended == [None]


async def test_who_goes_while_his_is_looked_for_is_not_told() -> None:
    database = Database([Row("a", status="SUCCESS")])
    database.takes = 0.5  # for those that have ended, and as long for those that are there
    made: Any = database
    watch = Watch(made, 1.0)

    with anyio.move_on_after(0.7) as patience:
        await watch.end("raft")
    assert patience.cancelled_caught
    row = await watch.end("a")
    await watch.aclose()

    assert row is not None


async def test_nobody_waits_for_a_watch_that_is_closed() -> None:
    made: Any = Database([Row("a")])
    watch = Watch(made, 1.0)

    async def wait() -> None:
        with pytest.raises(RuntimeError, match="the fleet was closed"):
            await watch.end("a")

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(10)
        await watch.aclose()
    await wait()
