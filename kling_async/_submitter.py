"""Submitter: takes a request through checks, slots and the protocol, and makes a task of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from random import Random
from typing import Any, TypeVar
from uuid import uuid4

import anyio
import anyio.to_thread

from ._config import Retries, Timeouts
from ._errors import KlingError, ParallelLimit, RateLimited, SubmissionUnknown, TaskNotFound
from ._events import Hooks, RetryScheduled, TaskSubmitted
from ._job import Job
from ._results import FromState
from ._retry import created_nothing, next_delay
from ._server import Server
from ._slots import Slots, Ticket
from ._state import TaskState
from ._submit import Leaving, Rules, perform, submission, to_the_end
from ._task import Task, Waiting
from ._token import Token
from .endpoints import Request

ResultT = TypeVar("ResultT", bound=FromState)

_LOG = logging.getLogger("kling_async")


Body = Mapping[str, Any]


class _Trace:
    """Whether a create may have made a task that nobody has heard of."""

    def __init__(self) -> None:
        self.on_the_wire = self.lost = False
        self.task_id: str | None = None

    @property
    def may_exist(self) -> bool:
        return self.on_the_wire or self.lost


class Submitter:
    """Creates tasks, each exactly once, and each in a slot of its own."""

    def __init__(
        self,
        server: Server,
        slots: Slots,
        waiting: Waiting,
        hooks: Hooks,
        random: Random,
        *,
        timeouts: Timeouts,
        retries: Retries,
        validate: bool,
        callback_url: str | None,
    ) -> None:
        self._server = server
        self._slots = slots
        self._waiting = waiting
        self._hooks = hooks
        self._random = random
        self._timeouts = timeouts
        self._retries = retries
        self._validate = validate
        self._callback_url = callback_url

    async def slot(self, request: Request[Any]) -> Ticket:
        """Check the request, and wait for the slots it takes."""
        if self._validate:
            for doubt in request.check(self._server.provider.limits):
                self._server.warn_once(doubt)
        return await self._slots.take(request.model or "", request.weight)

    async def submit(
        self, request: Request[ResultT], ticket: Ticket, *, resend: bool = False
    ) -> Task[ResultT]:
        """Create the task in the slots of *ticket*, and keep them until it has ended."""
        try:
            body = await self._body(request)
            external_id: str = body.setdefault("external_task_id", f"ka-{uuid4().hex}")
            state = await self._create(request, external_id, body, ticket, resend=resend)
        except BaseException:
            self._slots.leave(ticket)
            raise
        task = self._task(request, state, external_id, ticket)
        self._slots.accept(ticket)
        return task

    async def _body(self, request: Request[Any]) -> dict[str, Any]:
        def build() -> dict[str, Any]:
            return request.body(self._server.provider.limits, check=self._validate)

        body = await anyio.to_thread.run_sync(build) if request.reads_media() else build()
        if self._callback_url is not None:
            body.setdefault("callback_url", self._callback_url)
        return body

    async def _create(
        self, request: Request[Any], external_id: str, body: Body, ticket: Ticket, *, resend: bool
    ) -> TaskState:
        provider = self._server.provider
        rules = Rules(
            external_task_id=external_id,
            # Asking is free, so a server whose abilities are not known is asked as well;
            # but what it does not find proves nothing.
            answers_look_ups=provider.finds_external_id is not False,
            trusts_not_found=bool(provider.finds_external_id and provider.refuses_duplicate_ids),
            on_the_wire=self._timeouts.total,
            retries=self._retries,
            resend=resend,
        )
        trace = _Trace()
        try:
            return await perform(
                submission(rules, self._random),
                lambda: self._send(request.path, body, ticket, trace),
                lambda: self._look_up(request.path, external_id),
            )
        except SubmissionUnknown as error:
            if rules.answers_look_ups:
                error.token = self._token(request, external_id)
            raise
        except Exception:
            raise
        except BaseException:  # cancelled or interrupted; trio wraps that in a group
            # Nobody will see a handle, and the id may be one that was made up here.
            if trace.task_id is not None:
                token = self._token(request, trace.task_id)
                _LOG.warning("cancelled, but the task was created: kling.task(%r)", token)
            elif trace.may_exist:
                _LOG.warning(
                    "cancelled while a create was on its way; a task may exist and be billed"
                    " under external_task_id %s",
                    external_id,
                )
            raise

    def _token(self, request: Request[Any], task_id: str) -> str:
        name = self._server.provider.name
        return Token(name, request.endpoint, task_id, request.model).text()

    async def _look_up(self, path: str, external_id: str) -> TaskState:
        state = await self._server.ask(path, external_id)
        echoes = state.id == external_id and state.external_task_id is None
        if echoes or state.external_task_id not in (None, external_id):
            # A server that does not look up by it answered with something else.
            raise TaskNotFound(f"asked for {external_id}, told of {state.external_task_id}")
        return state

    async def _send(self, path: str, body: Body, ticket: Ticket, trace: _Trace) -> TaskState:
        async def create(leaving: Leaving) -> TaskState:
            def note() -> None:
                trace.on_the_wire = True
                leaving()

            state = await self._server.create(path, body, note)
            trace.task_id = state.id
            return state

        while True:
            await self._slots.turn(ticket)
            try:
                return await to_the_end(create, self._timeouts.farewell)
            except KlingError as error:
                trace.on_the_wire = False
                trace.lost = trace.lost or not created_nothing(error)
                if isinstance(error, ParallelLimit):
                    # Never the user's error: the slots are waited for.
                    self._slots.refuse(ticket)
                    self._tell(error, None)
                    continue
                if isinstance(error, RateLimited):
                    delay = next_delay(0, random=self._random, hint=error.retry_after)
                    self._slots.pause(delay)
                    self._tell(error, delay)
                raise

    def _tell(self, error: RateLimited, seconds: float | None) -> None:
        if self._hooks:
            self._hooks.tell(RetryScheduled("create", error, seconds))

    def _task(
        self, request: Request[ResultT], state: TaskState, external_id: str, ticket: Ticket
    ) -> Task[ResultT]:
        _LOG.info("submitted %s task %s (%s)", request.endpoint, state.id, external_id)
        if self._hooks:
            self._hooks.tell(TaskSubmitted(request.endpoint, state.id, external_id, request.model))
        job = Job(state.id, request.path, request.kind, born=anyio.current_time())
        record = self._waiting.record(type(request), state, external_id, job, ticket)
        return Task(record, self._waiting)
