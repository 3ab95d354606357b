"""The journal knows when each attempt was answered, ended and saved."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from kling_async import Journal, JournalError, Stage
from kling_async._attempt import Attempt, Row
from kling_async._database import Database
from kling_async._journal import _MIGRATIONS
from kling_async.emulator import Fault
from tests.harbour import Harbour, boats


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "boats.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    async with Journal(path) as journal:
        yield journal


async def intended(journal: Journal, *, row: Row | None = None, name: str = "ka-1") -> Row:
    row = row or await journal.claim(key="1", digest=b"1", endpoint="x", request={"prompt": "A"})
    await journal.intend(row, name, now=1.0, estimate=Decimal(1))
    return row


async def attempts(path: Path, **options: Any) -> list[Attempt]:
    rows = await anyio.to_thread.run_sync(lambda: list(Journal.read(path, **options)))
    return [row.attempt for row in rows if row.attempt]


def times(attempt: Attempt) -> tuple[float | None, ...]:
    return attempt.intended_at, attempt.answered_at, attempt.ended_at, attempt.saved_at


@asynccontextmanager
async def version_1(path: Path) -> AsyncIterator[Database]:
    """A journal as it was before it knew times."""
    database = Database(path, _MIGRATIONS[:1])
    await database.open()
    yield database
    await database.aclose()


async def test_each_step_has_its_time(journal: Journal, path: Path) -> None:
    await intended(journal)
    seen = await attempts(path)
    await journal.created("ka-1", "token", now=2.0)
    seen += await attempts(path)
    await journal.succeeded("ka-1", {"videos": []}, None, now=3.0)
    seen += await attempts(path)
    await journal.saved("ka-1", ["1.mp4"], now=4.0)
    seen += await attempts(path)

    assert list(map(times, seen)) == [
        (1.0, None, None, None),
        (1.0, 2.0, None, None),
        (1.0, 2.0, 3.0, None),
        (1.0, 2.0, 3.0, 4.0),
    ]


async def test_end_of_a_failure_has_its_time(journal: Journal, path: Path) -> None:
    await intended(journal)
    await journal.failed("ka-1", {"type": "TaskFailed"}, now=3.0)
    await journal.succeeded("ka-1", {}, None, now=9.0)  # which comes too late

    assert [times(each) for each in await attempts(path)] == [(1.0, None, 3.0, None)]


async def test_times_that_nobody_knows_are_none(journal: Journal, path: Path) -> None:
    await intended(journal)
    await journal.created("ka-1", "token")
    await journal.succeeded("ka-1", {}, None)
    await journal.saved("ka-1", [])

    assert [times(each) for each in await attempts(path)] == [(1.0, None, None, None)]


async def test_id_that_is_tried_again_begins_anew(journal: Journal, path: Path) -> None:
    row = await intended(journal)
    await journal.withdraw("ka-1")
    await journal.refused(row, "ka-1", {}, now=5.0)
    await intended(journal, row=row)

    assert [times(each) for each in await attempts(path)] == [(1.0, None, None, None)]


async def test_every_attempt_can_be_read(journal: Journal, path: Path) -> None:
    row = await intended(journal)
    await journal.failed("ka-1", {})
    await intended(journal, row=row, name="ka-2")
    await journal.claim(key="2", digest=b"2", endpoint="x", request={})

    every = await anyio.to_thread.run_sync(lambda: list(Journal.read(path, every_attempt=True)))
    names = [(row.key, row.attempt and row.attempt.external_task_id) for row in every]
    assert names == [("1", "ka-1"), ("1", "ka-2"), ("2", None)]
    assert [each.external_task_id for each in await attempts(path)] == ["ka-2"]


async def test_batch_writes_the_times_down(tmp_path: Path) -> None:
    harbour = Harbour(tmp_path)
    harbour.emulator.faults.add(Fault.FAIL, message="too dark", times=1)
    before = time.time()
    await harbour.run(boats(1, 2))
    failed, saved = sorted(await attempts(harbour.path), key=lambda each: each.stage)

    assert (failed.stage, saved.stage) == (Stage.FAILED, Stage.SAVED)
    assert failed.answered_at
    assert failed.ended_at
    assert failed.saved_at is None
    assert saved.answered_at
    assert saved.ended_at
    assert saved.saved_at
    known = [before, saved.intended_at, saved.answered_at, saved.ended_at, saved.saved_at]
    assert known == sorted(known)
    assert saved.saved_at <= time.time()


async def test_older_file_is_brought_up_to_date(path: Path) -> None:
    async with version_1(path) as old:
        await old.do(
            lambda it: it.execute("INSERT INTO rows VALUES (1, 'a', 1, x'', 'x', '{}', 1)")
        )
        values = "('ka-1', 1, 1, 'running', 5.0, '', 'token', '1', NULL, NULL, NULL, NULL)"
        await old.do(lambda it: it.execute(f"INSERT INTO attempts VALUES {values}"))
    with pytest.raises(JournalError, match="version 1 of 2.*brings it up to date"):
        await attempts(path)
    async with Journal(path) as journal:
        await journal.succeeded("ka-1", {}, None, now=7.0)
    (attempt,) = await attempts(path)

    assert attempt.estimate == 1
    assert times(attempt) == (5.0, None, 7.0, None)
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)
