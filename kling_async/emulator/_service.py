"""Does what Kling does for an account: creates, finds and lists tasks."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from random import Random

from kling_async.emulator._callbacks import Callbacks
from kling_async.emulator._clock import Clock
from kling_async.emulator._jobs import Job
from kling_async.emulator._ledger import Entry, Ledger
from kling_async.emulator._limits import Limits
from kling_async.emulator._prices import price
from kling_async.emulator._refusals import Refusal, TaskNotFound
from kling_async.emulator._routes import Place
from kling_async.emulator._rules import accept
from kling_async.emulator._tasks import ListOrder, Tasks

Duration = float | Callable[[Random, Mapping[str, object]], float]
"""Simulated seconds a task takes, or what works them out from the body."""

_MEDIAN_DURATION = 120.0
_SIGMA = 0.5
# Task ids are decimal digits beyond 2**53, as the real ones are.
_FIRST_ID = 860_000_000_000_000_000
_ID_STEP = 1_000_003


class Service:
    """Kling's side of the counter, without HTTP."""

    def __init__(
        self,
        *,
        clock: Clock,
        random: Random,
        limits: Limits,
        callbacks: Callbacks,
        duration: Duration | None,
        strict_ids: bool,
        finds_external_id: bool | None,
    ) -> None:
        self.clock = clock
        self.random = random
        self.limits = limits
        self.callbacks = callbacks
        self.duration = duration
        self.strict_ids = strict_ids
        self.finds_external_id = finds_external_id
        self.list_order: ListOrder = "newest"
        self.tasks = Tasks()
        self.ledger = Ledger()
        self._ids = 0

    def create(self, account: str, place: Place, body: Mapping[str, object], origin: str) -> Job:
        """Check, commit and bill a task, in one step no cancellation can split.

        Raises:
            Refusal: it is not taken, and nothing was created.
        """
        endpoint = place.endpoint or ""
        # Cheapest first, as a gateway would: rate, body, name, and slots last.
        self.limits.check_rate(account)
        body = place.dialect.normalized(body)
        order = accept(endpoint, body, place.dialect.bounds)
        name = str(body["external_task_id"]) if body.get("external_task_id") else None
        if name is not None and self.strict_ids and self.tasks.by_external_id(account, name):
            raise Refusal(1201, f"External_task_id {name} already exists")
        self.limits.check_parallel(account, order.model, self.tasks)
        job = Job(
            self.clock,
            task_id=self._new_id(),
            video_id=self._new_id(),
            external_task_id=name,
            account=account,
            endpoint=endpoint,
            body=body,
            order=order,
            units=price(order.model, order.mode, order.seconds, body),
            duration=self._draw_duration(body),
            origin=origin,
        )
        self.tasks.add(job)
        self.ledger.add(self._entry(job))
        self.callbacks.follow(job)
        return job

    def find(self, account: str, place: Place) -> Job:
        """The task a query asks for.

        Raises:
            TaskNotFound: the account has none of this id under this path.
        """
        asked = place.task or ""
        by_external_id = self.finds_external_id
        if by_external_id is None:
            by_external_id = place.dialect.finds_external_id
        job = self.tasks.find(account, asked, by_external_id=by_external_id)
        # An empty endpoint is a path that serves every kind.
        if job is None or place.endpoint not in ("", job.endpoint):
            raise TaskNotFound(asked)
        return job

    def page(self, account: str, place: Place, query: Mapping[str, str]) -> list[Job]:
        """One page of the account's tasks.

        Raises:
            Refusal: the page number or size is out of bounds.
        """
        return self.tasks.page(
            account,
            place.endpoint or "",
            number=_page_option(query, "pageNum", 1, 1000),
            # J: one page of the documents prints 1000; 500 is the rule.
            size=_page_option(query, "pageSize", 30, 500),
            order=self.list_order,
        )

    def _draw_duration(self, body: Mapping[str, object]) -> float:
        if self.duration is None:
            return self.random.lognormvariate(math.log(_MEDIAN_DURATION), _SIGMA)
        if callable(self.duration):
            return self.duration(self.random, body)
        return self.duration

    def _new_id(self) -> str:
        self._ids += 1
        return str(_FIRST_ID + self._ids * _ID_STEP + self.random.randrange(_ID_STEP))

    def _entry(self, job: Job) -> Entry:
        return Entry(
            task_id=job.task_id,
            external_task_id=job.external_task_id,
            account=job.account,
            path=f"/v1/videos/{job.endpoint}",
            model_name=job.order.model,
            body=job.body,
            units=job.units,
            at=self.clock.unix(job.created),
        )


def _page_option(query: Mapping[str, str], name: str, default: int, most: int) -> int:
    text = query.get(name, str(default))
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= most):
        raise Refusal(1201, f"{name} value '{text}' is invalid")
    return int(text)
