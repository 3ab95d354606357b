"""Record: what the client knows about one task, shared by all its handles."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import anyio

from ._job import Job
from ._slots import Ticket
from ._state import TaskState, TaskStatus
from .endpoints import Request

K = TypeVar("K")


class Look:
    """A question under way that several wait for; unanswered if its asker was cancelled."""

    def __init__(self) -> None:
        self.over = anyio.Event()
        self.answered = False


class Record:
    """One task: its last state, who waits for it, and the slot it holds."""

    __slots__ = (
        "__weakref__",
        "called",
        "error",
        "event",
        "external_task_id",
        "job",
        "last_look",
        "on_end",
        "refused_since",
        "request_type",
        "state",
        "ticket",
        "told_at",
        "trouble",
        "watchers",
        "without_file",
    )

    def __init__(
        self,
        request_type: type[Request[Any]],
        state: TaskState,
        external_task_id: str | None,
        job: Job,
        ticket: Ticket,
    ) -> None:
        self.request_type = request_type
        self.state = state
        self.external_task_id = external_task_id
        self.job = job
        self.ticket = ticket
        self.watchers = 0
        self.called = False
        """Whether a callback is one of them, until it has had its answer."""
        self.told_at = job.born
        """When the server last told its state; None for one just taken up by a token."""
        self.trouble: Exception | None = None
        """The error of the last question, if it had no good answer."""
        self.refused_since: float | None = None
        """When the server began to deny that there is such a task."""
        self.without_file = 0
        """How often it was told to have succeeded, but not with what."""
        self.error: Exception | None = None
        """What ended the waiting, though not the task."""
        self.event: anyio.Event | None = None
        self.last_look: Look | None = None
        """The question under way for those whose time is up."""
        self.on_end: tuple[tuple[Callable[[Any], object], object], ...] = ()
        job.owner = self

    @property
    def over(self) -> bool:
        """Whether there is nothing left to wait for."""
        return self.error is not None or self.state.status.is_terminal

    @property
    def model(self) -> str | None:
        """The model it was asked of, where that is known."""
        return self.ticket.gate.model or None

    def when_over(self, call: Callable[[K], object], key: K) -> None:
        """Call it with *key* at the end; at once if that has come."""
        if self.over:
            call(key)
        else:
            self.on_end = (*self.on_end, (call, key))

    def forget(self, call: Callable[[K], object], key: K) -> None:
        """Call it no more."""
        self.on_end = tuple(each for each in self.on_end if each != (call, key))

    def notify(self) -> None:
        """Wake whoever waits for a change; call back whoever waits for the end."""
        if self.event is not None:
            self.event.set()
            self.event = None
        if self.over:
            calls, self.on_end = self.on_end, ()
            for call, key in calls:
                call(key)

    async def change(self) -> None:
        """Wait for the next change."""
        if self.event is None:
            self.event = anyio.Event()
        await self.event.wait()


def differs(shown: TaskState, state: TaskState) -> bool:
    """Whether there is something new to show."""
    return (shown.status, shown.updated_at, shown.word) != (
        state.status,
        state.updated_at,
        state.word,
    )


def newer(held: TaskState, told: TaskState) -> TaskState:
    """The state to believe: an ended task stays ended, and an older answer is dropped."""
    if held.status.is_terminal:
        # A gateway can say "success" before it has the file's address.
        completes = told.status is held.status and bool(told.task_result)
        return told if completes else held
    if told.status.is_terminal:
        return told  # whatever clock its times are by
    if held.updated_at is not None and told.updated_at is not None:
        return told if told.updated_at >= held.updated_at else held
    # Some gateways tell no times, but no task goes back into the queue.
    goes_back = held.status is TaskStatus.PROCESSING and told.status is TaskStatus.SUBMITTED
    return held if goes_back else told
