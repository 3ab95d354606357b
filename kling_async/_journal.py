"""What was asked for, what it cost and how it ended: rows of work with their attempts, on disk."""

from __future__ import annotations

import json
import os
import sqlite3
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence
from decimal import Context, Decimal
from functools import reduce
from pathlib import Path
from typing import TypeAlias, TypeVar

from ._attempt import Attempt, Facts, Row, Stage, read_attempt, read_row
from ._database import Database, Work
from ._difference import changes
from ._errors import ConfigurationError, JournalError, RequestChanged, RequestRefused

T = TypeVar("T")

_UNDER_WAY = "stage IN ('intended', 'running')"
_OPEN = "stage IN ('intended', 'running', 'succeeded')"
_MIGRATIONS = (
    f"""
    CREATE TABLE rows(
        id INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, named INTEGER NOT NULL,
        digest BLOB NOT NULL, endpoint TEXT NOT NULL, request TEXT NOT NULL, run INTEGER NOT NULL
    );
    CREATE INDEX rows_of_run ON rows(run);
    CREATE INDEX equals_of_run ON rows(digest, endpoint, run) WHERE NOT named;
    CREATE TABLE attempts(
        external_task_id TEXT NOT NULL PRIMARY KEY, row INTEGER NOT NULL REFERENCES rows,
        number INTEGER NOT NULL, stage TEXT NOT NULL, intended_at REAL NOT NULL,
        account TEXT NOT NULL, token TEXT,
        estimate TEXT, units TEXT, result TEXT, files TEXT, error TEXT, UNIQUE (row, number)
    );
    CREATE INDEX open_attempts ON attempts(row) WHERE {_OPEN};
    CREATE TABLE server(name TEXT NOT NULL);
    """,
    """
    ALTER TABLE attempts ADD COLUMN answered_at REAL;
    ALTER TABLE attempts ADD COLUMN ended_at REAL;
    ALTER TABLE attempts ADD COLUMN saved_at REAL;
    """,
)
_TEXTS = "account, token, estimate, units, result, files, error"
_TIMES = "answered_at, ended_at, saved_at"
_ATTEMPT = f"external_task_id, number, stage, intended_at, {_TEXTS}, {_TIMES}"
_LATEST = "row = id AND number = (SELECT max(number) FROM attempts WHERE row = id)"
_JOINED = f"SELECT id, key, endpoint, request, {_ATTEMPT} FROM rows LEFT JOIN attempts"
_ROWS = f"{_JOINED} ON {_LATEST}"
_LEFT_OVER = f"""
    SELECT id, key, endpoint, request, {_ATTEMPT} FROM attempts CROSS JOIN rows
    WHERE {_OPEN} AND {_LATEST} AND run < ? AND stage IN ('intended', 'running', ?) ORDER BY id
    """
_LAST_EQUAL = """
    SELECT key FROM rows WHERE NOT named AND digest = ? AND endpoint = ? AND run = ?
    ORDER BY id DESC LIMIT 1
    """
_IS_EQUAL = "SELECT id, NOT named AND digest = ? AND endpoint = ? FROM rows WHERE key = ?"
_INTEND = """
    INSERT INTO attempts(external_task_id, row, number, stage, intended_at, account, estimate)
    SELECT :name, :row, coalesce(max(number), 0) + 1, 'intended', :now, :account, :estimate
    FROM attempts WHERE row = :row
    ON CONFLICT(external_task_id) DO UPDATE
    SET stage = 'intended', intended_at = :now, account = :account, estimate = :estimate,
        units = NULL, error = NULL, answered_at = NULL, ended_at = NULL
    WHERE row = :row AND (stage = 'intended' OR stage = 'failed' AND token IS NULL)
    """
_FIND = f"SELECT {_ATTEMPT}, key FROM attempts JOIN rows ON row = id WHERE external_task_id = :name"
_SUMS = Context(prec=100)  # exact, whatever the caller's own context rounds to
_Content: TypeAlias = tuple[bytes, str]  # the digest of a request, and its endpoint
_Standing: TypeAlias = tuple[Stage | None, Decimal]  # of a row, and the cost of all its attempts


class Journal:
    """A file of all work, to go on with after a stop at any moment; one process writes it.

    Whatever a method wrote is safely on the disk when it returns; a call that is cancelled
    is carried out all the same. All it is given is stored as it is: give it no API key, no
    other secret, and a hash for what is large.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._database = Database(self.path, _MIGRATIONS)
        self.account = ""
        """A mark of the account that attempts are made for."""
        self._run = 0
        self._counts = Counter[Stage | None]()
        self._spent = Decimal(0)

    @property
    def is_new(self) -> bool:
        """Whether opening it made a new file."""
        return self._database.created

    @property
    def counts(self) -> dict[Stage | None, int]:
        """How many rows are at which stage with their latest attempt; None is without any."""
        return {stage: self._counts[stage] for stage in (None, *Stage)}

    @property
    def spent(self) -> Decimal:
        """The cost of all attempts, failed ones too: as the server told, else the estimate."""
        return self._spent

    async def open(self) -> None:
        """Open the file, make it if it is missing, and begin a new run."""
        await self._database.open()
        try:
            self._run, self._counts, self._spent = await self._database.do(_begin)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Finish what is under way and let go of the file."""
        await self._database.aclose()

    async def __aenter__(self) -> Journal:
        await self.open()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.aclose()

    async def belongs_to(self, server: str) -> None:
        """Refuse another *server* than that of the first run: there, what is open is unknown."""

        def work(connection: sqlite3.Connection) -> str:
            found = connection.execute("SELECT name FROM server").fetchone()
            if found is None:
                connection.execute("INSERT INTO server VALUES (?)", (server,))
            return found[0] if found else server

        if (known := await self._database.do(work)) != server:
            raise ConfigurationError(
                f"{self.path} has tasks of {known}; this client talks to {server}",
                advice="Use one journal for each server.",
            )

    @staticmethod
    def read(
        path: str | os.PathLike[str], *, every_attempt: bool = False
    ) -> Generator[Row, None, None]:
        """All rows in order, as they are now, also while another process writes.

        With *every_attempt* a row comes once for each, its latest one last. Blocks: use it in
        a worker thread.
        """
        joined = f"{_JOINED} ON row = id" if every_attempt else _ROWS
        with Database(Path(path), _MIGRATIONS).read() as connection:
            for record in connection.execute(f"{joined} ORDER BY id, number"):
                yield read_row(record)

    async def claim(self, *, key: str | None, digest: bytes, endpoint: str, request: Facts) -> Row:
        """The row of this request, a new one if there is none; each only once in a run.

        With a *key* of the caller's it is the row of that key, which must be the same request
        as before. Without, it is the first row of an equal request that is not taken yet, so
        other requests may come, go and move between two runs.
        """
        text, content = _json(request), (digest, endpoint)

        def work(connection: sqlite3.Connection) -> tuple[Row, bool]:
            if key is None:
                found, name = self._next_equal(connection, content)
            else:
                found, name = self._named(connection, key, content, text), key
            if found is None:
                columns = "key, named, digest, endpoint, request, run"
                values = (name, key is not None, *content, text, self._run)
                connection.execute(f"INSERT INTO rows({columns}) VALUES (?, ?, ?, ?, ?, ?)", values)
            else:
                connection.execute("UPDATE rows SET run = ? WHERE id = ?", (self._run, found))
            record = connection.execute(f"{_ROWS} WHERE key = ?", (name,)).fetchone()
            return read_row(record), found is None

        row, _ = await self._database.do(work, lambda it: self._counts.update({None: int(it[1])}))
        return row

    def _named(
        self, connection: sqlite3.Connection, key: str, content: _Content, text: str
    ) -> int | None:
        """The row of the caller's *key*, if there is one."""
        find = "SELECT id, named, run, digest, endpoint, request FROM rows WHERE key = ?"
        found = connection.execute(find, (key,)).fetchone()
        if found is None:
            return None
        number, named, run, digest, endpoint, request = found
        if not named:
            advice = "It is the journal's own key of a row without one: choose another."
            raise RequestRefused(f"key {key!r} is taken", advice=advice)
        if run == self._run:
            advice = "Give each row its own key."
            raise RequestRefused(f"key {key!r} came twice in this run", advice=advice)
        if (digest, endpoint) != content:
            old = {"endpoint": endpoint, **json.loads(request)}
            new = {"endpoint": content[1], **json.loads(text)}
            shown = "; ".join(changes(old, new)) or "a file that it names"
            raise RequestChanged(f"row {key!r} was another request before: {shown}")
        return int(number)

    def _next_equal(
        self, connection: sqlite3.Connection, content: _Content
    ) -> tuple[int | None, str]:
        """The next row that is equal, if there is one, and its key."""
        # Equal rows are numbered in their keys, and each run takes them in that order.
        last = connection.execute(_LAST_EQUAL, (*content, self._run)).fetchone()
        number = int(last[0].rpartition("-")[2]) if last else 0
        while True:
            number += 1
            key = f"{content[0].hex()[:16]}-{number}"
            found = connection.execute(_IS_EQUAL, (*content, key)).fetchone()
            if found is None or found[1]:
                return found and found[0], key

    async def intend(
        self, row: Row, external_task_id: str, *, now: float, estimate: Decimal | None
    ) -> Attempt:
        """Before a create is sent: a further attempt, or the one of that id if it made no task."""
        return await self._change(
            lambda _: row.id,
            lambda it: _intend(it, row, external_task_id, self.account, now, estimate),
        )

    async def withdraw(self, external_task_id: str) -> None:
        """The create made nothing for certain: forget the attempt."""
        await self._write("DELETE FROM attempts WHERE stage = 'intended'", external_task_id)

    async def refused(self, row: Row, external_task_id: str, error: Facts, *, now: float) -> None:
        """The server refused the create for good: an attempt that has failed and cost nothing."""
        failed = """
            UPDATE attempts SET stage = 'failed', units = '0', error = ?,
            answered_at = intended_at, ended_at = intended_at
            """

        def work(connection: sqlite3.Connection) -> None:
            _intend(connection, row, external_task_id, self.account, now, None)
            values = (_json(error), external_task_id)
            connection.execute(f"{failed} WHERE external_task_id = ?", values)

        await self._change(lambda _: row.id, work)

    # Moves only go forward: where the stage is none of those named, it comes too late. *now* is
    # when that came to be known, if anybody knows.

    async def created(self, external_task_id: str, token: str, *, now: float | None = None) -> None:
        """There is a task."""
        move = "SET stage = 'running', token = ?, answered_at = ? WHERE stage = 'intended'"
        await self._write(f"UPDATE attempts {move}", token, now, external_task_id)

    async def succeeded(
        self,
        external_task_id: str,
        result: Facts,
        units: Decimal | None,
        *,
        now: float | None = None,
    ) -> None:
        """The task has a result."""
        facts = (_json(result), _text(units), now)
        move = f"SET stage = 'succeeded', result = ?, units = ?, ended_at = ? WHERE {_UNDER_WAY}"
        await self._write(f"UPDATE attempts {move}", *facts, external_task_id)

    async def saved(
        self, external_task_id: str, files: Sequence[str], *, now: float | None = None
    ) -> None:
        """The files of the result are on the disk; said again, they have another place."""
        move = "SET stage = 'saved', files = ?, saved_at = ? WHERE stage <> 'failed'"
        facts = (json.dumps(list(files)), now)
        await self._write(f"UPDATE attempts {move}", *facts, external_task_id)

    async def failed(
        self,
        external_task_id: str,
        error: Facts,
        units: Decimal | None = None,
        *,
        now: float | None = None,
    ) -> None:
        """The task ended without a result; *units* of 0 say that it cost nothing."""
        facts = (_json(error), _text(units), now)
        move = f"SET stage = 'failed', error = ?, units = ?, ended_at = ? WHERE {_UNDER_WAY}"
        await self._write(f"UPDATE attempts {move}", *facts, external_task_id)

    async def gone(self, external_task_id: str) -> None:
        """The files are not on the disk any more."""
        move = "SET stage = 'succeeded', files = NULL, saved_at = NULL WHERE stage = 'saved'"
        await self._write(f"UPDATE attempts {move}", external_task_id)

    async def price(self, price: Callable[[int], Decimal]) -> None:
        """Estimate what nothing is known of: *price* is told how many tasks, and gives units."""
        none = "estimate IS NULL AND units IS NULL"
        count = f"SELECT count(*) FROM attempts WHERE {none}"
        [tasks] = await self._database.do(lambda it: it.execute(count).fetchone())
        if tasks:
            units = price(tasks)
            move = f"UPDATE attempts SET estimate = ? WHERE {none}"
            await self._database.do(lambda it: it.execute(move, (_text(units),)).rowcount)
            self._spent = _sum([self._spent, _SUMS.multiply(units, tasks)])

    async def running(self) -> list[tuple[str, str]]:
        """The tasks under way: their external ids and tokens."""
        find = f"SELECT external_task_id, token FROM attempts WHERE {_OPEN} AND stage = 'running'"
        return await self._database.do(lambda it: it.execute(find).fetchall())

    async def unclaimed(self, *, with_results: bool) -> list[Row]:
        """The rows that nobody has claimed in this run, and whose latest attempt is open.

        Those that only lack their files are among them *with_results*.
        """
        succeeded = "succeeded" if with_results else ""
        values = (self._run, succeeded)
        find = _LEFT_OVER
        return await self._database.do(lambda it: list(map(read_row, it.execute(find, values))))

    async def _write(self, statement: str, *values: str | float | None) -> None:
        """Carry out a *statement* about one attempt, whose id is the last of *values*."""
        one = "external_task_id = ?"

        def row(it: sqlite3.Connection) -> int:
            for (found,) in it.execute(f"SELECT row FROM attempts WHERE {one}", values[-1:]):
                return int(found)
            raise JournalError(f"no attempt has the external_task_id {values[-1]!r}")

        await self._change(row, lambda it: it.execute(f"{statement} AND {one}", values).rowcount)

    async def _change(self, row: Work[int], change: Work[T]) -> T:
        """Make a *change* to the attempts of a *row*, and count what comes of it."""

        def work(connection: sqlite3.Connection) -> tuple[T, _Standing, _Standing]:
            number = row(connection)
            before = _standing(connection, number)
            return change(connection), before, _standing(connection, number)

        def count(done: tuple[T, _Standing, _Standing]) -> None:
            _, before, after = done
            self._counts[before[0]] -= 1
            self._counts[after[0]] += 1
            self._spent = _sum([self._spent, after[1], -before[1]])

        return (await self._database.do(work, count))[0]


def _begin(connection: sqlite3.Connection) -> tuple[int, Counter[Stage | None], Decimal]:
    """The number of a new run, and what all runs before have come to."""
    run = connection.execute("SELECT coalesce(max(run), 0) + 1 FROM rows").fetchone()[0]
    stages = connection.execute(
        f"SELECT stage, count(*) FROM rows LEFT JOIN attempts ON {_LATEST} GROUP BY 1"
    )
    counts = Counter({stage and Stage(stage): number for stage, number in stages})
    find = "SELECT coalesce(units, estimate, 0), count(*) FROM attempts GROUP BY 1"
    costs = (_SUMS.multiply(Decimal(cost), number) for cost, number in connection.execute(find))
    return run, counts, _sum(costs)


def _intend(
    connection: sqlite3.Connection,
    row: Row,
    name: str,
    account: str,
    now: float,
    estimate: Decimal | None,
) -> Attempt:
    facts: dict[str, str | int | float | None]
    facts = {"name": name, "row": row.id, "account": account, "now": now}
    facts["estimate"] = _text(estimate)
    changed = connection.execute(_INTEND, facts).rowcount
    *record, key = connection.execute(_FIND, {"name": name}).fetchone()
    if not changed:
        advice = "A task may have that external_task_id already: choose another one."
        raise RequestRefused(
            f"{name!r} was used before, by row {key!r} ({record[2]})", advice=advice
        )
    return read_attempt(record)


def _standing(connection: sqlite3.Connection, row: int) -> _Standing:
    find = "SELECT stage, coalesce(units, estimate, 0) FROM attempts WHERE row = ? ORDER BY number"
    attempts = connection.execute(find, (row,)).fetchall()
    stage = Stage(attempts[-1][0]) if attempts else None
    return stage, _sum(Decimal(cost) for _, cost in attempts)


def _sum(costs: Iterable[Decimal]) -> Decimal:
    return reduce(_SUMS.add, costs, Decimal(0))


def _text(number: Decimal | None) -> str | None:
    return None if number is None else str(number)


def _json(facts: Facts) -> str:
    return json.dumps(dict(facts))
