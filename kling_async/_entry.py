"""Entry: a row of a batch in progress, and who writes down what becomes of its create."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

from ._attempt import Row, Stage
from ._errors import JournalError, SubmissionUnknown
from ._intent import Notes
from ._journal import Journal
from ._state import TaskState

_LOG = logging.getLogger("kling_async")


@dataclass(slots=True)
class Entry:
    """A row in progress."""

    index: int
    row: Row
    request: Any
    """None where it is no longer among the requests: then nobody is told of it."""
    external_id: str
    stage: Stage | None
    estimate: Decimal | None = None
    files: tuple[Path, ...] = ()
    token: str | None = None
    counts: bool = False
    """It is in the budget, and its cost may still be corrected."""
    doubt: SubmissionUnknown | None = None
    """It is looked up once more at the end of the run; after that there is no later."""

    @classmethod
    def of(cls, index: int, row: Row, request: Any = None) -> Entry:
        """A row as the journal has it."""
        attempt = row.attempt
        if attempt is None:
            return cls(index, row, request, "", None)
        return cls(
            index,
            row,
            request,
            attempt.external_task_id,
            attempt.stage,
            attempt.estimate,
            tuple(map(Path, attempt.files)),
            attempt.token,
        )


class TakenUp(Notes):
    """Of a task, or a lost create, that was written down already."""

    lasting = True


class EntryNotes(Notes):
    """Keeps the journal and the row in progress at what is true of a create."""

    lasting = True

    def __init__(
        self,
        journal: Journal,
        entry: Entry,
        stop: Callable[[Exception], object],
        submitted: Callable[[Any], Awaitable[None]],
    ) -> None:
        self._journal = journal
        self._entry = entry
        self._stop = stop
        self._submitted = submitted

    async def leaving(self) -> None:
        """Without an intent on the disk nothing is sent."""
        entry = self._entry
        await self._journal.intend(
            entry.row, entry.external_id, now=time.time(), estimate=entry.estimate
        )
        entry.stage = Stage.INTENDED

    async def withdrawn(self) -> None:
        """Nothing came of it."""
        self._entry.stage = None
        try:
            await self._journal.withdraw(self._entry.external_id)
        except JournalError as error:  # then the next run looks it up, in vain
            self._stop(error)

    async def created(self, state: TaskState, token: str) -> None:
        """It is paid for."""
        try:
            if self._entry.stage is None:  # the caller's own id had a task, so nothing was sent
                await self.leaving()
            self._entry.stage, self._entry.token = Stage.RUNNING, token
            await self._journal.created(self._entry.external_id, token, now=time.time())
        except JournalError as error:
            _LOG.error("a task was paid for and cannot be written down: kling.task(%r)", token)
            self._stop(error)

    async def announced(self, task: object) -> None:
        """The caller's hook comes first."""
        await self._submitted(task)
