"""Batch: many requests through a journal, so that whatever stops it is only a pause."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar, cast

import anyio
import anyio.to_thread

from ._attempt import Stage
from ._export import check_format, export
from ._journal import Journal
from ._outcome import BatchOutcome
from ._report import write_report
from ._results import FromState
from ._rows import Rows
from .endpoints import Request

ResultT = TypeVar("ResultT", bound=FromState)

_LOG = logging.getLogger("kling_async")


@dataclass(frozen=True, slots=True)
class Summary:
    """How far a batch has come, all runs together."""

    saved: int
    succeeded: int
    """With a result, but not on the disk."""
    failed: int
    running: int
    unknown: int
    """Creates whose answer is missing: they are looked up by the next run."""
    unsubmitted: int
    """Seen, and not submitted yet; rows that were never read are not counted."""
    units: Decimal
    """What all this has cost, estimates where the server has not said yet."""
    refused: int = 0
    """Turned down by this run before they had a row in the journal: nothing was sent of them."""

    def __str__(self) -> str:
        return (
            f"{self.saved} saved, {self.succeeded} succeeded, {self.failed} failed,"
            f" {self.running} running, {self.unknown} unknown,"
            f" {self.unsubmitted} not submitted,"
            + (f" {self.refused} refused unsent," if self.refused else "")
            + f" {self.units:f} units"
        )


class Batch(Generic[ResultT]):
    """Requests whose progress is kept in a file; made by `kling.batch`.

    Example:
        async with kling.batch("boats.db", requests, out="videos/") as batch:
            async for outcome in batch:
                print(outcome.key, outcome.files if outcome.ok else outcome.error)
        print(batch.summary())
    """

    def __init__(self, journal: Journal, rows: Rows[ResultT]) -> None:
        self._journal = journal
        self._rows = rows
        self._open = False

    async def __aenter__(self) -> Self:
        await self._rows.check()
        await self._journal.open()
        try:
            await self._rows.resume()
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._journal.aclose()
            raise
        self._open = True
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._open = False
        try:
            self._rows.leave()
            if error is not None and not isinstance(error, Exception):
                _LOG.warning(
                    "stopping, once the creates on the wire are answered: %s", self._advice()
                )
            with anyio.CancelScope(shield=True):
                await self._rows.outcomes.aclose()
        except BaseException:
            _LOG.warning("left at once: %s", self._advice())
            with anyio.CancelScope(shield=True):
                await self._rows.outcomes.abandon()
            raise
        finally:
            with anyio.CancelScope(shield=True):
                await self._journal.aclose()

    def __aiter__(self) -> AsyncIterator[BatchOutcome[ResultT]]:
        if not self._open:
            raise RuntimeError("open the batch first: async with kling.batch(...) as batch")
        return cast("AsyncIterator[BatchOutcome[ResultT]]", aiter(self._rows.outcomes))

    @property
    def pending(self) -> list[str]:
        """Tokens of the tasks of this run that were paid for and not handed out yet."""
        return self._rows.outcomes.pending

    def under_way(self) -> dict[str, tuple[str, Request[ResultT] | None]]:
        """The rows whose tasks run or are saved now, by token.

        With their keys, and their requests, if these are still read.
        """
        return {
            entry.token: (entry.row.key, entry.request)
            for entry in self._rows.entries.values()
            if entry.token is not None
        }

    def summary(self) -> Summary:
        """How far it has come, all runs together."""
        counts = self._journal.counts
        return Summary(
            saved=counts[Stage.SAVED],
            succeeded=counts[Stage.SUCCEEDED],
            failed=counts[Stage.FAILED],
            running=counts[Stage.RUNNING],
            unknown=counts[Stage.INTENDED],
            unsubmitted=counts[None],
            units=self._journal.spent,
            refused=self._rows.refused,
        )

    async def export(self, target: str | os.PathLike[str]) -> None:
        """Write all rows with what became of them to *target*, a .jsonl or .csv file."""
        path = Path(target)
        check_format(path)
        await anyio.to_thread.run_sync(export, self._journal.path, path)

    async def report(self, target: str | os.PathLike[str]) -> None:
        """Write a page about all rows to *target*, an .html file: clips, times, failures."""
        await write_report(self._journal.path, target)

    def _advice(self) -> str:
        return f"{self.summary()}; run the same batch on {self._journal.path} again to go on"
