"""Job: one watched task, and the moves that can be made about it."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from ._agenda import Agenda


class Job:
    """One watched task; what stands below the blank line belongs to the schedule.

    Args:
        kind: What tasks that take about equally long have in common.
        born: Time of its create on the loop's clock; None if that is not known.
        callback: The server will call when the task ends, so that questions are a safety net.
        owner: Whatever the performer wants to find again.
    """

    __slots__ = (
        "agenda",
        "asked",
        "at",
        "born",
        "callback",
        "called",
        "covered",
        "failures",
        "heard",
        "kind",
        "owner",
        "path",
        "place",
        "since",
        "task_id",
        "told",
        "wanted",
        "watched",
    )

    def __init__(
        self,
        task_id: str,
        path: str,
        kind: Hashable,
        *,
        born: float | None,
        callback: bool = False,
        owner: object = None,
    ) -> None:
        self.task_id = task_id
        self.path = path
        self.kind = kind
        self.born = born
        self.callback = callback
        self.owner = owner

        self.watched = False
        self.agenda: Agenda | None = None
        self.at = inf
        self.asked = False
        self.failures = 0
        self.called = -inf
        self.heard = False
        self.since = 0.0
        self.told = -inf
        self.wanted = inf
        self.covered = -inf
        self.place: float | None = None

    def __repr__(self) -> str:
        return f"Job({self.task_id!r}, {self.path!r})"


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask about one task."""

    job: Job


@dataclass(frozen=True, slots=True)
class Sweep:
    """Read one page of a list; pages count from 1."""

    path: str
    page: int
    size: int


@dataclass(frozen=True, slots=True)
class Sleep:
    """Nothing to do until then; None: until a job is watched or an answer comes."""

    until: float | None


Move: TypeAlias = Ask | Sweep | Sleep
