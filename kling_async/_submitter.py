"""Submitter: takes a request through checks, slots and the protocol, and makes a task of it."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from random import Random
from typing import Any, Generic, TypeVar
from uuid import uuid4
from weakref import WeakKeyDictionary, WeakValueDictionary

import anyio
import anyio.lowlevel
from anyio import to_thread

from ._abilities import Abilities
from ._background import Background
from ._config import Retries, Timeouts
from ._difference import refuse_changes
from ._errors import (
    BadEnvelope,
    DuplicateTaskId,
    InvalidRequest,
    KlingError,
    NotServed,
    ParallelLimit,
    RateLimited,
    RequestRefused,
    SubmissionUnknown,
    TaskNotFound,
)
from ._events import Hooks, RetryScheduled, TaskSubmitted
from ._fingerprint import fingerprint
from ._intent import Intent
from ._job import Job
from ._record import Record
from ._results import FromState
from ._retry import created_nothing, next_delay
from ._server import Server
from ._slots import Slots, Ticket
from ._state import TaskState, TaskStatus
from ._submit import Leaving, Rules, perform, submission, to_the_end
from ._task import Task, Waiting
from ._token import Token
from .endpoints import Request

ResultT = TypeVar("ResultT", bound=FromState)
ResultT_co = TypeVar("ResultT_co", bound=FromState, covariant=True)

_LOG = logging.getLogger("kling_async")


Body = Mapping[str, Any]
Facts = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Creation(Generic[ResultT_co]):
    """A create whose turn has come."""

    intent: Intent
    submit: Callable[[], Awaitable[Task[ResultT_co]]]


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
    ) -> None:
        self._server = server
        self._slots = slots
        self._waiting = waiting
        self._hooks = hooks
        self._random = random
        self._timeouts = timeouts
        self._retries = retries
        self._validate = validate
        self._abilities = Abilities(server.provider)
        self._sample: tuple[str, str, str] | None = None
        self._learning = Background(self._learn)
        self._creating: dict[str, anyio.Event] = {}
        self._named: WeakValueDictionary[tuple[str, str], Record] = WeakValueDictionary()
        """The tasks that go by an id of the caller's own, while a handle lives."""
        self._facts: WeakKeyDictionary[Record, Facts] = WeakKeyDictionary()
        """What was sent for them."""
        self._in_doubt: dict[tuple[str, str], float] = {}
        """The ids of creates whose fate nobody knows, and when that was found."""

    async def aclose(self) -> None:
        """Stop asking what is asked for learning's sake."""
        await self._learning.stop()

    async def begin(
        self, request: Request[ResultT], *, resend: bool = False, intent: Intent | None = None
    ) -> Creation[ResultT]:
        """Wait until the request may be submitted."""
        self.check(request)
        ticket, intent = await self.slot(request), intent or Intent()
        return Creation(intent, lambda: self.submit(request, ticket, intent=intent, resend=resend))

    def check(self, request: object) -> None:
        """Refuse what the provider or the model would refuse."""
        if not isinstance(request, Request):
            raise RequestRefused(
                f"{type(request).__name__} is no request; write Text2Video(prompt=...)"
            )
        if self._validate:
            for doubt in request.check(self._server.provider.limits):
                self._server.warn_once(doubt)

    async def slot(self, request: Request[Any]) -> Ticket:
        """Wait for the slots that the request takes."""
        return await self._slots.take(request.model or "", request.weight)

    async def submit(
        self,
        request: Request[ResultT],
        ticket: Ticket,
        *,
        intent: Intent,
        resend: bool = False,
    ) -> Task[ResultT]:
        """Create the task in the slots of *ticket*, and keep them until it has ended.

        Where the caller's own id has a task already, that is the one.
        """
        try:
            body = intent.body or await self.body(request)
            own_id: str | None = body.get("external_task_id")
            if own_id is None:
                body["external_task_id"] = intent.external_task_id or f"ka-{uuid4().hex}"
                state = await self._create(request, body, ticket, intent, resend)
                return await self._task(request, state, body, ticket, intent)
            async with self._alone(own_id):
                look = partial(fingerprint, body)
                _, facts = await to_thread.run_sync(look) if request.reads_media() else look()
                record = self._named.get((request.path, own_id))
                if record is not None:
                    refuse_changes(own_id, self._facts[record], facts)
                    self._slots.leave(ticket)
                    await self._created(request, record.state, intent)
                    return Task(record, self._waiting)
                state = await self._create(request, body, ticket, intent, resend, asks_first=True)
                task = await self._task(request, state, body, ticket, intent)
                self._named[request.path, own_id] = task.record
                self._facts[task.record] = facts
                return task
        except BaseException:
            self._slots.leave(ticket)
            raise

    async def body(self, request: Request[Any]) -> dict[str, Any]:
        """What is sent, but for the id that is made up."""

        def build() -> dict[str, Any]:
            return request.body(self._server.provider.limits, check=self._validate)

        body = await to_thread.run_sync(build) if request.reads_media() else build()
        if self._waiting.calls.url is not None:
            body.setdefault("callback_url", self._waiting.calls.url)
        return body

    async def find(self, request: type[Request[Any]], external_id: str) -> TaskState:
        """The task that goes by *external_id*."""
        return await self._look_up(request.path, external_id)

    @asynccontextmanager
    async def _alone(self, external_id: str) -> AsyncGenerator[None]:
        """One submission at a time of those that share an id."""
        while (other := self._creating.get(external_id)) is not None:
            await other.wait()
        over = self._creating[external_id] = anyio.Event()
        try:
            yield
        finally:
            del self._creating[external_id]
            over.set()

    async def _create(
        self,
        request: Request[Any],
        body: Body,
        ticket: Ticket,
        intent: Intent,
        resend: bool,
        *,
        asks_first: bool = False,
    ) -> TaskState:
        external_id: str = body["external_task_id"]
        doubted = self._in_doubt.get((request.path, external_id))
        if doubted is not None:
            intent.doubt(anyio.current_time() - doubted)
        rules = Rules(
            external_task_id=external_id,
            answers_look_ups=self._abilities.answers_look_ups,
            trusts_not_found=self._abilities.trusts_not_found,
            on_the_wire=self._timeouts.total + intent.late,
            retries=self._retries,
            resend=resend,
            asks_first=asks_first,
            left_before=intent.left_before,
        )
        try:
            state = await perform(
                submission(rules, self._random),
                lambda: self._send(request, body, ticket, intent),
                lambda: self._adopt(request, external_id, intent),
                partial(self._again, external_id),
            )
        except SubmissionUnknown as error:
            self._in_doubt[request.path, external_id] = anyio.current_time()
            if rules.answers_look_ups:
                error.token = self._token(request, external_id)
            raise
        except Exception as error:
            if intent.task_id is not None:  # it could not be written down
                token = self._token(request, intent.task_id)
                error.add_note(f"The task was created: kling.task({token!r})")
            raise
        except BaseException:  # cancelled or interrupted; trio wraps that in a group
            # Nobody will see a handle, and the id may be one that was made up here.
            if intent.may_exist:
                self._in_doubt[request.path, external_id] = anyio.current_time()
            if intent.task_id is not None:
                token = self._token(request, intent.task_id)
                _LOG.warning(
                    "cancelled, but the task was created: kling.task(%r)",
                    token,
                    extra={"token": token},
                )
            elif intent.may_exist and not intent.notes.lasting:
                _LOG.warning(
                    "cancelled while a create was on its way; a task may exist and be billed"
                    " under external_task_id %s",
                    external_id,
                    extra={"external_task_id": external_id},
                )
            raise
        self._in_doubt.pop((request.path, external_id), None)
        return state

    def _token(self, request: Request[Any], task_id: str) -> str:
        name = self._server.provider.name
        return Token(name, request.endpoint, task_id, request.model).text()

    async def _send(
        self, request: Request[Any], body: Body, ticket: Ticket, intent: Intent
    ) -> TaskState:
        async def create(shield: Leaving) -> TaskState:
            async def leave() -> None:
                with anyio.CancelScope(shield=True):  # what is written is sent or withdrawn
                    await intent.notes.leaving()
                    intent.noted = True
                # Nothing below need wait before it sends, and so notice that it is called off.
                await anyio.lowlevel.checkpoint_if_cancelled()
                intent.is_queued, intent.on_the_wire = False, True
                shield()

            state = await self._server.create(request.path, body, leave)
            self._be_curious(request.path, body["external_task_id"], state.id)
            await self._created(request, state, intent)
            return state

        while True:
            intent.is_queued = True
            if not intent.is_wanted:  # it was on the wire when it was called off
                intent.creation.cancel()
            await anyio.lowlevel.checkpoint_if_cancelled()
            await self._slots.turn(ticket)
            self._waiting.calls.expect(body["external_task_id"])
            intent.exchange = anyio.CancelScope()
            try:
                return await to_the_end(create, self._timeouts.farewell, intent.exchange)
            except KlingError as error:
                intent.on_the_wire = False
                intent.lost = intent.lost or not created_nothing(error)
                if isinstance(error, DuplicateTaskId):
                    self._abilities.refused_duplicate()
                if isinstance(error, ParallelLimit):
                    # Never the user's error: the slots are waited for.
                    self._slots.refuse(ticket)
                    self._tell("create", error, None)
                    continue
                if isinstance(error, RateLimited):
                    self._slots.pause(next_delay(0, random=self._random, hint=error.retry_after))
                raise
            finally:
                await self._withdraw(intent)

    async def _withdraw(self, intent: Intent) -> None:
        if intent.noted and not intent.may_exist:
            intent.noted = False
            with anyio.CancelScope(shield=True):
                await intent.notes.withdrawn()

    async def _adopt(self, request: Request[Any], external_id: str, intent: Intent) -> TaskState:
        state = await self._look_up(request.path, external_id)
        self._abilities.found()
        with anyio.CancelScope(shield=True):
            await self._created(request, state, intent)
        return state

    async def _created(self, request: Request[Any], state: TaskState, intent: Intent) -> None:
        intent.task_id = state.id
        await intent.notes.created(state, self._token(request, state.id))

    async def _look_up(self, path: str, external_id: str) -> TaskState:
        try:
            state = await self._server.ask(path, external_id)
        except (InvalidRequest, NotServed, BadEnvelope) as error:
            if self._abilities.finds_external_id or not created_nothing(error):
                raise
            # Whatever word it has for it, of a server that never found one.
            raise TaskNotFound(f"asked for {external_id}: {error.message}") from error
        proven = self._abilities.finds_external_id is True and state.id != external_id
        if state.external_task_id != external_id and not (
            state.external_task_id is None and proven
        ):
            # A server that does not look up by it answered with something else.
            raise TaskNotFound(f"asked for {external_id}, told of {state.external_task_id}")
        return state

    def _be_curious(self, path: str, external_id: str, task_id: str) -> None:
        if self._abilities.finds_external_id is None:
            self._sample = path, external_id, task_id
            self._learning.start()

    async def _learn(self) -> None:
        """Ask for a task that exists by its external id: a free question."""
        assert self._sample is not None
        path, external_id, task_id = self._sample
        pause = 0.0
        while self._abilities.finds_external_id is None:
            await anyio.sleep(pause)
            try:
                found = (await self._look_up(path, external_id)).id == task_id
            except TaskNotFound:
                found = False
            except (KlingError, OSError) as error:
                _LOG.debug("whether tasks are found by external id is not known yet: %s", error)
                return
            (self._abilities.found if found else self._abilities.missed)()
            pause = pause * 6 or 10.0  # a replica may lag behind

    def _again(self, external_id: str, what: str, error: KlingError | None, seconds: float) -> None:
        if seconds:
            _LOG.info("the create of %s goes on in %.0f s", external_id, seconds)
        if error is not None:  # the failure of an earlier process was never seen here
            self._tell(what, error, seconds)

    def _tell(self, what: str, error: KlingError, seconds: float | None) -> None:
        if self._hooks:
            self._hooks.tell(RetryScheduled(what, error, seconds))

    async def _task(
        self,
        request: Request[ResultT],
        state: TaskState,
        body: Body,
        ticket: Ticket,
        intent: Intent,
    ) -> Task[ResultT]:
        record = self._waiting.known(request.path, state.id)
        if record is not None:  # the server says that it is one we have
            self._slots.leave(ticket)
            self._waiting.poller.learn(record, state)
            return Task(record, self._waiting)
        external_id: str = body["external_task_id"]
        _LOG.info("submitted %s task %s (%s)", request.endpoint, state.id, external_id)
        if self._hooks:
            self._hooks.tell(TaskSubmitted(request.endpoint, state.id, external_id, request.model))
        if state.status is TaskStatus.SUCCEEDED and not state.task_result:
            state = replace(state, status=TaskStatus.PROCESSING)  # to be asked where its files are
        calls = bool(body.get("callback_url"))
        now = anyio.current_time()
        job = Job(state.id, request.path, request.kind, born=now, callback=calls)
        record = self._waiting.record(type(request), state, external_id, job, ticket)
        task: Task[ResultT] = Task(record, self._waiting)
        try:
            await intent.notes.announced(task)
        finally:
            self._slots.accept(ticket)
            self._waiting.calls.welcome(record)
        return task
