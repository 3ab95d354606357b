"""What can happen to a client's tasks, as frozen events, and who is told."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from decimal import Decimal
from inspect import iscoroutinefunction
from pathlib import Path

from ._errors import ConfigurationError
from ._state import TaskStatus

_LOG = logging.getLogger("kling_async")


@dataclass(frozen=True, slots=True)
class TaskSubmitted:
    """A create was accepted: from here on the task costs money."""

    endpoint: str
    task_id: str
    external_task_id: str
    model_name: str | None


@dataclass(frozen=True, slots=True)
class TaskTakenUp:
    """A task that was created elsewhere, or before, has a handle here, by its token or its id."""

    endpoint: str
    task_id: str
    model_name: str | None


@dataclass(frozen=True, slots=True)
class TaskPolled:
    """The server told a task's state, in answer to a question or on a page of its list."""

    endpoint: str
    task_id: str
    status: TaskStatus
    on_page: bool


@dataclass(frozen=True, slots=True)
class TaskFinished:
    """A task ended, well or badly."""

    endpoint: str
    task_id: str
    status: TaskStatus
    seconds: float | None
    """How long it took by the server's clock, where that tells."""
    units: Decimal | None
    message: str
    model_name: str | None
    lag: float | None
    """Seconds from its end until it was known here, never negative; None where that cannot be told.

    The server's clock need not agree with ours: how long the task took by the server's is
    compared with how long ago its create was answered by ours.
    """


@dataclass(frozen=True, slots=True)
class SlotsChanged:
    """Slots of a model were taken, given back, or their limit was learned."""

    model_name: str
    running: int
    queued: int
    limit: int | None


@dataclass(frozen=True, slots=True)
class RetryScheduled:
    """Something failed in passing and is done again."""

    what: str
    """create, look-up, question, page or download."""
    error: Exception
    seconds: float | None
    """After how long, where that is known now."""


@dataclass(frozen=True, slots=True)
class ExchangeFinished:
    """One HTTP request is over: its answer was read to the end, or it failed."""

    method: str
    host: str
    port: int | None
    status: int | None
    """None if no answer came."""
    seconds: float
    """From when it had a connection to ask for, to the last byte of the answer."""
    error: str | None
    """Such as "AnswerLost"; "cancelled" if nobody wanted the answer any more."""


@dataclass(frozen=True, slots=True)
class DownloadProgressed:
    """More of a video has come; told twice a second at most."""

    task_id: str
    index: int
    """Which of the task's videos it is."""
    path: Path | None
    """Where it is being saved; None for one that is only read."""
    received: int
    size: int | None
    """How many bytes there will be, where the host says so."""


@dataclass(frozen=True, slots=True)
class DownloadFinished:
    """A video is there, whole."""

    task_id: str
    index: int
    path: Path | None
    size: int
    fetched: int
    """Bytes that came over the network: fewer than `size` if it was gone on with."""
    seconds: float


@dataclass(frozen=True, slots=True)
class KlingClosed:
    """The client was closed: what is still under way is not heard of again."""


Event = (
    TaskSubmitted
    | TaskTakenUp
    | TaskPolled
    | TaskFinished
    | SlotsChanged
    | RetryScheduled
    | ExchangeFinished
    | DownloadProgressed
    | DownloadFinished
    | KlingClosed
)
Hook = Callable[[Event], object]
"""Called in the event loop, so it must not block; what it raises is logged and goes no further."""


class Hooks:
    """Tells every hook; with none, `bool(hooks)` is False and no event need be made."""

    def __init__(self, hooks: Iterable[Hook] = ()) -> None:
        self._hooks = tuple(hooks)
        for hook in self._hooks:
            if iscoroutinefunction(hook):
                raise ConfigurationError(f"{hook!r} is never awaited: give a plain function")

    def __bool__(self) -> bool:
        return bool(self._hooks)

    def tell(self, event: Event) -> None:
        """Call every hook with *event*."""
        for hook in self._hooks:
            try:
                hook(event)
            except Exception:  # a broken progress bar must not cost a paid task
                _LOG.exception("a hook failed on %r", event)
