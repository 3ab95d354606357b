"""One file, one writer, and nothing told to be written that is not on the disk."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async import JournalError, _database
from kling_async._background import Loop, running_loop
from kling_async._database import Database

NOTES = "CREATE TABLE notes(text TEXT NOT NULL UNIQUE)"
DEFERRED = """
    CREATE TABLE people(id INTEGER PRIMARY KEY);
    CREATE TABLE letters(writer INTEGER REFERENCES people DEFERRABLE INITIALLY DEFERRED)
    """
HOLD = """
import sys
from pathlib import Path
from dataclasses import replace

import anyio
from kling_async._database import Database

async def main():
    database = Database(Path(sys.argv[1]), [sys.argv[2]])
    await database.open()
    await database.do(lambda connection: connection.execute("INSERT INTO notes VALUES ('theirs')"))
    print("open", flush=True)
    await anyio.sleep_forever()

anyio.run(main)
"""


def note(text: str) -> Callable[[sqlite3.Connection], None]:
    def work(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO notes VALUES (?)", (text,))

    return work


def notes(path: Path) -> list[str]:
    with closing(sqlite3.connect(path)) as connection:
        return [text for (text,) in connection.execute("SELECT text FROM notes ORDER BY rowid")]


def ask(question: str) -> Callable[[sqlite3.Connection], Any]:
    return lambda connection: connection.execute(question).fetchone()[0]


def made(path: Path, *statements: str) -> Path:
    """A database that another program made."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)
    return path


def around(path: Path) -> dict[str, bytes | None]:
    """All that is in the folder, to the byte."""
    return {
        other.name: other.read_bytes() if other.is_file() else None
        for other in sorted(path.parent.iterdir())
        if not other.is_socket()
    }


@asynccontextmanager
async def opened(path: Path, *migrations: str) -> AsyncIterator[Database]:
    database = Database(path, migrations or [NOTES])
    await database.open()
    try:
        yield database
    finally:
        await database.aclose()


@asynccontextmanager
async def held_up(database: Database) -> AsyncIterator[None]:
    """What is queued meanwhile comes to the writer as one group."""
    begun, over = anyio.Event(), threading.Event()
    call_soon = running_loop().call_soon

    def work(connection: sqlite3.Connection) -> None:
        call_soon(begun.set)
        over.wait(10)

    async with anyio.create_task_group() as group:
        group.start_soon(database.do, work)
        await begun.wait()
        yield
        await anyio.wait_all_tasks_blocked()
        over.set()


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """One that holds the database open."""
    command = [sys.executable, "-c", HOLD, str(path), NOTES]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a journal?#%.db"


# What is written.


async def test_result_comes_back_and_the_writing_stays(path: Path) -> None:
    async with opened(path) as database:
        await database.do(note("a boat"))
        assert await database.do(ask("SELECT count(*) FROM notes")) == 1

    assert notes(path) == ["a boat"]


async def test_it_is_on_the_disk_before_it_is_told(path: Path) -> None:
    async with opened(path) as database:
        await database.do(note("a boat"))
        copy = path.with_name("copy.db")
        shutil.copy(path, copy)
        shutil.copy(f"{path}-wal", f"{copy}-wal")

        assert notes(copy) == ["a boat"]


async def test_every_commit_waits_for_the_disk(path: Path) -> None:
    async with opened(path) as database:
        pragmas = ["journal_mode", "synchronous", "fullfsync", "foreign_keys"]
        values = [await database.do(ask(f"PRAGMA {pragma}")) for pragma in pragmas]

    assert values == ["wal", 2, 1, 1]


async def test_works_that_wait_share_a_commit_and_a_call_to_the_loop(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[object] = []
    statements: list[str] = []

    def counting() -> Loop:
        loop = running_loop()

        def call_soon(call: Callable[[], object]) -> None:
            calls.append(call)
            loop.call_soon(call)

        return replace(loop, call_soon=call_soon)

    monkeypatch.setattr(_database, "running_loop", counting)
    async with opened(path) as database:
        await database.do(lambda connection: connection.set_trace_callback(statements.append))
        async with anyio.create_task_group() as group:
            async with held_up(database):
                calls.clear()
                statements.clear()
                for number in range(1000):
                    group.start_soon(database.do, note(str(number)))
        await database.do(lambda connection: connection.set_trace_callback(None))
    commits = [statement for statement in statements if statement == "COMMIT"]

    assert len(notes(path)) == 1000
    assert len(commits) == 2  # of the one that held it up, and of all the others
    assert len(calls) == 2 + 1  # and of the last one


async def test_works_are_done_in_the_order_they_came(path: Path) -> None:
    async with opened(path) as database, anyio.create_task_group() as group:
        async with held_up(database):
            for number in range(10):
                group.start_soon(database.do, note(str(number)))
                await anyio.wait_all_tasks_blocked()

    assert notes(path) == [str(number) for number in range(10)]


async def test_work_that_fails_is_undone_alone(path: Path) -> None:
    errors: list[Exception] = []

    def work(connection: sqlite3.Connection) -> None:
        note("half")(connection)
        raise LookupError("no boat")

    async def failing(database: Database) -> None:
        with pytest.raises(LookupError, match="no boat") as caught:
            await database.do(work)
        errors.append(caught.value)

    async with opened(path) as database, anyio.create_task_group() as group:
        async with held_up(database):
            group.start_soon(database.do, note("before"))
            group.start_soon(failing, database)
            group.start_soon(database.do, note("after"))

    assert sorted(notes(path)) == ["after", "before"]
    assert len(errors) == 1


async def test_error_of_sqlite_is_a_journal_error(path: Path) -> None:
    async with opened(path) as database:
        await database.do(note("a boat"))
        with pytest.raises(JournalError, match=r"a journal.*UNIQUE constraint failed") as caught:
            await database.do(note("a boat"))

    assert isinstance(caught.value.__cause__, sqlite3.IntegrityError)


async def fails_together(database: Database, *works: Callable[[sqlite3.Connection], None]) -> str:
    """What all of these are told, who come in one group."""
    told: list[str] = []

    async def failing(work: Callable[[sqlite3.Connection], None]) -> None:
        with pytest.raises(JournalError) as caught:
            await database.do(work, lambda _: told.append("done"))
        told.append(str(caught.value))

    async with anyio.create_task_group() as group:
        async with held_up(database):
            for work in works:
                group.start_soon(failing, work)
                await anyio.wait_all_tasks_blocked()
    assert len(told) == len(works)
    assert len(set(told)) == 1
    return told[0]


async def test_commit_that_fails_fails_all_of_its_group(path: Path) -> None:
    def orphan(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO letters VALUES (7)")

    def person(connection: sqlite3.Connection) -> None:
        connection.execute("INSERT INTO people VALUES (1)")

    async with opened(path, DEFERRED) as database:
        told = await fails_together(database, person, orphan)
        assert "FOREIGN KEY constraint failed" in told
        assert await database.do(ask("SELECT count(*) FROM people")) == 0

        await database.do(person)
        assert await database.do(ask("SELECT count(*) FROM people")) == 1


async def test_full_file_fails_all_of_its_group(path: Path) -> None:
    async with opened(path) as database:
        pages = await database.do(ask("PRAGMA page_count"))
        await database.do(ask(f"PRAGMA max_page_count={pages}"))
        told = await fails_together(database, note("small"), note("x" * 100_000), note("late"))
        assert "full" in told
        assert "Make room" in told

        await database.do(note("small"))
    assert notes(path) == ["small"]


@pytest.mark.real_time
async def test_full_disk_fails_what_does_not_fit(path: Path) -> None:
    async with opened(path) as database:
        await database.do(note("before"))
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        room = Path(f"{path}-wal").stat().st_size + 50_000
        resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
        try:
            with pytest.raises(JournalError, match="disk"):
                await database.do(note("x" * 100_000))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        await database.do(note("after"))

    assert notes(path) == ["before", "after"]


async def test_then_is_called_in_the_loop_before_the_caller_goes_on(path: Path) -> None:
    order: list[object] = []
    async with opened(path) as database:
        await database.do(lambda _: 7, lambda result: order.append((result, threading.get_ident())))
        order.append("caller")

    assert order == [(7, threading.get_ident()), "caller"]


async def test_cancelled_work_is_done_all_the_same(path: Path) -> None:
    done: list[None] = []
    async with opened(path) as database:
        async with held_up(database):
            with anyio.CancelScope() as scope:
                scope.cancel()
                await database.do(note("a boat"), done.append)
        assert scope.cancelled_caught
        await database.do(lambda _: None)

    assert notes(path) == ["a boat"]
    assert done == [None]


# Opening and closing.


async def test_missing_file_is_made(path: Path) -> None:
    async with opened(path) as database:
        assert database.created
    async with opened(path) as database:
        assert not database.created


async def test_empty_file_is_a_new_one(path: Path) -> None:
    path.touch()
    async with opened(path) as database:
        assert database.created
        await database.do(note("a boat"))

    assert notes(path) == ["a boat"]


async def test_interrupted_making_is_made_good(path: Path) -> None:
    made(path, "PRAGMA journal_mode=WAL")
    async with opened(path) as database:
        assert database.created
        await database.do(note("a boat"))

    assert notes(path) == ["a boat"]


async def test_after_closing_the_file_stands_alone(path: Path) -> None:
    async with opened(path) as database:
        await database.do(note("a boat"))
        assert set(around(path)) == {path.name + end for end in ("", "-shm", "-wal", ".lock")}

    assert set(around(path)) == {path.name, path.name + ".lock"}


@pytest.mark.real_time
async def test_closing_finishes_what_is_queued(path: Path) -> None:
    async with anyio.create_task_group() as group:
        async with opened(path) as database:
            async with held_up(database):
                group.start_soon(database.do, note("a boat"))
                await anyio.wait_all_tasks_blocked()
                group.start_soon(database.aclose)

    assert notes(path) == ["a boat"]


async def test_closing_ends_the_thread_and_does_so_once(path: Path) -> None:
    async with opened(path) as database:
        assert f"kling_async {path.name}" in [thread.name for thread in threading.enumerate()]
        async with anyio.create_task_group() as group:
            group.start_soon(database.aclose)
            group.start_soon(database.aclose)
        assert f"kling_async {path.name}" not in [thread.name for thread in threading.enumerate()]


async def test_cancelled_closing_closes_all_the_same(path: Path) -> None:
    async with opened(path) as database:
        with anyio.CancelScope() as scope:
            scope.cancel()
            await database.do(note("a boat"))
        with anyio.CancelScope() as scope:
            scope.cancel()
            await database.aclose()

        async with opened(path):  # so the lock is free
            assert notes(path) == ["a boat"]


async def test_never_opened_can_be_closed(path: Path) -> None:
    await Database(path, [NOTES]).aclose()

    assert not path.exists()


async def test_closed_can_be_opened_again(path: Path) -> None:
    async with opened(path) as database:
        await database.aclose()
        await database.open()
        await database.do(note("a boat"))

    assert notes(path) == ["a boat"]


async def test_nothing_is_done_before_opening_and_after_closing(path: Path) -> None:
    database = Database(path, [NOTES])
    with pytest.raises(JournalError, match="is not open"):
        await database.do(note("a boat"))
    await database.open()
    await database.aclose()
    with pytest.raises(JournalError, match="is not open"):
        await database.do(note("a boat"))


async def test_open_one_is_not_opened_again(path: Path) -> None:
    async with opened(path) as database:
        with pytest.raises(JournalError, match="is open already"):
            await database.open()
        await database.do(note("a boat"))


async def test_cancelled_opening_leaves_nothing_open(path: Path) -> None:
    database = Database(path, [NOTES])
    with anyio.CancelScope() as scope:
        scope.cancel()
        await database.open()
    assert scope.cancelled_caught

    async with opened(path) as another:
        await another.do(note("a boat"))


@pytest.mark.parametrize("run", [anyio.run, lambda main: anyio.run(main, backend="trio")])
def test_loop_that_is_over_is_not_told(
    path: Path, run: Callable[[object], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    failed: list[object] = []
    monkeypatch.setattr(threading, "excepthook", failed.append)
    database, over = Database(path, [NOTES]), threading.Event()

    def late(connection: sqlite3.Connection) -> None:
        over.wait(10)
        note("late")(connection)

    async def leave() -> None:
        await database.open()
        with anyio.move_on_after(0.01):
            await database.do(late)

    run(leave)
    over.set()
    run(database.aclose)

    assert notes(path) == ["late"]
    assert not failed


# Versions.


async def test_each_migration_is_made_once(path: Path) -> None:
    async with opened(path) as database:
        await database.do(note("a boat"))
    further = "ALTER TABLE notes ADD COLUMN place TEXT DEFAULT 'sea'"
    for _ in range(2):
        async with opened(path, NOTES, further) as database:
            assert not database.created
            assert await database.do(ask("SELECT text || ' at ' || place FROM notes"))
            assert await database.do(ask("PRAGMA user_version")) == 2

    assert notes(path) == ["a boat"]


async def test_migration_that_fails_changes_nothing(path: Path) -> None:
    async with opened(path) as database:
        await database.do(note("a boat"))
    broken = "ALTER TABLE notes ADD COLUMN place TEXT; ALTER TABLE boats ADD COLUMN place TEXT"
    with pytest.raises(JournalError, match="no such table: boats"):
        await Database(path, [NOTES, broken]).open()
    async with opened(path) as database:
        columns = await database.do(ask("SELECT count(*) FROM pragma_table_info('notes')"))

    assert columns == 1


@pytest.mark.parametrize("reading", [False, True])
async def test_newer_version_is_refused(path: Path, reading: bool) -> None:
    async with opened(path, NOTES, "CREATE TABLE more(x)"):
        pass
    await refused(path, r"version 2\b.* above 1.*Upgrade", reading)


# What is no journal.


async def look(path: Path, *migrations: str, at: str = "SELECT text FROM notes") -> list[Any]:
    """Read from a worker thread, as one should."""

    def read() -> list[Any]:
        with Database(path, migrations or [NOTES]).read() as connection:
            return [text for (text,) in connection.execute(at)]

    return await anyio.to_thread.run_sync(read)


async def refused(path: Path, match: str, reading: bool) -> None:
    """Opening says so, with the path and an advice, and nothing changes in the whole folder."""
    before = around(path)
    with pytest.raises(JournalError, match=match) as caught:
        if reading:
            await look(path)
        else:
            await Database(path, [NOTES]).open()

    assert around(path) == before
    assert str(path) in str(caught.value)
    assert caught.value.advice


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "text": (lambda path: path.write_text("A boat. " * 1000), "file is not a database.*no journal"),
    "few bytes": (lambda path: path.write_bytes(b"no"), "not a database"),
    "cut off": (
        lambda path: (
            made(path, NOTES, f"PRAGMA application_id={_database._MARK}", "PRAGMA user_version=1"),
            path.write_bytes(path.read_bytes()[:5000]),
        ),
        "malformed.*restore a copy",
    ),
    "folder": (Path.mkdir, "is not a file"),
    "pipe": (os.mkfifo, "is not a file"),
    "tables of another": (lambda path: made(path, "CREATE TABLE boats(x)"), "another program"),
    "WAL of another": (
        lambda path: made(path, "PRAGMA journal_mode=WAL", "CREATE TABLE boats(x)"),
        "another program",
    ),
    "mark of another": (lambda path: made(path, "PRAGMA application_id=7"), "another program"),
    "version of another": (lambda path: made(path, "PRAGMA user_version=1"), "another program"),
}


@pytest.mark.parametrize("reading", [False, True])
@pytest.mark.parametrize("kind", REFUSED)
async def test_what_is_no_journal_is_refused_and_left_alone(
    path: Path, kind: str, reading: bool
) -> None:
    make, match = REFUSED[kind]
    make(path)
    if kind == "cut off" and not reading:  # it is ours, so only a look under the lock is sure
        path.with_name(path.name + ".lock").write_text(str(os.getpid()))

    await refused(path, match, reading)


@pytest.mark.parametrize("reading", [False, True])
async def test_missing_folder_is_not_made(path: Path, reading: bool) -> None:
    with pytest.raises(JournalError, match="no such folder.*Make the folder first"):
        if reading:
            await look(path / "a.db")
        else:
            await Database(path / "a.db", [NOTES]).open()

    assert not path.exists()


async def test_file_that_cannot_be_written_is_refused(path: Path) -> None:
    async with opened(path):
        pass
    content = bytearray(path.read_bytes())
    content[18] = 3  # the version of the format needed to write: root may not do that either
    path.write_bytes(content)

    await refused(path, "readonly database.*writable", reading=False)


async def test_folder_that_cannot_be_written_is_refused(path: Path) -> None:
    path.with_name(path.name + ".lock").mkdir()

    await refused(path, "directory", reading=False)


# One writer.


async def test_second_opening_is_refused(path: Path) -> None:
    link = path.with_name("link.db")
    link.symlink_to(path)
    async with opened(path) as database:
        for name in (path, link, path.parent / "x" / ".." / path.name):
            with pytest.raises(JournalError, match=rf"process {os.getpid()} \(this one\)"):
                await Database(name, [NOTES]).open()
        await database.do(note("a boat"))

    async with opened(link):
        pass


@pytest.mark.real_time
async def test_second_process_is_refused_until_the_first_is_killed(path: Path) -> None:
    with another_process(path) as process:
        with pytest.raises(JournalError, match=rf"is held by process {process.pid}\."):
            await Database(path, [NOTES]).open()
        process.send_signal(signal.SIGKILL)
        process.wait()

        async with opened(path) as database:
            await database.do(note("ours"))
    assert notes(path) == ["theirs", "ours"]


async def test_holder_that_has_not_told_its_number_yet(path: Path) -> None:
    async with opened(path):
        path.with_name(path.name + ".lock").write_bytes(b"")
        with pytest.raises(JournalError, match=r"process \(not told\)"):
            await Database(path, [NOTES]).open()


# Many readers.


@pytest.mark.real_time
async def test_another_process_writes_while_we_read(path: Path) -> None:
    with another_process(path):
        assert await look(path) == ["theirs"]


async def test_reader_sees_what_was_told_to_be_written(path: Path) -> None:
    async with opened(path) as database:
        for number in range(20):
            await database.do(note(str(number)))
            assert await look(path, at="SELECT count(*) FROM notes") == [number + 1]


async def test_reader_writes_nothing(path: Path) -> None:
    async with opened(path):
        pass
    with pytest.raises(JournalError, match="readonly database"):
        await look(path, at="INSERT INTO notes VALUES ('a boat')")

    assert notes(path) == []


async def test_reader_makes_no_file(path: Path) -> None:
    with pytest.raises(JournalError, match="does not exist"):
        await look(path)

    assert not around(path)


async def test_older_version_is_not_read(path: Path) -> None:
    async with opened(path):
        pass
    with pytest.raises(JournalError, match="version 1 of 2.*Open it for writing once"):
        await look(path, NOTES, "CREATE TABLE more(x)")
