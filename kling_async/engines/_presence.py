"""Presence: which workers live, shown by a lock in PostgreSQL that ends with its session."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from hashlib import sha256
from math import ceil, inf
from pathlib import Path
from typing import LiteralString, Protocol

import anyio
import anyio.to_thread
import psycopg
import sqlalchemy

from kling_async._errors import ConfigurationError, JournalError
from kling_async._file_lock import held

_LOG = logging.getLogger("kling_async")

_PATIENCE = 30.0

_HOLDERS = """
    SELECT objid::bigint FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 2
    AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND classid::bigint = %s
    """


class Presence(Protocol):
    """Shows that this worker lives, and which others do."""

    since: float
    """From when on the others' absence counts; inf while nothing can be known."""
    losses: int
    """How many workers were seen to go."""

    async def begin(self) -> None:
        """Say so for the first time; ConfigurationError if that cannot be."""
        ...

    async def beat(self) -> bool:
        """Say that this worker lives; False if nobody can hear it now."""
        ...

    def lives(self, executor: str) -> bool:
        """Whether that worker lived at the last beat."""
        ...

    async def bury(self, executor: str) -> bool:
        """Be the only one who gives away what a dead worker has left; `buried` ends it."""
        ...

    async def buried(self, executor: str) -> None:
        """It is given away."""
        ...

    async def aclose(self) -> None:
        """Show no more that this worker lives."""
        ...


class Alone:
    """Of a worker on SQLite, which is for one process: no other one lives."""

    since = -inf
    losses = 0

    def __init__(self, executor: str) -> None:
        self._executor = executor

    async def begin(self) -> None:
        """There is nobody to hear it."""

    async def beat(self) -> bool:
        """There is nobody to hear it."""
        return True

    def lives(self, executor: str) -> bool:
        """Only this one does."""
        return executor == self._executor

    async def bury(self, executor: str) -> bool:
        """There is nobody else."""
        return True

    async def buried(self, executor: str) -> None:
        """It is given away."""

    async def aclose(self) -> None:
        """There is nothing to close."""


class Session:
    """A session in PostgreSQL, which holds a lock by the name of this worker.

    The lock shows a crash at once. A worker that hangs is silent: PostgreSQL ends a session
    that is silent for too long, and its lock with it. So nobody watches but the database.

    Args:
        url: Of the database itself: a pooler in between would share the session.
        silence: Seconds without a beat after which a worker counts as dead.
        grace: Seconds after the session began, in which all others may have lost theirs as
            well, and nobody counts as dead.
    """

    def __init__(self, url: str, room: str, executor: str, *, silence: float, grace: float) -> None:
        plain = sqlalchemy.make_url(url).set(drivername="postgresql")
        self._url = plain.render_as_string(hide_password=False)
        self._living, self._burial = _number(f"{room} living"), _number(f"{room} burial")
        self._executor = executor
        self._silence = silence
        self._grace = grace
        self._connection: psycopg.AsyncConnection | None = None
        self._holders: frozenset[int] = frozenset()
        self.since = inf
        self.losses = 0

    async def begin(self) -> None:
        """Say so for the first time; ConfigurationError if the database does not take it."""
        try:
            with anyio.fail_after(_PATIENCE):
                await self._begin()
        except (psycopg.Error, OSError, TimeoutError) as error:
            why = str(error) or "no answer"
            raise ConfigurationError(
                f"the database does not take the session of this worker: {why}",
                advice="It is to be PostgreSQL 14 or later, with a connection left.",
            ) from error

    async def beat(self) -> bool:
        """Say that this worker lives, in a new session if the last one has ended."""
        try:
            with anyio.fail_after(self._silence):
                connection = self._connection or await self._begin()
                async with connection.cursor() as cursor:
                    await cursor.execute(_HOLDERS, (self._living,))
                    holders = frozenset(row[0] for row in await cursor.fetchall())
        except (psycopg.Error, OSError, TimeoutError) as error:
            _LOG.warning("the database does not hear that this worker lives: %s", error)
            await self.aclose()
            return False
        self.losses += len(self._holders - holders)
        self._holders = holders
        return True

    async def _begin(self) -> psycopg.AsyncConnection:
        self._connection = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, application_name=f"kling_async {self._executor}"
        )
        silence = f"{ceil(self._silence * 1000)}ms"
        await self._connection.execute(
            "SELECT set_config('idle_session_timeout', %s, false)", (silence,)
        )
        locks = (self._living, _number(self._executor))
        # An earlier session of this worker may not have ended yet; that one shows it as well.
        await self._connection.execute("SELECT pg_advisory_lock(%s, %s)", locks)
        self.since = anyio.current_time() + self._grace
        return self._connection

    def lives(self, executor: str) -> bool:
        """Whether that worker held its lock at the last beat."""
        return _number(executor) in self._holders

    async def bury(self, executor: str) -> bool:
        """Take a lock that only one can have."""
        return await self._ask("SELECT pg_try_advisory_lock(%s, %s)", executor)

    async def buried(self, executor: str) -> None:
        """Give it back."""
        await self._ask("SELECT pg_advisory_unlock(%s, %s)", executor)

    async def _ask(self, statement: LiteralString, executor: str) -> bool:
        if self._connection is None:
            return False
        numbers = (self._burial, _number(executor))
        cursor = await self._connection.execute(statement, numbers)
        row = await cursor.fetchone()
        return bool(row and row[0])

    async def aclose(self) -> None:
        """End the session, and with it the lock."""
        connection, self._connection, self.since = self._connection, None, inf
        if connection is not None:
            await connection.close()


@asynccontextmanager
async def presence(
    url: str, room: str, executor: str, *, silence: float, grace: float
) -> AsyncGenerator[Presence]:
    """This worker lives, as long as the block lasts."""
    with ExitStack() as stack:
        shown: Presence = Alone(executor)
        if url.startswith("sqlite"):
            await anyio.to_thread.run_sync(stack.enter_context, _only_one(url, room))
        else:
            shown = Session(url, room, executor, silence=silence, grace=grace)
        try:
            # Before it takes anything on: what a worker has that nobody sees is taken from it.
            await shown.begin()
            yield shown
        finally:
            with anyio.CancelScope(shield=True):
                await shown.aclose()


@contextmanager
def _only_one(url: str, room: str) -> Generator[None]:
    """Keep a second worker out: it would take the first one for dead."""
    path = Path(sqlalchemy.make_url(url).database or "")
    try:
        with held(path.with_name(f"{path.name}.{room}")):
            yield
    except JournalError as error:
        raise ConfigurationError(
            f"{error.message}, and on SQLite there is one worker",
            advice="Give the address of a PostgreSQL.",
        ) from None


def _number(name: str) -> int:
    """A name as half of the key of a lock: 31 bits, the same with a sign and without."""
    return int.from_bytes(sha256(name.encode()).digest()[:4]) >> 1
