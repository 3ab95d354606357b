"""Task: the awaitable handle of one paid task."""

from __future__ import annotations

from collections.abc import Callable, Generator
from copy import copy
from functools import partial
from math import inf
from typing import Any, Generic, Self, TypeVar, cast

import anyio

from ._calls import Calls
from ._errors import KlingError, TaskError, TaskFailed, TaskTimeout
from ._events import Hooks, TaskTakenUp
from ._job import Job
from ._poller import Poller
from ._polling import Polling
from ._record import Look, Record, differs
from ._results import FromState
from ._server import Server
from ._slots import Ticket
from ._state import TaskState, TaskStatus
from .endpoints import Request

ResultT_co = TypeVar("ResultT_co", bound=FromState, covariant=True)


class _ClientDefault:
    """Stands for the client's own setting, as None means "without end"."""


CLIENT_DEFAULT = _ClientDefault()
Timeout = float | None | _ClientDefault


class Waiting:
    """What all tasks of a client wait with."""

    def __init__(self, server: Server, poller: Poller, polling: Polling, hooks: Hooks) -> None:
        self.server = server
        self.poller = poller
        self.polling = polling
        self._hooks = hooks
        self.calls = Calls(poller)

    def record(
        self,
        request_type: type[Request[Any]],
        state: TaskState,
        external_task_id: str | None,
        job: Job,
        ticket: Ticket,
    ) -> Record:
        """A new record, to be found by every later handle of the task."""
        record = Record(request_type, state, external_task_id, job, ticket)
        ticket.owner = record
        self.poller.records[job.path][job.task_id] = record
        if self._hooks and job.born is None:
            self._hooks.tell(TaskTakenUp(request_type.endpoint, state.id, record.model))
        return record

    def known(self, path: str, task_id: str) -> Record | None:
        """The record of a task that a handle lives of, or that holds a slot."""
        return self.poller.records[path].get(task_id)


class Task(Generic[ResultT_co]):
    """A task that was accepted, and paid for.

    `await task` gives the result. Leaving a wait, by a timeout or by cancelling, never
    stops the task: `task.token` takes it up again, in any process. Any number of
    coroutines may wait for the same task; it is asked about once for all of them.

    Example:
        task = await kling.text2video.submit(prompt="A paper boat")
        async for state in task.updates():
            print(state.status)
        video = await task
    """

    __slots__ = ("_waiting", "record")

    def __init__(self, record: Record, waiting: Waiting) -> None:
        self.record = record
        self._waiting = waiting

    def __repr__(self) -> str:
        return f"Task({self.token!r}, {self.state.status.value})"

    @property
    def id(self) -> str:
        """The server's id of the task."""
        return self.record.state.id

    @property
    def external_task_id(self) -> str | None:
        """Your id of the task, or the one made for it; None if it is not known here."""
        return self.record.external_task_id or self.record.state.external_task_id

    @property
    def endpoint(self) -> str:
        """The endpoint it was created on."""
        return self.record.request_type.endpoint

    @property
    def state(self) -> TaskState:
        """The last state the server told; reading it asks nobody."""
        return self.record.state

    @property
    def token(self) -> str:
        """A str that `kling.task(token)` turns into this task again, in any process."""
        return self._waiting.poller.token(self.record)

    def __await__(self) -> Generator[Any, Any, ResultT_co]:
        return self.result().__await__()

    async def refresh(self) -> TaskState:
        """Ask once, now."""
        job = self.record.job
        self._waiting.poller.learn(
            self.record, await self._waiting.server.ask(job.path, job.task_id)
        )
        return self.state

    async def result(self, *, timeout: Timeout = CLIENT_DEFAULT) -> ResultT_co:
        """Wait for the result.

        Args:
            timeout: Seconds to wait; None waits without end.

        Raises:
            TaskFailed: Kling ended the task without a result; the message says why.
            TaskTimeout: The wait ended, the task did not.
        """
        async for _ in self.updates(timeout=timeout):
            pass
        return self.result_now()

    def result_now(self) -> ResultT_co:
        """The result of a task that has ended, without waiting."""
        state = self.state
        if state.status is TaskStatus.FAILED:
            raise self._error(TaskFailed, state.message or "failed, no reason given")
        if state.status is not TaskStatus.SUCCEEDED:
            raise self.trouble() or self._error(TaskError, f"still {state.status.value}")
        try:
            kind = self.record.request_type.result_type
            return cast("ResultT_co", kind.from_state(state, self.token))
        except ValueError as error:
            raise self._error(
                TaskError, "it succeeded, but the server's answer holds no file"
            ) from error

    def updates(self, *, timeout: Timeout = CLIENT_DEFAULT) -> Updates:
        """Every change of state, beginning with the present one, up to the terminal one."""
        if isinstance(timeout, _ClientDefault):
            timeout = self._waiting.polling.timeout
        return Updates(self, self._waiting, timeout)

    def timed_out(self, seconds: float) -> TaskError:
        """The error of a wait that ended before the task."""
        return self._error(TaskTimeout, f"still {self.state.status.value} after {seconds:g} s")

    def trouble(self) -> Exception | None:
        """What ended the waiting, though not the task."""
        if self.record.error is None:
            return None
        error = again(self.record.error)
        note = f"The task goes on: kling.task({self.token!r}) takes it up again."
        if note not in getattr(error, "__notes__", ()):
            error.add_note(note)
        return error

    def _error(self, kind: Callable[..., TaskError], message: str) -> TaskError:
        return kind(
            f"task {self.id}: {message}",
            task_id=self.id,
            external_task_id=self.external_task_id,
            token=self.token,
            request_id=self.state.request_id,
            provider=self._waiting.server.provider.name,
        )


_LAST_LOOK = 10.0


def again(error: Exception) -> Exception:
    """A copy to raise: one exception raised by many waiters would gather all their frames."""
    try:
        fresh = copy(error)
    except Exception:  # it takes other arguments than it keeps
        return error.with_traceback(None)
    fresh.__cause__ = error.__cause__ if isinstance(error, KlingError) else error
    return fresh


class Updates:
    """One waiter: it counts as long as it lives, however its loop is left."""

    __slots__ = ("_deadline", "_shown", "_task", "_timeout", "_waiting", "_watching")

    def __init__(self, task: Task[Any], waiting: Waiting, timeout: float | None) -> None:
        self._watching = False
        self._task = task
        self._waiting = waiting
        self._timeout = timeout
        self._deadline: float | None = None
        self._shown: TaskState | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskState:
        if self._deadline is None:
            seconds = inf if self._timeout is None else self._timeout
            self._deadline = anyio.current_time() + seconds
        # Also when an earlier call was cancelled: one that nobody asks for would never end.
        if not self._watching:
            self._watching = True
            self._waiting.poller.watch(self._task.record)
        try:
            return await self._next(self._deadline)
        except BaseException:
            await self.aclose()
            raise

    async def aclose(self) -> None:
        """Wait no more."""
        if self._watching:
            self._watching = False
            self._waiting.poller.unwatch(self._task.record)

    async def _next(self, deadline: float) -> TaskState:
        record = self._task.record
        while record.told_at is None or not self._is_new(record.state):
            if record.state.status.is_terminal:
                raise StopAsyncIteration
            if (trouble := self._task.trouble()) is not None:
                raise trouble
            left = deadline - anyio.current_time()
            if left <= 0:
                await self._look_or_give_up()
            else:
                with anyio.move_on_after(left):
                    await record.change()
        self._shown = record.state
        return record.state

    def _is_new(self, state: TaskState) -> bool:
        return self._shown is None or differs(self._shown, state)

    async def _look_or_give_up(self) -> None:
        """The task may have ended since the last question: better asked than given up."""
        record = self._task.record
        with anyio.move_on_after(_LAST_LOOK):
            await self._look(record)
        if not record.over:
            trouble = None if record.trouble is None else again(record.trouble)
            raise self._task.timed_out(self._timeout or 0.0) from trouble

    async def _look(self, record: Record) -> None:
        """Ask, but once for all whose time is up just then."""
        while (look := record.last_look) is not None:
            await look.over.wait()
            if look.answered:
                return
        look = record.last_look = Look()
        try:
            await self._task.refresh()
            look.answered = True
        except Exception as error:
            record.trouble, look.answered = error, True
        finally:
            record.last_look = None
            look.over.set()

    def __del__(self) -> None:
        if self._watching:
            poller = self._waiting.poller
            poller.call_soon(partial(poller.unwatch, self._task.record))
