"""Dead workers are found, others are left alone, and an outage of the database is outlived."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kling_async.engines._executor import Executor
from kling_async.engines._names import FILES
from kling_async.engines._presence import Alone
from kling_async.engines._recovery import TAKEN_OVER, Recovery
from kling_async.engines._retention import retain
from tests.fleet_database import NAMES, Database, Row


class Harbour(Alone):
    """A presence whose truth the test tells."""

    def __init__(self, *living: str) -> None:
        super().__init__("me")
        self.living = {"me", *living}
        self.hears = True
        self.others_bury = False
        self.since = 0.0

    async def beat(self) -> bool:
        return self.hears

    def lives(self, executor: str) -> bool:
        return executor in self.living

    async def bury(self, executor: str) -> bool:
        return not self.others_bury

    def die(self, executor: str) -> None:
        self.living.discard(executor)
        self.losses += 1


def recovering(database: Database, presence: Harbour, running: Collection[str] = ()) -> Recovery:
    made: Any = database
    return Recovery(
        made,
        presence,
        NAMES,
        Executor("me", version="1"),
        running=lambda: running,
        beat=1.0,
        most=2,
    )


@asynccontextmanager
async def watched(
    database: Database, presence: Harbour, running: Collection[str] = ()
) -> AsyncGenerator[Recovery]:
    """A recovery that looks once a second."""
    recovery = recovering(database, presence, running)
    async with anyio.create_task_group() as group:
        group.start_soon(recovery.run)
        await anyio.lowlevel.checkpoint()
        group.start_soon(recovery.beat)
        yield recovery
        group.cancel_scope.cancel()


async def test_work_of_the_dead_is_given_away_and_counted() -> None:
    database = Database([Row("a"), Row("b", "alive"), Row("c", None)])
    async with watched(database, Harbour("alive")):
        await anyio.sleep(5)

    assert database.resumed == ["a"]
    assert database.rows[0].attributes == {TAKEN_OVER: 1}


async def test_one_who_comes_back_in_time_keeps_his_work() -> None:
    presence, database = Harbour("flaky"), Database([Row("a", "flaky")])
    async with watched(database, presence):
        await anyio.sleep(1.5)
        presence.die("flaky")
        await anyio.sleep(2)
        presence.living.add("flaky")
        await anyio.sleep(60)

    assert not database.resumed


async def test_death_is_noticed_at_once_and_believed_after_three_looks() -> None:
    presence, database = Harbour("other"), Database([Row("a", "other")])
    async with watched(database, presence):
        await anyio.sleep(1.5)
        presence.die("other")
        await anyio.sleep(2)
        assert not database.resumed
        await anyio.sleep(1.1)
        assert database.resumed == ["a"]


async def test_absence_does_not_count_while_all_may_have_lost_their_sessions() -> None:
    presence, database = Harbour(), Database([Row("a")])
    presence.since = anyio.current_time() + 20
    async with watched(database, presence):
        await anyio.sleep(19)
        assert not database.resumed
        await anyio.sleep(3)
        assert database.resumed == ["a"]


async def test_absence_is_forgotten_when_nobody_hears() -> None:
    presence, database = Harbour(), Database([Row("a")])
    async with watched(database, presence):
        await anyio.sleep(1.5)
        presence.hears = False
        await anyio.sleep(20)
        assert not database.resumed


async def test_others_bury_too() -> None:
    presence, database = Harbour(), Database([Row("a")])
    presence.others_bury = True
    async with watched(database, presence):
        await anyio.sleep(5)
        assert not database.resumed
        presence.others_bury = False  # he has died over it
        await anyio.sleep(40)

    assert database.resumed == ["a"]


async def test_poison_is_ended() -> None:
    database = Database([Row("a", attributes={TAKEN_OVER: 2}), Row("b")])
    async with watched(database, Harbour()):
        await anyio.sleep(5)

    assert database.resumed == ["b"]
    assert database.rows[0].status == "CANCELLED"


async def test_what_is_paid_for_is_not_suspected_of_the_death() -> None:
    paid = Row("paid", steps=[{"id": "7"}, {"token": "klingai/text2video/7"}])
    saving = Row("saving", name=FILES, queue_name=NAMES.files)
    unpaid = Row("unpaid", steps=[{"id": "8"}, None])
    database = Database([unpaid, paid, saving])
    async with watched(database, Harbour()):
        await anyio.sleep(5)

    assert database.resumed == ["paid", "saving", "unpaid"]
    assert unpaid.attributes == {TAKEN_OVER: 1}
    assert paid.attributes is saving.attributes is None


async def test_one_of_those_that_are_paid_for_may_be_the_poison() -> None:
    steps: list[object] = [{"token": "klingai/text2video/7"}]
    database = Database([Row("a", steps=steps, attributes={TAKEN_OVER: 2}), Row("b", steps=steps)])
    async with watched(database, Harbour()):
        await anyio.sleep(5)

    assert database.resumed == ["b"]
    assert database.rows[0].status == "CANCELLED"


async def test_work_of_other_versions_is_left_and_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    database = Database([Row("a", app_version="0")])
    async with watched(database, Harbour()):
        await anyio.sleep(100)

    assert not database.resumed
    assert sum("application version 0" in each for each in caplog.messages) == 1


async def test_what_was_given_to_this_worker_unheard_goes_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    saving = Row("unheard", "me", name=FILES, queue_name=NAMES.files)
    database = Database([Row("running", "me"), saving, Row("other's", "other")])
    async with watched(database, Harbour("other"), {"running"}):
        await anyio.sleep(29)
        assert not database.resumed  # it might be about to begin
        await anyio.sleep(32)

    assert database.resumed == ["unheard"]
    assert saving.attributes is None  # no worker has died of it
    assert "1 jobs were given to this worker unheard" in caplog.text


async def test_what_is_about_to_begin_or_has_just_ended_is_left() -> None:
    running: set[str] = set()
    database = Database([Row("late", "me"), Row("ending", "me")])
    async with watched(database, Harbour(), running):
        await anyio.sleep(20)
        running.add("late")
        database.rows[1].status = "SUCCESS"
        await anyio.sleep(20)
        running.discard("late")  # the database is told of its end a little later
        await anyio.sleep(25)
        database.rows[0].status = "SUCCESS"
        await anyio.sleep(60)

    assert not database.resumed


async def test_what_is_taken_again_has_its_time_again() -> None:
    unheard = Row("a", "me", dequeued_at=1)
    database = Database([unheard])
    async with watched(database, Harbour()):
        await anyio.sleep(59)
        assert database.resumed == ["a"]
        unheard.status, unheard.executor_id, unheard.dequeued_at = "PENDING", "me", 2
        await anyio.sleep(30)
        assert database.resumed == ["a"]
        await anyio.sleep(32)

    assert database.resumed == ["a", "a"]


async def test_time_in_which_the_database_does_not_answer_does_not_count() -> None:
    database = Database([Row("a", "me")])
    database.takes = 44.0
    async with watched(database, Harbour()):
        await anyio.sleep(44.5)
        database.takes = 0.0
        await anyio.sleep(29)
        assert not database.resumed
        await anyio.sleep(32)

    assert database.resumed == ["a"]


async def test_outage_is_outlived(caplog: pytest.LogCaptureFixture) -> None:
    database = Database([Row("a")], outages=2)
    async with watched(database, Harbour()):
        await anyio.sleep(8)  # it looks again at the next beat, and not half a minute later

    assert database.resumed == ["a"]
    assert "dead workers cannot be looked for now" in caplog.text


async def test_leaving_gives_back_or_leaves_it_to_others(caplog: pytest.LogCaptureFixture) -> None:
    database = Database([Row("a", "me"), Row("b", "other")])
    recovery = recovering(database, Harbour())

    await recovery.give_back()
    assert database.resumed == ["a"]
    assert database.rows[0].attributes is None

    database.rows[0] = Row("c", "me")
    database.outages = 1
    await recovery.give_back()
    assert database.resumed == ["a"]
    assert "is left to be taken over" in caplog.text


async def test_what_ended_is_deleted_every_hour(caplog: pytest.LogCaptureFixture) -> None:
    presence, database = Harbour(), Database([Row("a", status="SUCCESS"), Row("b")], outages=1)
    made: Any = database
    caplog.set_level(logging.WARNING)
    async with anyio.create_task_group() as group:
        group.start_soon(retain, made, presence, NAMES, 0.0)
        await anyio.sleep(10)
        assert len(database.rows) == 2  # the outage
        await anyio.sleep(3600)
        assert [row.workflow_id for row in database.rows] == ["b"]
        presence.others_bury = True
        database.rows[0].status = "ERROR"
        await anyio.sleep(7200)
        assert len(database.rows) == 1
        group.cancel_scope.cancel()

    assert "old jobs cannot be deleted now" in caplog.text


def test_names_lead_back_to_the_key() -> None:
    assert NAMES.key(NAMES.task("a:b")) == "a:b"
    assert NAMES.queues == [NAMES.tasks, NAMES.files]
