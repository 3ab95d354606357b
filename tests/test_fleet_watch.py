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
