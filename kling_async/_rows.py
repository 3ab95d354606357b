"""Rows: what becomes of each row of a batch, each step written down before the next is taken.

new ──▶ intended ──▶ running ──▶ succeeded ──▶ saved
 ▲          │           │
 └ nothing  ├───────────┴──▶ failed ── retry_failed ──▶ intended, by another id
   was made └ unknown: looked up at the end, and by every later run; sent again only
              where the server certainly refuses a second one
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import aclosing
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Generic, Protocol, TypeVar, cast
from uuid import uuid4

import anyio
import anyio.to_thread

from ._budget import Budget
from ._config import MAX_DOWNLOADS
from ._download import Downloader, check_folder
from ._entry import Entry, EntryNotes
from ._errors import (
    AuthenticationError,
    BalanceExhausted,
    BatchStopped,
    ContentRejected,
    DuplicateTaskId,
    InvalidRequest,
    JournalError,
    KlingError,
    PermissionDenied,
    SubmissionUnknown,
    TaskFailed,
    TaskNotFound,
)
from ._fingerprint import fingerprint
from ._intent import Intent
from ._journal import Attempt, Journal, Stage
from ._map import Outcome, Outcomes, each
from ._poller import Poller
from ._results import FromState, VideoResult
from ._submitter import Creation, Submitter
from ._task import Task
from ._token import Token
from .endpoints import Request
from .providers import Provider

ResultT = TypeVar("ResultT", bound=FromState)
ResultT_co = TypeVar("ResultT_co", bound=FromState, covariant=True)

_LOG = logging.getLogger("kling_async")
_FINAL = (TaskFailed, TaskNotFound, ContentRejected, InvalidRequest)
"""Doing the same again would end the same, or cost a second time."""
_STOPS_ALL = (AuthenticationError, PermissionDenied, BalanceExhausted)
"""No other request would fare better."""


@dataclass(frozen=True, slots=True)
class BatchOutcome(Outcome[ResultT_co]):
    """What became of one row of a batch, in this run or in one before."""

    key: str = ""
    """The row's name in the journal."""
    files: tuple[Path, ...] = ()


class Client(Protocol):
    """What a batch needs of the client to go on with tasks of an earlier run."""

    @property
    def provider(self) -> Provider:
        """Whose tokens they are."""
        ...

    def task(self, token: str) -> Task[Any]:
        """The task of a token."""
        ...

    async def settle(self, token: str) -> Task[Any]:
        """The task of a create whose answer was lost, if it can be found."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Generic[ResultT]):
    """What the caller of a batch has chosen."""

    out: Path | None
    key: Callable[[Request[ResultT]], str] | None
    max_at_once: int | None
    stops_on_failure: bool
    retry_failed: bool
    resend: bool
    on_submitted: Callable[[Task[ResultT]], Awaitable[object]] | None


class Rows(Generic[ResultT]):
    """Begins and finishes the rows of one run."""

    def __init__(
        self,
        journal: Journal,
        source: Iterable[Request[ResultT]] | AsyncIterable[Request[ResultT]],
        submitter: Submitter,
        poller: Poller,
        downloader: Downloader,
        client: Client,
        budget: Budget,
        options: Options[ResultT],
    ) -> None:
        self._journal = journal
        self._source = source
        self._submitter = submitter
        self._downloader = downloader
        self._client = client
        self._budget = budget
        self._options = options
        self._downloads = anyio.Semaphore(MAX_DOWNLOADS)
        self._entries: dict[int, Entry] = {}
        self._tasks: dict[str, Task[Any]] = {}
        """Those that ran when the batch was opened, until their rows are read."""
        self._later: deque[Entry] = deque()
        self.outcomes: Outcomes[ResultT] = Outcomes(
            poller,
            cast("AsyncIterable[Request[ResultT]]", self._read()),
            self._begin,
            self._finish,
            max_at_once=options.max_at_once,
            ordered=False,
        )

    async def check(self) -> None:
        """See that the videos can be saved, before anything is paid for."""
        if self._options.out is not None:
            await anyio.to_thread.run_sync(check_folder, self._options.out)

    async def resume(self) -> None:
        """Take up what earlier runs have left: it holds slots before anything new is created."""
        self._budget.spent = self._journal.spent
        for row in await self._journal.open_attempts():
            attempt = row.attempt
            if attempt is not None and attempt.stage is Stage.RUNNING and attempt.token:
                self._tasks[attempt.external_task_id] = self._client.task(attempt.token)

    async def _read(self) -> AsyncGenerator[Request[ResultT] | Entry]:
        async with aclosing(each(self._source)) as requests:
            async for request in requests:
                yield request
        # What nobody knows of now, somebody may know by now.
        await self.outcomes.idle()
        while self._later:
            yield self._later.popleft()
        for row in await self._journal.unclaimed():
            yield Entry.of(-1, row)

    async def _begin(
        self, index: int, request: Request[ResultT] | Entry
    ) -> Creation[ResultT] | Outcome[ResultT] | None:
        if isinstance(request, Entry):
            self._entries[index] = request
            return await self._go_on(index, request, request.request, {})
        self._submitter.check(request)
        body = await self._submitter.body(request)
        hashing = partial(fingerprint, body)
        digest, facts = (
            await anyio.to_thread.run_sync(hashing) if request.reads_media() else hashing()
        )
        own_id: str | None = body.get("external_task_id")
        key = own_id if self._options.key is None else self._options.key(request)
        row = await self._journal.claim(
            key=key, digest=digest, endpoint=request.endpoint, request=facts
        )
        entry = self._entries[index] = Entry.of(index, row, request)
        if entry.stage is None or (entry.stage is Stage.FAILED and self._options.retry_failed):
            return await self._create(entry, request, body)
        return await self._go_on(index, entry, request, body)

    async def _go_on(
        self, index: int, entry: Entry, request: Request[ResultT], body: dict[str, Any]
    ) -> Creation[ResultT] | Outcome[ResultT]:
        """With what an earlier run, or the beginning of this one, has left of a row."""
        attempt = entry.row.attempt
        if entry.stage in (Stage.SUCCEEDED, Stage.SAVED):
            assert attempt is not None
            kind = VideoResult if entry.request is None else request.result_type
            result = cast("ResultT", kind.model_validate(attempt.result))
            return Outcome(index, request, result=result, token=attempt.token)
        if entry.stage is Stage.FAILED:
            assert attempt is not None
            return Outcome(index, request, error=_read_error(attempt), token=attempt.token)
        self._budget.resume()
        entry.counts = True
        if entry.stage is Stage.RUNNING:
            return Creation(Intent(), partial(self._resume, entry))
        if not body:
            return Creation(Intent(), partial(self._settle, entry))
        assert attempt is not None
        left_before = max(0.0, time.time() - attempt.intended_at)
        return await self._creation(entry, request, body, left_before)

    async def _create(
        self, entry: Entry, request: Request[ResultT], body: dict[str, Any]
    ) -> Creation[ResultT] | None:
        """For the first time, or after it failed: then by another id."""
        number = 1 if entry.row.attempt is None else entry.row.attempt.number + 1
        own_id: str | None = body.get("external_task_id")
        entry.external_id = own_id or f"ka-{uuid4().hex}"
        if own_id is not None and number > 1:
            entry.external_id = body["external_task_id"] = f"{own_id}-{number}"
        entry.stage, entry.token = None, None
        entry.estimate = self._budget.estimate(request)
        while not self._budget.take(entry.estimate):
            if not self._budget.in_flight:
                del self._entries[entry.index]
                self._stop(f"the budget of {self._budget.limit:f} units has no room for the next")
                return None
            await self.outcomes.change()  # one that ends may have cost less
        entry.counts = True
        return await self._creation(entry, request, body, None)

    # Creating.

    async def _creation(
        self,
        entry: Entry,
        request: Request[ResultT],
        body: dict[str, Any],
        left_before: float | None,
    ) -> Creation[ResultT]:
        ticket = await self._submitter.slot(request)
        notes = EntryNotes(self._journal, entry, self._journal_failed)
        intent = Intent(entry.external_id, body=body, left_before=left_before, notes=notes)

        async def submit() -> Task[ResultT]:
            return await self._submitted(
                await self._submitter.submit(
                    request, ticket, intent=intent, resend=self._options.resend
                )
            )

        return Creation(intent, submit)

    async def _resume(self, entry: Entry) -> Task[ResultT]:
        task = self._tasks.pop(entry.external_id, None)
        if task is None:
            assert entry.token is not None
            task = self._client.task(entry.token)
        return await self._submitted(task)

    async def _settle(self, entry: Entry) -> Task[ResultT]:
        model_name = entry.row.request.get("model_name")
        token = Token(self._client.provider.name, entry.row.endpoint, entry.external_id, model_name)
        task: Task[ResultT] = await self._client.settle(token.text())
        await self._keep(self._journal.created(entry.external_id, task.token))
        entry.stage, entry.token = Stage.RUNNING, task.token
        return await self._submitted(task)

    async def _submitted(self, task: Task[ResultT]) -> Task[ResultT]:
        if self._options.on_submitted is not None:
            try:
                await self._options.on_submitted(task)
            except Exception:  # it is paid for, whatever becomes of the hook
                _LOG.exception("on_submitted failed for %s", task.token)
        return task

    # Finishing.

    async def _finish(self, outcome: Outcome[ResultT]) -> Outcome[ResultT] | None:
        entry, error = self._entries.pop(outcome.index, None), outcome.error
        if entry is None:  # refused before it had a row
            return self._told(outcome, None)
        if isinstance(error, SubmissionUnknown) and error.token and not entry.again:
            entry.again = True
            self._later.append(entry)
            self._settle_budget(entry, None)
            return None
        is_new = entry.stage in (None, Stage.INTENDED, Stage.RUNNING)
        units = None
        if outcome.result is not None:
            units = getattr(outcome.result, "units", None)
            outcome = await self._succeeded(entry, outcome, units)
        elif is_new and isinstance(error, _FINAL) and not isinstance(error, DuplicateTaskId):
            units = await self._failed(entry, error)
        elif entry.stage is None:
            units = Decimal(0)
        self._settle_budget(entry, units)
        if is_new:
            self._react(outcome.error)
        return None if entry.request is None else self._told(outcome, entry)

    async def _succeeded(
        self, entry: Entry, outcome: Outcome[ResultT], units: Decimal | None
    ) -> Outcome[ResultT]:
        if entry.stage not in (Stage.SUCCEEDED, Stage.SAVED):
            result = cast("VideoResult", outcome.result).model_dump(mode="json")
            await self._keep(self._journal.succeeded(entry.external_id, result, units))
            entry.stage = Stage.SUCCEEDED
        if self._options.out is None or entry.stage is Stage.SAVED:
            return outcome
        try:
            async with self._downloads:
                files = await self._downloader.save(
                    cast("VideoResult", outcome.result),
                    f"{self._options.out}/",
                    watermark=False,
                    overwrite=True,  # it has the task's own name, so it is the same video
                )
        except KlingError as error:
            return replace(outcome, error=error)
        await self._keep(self._journal.saved(entry.external_id, list(map(str, files))))
        entry.files = tuple(files)
        return outcome

    async def _failed(self, entry: Entry, error: KlingError) -> Decimal | None:
        facts = {
            "type": type(error).__name__,
            "message": error.message,
            "code": error.code,
            "status": error.status,
            "request_id": error.request_id,
        }
        if entry.stage is None:  # the server refused to make it
            await self._keep(
                self._journal.refused(entry.row, entry.external_id, facts, now=time.time())
            )
            return Decimal(0)
        # Whether a task that failed costs anything, no page says: the estimate stands.
        await self._keep(self._journal.failed(entry.external_id, facts))
        return None

    def _react(self, error: Exception | None) -> None:
        if isinstance(error, JournalError):
            self._journal_failed(error)
        elif isinstance(error, _STOPS_ALL):
            self._stop("no other request would fare better", error)
        elif error is not None and self._options.stops_on_failure:
            self._stop("a row failed", error)

    def _settle_budget(self, entry: Entry, units: Decimal | None) -> None:
        if entry.counts:
            entry.counts = False
            self._budget.settle(entry.estimate, units)

    def _told(self, outcome: Outcome[ResultT], entry: Entry | None) -> BatchOutcome[ResultT]:
        return BatchOutcome(
            outcome.index if entry is None else entry.index,
            outcome.request if entry is None else entry.request,
            outcome.result,
            outcome.error,
            outcome.token,
            key="" if entry is None else entry.row.key,
            files=() if entry is None else entry.files,
        )

    async def _keep(self, write: Awaitable[object]) -> None:
        """Write down what is known; if that fails, it is still true, but nothing new is begun."""
        try:
            await write
        except JournalError as error:
            self._journal_failed(error)

    def _journal_failed(self, error: Exception) -> None:
        self._stop("the journal cannot be written", error)

    def _stop(self, why: str, cause: Exception | None = None) -> None:
        error = BatchStopped(f"stopped submitting: {why}")
        error.__cause__ = cause
        self.outcomes.stop(error)


def _read_error(attempt: Attempt) -> KlingError:
    """The error of an earlier run, as far as it was written down."""
    facts = dict(attempt.error or {})
    kinds: dict[str, type[KlingError]] = {kind.__name__: kind for kind in _FINAL}
    kind = kinds.get(facts.pop("type", ""), KlingError)
    error = kind(facts.pop("message", "failed"), **facts)
    if isinstance(error, TaskFailed):
        error.token, error.external_task_id = attempt.token, attempt.external_task_id
    return error
