"""Tally: what the rows of a journal come to: counts, costs, times, and why rows failed."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal

from ._attempt import Attempt, Row, Stage
from ._card import reason_of, time_taken, word_of
from ._envelope import read_task
from ._errors import KlingError
from ._exchange import Reply
from ._span import spoken
from ._timeline import Bar

_KINDS = {Stage.SAVED: "done", Stage.SUCCEEDED: "done", Stage.FAILED: "failed"}


@dataclass(slots=True)
class Tally:
    """Is told of one row after another."""

    rows: int = 0
    attempts: int = 0
    words: Counter[str] = field(default_factory=Counter[str])
    """How many rows are how far."""
    units: Decimal = Decimal(0)
    is_estimate: bool = False
    """Whether some of the units are no more than estimates."""
    taken: list[float] = field(default_factory=list[float])
    lags: list[float] = field(default_factory=list[float])
    """How long after the server's own time for it each success was known."""
    ahead: int = 0
    """How many of these were negative: there, the server's clock is ahead of ours."""
    reasons: dict[str, list[int]] = field(default_factory=dict[str, list[int]])
    """Why rows have failed, and which: they are counted from 1."""
    _flights: list[tuple[float, float | None, str, str]] = field(
        default_factory=list[tuple[float, float | None, str, str]]
    )
    _last: float = 0.0

    def add(self, row: Row, attempts: Iterable[Attempt]) -> None:
        """One more row, and all its attempts."""
        self.rows += 1
        self.words[word_of(row)] += 1
        if row.attempt is not None and row.attempt.stage is Stage.FAILED:
            self.reasons.setdefault(reason_of(row.attempt), []).append(self.rows)
        for attempt in attempts:
            self._add(attempt)

    @property
    def bars(self) -> list[Bar]:
        """All attempts; what is still under way, until the last moment that is known of."""
        return [
            Bar(start, self._last if end is None else max(start, end), kind, label)
            for start, end, kind, label in self._flights
        ]

    def _add(self, attempt: Attempt) -> None:
        self.attempts += 1
        self.is_estimate |= attempt.units is None and attempt.estimate is not None
        self.units += attempt.units or (attempt.units is None and attempt.estimate) or 0
        times = (attempt.intended_at, attempt.answered_at, attempt.ended_at, attempt.saved_at)
        self._last = max(self._last, *(time for time in times if time is not None))
        taken, kind = time_taken(attempt), _KINDS.get(attempt.stage, "open")
        if taken is not None:
            self.taken.append(taken)
            self._lag(attempt)
        if attempt.ended_at is not None or kind == "open":  # else nobody knows when it ended
            label = f"row {self.rows}: {attempt.stage}"
            label += "" if taken is None else f" after {spoken(taken)}"
            self._flights.append((attempt.intended_at, attempt.ended_at, kind, label))

    def _lag(self, attempt: Attempt) -> None:
        told = _told_at(attempt)
        if told is not None and attempt.ended_at is not None:
            self.ahead += attempt.ended_at < told
            self.lags.append(max(attempt.ended_at - told, 0.0))


def _told_at(attempt: Attempt) -> float | None:
    """When the task changed last, by the server's clock."""
    raw = (attempt.result or {}).get("raw")
    try:
        return read_task(Reply(200, {}, json.dumps(raw).encode())).updated_at
    except KlingError:
        return None
