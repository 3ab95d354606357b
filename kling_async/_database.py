"""A SQLite file that one process writes, from one thread; many writes share a commit."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, Generic, TypeAlias, TypeVar

import anyio
import anyio.to_thread

from ._background import Loop, running_loop
from ._errors import JournalError
from ._file_lock import held

T = TypeVar("T")
Work: TypeAlias = Callable[[sqlite3.Connection], T]

_MARK = int.from_bytes(b"kajl")
"""SQLite's application_id: the file is ours."""

_ADVICE = {
    sqlite3.SQLITE_NOTADB: "It is no journal and was left as it is; give another path.",
    sqlite3.SQLITE_CORRUPT: "It was left as it is; restore a copy, or try `sqlite3 FILE .recover`.",
    sqlite3.SQLITE_READONLY: "Make the file and its folder writable.",
    sqlite3.SQLITE_FULL: "Make room on the disk; what was written before is kept.",
    sqlite3.SQLITE_BUSY: "Another program keeps it busy; close that one.",
}


class Database:
    """One SQLite file, its schema made and kept up to date by *migrations*.

    The first migration makes version 1 of the schema, each further one the next version.
    """

    def __init__(self, path: Path, migrations: Sequence[str]) -> None:
        self.path = path
        self.created = False
        """Whether opening it made a new file."""
        self._migrations = migrations
        self._queue: _Queue | None = None
        self._thread: Thread | None = None
        self._file, self._identity = path, (0, 0)

    async def open(self) -> None:
        """Open it for writing, which only one process at a time can; make it if it is missing."""
        if self._thread is not None:
            raise JournalError(f"{self.path} is open already", advice="Open it once.")
        opening = _Job[None](lambda _: None)
        queue: _Queue = SimpleQueue()
        self._thread = Thread(
            target=self._serve,
            args=(opening, queue, running_loop()),
            name=f"kling_async {self.path.name}",
            daemon=True,
        )
        self._thread.start()
        try:
            await opening.answer()
        except BaseException:
            queue.put(None)
            await self.aclose()
            raise
        self._queue = queue

    async def aclose(self) -> None:
        """Finish what is queued, then let go of the file; to cancel it does not cut it short."""
        queue, self._queue = self._queue, None
        if queue is not None:
            queue.put(None)
        if self._thread is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(self._thread.join, limiter=anyio.CapacityLimiter(1))
            self._thread = None

    async def do(
        self,
        work: Work[T],
        then: Callable[[T], object] | None = None,
        *,
        durable: bool = True,
    ) -> T:
        """Run *work* in the writer's thread and return when all it wrote is safely on the disk.

        What fails is undone by itself and raised here. *then* is called in the event loop
        with the result, once that is on the disk. Cancelling stops the waiting only: the work
        may be on its way, so it is carried out all the same, and *then* is called. What need
        not be *durable* can be lost in a power cut, until something after it is.
        """
        if self._queue is None:
            raise JournalError(f"{self.path} is not open", advice="Open it first, close it last.")
        job = _Job(work, then, durable)
        self._queue.put(job)
        return await job.answer()

    @contextmanager
    def read(self) -> Generator[sqlite3.Connection, None, None]:
        """Open it for reading only, beside the one that writes, of whatever process.

        Blocks: use it in a worker thread. A long read keeps SQLite from emptying the -wal file.
        """
        with _explained(self.path):
            path = _recognised(self.path, len(self._migrations))
            if not path.exists():
                raise JournalError(f"{path} does not exist", advice="Check the path.")
            with closing(_connect(path, "mode=ro", one_thread=False)) as connection:
                version = _version(connection, path, len(self._migrations))
                if version < len(self._migrations):
                    raise JournalError(
                        f"{path} has version {version} of {len(self._migrations)}",
                        advice="Open it for writing once: that brings it up to date.",
                    )
                yield connection

    def _serve(self, opening: _Job[None], queue: _Queue, loop: Loop) -> None:
        """The whole life of the writer's thread."""
        try:
            with self._opened() as connection:
                opening.results.append(None)
                _tell([opening], loop)
                while group := _take(queue):
                    self._commit(connection, group)
                    _tell(group, loop)
        except BaseException as error:
            opening.error = error
            _tell([opening], loop)

    @contextmanager
    def _opened(self) -> Generator[sqlite3.Connection, None, None]:
        with _explained(self.path):
            path = _recognised(self.path, len(self._migrations))
            with held(path), closing(_connect(path, "mode=rwc")) as connection:
                version = _version(connection, path, len(self._migrations))
                self.created = version == 0
                connection.executescript(
                    # fullfsync: macOS leaves writes in the drive's memory without it. The version
                    # is written in vain: only a write finds out that nothing can be written.
                    f"""
                    PRAGMA synchronous=FULL; PRAGMA fullfsync=ON; PRAGMA foreign_keys=ON;
                    PRAGMA journal_mode=WAL;
                    BEGIN IMMEDIATE; PRAGMA user_version={version}; ROLLBACK
                    """
                )
                for number, migration in enumerate(self._migrations[version:], version + 1):
                    connection.executescript(
                        f"BEGIN IMMEDIATE; {migration};"
                        f"PRAGMA application_id={_MARK}; PRAGMA user_version={number}; COMMIT"
                    )
                self._file, self._identity = path, _identity(path)
                yield connection

    def _commit(self, connection: sqlite3.Connection, group: list[_Job[Any]]) -> None:
        try:
            if _identity(self._file) != self._identity:
                raise OSError("it was replaced while it was in use")
            level = "FULL" if any(job.durable for job in group) else "NORMAL"
            connection.execute(f"PRAGMA synchronous={level}")
            connection.execute("BEGIN IMMEDIATE")
            for job in group:
                self._carry_out(connection, job)
            connection.execute("COMMIT")
        except BaseException as error:
            with suppress(sqlite3.Error):  # "no transaction is active": SQLite has ended it itself
                connection.execute("ROLLBACK")
            for job in group:
                job.error = _failure(self.path, error)

    def _carry_out(self, connection: sqlite3.Connection, job: _Job[Any]) -> None:
        connection.execute("SAVEPOINT job")
        try:
            job.results.append(job.work(connection))
        except BaseException as error:
            if not connection.in_transaction:  # as when the disk is full: all the group is undone
                raise
            connection.execute("ROLLBACK TO job")
            job.error = _failure(self.path, error) if isinstance(error, sqlite3.Error) else error
        connection.execute("RELEASE job")


class _Job(Generic[T]):
    """A piece of work, and the caller who waits for it."""

    __slots__ = ("done", "durable", "error", "results", "then", "work")

    def __init__(
        self,
        work: Work[T],
        then: Callable[[T], object] | None = None,
        durable: bool = True,
    ) -> None:
        self.work = work
        self.then = then
        self.durable = durable
        self.results: list[T] = []
        self.error: BaseException | None = None
        self.done = anyio.Event()

    def finish(self) -> None:
        if self.error is None and self.then is not None:
            self.then(self.results[0])
        self.done.set()

    async def answer(self) -> T:
        await self.done.wait()
        if self.error is not None:
            raise self.error
        return self.results[0]


_Queue: TypeAlias = "SimpleQueue[_Job[Any] | None]"


def _take(queue: _Queue) -> list[_Job[Any]]:
    """Wait for work and take all there is; nothing when the end has come."""
    group: list[_Job[Any]] = []
    job = queue.get()
    while job is not None:
        group.append(job)
        try:
            job = queue.get_nowait()
        except Empty:
            return group
    queue.put(None)  # the end comes after this group
    return group


def _tell(group: list[_Job[Any]], loop: Loop) -> None:
    def finish() -> None:
        for job in group:
            job.finish()

    with suppress(RuntimeError):  # that loop is over, so nobody waits there any more
        loop.call_soon(finish)


def _recognised(path: Path, known: int) -> Path:
    """Where the file really is; whatever is no journal is refused before it is touched."""
    path = path.resolve()
    if not path.parent.is_dir():
        raise JournalError(f"{path}: there is no such folder", advice="Make the folder first.")
    if path.exists() and not path.is_file():
        raise JournalError(f"{path} is not a file", advice="Give the path of a file.")
    if path.exists() and path.stat().st_size:
        # Another program's WAL database would get a -wal and a -shm file by a mere look.
        with closing(_connect(path, "mode=ro&immutable=1")) as connection:
            try:
                _version(connection, path, known)
            except sqlite3.DatabaseError as error:
                # May be half of what another process is writing: the next look decides.
                if error.sqlite_errorcode != sqlite3.SQLITE_CORRUPT:
                    raise
    return path


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _connect(path: Path, options: str, *, one_thread: bool = True) -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.as_uri()}?{options}",
        uri=True,
        isolation_level=None,
        check_same_thread=one_thread,
    )


def _version(connection: sqlite3.Connection, path: Path, known: int) -> int:
    """The version of its schema; 0 if it is empty."""

    def ask(question: str) -> int:
        return int(connection.execute(question).fetchone()[0])

    mark, version = ask("PRAGMA application_id"), ask("PRAGMA user_version")
    tables = ask("SELECT count(*) FROM sqlite_master")
    if mark != _MARK and (mark or version or tables):
        raise JournalError(
            f"{path} is the database of another program", advice="Give the journal its own file."
        )
    if version > known:
        raise JournalError(
            f"{path} has version {version}, and this kling_async knows none above {known}",
            advice="Upgrade kling_async.",
        )
    return version


@contextmanager
def _explained(path: Path) -> Generator[None, None, None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        raise _failure(path, error) from error


def _failure(path: Path, error: BaseException) -> JournalError:
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF  # what is above it is detail
    failure = JournalError(f"{path}: {error}", advice=_ADVICE.get(code))
    failure.__cause__ = error
    return failure
