"""Options: what the caller of a batch has chosen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from pathlib import Path
from typing import Generic, TypeVar

from ._errors import ConfigurationError
from ._results import FromState
from ._task import Task
from .endpoints import Request

T = TypeVar("T")
ResultT = TypeVar("ResultT", bound=FromState)


@dataclass(frozen=True, slots=True, kw_only=True)
class Options(Generic[ResultT]):
    """What the caller of a batch has chosen."""

    out: Path | None
    key: Callable[[Request[ResultT]], object] | None
    max_at_once: int | None
    stops_on_failure: bool
    retry_failed: bool
    resend: bool
    on_submitted: Callable[[Task[ResultT]], object] | None

    def name(self, request: Request[ResultT], own_id: str | None) -> str | None:
        """The row's name, where it is not to go by its content."""
        if self.key is None:
            return own_id
        name = self.key(request)
        if isinstance(name, str) and name:
            return name
        raise ConfigurationError(f"key gave {name!r} for a request; it must give a str, not empty")


def called(hook: T) -> T:
    """Refuse a hook that cannot be called."""
    if hook is not None and not callable(hook):
        raise ConfigurationError(f"on_submitted is {hook!r}; give a function of the task")
    return hook


def names(key: T) -> T:
    """Refuse what cannot name a request's row."""
    if key is not None and (not callable(key) or iscoroutinefunction(key)):
        raise ConfigurationError(f"key is {key!r}; give a plain function of the request")
    return key


def stops(on_failure: str) -> bool:
    """Whether a failure ends the submitting."""
    if on_failure not in ("continue", "stop"):
        raise ConfigurationError(f'on_failure is {on_failure!r}; write "continue" or "stop"')
    return on_failure == "stop"
