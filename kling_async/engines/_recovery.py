"""Recovery: what a dead worker has left goes back to the queue, and poison out of it.

And what a living one has and does not know of: DBOS takes jobs from a queue in a transaction, and
where the answer to its commit is lost, they are under way in the database and nowhere else.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from math import inf

import anyio
from dbos import DBOSClient, WorkflowStatus

from kling_async._background import Signal
from kling_async.engines._executor import Executor
from kling_async.engines._names import FILES, Names
from kling_async.engines._presence import Presence

TAKEN_OVER = "kling_async.taken_over"
"""The attribute of a workflow that counts its take-overs: DBOS forgets its own count."""

_LOG = logging.getLogger("kling_async")

_Taking = tuple[str, int | None]
"""A workflow, and when it was taken from its queue."""

_MISSES = 3
_SWEEP = 30.0
_FAREWELL = 10.0


class Recovery:
    """Looks for dead workers, again and again, for as long as this one lives.

    Args:
        executor: This worker; what workflows of other versions left is for their kind.
        running: The ids of the workflows that run here.
        beat: Seconds between two looks.
        most: Take-overs of one workflow that are no longer chance.
    """

    def __init__(
        self,
        database: DBOSClient,
        presence: Presence,
        names: Names,
        executor: Executor,
        *,
        running: Callable[[], Iterable[str]],
        beat: float,
        most: int,
    ) -> None:
        self._database = database
        self._presence = presence
        self._names = names
        self._executor = executor
        self._running = running
        self._beat = beat
        self._most = most
        self._absent = Counter[str]()
        self._strays: dict[_Taking, float] = {}
        self._losses = 0
        self._swept = -inf
        self._beaten = Signal()
        self._warned: set[str] = set()

    async def beat(self) -> None:
        """Say that this worker lives, for ever; nothing that waits for the database holds it up."""
        while True:
            if await self._presence.beat():
                self._beaten.ring()
            else:
                self._absent.clear()
            await anyio.sleep(self._beat)

    async def run(self) -> None:
        """Look for dead workers, for ever."""
        while True:
            await self._beaten.wait()
            try:
                await self._look(anyio.current_time())
            except Exception as error:
                _LOG.warning("dead workers cannot be looked for now: %r", error)
                self._swept = -inf

    async def give_back(self) -> None:
        """What this worker has not finished goes on elsewhere, at once."""
        try:
            with anyio.CancelScope(shield=True), anyio.fail_after(_FAREWELL):
                while rows := await self._left(self._executor.id):
                    await self._resume(rows)
        except Exception as error:
            _LOG.warning("what is under way here is left to be taken over: %r", error)

    async def _look(self, now: float) -> None:
        if self._losses != self._presence.losses or now - self._swept >= _SWEEP:
            self._losses, self._swept = self._presence.losses, now
            await self._sweep()
        for executor in list(self._absent):
            if self._presence.lives(executor):
                del self._absent[executor]
                continue
            self._absent[executor] += 1
            if self._absent[executor] >= _MISSES and now >= self._presence.since:
                del self._absent[executor]
                await self._take_over(executor)

    async def _sweep(self) -> None:
        """Who has work under way and does not show that he lives, or does not carry it out?"""
        rows = await self._database.list_workflows_async(
            status="PENDING", queue_name=self._names.queues, load_input=False, load_output=False
        )
        for row in rows:
            if row.executor_id is None or self._presence.lives(row.executor_id):
                continue
            if row.app_version == self._executor.version:
                self._absent[row.executor_id] += 0
            elif row.app_version not in self._warned:
                self._warned.add(str(row.app_version))
                _LOG.warning(
                    "a worker of application version %s has died: its jobs, and their slots, wait"
                    " for another worker of that version",
                    row.app_version,
                )
        await self._find_strays([row for row in rows if row.executor_id == self._executor.id])

    async def _find_strays(self, rows: list[WorkflowStatus]) -> None:
        """Of what is under way here, give back what this worker has not heard of."""
        now, running = anyio.current_time(), frozenset(self._running())
        strays = {(row.workflow_id, row.dequeued_at): row for row in rows}
        strays = {taking: row for taking, row in strays.items() if taking[0] not in running}
        # What was seen once may be about to begin, or have just ended.
        self._strays = {taking: self._strays.get(taking, now) for taking in strays}
        lost = [row for taking, row in strays.items() if now - self._strays[taking] >= _SWEEP]
        if lost:
            _LOG.warning("%d jobs were given to this worker unheard: they go on", len(lost))
            await self._resume(lost)

    async def _take_over(self, executor: str) -> None:
        if not await self._presence.bury(executor):
            return  # somebody else does
        try:
            while rows := await self._left(executor):
                _LOG.warning("worker %s has died: %d jobs go on elsewhere", executor, len(rows))
                suspects = await self._suspects(rows)
                await self._resume([each for each in rows if each not in suspects])
                await self._resume([each for each in suspects if await self._is_sound(each)])
        finally:
            with anyio.CancelScope(shield=True):
                await self._presence.buried(executor)

    async def _left(self, executor: str) -> list[WorkflowStatus]:
        return await self._database.list_workflows_async(
            status="PENDING",
            queue_name=self._names.queues,
            executor_id=executor,
            app_version=self._executor.version,
            load_input=False,
            load_output=False,
        )

    async def _suspects(self, rows: list[WorkflowStatus]) -> list[WorkflowStatus]:
        """Those that may have ended their worker.

        Most work is done before there is a task, on pictures of all kinds. And what is paid for
        is not to be given up for the company it was in.
        """
        return [row for row in rows if not await self._is_paid(row)] or rows

    async def _is_paid(self, row: WorkflowStatus) -> bool:
        if row.name == FILES:
            return True
        steps = await self._database.list_workflow_steps_async(row.workflow_id)
        outputs: list[object] = [step["output"] for step in steps]
        return any(isinstance(output, dict) and "token" in output for output in outputs)

    async def _is_sound(self, row: WorkflowStatus) -> bool:
        """Count the take-over; what ends every worker that takes it is ended itself."""
        times = int((row.attributes or {}).get(TAKEN_OVER, 0)) + 1
        await self._database.update_workflow_attributes_async(
            row.workflow_id, {TAKEN_OVER: times}, merge=True
        )
        if times <= self._most:
            return True
        _LOG.error("%s is given up: it has lost %d workers", row.workflow_id, times)
        await self._database.cancel_workflow_async(row.workflow_id)
        return False

    async def _resume(self, rows: list[WorkflowStatus]) -> None:
        queues = defaultdict[str | None, list[str]](list)
        for row in rows:
            queues[row.queue_name].append(row.workflow_id)
        for queue, workflow_ids in queues.items():
            await self._database.resume_workflows_async(workflow_ids, queue_name=queue)
