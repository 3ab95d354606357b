"""Board: what the tasks of a run are at, learned from events; pure, told when things happen."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from decimal import Decimal
from statistics import median

from .._events import (
    DownloadFinished,
    DownloadProgressed,
    Event,
    SlotsChanged,
    TaskFinished,
    TaskPolled,
    TaskSubmitted,
)

_ENOUGH = 3
"""Ended tasks of a kind from which on the end of others is guessed."""
_REMEMBERED = 200


@dataclass(slots=True)
class Line:
    """One task under way."""

    task_id: str
    kind: str
    state: str
    since: float
    is_new: bool = True
    """Made in this run; of others the age is not known."""
    name: str = ""
    """What people know it by, where that is not its id."""


@dataclass(slots=True)
class Board:
    """What is under way, and how much has been done."""

    lines: dict[str, Line] = field(default_factory=dict[str, Line])
    polls: int = 0
    ended: int = 0
    units: Decimal = Decimal(0)
    slots: dict[str, SlotsChanged] = field(default_factory=dict[str, SlotsChanged])
    _ended: dict[str, Line] = field(default_factory=dict[str, Line])
    """The last ones: their downloads are yet to come."""
    _seconds: dict[str, deque[float]] = field(default_factory=dict[str, "deque[float]"])

    def tell(self, event: Event, now: float) -> None:
        """Something happened."""
        match event:
            case TaskSubmitted():
                kind = f"{event.endpoint} {event.model_name or ''}".strip()
                self.lines[event.task_id] = Line(event.task_id, kind, "submitted", now)
            case TaskPolled():
                self.polls += 1
                if not event.status.is_terminal:
                    self._line(event.task_id, event.endpoint, now).state = event.status.value
            case TaskFinished():
                self._finish(event, now)
            case DownloadProgressed():
                share = f" {event.received * 100 // event.size} %" if event.size else ""
                self._line(event.task_id, "", now).state = f"download{share}"
            case DownloadFinished():
                self.lines.pop(event.task_id, None)
            case SlotsChanged():
                self.slots[event.model_name] = event
            case _:
                pass

    def _line(self, task_id: str, kind: str, now: float) -> Line:
        if task_id not in self.lines:
            before = self._ended.pop(task_id, None)
            kind, name = (kind, "") if before is None else (before.kind, before.name)
            self.lines[task_id] = Line(task_id, kind, "", now, is_new=False, name=name)
        return self.lines[task_id]

    def _finish(self, event: TaskFinished, now: float) -> None:
        line = self.lines.pop(event.task_id, None)
        self.ended += 1
        self.units += event.units or 0
        if line is not None:
            self._ended[event.task_id] = line
            if len(self._ended) > _REMEMBERED:
                del self._ended[next(iter(self._ended))]
        # By our own clock: it is what the ages on the board are counted by.
        if line is not None and line.is_new:
            seconds = self._seconds.setdefault(line.kind, deque(maxlen=_REMEMBERED))
            seconds.append(now - line.since)

    def expected(self, line: Line, now: float) -> float | None:
        """In how many seconds the task should end; None where nothing is learned."""
        seconds = self._seconds.get(line.kind, ())
        if not line.is_new or len(seconds) < _ENOUGH:
            return None
        age = now - line.since
        later = [each for each in seconds if each > age]
        return median(later) - age if later else 0.0

    @property
    def running(self) -> int:
        """Slots that are taken."""
        return sum(slots.running for slots in self.slots.values())

    @property
    def queued(self) -> int:
        """Creates that wait for a slot."""
        return sum(slots.queued for slots in self.slots.values())

    @property
    def limit(self) -> int | None:
        """How many slots there are; None where one model's are not known."""
        limits = [slots.limit for slots in self.slots.values()]
        known = [limit for limit in limits if limit is not None]
        return sum(known) if known and len(known) == len(limits) else None
