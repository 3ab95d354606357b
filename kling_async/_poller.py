"""The one loop that asks about every task somebody waits for, and wakes whoever waits.

`Schedule` says what to ask and when; here it is only performed. The loop starts with the
first task that is watched and ends with the last, so an idle client asks nothing and runs
nothing. Workers take moves by turns: the one that finds nothing due watches the clock, the
others wait behind it, and whoever takes a move calls the next worker to the clock.
"""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from math import ceil, inf
from random import Random
from weakref import WeakValueDictionary

import anyio
import anyio.abc

from ._background import Background, running_loop, spared
from ._durations import Durations
from ._errors import (
    AuthenticationError,
    BadEnvelope,
    ClientClosed,
    ConfigurationError,
    ConnectFailed,
    KlingError,
    PermissionDenied,
    RateLimited,
    ServerError,
)
from ._events import Hooks, RetryScheduled, TaskFinished, TaskPolled
from ._job import Ask, Job, Sleep, Sweep
from ._polling import Polling
from ._record import Record, differs, newer
from ._retry import is_transient
from ._schedule import Schedule
from ._server import Server
from ._slots import Slots
from ._state import TaskState, TaskStatus
from ._token import Token

_LOG = logging.getLogger("kling_async")
# A time-out or Retry-After that would be waited for is not among them.
_ENDS_A_WAIT = (
    AuthenticationError,
    PermissionDenied,
    ConfigurationError,
    RateLimited,
    ServerError,
)
_LOOKS_FOR_A_FILE = 3
_UNTOLD = TaskState("", TaskStatus.UNKNOWN)
_MANY = 1000
_GRAIN = 0.01
_SHORTEST_NAP = 1e-6
_COARSEST = 1.0  # some servers tell whole seconds
_OVERLOADED = frozenset({502, 503, 504})


class Poller:
    """Watches tasks for whoever waits for them; every state that is told passes through it."""

    def __init__(
        self, server: Server, polling: Polling, random: Random, hooks: Hooks, slots: Slots
    ) -> None:
        self.records = defaultdict[str, "WeakValueDictionary[str, Record]"](WeakValueDictionary)
        """Of the tasks that a handle lives of, or that hold a slot, by path and id."""
        self.patience = inf if polling.timeout is None else polling.timeout
        """How long a wait lasts that nobody has set a time for."""
        self._server = server
        self._polling = polling
        self._hooks = hooks
        self._slots = slots
        self._schedule = Schedule(
            polling, random, lists=server.provider.lists, durations=Durations()
        )
        self._watched: set[Record] = set()
        self._background = Background(self._run)
        self._now = anyio.current_time
        self._workers: anyio.abc.TaskGroup | None = None
        self._staff = 0
        self._bell: anyio.Event | None = None
        self._until = inf
        self._bench: list[anyio.Event] = []
        self._called = False
        self._closed = False

    def watch(self, record: Record) -> None:
        """Somebody waits for this task from now on."""
        record.watchers += 1
        if record.watchers > 1 and record.error is None:
            return
        if record.state.status.is_terminal:
            if record.ticket.stage == "running":  # the create's own answer said so
                self._finish(record)
            return
        if self._closed:
            self._fail(record, self._farewell(record))
            return
        record.error = None
        self._watched.add(record)
        now = self._now()
        self._schedule.watch(record.job, now)
        if record.told_at is not None and now - record.told_at >= self._polling.interval:
            # What is known of it is out of date.
            self._schedule.hasten(record.job, max(now, record.job.called), now)
        self._stir()

    def unwatch(self, record: Record) -> None:
        """Somebody waits no more; without anybody the task is no longer asked about."""
        record.watchers -= 1
        if not record.watchers:
            self._drop(record)

    def give_up(self, record: Record) -> None:
        """Others may have its slot: if the server counts it still, it will say so (1303)."""
        self._slots.leave(record.ticket)

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call it from the loop; for `__del__`, which runs in the midst of anything."""
        self._background.call_soon(call)

    def called(self, record: Record, *, ended: bool) -> bool:
        """The server called, to say that the task has ended, or runs; False once closed.

        That is not believed, but asked about, also where nobody waits: then the call does.
        """
        now = self._now()
        if not ended:
            self._schedule.heard(record.job, now)
        elif not self._closed and not record.state.status.is_terminal:
            at = self._schedule.called(record.job, now)
            if not record.watchers:
                record.called = True
                self.watch(record)
            self._schedule.hasten(record.job, at, now)
            self._stir()
        return not self._closed

    def learn(self, record: Record, told: TaskState, *, on_page: bool = False) -> None:
        """Take in what the server told about a task."""
        _LOG.debug("task %s: %s", told.id, told.status)
        if self._hooks:
            endpoint = record.request_type.endpoint
            self._hooks.tell(TaskPolled(endpoint, told.id, told.status, on_page))
        held, first = record.state, record.told_at is None
        record.told_at, record.trouble, record.refused_since = self._now(), None, None
        if told is held and not first:
            return
        state = record.state = newer(held, self._whole(record, told))
        if state.status.is_terminal and not held.status.is_terminal:
            self._finish(record)
        if first or differs(held, state):
            record.notify()

    def token(self, record: Record) -> str:
        """The token of a task."""
        endpoint, model = record.request_type.endpoint, record.ticket.gate.model
        return Token(self._server.provider.name, endpoint, record.state.id, model).text()

    async def aclose(self) -> None:
        """End every wait with an error that holds the task's token, and stop."""
        self._closed = True
        self._break_off()
        await self._background.stop()

    def _break_off(self) -> None:
        for record in list(self._watched):
            self._fail(record, self._farewell(record))

    def _farewell(self, record: Record) -> KlingError:
        what = "the client was closed" if self._closed else "the asking was cancelled"
        return ClientClosed(
            f"{what} before task {record.state.id} had ended",
            task_id=record.state.id,
            external_task_id=record.external_task_id,
            token=self.token(record),
            provider=self._server.provider.name,
        )

    def _whole(self, record: Record, told: TaskState) -> TaskState:
        """A gateway can say "success" before it has the file's address: it is asked again."""
        if told.status is not TaskStatus.SUCCEEDED or told.task_result:
            return told
        record.without_file += 1
        if record.without_file > _LOOKS_FOR_A_FILE:
            return told
        return replace(told, status=TaskStatus.PROCESSING)

    def _finish(self, record: Record) -> None:
        state = record.state
        took = None
        if state.created_at is not None and state.updated_at is not None:
            took = state.updated_at - state.created_at
        if state.status is TaskStatus.SUCCEEDED:
            self._schedule.finished(record.job, self._now(), took)
        self._slots.leave(record.ticket)
        endpoint = record.request_type.endpoint
        _LOG.info("finished %s task %s: %s", endpoint, state.id, state.status.value)
        if self._hooks:
            told = (state.status, took, state.units, state.message, record.model)
            lag = self._lag(record, took)
            self._hooks.tell(TaskFinished(endpoint, state.id, *told, lag))
        self._drop(record)

    def _lag(self, record: Record, took: float | None) -> float | None:
        """How long ago it ended, by no clock that would have to agree with another one."""
        if record.job.born is None or took is None:
            return None
        lag = self._now() - record.job.born - took
        # Less than nothing: it is older than we know, as the answer to its create was lost.
        return None if lag < -_COARSEST else max(0.0, lag)

    def _fail(self, record: Record, error: Exception) -> None:
        record.error = error
        self._slots.leave(record.ticket)
        self._drop(record)
        record.notify()

    def _drop(self, record: Record) -> None:
        self._schedule.unwatch(record.job)
        self._watched.discard(record)
        record.refused_since = None
        if record.called:
            record.called = False
            record.watchers -= 1
        if self._workers is not None and not len(self._schedule):
            self._workers.cancel_scope.cancel()  # the answers under way are for nobody

    # The workers.

    def _stir(self) -> None:
        if self._bell is not None:
            self._bell.set()
        else:
            self._background.start()

    async def _run(self) -> None:
        self._now = running_loop().time
        try:
            while len(self._schedule):
                async with anyio.create_task_group() as self._workers:
                    self._staff, self._bench = 1, []
                    self._workers.start_soon(self._work)
        except ExceptionGroup as errors:  # a defect of ours: whoever waits must hear of it
            _LOG.error("asking about tasks failed", exc_info=errors)
            for record in list(self._watched):
                self._fail(record, errors.exceptions[0])
        finally:
            self._workers, self._now = None, anyio.current_time
            self._break_off()  # if it was cancelled by somebody else

    @spared
    async def _work(self) -> None:
        self._called = False
        while True:
            now = self._now()
            move = self._schedule.next(now)
            if isinstance(move, Sleep):
                await self._rest(move.until, now)
            else:
                self._call_another()
                await self._perform(move)

    async def _rest(self, until: float | None, now: float) -> None:
        if self._bell is None:
            self._bell, self._until = anyio.Event(), inf if until is None else until
            try:
                with anyio.move_on_after(self._nap(until, now)):
                    await self._bell.wait()
            finally:
                self._bell = None
            return
        if until is not None and until < self._until:
            self._bell.set()
        place = anyio.Event()
        self._bench.append(place)
        await place.wait()
        self._called = False

    def _nap(self, until: float | None, now: float) -> float | None:
        """Where many are watched, one waking is to serve several of them."""
        if until is None:
            return None
        if len(self._schedule) > _MANY:
            until = max(until, ceil(until / _GRAIN) * _GRAIN)
        # A nap that rounding made too short would be followed by another one, without end.
        return max(_SHORTEST_NAP, until - now)

    def _call_another(self) -> None:
        if self._bell is not None:
            if self._schedule.due < self._until:  # more is due than when he looked
                self._bell.set()
        elif self._called:
            return
        elif self._bench:
            self._called = True
            self._bench.pop().set()
        elif self._staff < self._polling.max_polls_at_once and self._workers is not None:
            self._called = True
            self._staff += 1
            self._workers.start_soon(self._work)

    async def _perform(self, move: Ask | Sweep) -> None:
        try:
            await (self._ask(move) if isinstance(move, Ask) else self._sweep(move))
        except Exception as error:
            self._failed(move, error)
        except BaseException:  # every move is reported, or the schedule would wait for it
            self._schedule.failed(move, self._now())
            raise

    async def _ask(self, move: Ask) -> None:
        job = move.job
        state = await self._server.ask(job.path, job.task_id)
        record = _record(job)
        self.learn(record, state)
        self._schedule.answered(job, self._now(), ended=record.state.status.is_terminal)
        if record.called and not self._schedule.is_wanted(job):
            record.called = False
            self.unwatch(record)

    async def _sweep(self, move: Sweep) -> None:
        ours = self.records[move.path]

        def held(task_id: str) -> TaskState | None:
            record = ours.get(task_id)
            if record is None:
                return None
            # How often a task is said to have succeeded without its file is counted.
            return _UNTOLD if record.without_file else record.state

        states = await self._server.page(move.path, move.page, move.size, held)
        records = [ours.get(state.id) for state in states]
        shown = [
            record.job if record is not None and record.watchers else None for record in records
        ]
        for record, state in zip(records, states, strict=True):
            if record is not None:
                self.learn(record, state, on_page=True)
        self._schedule.swept(move, self._now(), shown)

    def _failed(self, move: Ask | Sweep, error: Exception) -> None:
        now, whole = self._now(), _is_overload(error)
        hint = error.retry_after if isinstance(error, RateLimited | ServerError) else None
        if not isinstance(error, KlingError | OSError):
            _LOG.warning("%r failed in an unforeseen way", move, exc_info=error)
        if isinstance(move, Sweep) and (not _passes(error) or _serves_no_list(error)):
            _LOG.info("%s has no list to read: %s", move.path, error)
            self._schedule.cannot_list(move)
            return
        self._schedule.failed(move, now, hint=hint, whole=whole)
        if isinstance(move, Ask):
            record = _record(move.job)
            record.trouble = error
            if record.watchers and self._is_final(record, error, now):
                self._fail(record, error)
                return
        what = "question" if isinstance(move, Ask) else "page"
        _LOG.debug("a %s failed and is repeated: %s", what, error)
        if self._hooks:
            self._hooks.tell(RetryScheduled(what, error, hint))

    def _is_final(self, record: Record, error: Exception, now: float) -> bool:
        """Whether *error* ends the wait; "no such task" and its like only once they last."""
        if _passes(error):
            record.refused_since = None
            return False
        if isinstance(error, _ENDS_A_WAIT):
            return True
        if record.refused_since is None:
            record.refused_since = now
        return now - record.refused_since >= self._polling.not_found_grace


def _record(job: Job) -> Record:
    assert isinstance(job.owner, Record)
    return job.owner


def _passes(error: Exception) -> bool:
    """A transport of the user's may raise what the system said, as it came."""
    return is_transient(error) if isinstance(error, KlingError) else isinstance(error, OSError)


def _is_overload(error: Exception) -> bool:
    if isinstance(error, BadEnvelope | ServerError):
        return error.status in _OVERLOADED
    return isinstance(error, RateLimited | ConnectFailed)


def _serves_no_list(error: Exception) -> bool:
    """A 404 or a page of something else: this path has no list."""
    return isinstance(error, BadEnvelope) and error.status is not None and error.status < 500
