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
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Iterable
from contextlib import aclosing, suppress
from dataclasses import replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any, Generic, TypeVar, cast
from uuid import uuid4

import anyio
import anyio.to_thread

from ._announcer import Announcer
from ._attempt import Attempt, Stage
from ._batch_options import Options
from ._budget import Budget
from ._contact import Contact
from ._download import Downloader, check_folder
from ._entry import Entry, EntryNotes, TakenUp
from ._errors import BatchStopped, ConnectFailed, JournalError, KlingError, SubmissionUnknown
from ._fingerprint import fingerprint
from ._intent import Intent
from ._journal import Journal
from ._map import Outcomes
from ._outcome import BatchOutcome, Outcome
from ._poller import Poller
from ._results import FromState, VideoResult
from ._source import each
from ._steps import Client, settle, written
from ._submitter import Creation, Submitter
from ._task import Task
from ._token import Token
from ._verdict import LOOK_AGAIN, PUT_RIGHT, facts_of, is_final, read_again, stops_all
from .endpoints import Request

ResultT = TypeVar("ResultT", bound=FromState)

_LOG = logging.getLogger("kling_async")


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
        self._out: Path | None = None
        self.entries: dict[int, Entry] = {}
        """Rows in progress, by the indices of their outcomes."""
        self._tasks: dict[str, Task[Any]] = {}
        """Those that ran when the batch was opened, until their rows are read."""
        self._later: deque[Entry] = deque()
        self._reading = anyio.CancelScope()
        self._stopped = False
        self._announcer = Announcer(options.on_submitted)
        self._contact = Contact()
        self.refused = 0
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
            self._out = await anyio.to_thread.run_sync(check_folder, self._options.out)

    def leave(self) -> None:
        """Begin nothing more; creates that are on the wire come to their end, hooks do not."""
        self.outcomes.leave()
        self._announcer.leave()

    async def aclose(self) -> None:
        """Leave, and wait for the creates on the wire."""
        self.leave()
        await self.outcomes.aclose()

    async def resume(self) -> None:
        """Take up what earlier runs have left: it holds slots before anything new is created."""
        await self._journal.belongs_to(self._client.provider.server)
        self._journal.account = self._client.provider.account
        if self._budget.limit is not None:
            await self._journal.price(self._budget.price)
        self._budget.spent = self._journal.spent
        for external_id, token in await self._journal.running():
            self._tasks[external_id] = self._client.task(token)

    async def _read(self) -> AsyncGenerator[Request[ResultT] | Entry]:
        failure: Exception | None = None
        async with aclosing(each(self._source)) as requests:
            while not self._stopped:
                found: list[Request[ResultT]] = []
                try:
                    with self._reading, suppress(StopAsyncIteration):
                        found.append(await anext(requests))
                except Exception as error:
                    failure = error
                if not found:  # the end, or a stop
                    break
                self._reading = anyio.CancelScope()
                yield found[0]
        # What nobody knows of now, somebody may know by now.
        await self.outcomes.idle()
        while self._later:
            yield self._later.popleft()
        # What is no longer among the requests, or stands behind a stop, is paid for all the same.
        try:
            left = await self._journal.unclaimed(with_results=self._out is not None)
        except JournalError as error:
            self._journal_failed(error)
            left = []
        for row in left:
            yield Entry.of(-1, row)
        if failure is not None:
            raise failure

    async def _begin(
        self, index: int, request: Request[ResultT] | Entry
    ) -> Creation[ResultT] | Outcome[ResultT] | None:
        if isinstance(request, Entry):
            self.entries[index] = request
            return await self._go_on(index, request, request.request, {})
        self._submitter.check(request)
        body = await self._submitter.body(request)
        hashing = partial(fingerprint, body)
        digest, facts = (
            await anyio.to_thread.run_sync(hashing) if request.reads_media() else hashing()
        )
        own_id: str | None = body.get("external_task_id")
        row = await self._journal.claim(
            key=self._options.name(request, own_id),
            digest=digest,
            endpoint=request.endpoint,
            request=facts,
        )
        entry = self.entries[index] = Entry.of(index, row, request)
        if entry.stage is Stage.SAVED and self._out is not None:
            there = await anyio.to_thread.run_sync(lambda: all(map(Path.exists, entry.files)))
            if not there:
                await self._journal.gone(entry.external_id)
                entry.stage, entry.files = Stage.SUCCEEDED, ()
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
            return Outcome(index, request, error=read_again(attempt), token=attempt.token)
        self._budget.resume()
        entry.counts = True
        if entry.stage is Stage.RUNNING:
            return Creation(Intent(left_before=0.0, notes=TakenUp()), partial(self._resume, entry))
        if attempt is None or not body or not self._may_send_again(attempt):
            return Creation(Intent(left_before=0.0, notes=TakenUp()), partial(self._settle, entry))
        left_before = max(0.0, time.time() - attempt.intended_at)
        return await self._creation(entry, request, body, left_before)

    def _may_send_again(self, attempt: Attempt) -> bool:
        """Whether a create that may have been lost is more than looked up."""
        # Another account does not know of it, so that it does not find it proves nothing.
        known = attempt.account == self._journal.account or self._options.resend
        return known and self._budget.has_room_for(attempt.estimate)

    async def _create(
        self, entry: Entry, request: Request[ResultT], body: dict[str, Any]
    ) -> Creation[ResultT] | None:
        """For the first time, or after it failed: then by another id."""
        number = 1 if entry.row.attempt is None else entry.row.attempt.number + 1
        own_id: str | None = body.get("external_task_id")
        entry.external_id = own_id or f"ka-{uuid4().hex}"
        if own_id is not None and number > 1:
            entry.external_id = f"{own_id}.retry-{number}"
        entry.stage, entry.token = None, None
        entry.estimate = self._budget.estimate(request)
        while not self._stopped and not self._budget.take(entry.estimate):
            if self._budget.in_flight:
                await self.outcomes.change()  # one that ends may have cost less
            else:
                why = f"the budget of {self._budget.limit} units has no room for the next"
                self._stop(why, advice="Raise budget= to go on; what is done costs nothing again.")
        if self._stopped:
            del self.entries[entry.index]
            return None
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
        if "external_task_id" in body:
            body["external_task_id"] = entry.external_id
        notes = self._notes(entry)
        intent = Intent(entry.external_id, body=body, left_before=left_before, notes=notes)
        return await self._submitter.begin(request, resend=self._options.resend, intent=intent)

    def _notes(self, entry: Entry) -> EntryNotes:
        return EntryNotes(self._journal, entry, self._journal_failed, self._announce)

    async def _announce(self, task: Task[Any]) -> None:
        self._contact.made()
        await self._announcer.tell(task)

    async def _resume(self, entry: Entry) -> Task[ResultT]:
        task = self._tasks.pop(entry.external_id)
        await self._announcer.tell(task)
        return task

    async def _settle(self, entry: Entry) -> Task[ResultT]:
        model_name = entry.row.request.get("model_name")
        name = self._client.provider.name
        token = Token(name, entry.row.endpoint, entry.external_id, model_name).text()
        task: Task[ResultT] = await settle(self._client, token, entry.external_id)
        await self._notes(entry).created(task.state, task.token)
        await self._announcer.tell(task)
        return task

    # Finishing.

    async def _finish(self, outcome: Outcome[ResultT]) -> Outcome[ResultT] | None:
        entry = self.entries.get(outcome.index)
        if entry is None:  # refused before it had a row
            self.refused += outcome.error is not None
            self._react(outcome.error)
            return self._told(outcome, None)
        try:
            return await self._conclude(outcome, entry)
        except Exception as error:  # say, of a transport of the caller's own
            _LOG.exception("the end of item %d could not be dealt with", outcome.index)
            self._settle_budget(entry, None)
            return self._told(replace(outcome, error=error), entry)
        finally:
            del self.entries[outcome.index]

    async def _conclude(self, outcome: Outcome[ResultT], entry: Entry) -> Outcome[ResultT] | None:
        error = outcome.error
        if isinstance(error, SubmissionUnknown) and stops_all(error.__context__):
            self._react(error.__context__)
        if isinstance(error, SubmissionUnknown) and error.token and entry.doubt is None:
            entry.doubt = error
            self._later.append(entry)
            self._settle_budget(entry, None)
            return None
        if isinstance(error, SubmissionUnknown):
            known = entry.doubt or error  # the first one says more
            known.advice = LOOK_AGAIN
            outcome = replace(outcome, error=known, token=known.token)
        is_new = entry.stage in (None, Stage.INTENDED, Stage.RUNNING)
        units = None
        if outcome.result is not None:
            units = getattr(outcome.result, "units", None)
            outcome = await self._succeeded(entry, outcome, units)
        elif is_final(error, entry.stage):
            units = await self._failed(entry, error)
        elif entry.stage is None:
            units = Decimal(0)
        self._settle_budget(entry, units)
        if is_new:
            self._react(outcome.error)
        return self._told(outcome, entry)

    async def _succeeded(
        self, entry: Entry, outcome: Outcome[ResultT], units: Decimal | None
    ) -> Outcome[ResultT]:
        if entry.stage not in (Stage.SUCCEEDED, Stage.SAVED):
            assert outcome.result is not None
            facts = written(outcome.result)
            await self._keep(
                self._journal.succeeded(entry.external_id, facts, units, now=time.time())
            )
            entry.stage = Stage.SUCCEEDED
        if self._out is None or entry.stage is Stage.SAVED:
            return outcome
        try:
            files = await self._downloader.save(
                cast("VideoResult", outcome.result),
                f"{self._out}/",
                watermark=False,
                overwrite=True,  # it has the task's own name, so it is the same video
            )
        except (KlingError, OSError) as error:
            return replace(outcome, error=error)
        paths = list(map(str, files))
        await self._keep(self._journal.saved(entry.external_id, paths, now=time.time()))
        entry.files = tuple(files)
        return outcome

    async def _failed(self, entry: Entry, error: KlingError) -> Decimal | None:
        facts, now = facts_of(error), time.time()
        if entry.stage is None:  # the server refused to make it
            await self._keep(self._journal.refused(entry.row, entry.external_id, facts, now=now))
            return Decimal(0)
        # Whether a task that failed costs anything, no page says: the estimate stands.
        await self._keep(self._journal.failed(entry.external_id, facts, now=now))
        return None

    def _react(self, error: Exception | None) -> None:
        if isinstance(error, JournalError):
            self._journal_failed(error)
        elif stops_all(error):
            self._stop("no other request would fare better", error)
        elif isinstance(error, ConnectFailed) and self._contact.failed(anyio.current_time()):
            self._stop("nothing gets through to the server", error)
        elif isinstance(error, Exception) and self._options.stops_on_failure:
            self._stop("a row failed", error)

    def _settle_budget(self, entry: Entry, units: Decimal | None) -> None:
        if entry.counts:
            entry.counts = False
            self._budget.settle(entry.estimate, units)

    def _told(self, outcome: Outcome[ResultT], entry: Entry | None) -> BatchOutcome[ResultT] | None:
        if entry is not None and entry.request is None:  # it is not among the requests any more
            return None
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
        self._stop("the journal cannot be written", error, advice=PUT_RIGHT)

    def _stop(
        self, why: str, cause: Exception | None = None, advice: str = BatchStopped.advice
    ) -> None:
        self._stopped = True
        self._reading.cancel()
        error = BatchStopped(f"stopped submitting: {why}{f': {cause}' if cause else ''}")
        error.__cause__, error.advice = cause, advice
        self.outcomes.stop(error)
