"""Queues: what an account's queues allow, which the database keeps for all its workers."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import TypedDict

from dbos import DBOSClient

from kling_async.engines._names import Names

_LOG = logging.getLogger("kling_async")

_DOWNLOADS = 50  # a client saves a few of them at a time, and the next ones are at hand


class _Limiter(TypedDict):
    """What DBOS calls a limit of starts."""

    limit: int
    period: float


@dataclass(frozen=True, slots=True)
class Queues:
    """Both queues of an account; `KlingDBOS` says what the rest means."""

    names: Names
    concurrency: int | None
    at_once: int | None
    starts: tuple[int, float] | None
    beat: float

    async def register(self, database: DBOSClient) -> None:
        """Make them, or let them allow this from now on."""
        limiter: _Limiter | None = None
        if self.starts is not None:
            limiter = {"limit": self.starts[0], "period": self.starts[1]}
        known = await database.retrieve_queue_async(self.names.tasks)
        before = await known.get_global_concurrency_async() if known else self.concurrency
        if before != self.concurrency:
            _LOG.warning(
                "account %s: concurrency was %s, and is %s for all workers from now on",
                self.names.account,
                before,
                self.concurrency,
            )
        await database.register_queue_async(
            self.names.tasks,
            global_concurrency=self.concurrency,
            worker_concurrency=self.at_once,
            limiter=limiter,
            polling_interval_sec=self.beat / 2,
        )
        await database.register_queue_async(
            self.names.files, worker_concurrency=_DOWNLOADS, polling_interval_sec=self.beat
        )
