"""Outcome: what became of one request of many, and how its work begins and ends."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeAlias, TypeVar

from ._results import FromState
from ._submitter import Creation
from .endpoints import Request

ResultT = TypeVar("ResultT", bound=FromState)
ResultT_co = TypeVar("ResultT_co", bound=FromState, covariant=True)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[ResultT_co]):
    """What became of one request: a result, or an error."""

    index: int
    """Its place in the source, from 0."""
    request: Request[ResultT_co]
    result: ResultT_co | None = None
    error: Exception | None = None
    token: str | None = None
    """The token of its task, if it came to one."""

    @property
    def ok(self) -> bool:
        """Whether there is a result."""
        return self.error is None

    def unwrap(self) -> ResultT_co:
        """The result; raises the error where there is none."""
        if self.result is None:
            raise self.error or RuntimeError("an outcome without result and error")
        return self.result


@dataclass(frozen=True, slots=True)
class BatchOutcome(Outcome[ResultT_co]):
    """What became of one row of a batch, in this run or in one before."""

    key: str = ""
    """The row's name in the journal."""
    files: tuple[Path, ...] = ()


Begin: TypeAlias = Callable[
    [int, Request[ResultT]], Awaitable["Creation[ResultT] | Outcome[ResultT] | None"]
]
"""Waits until a request may be submitted; an outcome needs no create, None has none."""
Finish: TypeAlias = Callable[[Outcome[ResultT]], Awaitable[Outcome[ResultT] | None]]
"""What is still to be done at the end of a task, raising nothing; it may leave no outcome."""
