"""Watch: the workflows that somebody here waits for, asked about together."""

from __future__ import annotations

import logging

import anyio
from dbos import DBOSClient, WorkflowStatus

from kling_async._background import Background, Signal
from kling_async.engines._retention import ENDED

_LOG = logging.getLogger("kling_async")

_AT_ONCE = 500
_COUNT = 30.0


class _Wait:
    def __init__(self) -> None:
        self.over = anyio.Event()
        self.waiters = 0
        self.row: WorkflowStatus | None = None


class Watch:
    """Asks the database about all of them by one question, and not while nobody waits."""

    def __init__(self, database: DBOSClient, interval: float) -> None:
        self._database = database
        self._interval = interval
        self._waits: dict[str, _Wait] = {}
        self._new: set[str] = set()
        self._called = Signal()
        self._asking = Background(self._ask)
        self._is_open = True

    async def end(self, workflow_id: str) -> WorkflowStatus | None:
        """Wait for the end of a workflow, as the database has it; None if it has none."""
        self._refuse_if_closed()
        wait = self._waits.setdefault(workflow_id, _Wait())
        wait.waiters += 1
        self._new.add(workflow_id)
        self._called.ring()
        self._asking.start()
        try:
            await wait.over.wait()
        finally:
            wait.waiters -= 1
            if not wait.waiters and self._waits.get(workflow_id) is wait:
                del self._waits[workflow_id]
        if wait.row is None:
            self._refuse_if_closed()
        return wait.row

    async def aclose(self) -> None:
        """Ask no more, and let nobody wait for what cannot come."""
        self._is_open = False
        await self._asking.stop()
        while self._waits:
            self._waits.popitem()[1].over.set()

    def _refuse_if_closed(self) -> None:
        if not self._is_open:
            raise RuntimeError(
                "the fleet was closed: wait inside of `async with fleet.open()`,"
                " with a job that it gave there"
            )

    async def _ask(self) -> None:
        due = anyio.current_time() + self._interval
        counted = anyio.current_time()
        while self._waits:
            now = anyio.current_time()
            about = new = self._new
            if now >= due:
                about, due = set(self._waits), now + self._interval
            if now >= counted + _COUNT:  # retention, or somebody, may have deleted them
                new, counted = set(self._waits), now
            self._new = set()
            try:
                await self._ask_about(list(about))
                await self._ask_whether_there(list(new & self._waits.keys()))
            except Exception as error:
                _LOG.warning("jobs cannot be asked about now: %r", error)
            if not self._new:
                with anyio.move_on_after(due - anyio.current_time()):
                    await self._called.wait()

    async def _ask_about(self, ids: list[str]) -> None:
        for start in range(0, len(ids), _AT_ONCE):
            rows = await self._database.list_workflows_async(
                workflow_ids=ids[start : start + _AT_ONCE], status=ENDED
            )
            for row in rows:
                if (wait := self._waits.pop(row.workflow_id, None)) is not None:
                    wait.row = row
                    wait.over.set()

    async def _ask_whether_there(self, ids: list[str]) -> None:
        for start in range(0, len(ids), _AT_ONCE):
            some = ids[start : start + _AT_ONCE]
            rows = await self._database.list_workflows_async(
                workflow_ids=some, load_input=False, load_output=False
            )
            for missing in set(some) - {row.workflow_id for row in rows}:
                if (wait := self._waits.pop(missing, None)) is not None:
                    wait.over.set()
