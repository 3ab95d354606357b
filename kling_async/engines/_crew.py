"""Crew: what a process has to work with for one account, and the steps that it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any

import anyio
from dbos import DBOS

from kling_async._background import Signal
from kling_async._client import Kling
from kling_async._errors import IntentExpired, KlingError, SubmissionUnknown, TaskTimeout
from kling_async._parcel import unpack
from kling_async._steps import download, intend, settle, submit_or_adopt, wait
from kling_async.engines._failure import passes, stored
from kling_async.engines._names import Names

_LOG = logging.getLogger("kling_async")

_DOWNLOADS = (0.0, 10.0, 60.0)
_PAUSE = 30.0

Order = dict[str, Any]
"""What a job is made of, as the database has it: account, key, request, and where to save."""
Answer = dict[str, Any]
"""What a step has come to."""
_Running = dict[asyncio.Task[Any], str]


@dataclass(eq=False)
class Crew:
    """What a worker has for one account."""

    names: Names
    kling: Kling
    callback_url: str | None
    patience: float
    """Seconds in which a callback may be missing before the task is asked about."""
    running: _Running = field(default_factory=dict[asyncio.Task[Any], str])
    """The ids of the workflows that run here, by their asyncio tasks."""

    async def intend(self, pause: float) -> Answer:
        """Wait, then say that a create may leave."""
        await anyio.sleep(pause)
        return await intend(self.kling)

    async def submit(self, order: Order, intent: Answer) -> Answer:
        """Look the task up, and make it if there is none."""
        try:
            request = unpack(order["request"])
            is_called = self.callback_url is not None and request.callback_url is None
            if is_called:
                request = request.model_copy(update={"callback_url": self.callback_url})
            token = await submit_or_adopt(self.kling, request, order["key"], intent=intent)
        except IntentExpired:
            return {"again": None}
        except SubmissionUnknown as error:
            return {"unknown": stored(error)}
        except (KlingError, ValueError, OSError) as error:
            if isinstance(error, KlingError) and passes(error):
                _LOG.warning("job %s: not submitted yet: %s", order["key"], error)
                return {"again": stored(error)}
            return {"error": stored(error)}
        return {"token": token, "is_called": is_called}

    async def settle(self, order: Order, unknown: Answer, pause: float) -> Answer:
        """Wait, then look for a task whose create was lost."""
        await anyio.sleep(pause)
        token: str = unknown["data"]["token"]
        try:
            task = await settle(self.kling, token, order["key"])
        except SubmissionUnknown as error:
            return {"unknown": stored(error)}
        return {"token": task.token, "is_called": False}

    async def look(self, token: str) -> Answer:
        """Ask once, as somebody says that the task has ended."""
        try:
            return {"result": await wait(self.kling, token, timeout=0)}
        except TaskTimeout:
            return {}
        except KlingError as error:
            return {} if passes(error) else {"error": stored(error)}

    async def wait(self, token: str) -> Answer:
        """Wait for the end; what is paid for is not given up for an outage.

        A task that outlives `Polling.timeout` may never end, and would hold its slot for ever.
        """
        while True:
            try:
                return {"result": await wait(self.kling, token)}
            except KlingError as error:
                if not passes(error):
                    return {"error": stored(error)}
                _LOG.warning("%s cannot be asked about: %s", token, error)
            await anyio.sleep(_PAUSE)

    async def save(self, order: Order, result: Answer) -> Answer:
        """Save the files; a file that is there is the same one, from before a stop."""
        failure: Answer = {}
        for pause in _DOWNLOADS:
            await anyio.sleep(pause)
            try:
                return {"files": await download(self.kling, result, order["to"], overwrite=True)}
            except (KlingError, OSError) as error:
                _LOG.warning("job %s: not saved yet: %s", order["key"], error)
                failure = stored(error)
        return {"error": failure}


_crews: dict[str, Crew] = {}
_waiting: _Running = {}
"""Workflows that came when no crew was there."""
_changed = Signal()


@asynccontextmanager
async def on_duty(crew: Crew) -> AsyncGenerator[None]:
    """Workflows of its account are carried out here, as long as the block lasts.

    At its end they stop at once: their journal says where others are to go on.
    """
    _crews[crew.names.account] = crew
    _changed.ring()
    try:
        yield
    finally:
        del _crews[crew.names.account]
        with anyio.CancelScope(shield=True):
            await _stop(crew.running)


async def dismiss() -> None:
    """Stop what came too late for any crew."""
    await _stop(_waiting)


@asynccontextmanager
async def at_work(account: str) -> AsyncGenerator[Crew]:
    """The crew that carries this workflow out; one that comes too early, or too late, waits."""
    while (crew := _crews.get(account)) is None:
        with _listed(_waiting):
            await _changed.wait()
    with _listed(crew.running):
        yield crew


@contextmanager
def _listed(running: _Running) -> Generator[None]:
    task, workflow_id = asyncio.current_task(), DBOS.workflow_id
    assert task is not None
    assert workflow_id is not None
    running[task] = workflow_id
    try:
        yield
    finally:
        del running[task]


async def _stop(running: _Running) -> None:
    while running:
        for task in running:
            task.cancel()
        await asyncio.wait(list(running))
