"""KlingDBOS: one account on many machines, which share a database and nothing else."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import time
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from random import randrange
from typing import Any, Self

import anyio
import anyio.to_thread
from dbos import DBOS, DBOSClient, DBOSPortableJSONSerializer, WorkflowSerializationFormat
from dbos import error as dbos_error

from kling_async._background import Background, Work
from kling_async._callback import Callback
from kling_async._callback_app import CallbackApp, callback_app
from kling_async._client import Kling
from kling_async._difference import refuse_changes
from kling_async._errors import ConfigurationError, RequestRefused
from kling_async._parcel import pack
from kling_async.endpoints import Request
from kling_async.engines._address import check_address
from kling_async.engines._crew import Crew, Order, on_duty
from kling_async.engines._executor import attached, launched, started
from kling_async.engines._job import Job, Jobs, JobState, order_of
from kling_async.engines._names import TASK, TOPIC, Names
from kling_async.engines._presence import presence
from kling_async.engines._queues import Queues
from kling_async.engines._recovery import Recovery
from kling_async.engines._retention import ENDED, retain
from kling_async.engines._watch import Watch

_LOG = logging.getLogger("kling_async")

_PORTABLE = WorkflowSerializationFormat.PORTABLE
_DAY = 86400.0
_CALLS_A_MINUTE = 100


@dataclass(frozen=True, slots=True)
class _Link:
    """What an open fleet asks the database with."""

    database: DBOSClient
    jobs: Jobs
    watch: Watch


class KlingDBOS:
    """One account on any number of machines, as DBOS workflows in PostgreSQL.

    Every process makes one of these, with the same *database_url* and *account*: workers, which
    make tasks and wait for them, and whoever submits, waits for results or receives callbacks.
    A worker may die at any moment, or the database: nothing is paid for twice, nothing that was
    paid for is lost.

    Example:
        import anyio
        from kling_async import Text2Video
        from kling_async.engines.dbos import KlingDBOS

        fleet = KlingDBOS("postgresql://db.example/kling", concurrency=50)

        async def worker():  # on every machine
            async with fleet.worker():
                await anyio.sleep_forever()

        async def batch(prompts):  # anywhere
            async with fleet.open():
                jobs = [
                    await fleet.submit(Text2Video(prompt=p), key=f"boat-{i}", to="/videos/")
                    for i, p in enumerate(prompts)
                ]
                return [await job.result() for job in jobs]

    Args:
        database_url: Of PostgreSQL itself, not of a pooler before it; an sqlite:/// address
            serves one process, to try things out (on Python 3.12 and later with SQLite 3.42).
        client: Makes the client of a worker, in its event loop. So keys stay where they are.
        account: Whose slots these are. Those with another name have queues of their own.
        concurrency: The account's tasks in progress at most, over all workers together: as the
            worker says that began last.
        at_once: Jobs that one worker has at most.
        starts: So many tasks are begun in so many seconds at most; up to twice as many where
            two such spans meet.
        callback_url: Where `callback_app` is reached. Tasks are asked about when they are
            called about; one that no call has come for after *patience* seconds is polled.
        keep: Seconds after which a job that has ended is deleted; None keeps all. After that
            its key is new again, and paid for again where the server has forgotten it too.
        silence: Seconds without a sign of life after which a worker that hangs or is frozen
            counts as dead; one that ends is noticed at once.
        take_overs: How often a job may lose its worker before it is given up.
        beat: Seconds between two signs of life, and between two looks for files to save. For
            jobs it looks twice as often, as a slot is empty meanwhile.
        application: The name that DBOS knows all workers by.
        version: Of the workflows: jobs begun by one version are finished by it. It is the same
            for all that can go on with each other's, whatever else was deployed in between.
        attach: The app runs DBOS itself: make this before its DBOS.launch(), give its name as
            *application*, enter `worker` in every process of it, and call DBOS.destroy() in
            that block: a DBOS without its worker takes jobs, and does not carry them out.
    """

    def __init__(
        self,
        database_url: str,
        *,
        client: Callable[[], Kling] = Kling,
        account: str = "main",
        concurrency: int | None = None,
        at_once: int | None = None,
        starts: tuple[int, float] | None = None,
        callback_url: str | None = None,
        patience: float = 600.0,
        keep: float | None = 90 * _DAY,
        silence: float = 10.0,
        take_overs: int = 5,
        beat: float = 1.0,
        application: str = "kling_async",
        version: str = "1",
        attach: bool = False,
    ) -> None:
        check_address(database_url)
        if not account or ":" in account or account.endswith(".files"):
            raise ConfigurationError(
                f"account {account!r}: give a name without a colon, and no .files at its end"
            )
        if silence < 4 * beat:
            raise ConfigurationError(
                f"silence={silence:g}: give 4 beats or more, which are {4 * beat:g} s"
            )
        self._url = database_url
        self._client = client
        self._names = Names(account)
        self._queues = Queues(self._names, concurrency, at_once, starts, beat)
        self._callback_url = callback_url
        self._patience = patience
        self._keep = keep
        self._silence = silence
        self._take_overs = take_overs
        self._beat = beat
        self._application = application
        self._version = version
        self._attach = attach
        self._opening = anyio.Lock()
        self._opened = 0
        self._link: _Link | None = None

    def __repr__(self) -> str:
        return f"KlingDBOS(account={self._names.account!r})"  # the address holds a password

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[Self]:
        """Submit, and wait for results, in this block; it needs nothing but the database."""
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError("DBOS runs on asyncio alone, not on trio") from None
        async with self._opening:
            if not self._opened:
                self._link = await self._connect()
            self._opened += 1
        try:
            yield self
        finally:
            with anyio.CancelScope(shield=True):
                async with self._opening:
                    self._opened -= 1
                    if not self._opened:
                        await self._disconnect()

    @asynccontextmanager
    async def worker(self) -> AsyncGenerator[Self]:
        """Make tasks and wait for them, together with all other workers, in this block.

        At its end what is under way here goes on elsewhere.
        """
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(self.open())
            await self._queues.register(self._opened_link().database)
            database = await stack.enter_async_context(self._database_that_fails())
            kling = await stack.enter_async_context(self._client())
            crew = Crew(self._names, kling, self._callback_url, self._patience)
            executor = await attached(self._names) if self._attach else started(self._version)
            shown = await stack.enter_async_context(
                presence(
                    self._url,
                    self._names.tasks,
                    executor.id,
                    silence=self._silence,
                    grace=self._silence / 2,
                )
            )
            if not await shown.beat():  # or others would take it for dead before it begins
                raise ConfigurationError(
                    "the database keeps no session for this worker; the log says why",
                    advice="Give its own address, not a pooler's; PostgreSQL 14 or later.",
                )
            recovery = Recovery(
                database,
                shown,
                self._names,
                executor,
                running=crew.running.values,
                beat=self._beat,
                most=self._take_overs,
            )
            duties: list[Work] = [recovery.beat, recovery.run]
            if self._keep is not None:
                duties.append(partial(retain, database, shown, self._names, self._keep))
            for duty in map(Background, duties):
                stack.push_async_callback(duty.stop)
                duty.start()
            # When nothing here takes anything on any more.
            stack.push_async_callback(recovery.give_back)
            if not self._attach:
                await stack.enter_async_context(
                    launched(self._url, self._application, executor, self._names)
                )
            await stack.enter_async_context(on_duty(crew))
            yield self

    async def submit(
        self,
        request: Request[Any],
        *,
        key: str,
        to: str | os.PathLike[str] | None = None,
    ) -> Job:
        """Have a task made by some worker; the same key again is the same job.

        Args:
            key: Names the job, and is the external_task_id of its task.
            to: Where the video is saved, by a path that every worker can write: a file, or a
                folder that ends in a slash. A file that is there is replaced.

        Raises:
            RequestChanged: The job of that key was another request.
            MediaError: The request holds bytes or Base64; give a path that every worker can
                read, or a URL.
        """
        link = self._opened_link()
        if request.external_task_id not in (None, key):
            raise RequestRefused(
                f"external_task_id is {request.external_task_id!r}, and the key {key!r}",
                field="external_task_id",
                advice="The key is the external_task_id of its task: leave that one out.",
            )
        # Relative paths mean this process's folder, which the system is asked for.
        order = await anyio.to_thread.run_sync(self._order, request, key, to)
        workflow_id = self._names.task(key)
        try:
            await link.database.enqueue_async(
                {
                    "workflow_name": TASK,
                    "queue_name": self._names.tasks,
                    "workflow_id": workflow_id,
                    "workflow_id_reuse_policy": "reject",
                    "serialization_type": _PORTABLE,
                },
                order,
            )
        except dbos_error.DBOSWorkflowIDInUseError:
            known = await link.database.list_workflows_async(workflow_ids=[workflow_id])
            new = _shown(json.loads(json.dumps(order)))
            old = [_shown(order_of(row)) for row in known] or [new]  # it may just be deleted
            refuse_changes(key, old[0], new, what="key")
        return Job(link.jobs, key, known=True)

    def job(self, key: str) -> Job:
        """The job of a key, which some process has submitted."""
        return Job(self._opened_link().jobs, key, known=False)

    async def states(self, *, prefix: str = "", limit: int = 100) -> list[JobState]:
        """The latest jobs whose keys begin with *prefix*, newest first."""
        return await self._opened_link().jobs.states(prefix=prefix, limit=limit)

    async def hear(self, callback: Callback) -> bool:
        """Wake the workflow of the task that has ended, on whatever machine it is.

        Nothing else of the callback counts: the server is asked. False if no job waits for it.
        """
        key, database = callback.external_task_id, self._opened_link().database
        if key is None or not callback.says_ended:
            return False
        workflow_id = self._names.task(key)
        rows = await database.list_workflows_async(
            workflow_ids=[workflow_id], load_input=False, load_output=False
        )
        if not rows or rows[0].status in ENDED:
            return False
        # What has the same name is kept once, so that a storm does not fill the database.
        name = f"{time.time() // 60:.0f}-{randrange(_CALLS_A_MINUTE)}"
        await database.send_async(
            workflow_id, callback.status.value, TOPIC, name, serialization_type=_PORTABLE
        )
        return True

    def callback_app(
        self, *, secrets: str | Iterable[str] = (), path_token: str | None = None
    ) -> CallbackApp:
        """An ASGI app for `callback_url`, in any process where the fleet is open.

        Args:
            secrets: As `kling_async.webhooks.callback_app` has them.
            path_token: What the path must end in, and nobody can guess.
        """
        return callback_app(_Nobody(), secrets=secrets, path_token=path_token, on_unknown=self.hear)

    def _order(self, request: Request[Any], key: str, to: str | os.PathLike[str] | None) -> Order:
        return {
            "account": self._names.account,
            "key": key,
            "request": pack(request.named(key)),
            "to": None if to is None else _absolute(to),
        }

    # The database.

    async def _connect(self) -> _Link:
        await anyio.to_thread.run_sync(DBOS.migrate, self._url)
        database = await anyio.to_thread.run_sync(self._client_of_database)
        watch = Watch(database, self._beat / 2)
        return _Link(database, Jobs(database, self._names, watch), watch)

    @asynccontextmanager
    async def _database_that_fails(self) -> AsyncGenerator[DBOSClient]:
        """Fails where the other one waits: nobody acts after an outage on what he saw before."""
        database = await anyio.to_thread.run_sync(partial(self._client_of_database, waits=False))
        try:
            yield database
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(database.destroy)

    def _client_of_database(self, *, waits: bool = True) -> DBOSClient:
        return DBOSClient(
            system_database_url=self._url,
            serializer=DBOSPortableJSONSerializer(),
            application_name=self._application,
            retry_connection_errors=waits,
        )

    async def _disconnect(self) -> None:
        link, self._link = self._opened_link(), None
        await link.watch.aclose()
        await anyio.to_thread.run_sync(link.database.destroy)

    def _opened_link(self) -> _Link:
        if self._link is None:
            raise RuntimeError("open the fleet first: async with fleet.open()")
        return self._link


class _Nobody:
    """Hears nothing, so that each callback goes on to the fleet."""

    def hear(self, callback: Callback) -> bool:
        return False


def _absolute(target: str | os.PathLike[str]) -> str:
    text = os.fspath(target)
    return os.path.abspath(text) + ("/" if text.endswith(("/", os.sep)) else "")


def _shown(order: Mapping[str, Any]) -> dict[str, Any]:
    """An order as its giver wrote it."""
    request = order["request"]
    return {"endpoint": request["endpoint"], **request["fields"], "to": order["to"]}
