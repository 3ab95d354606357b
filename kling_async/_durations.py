"""Durations: how long finished tasks of each kind have taken, recent ones counting more."""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Hashable
from itertools import accumulate

ENOUGH = 20
"""Finished tasks from which on a kind counts as learned."""

_EARLY, _LATE = 0.03, 0.99
_KINDS = 256
_SAMPLES = 200
_HALF_LIFE = 50
_DAY = 86_400.0

# The newest sample weighs 1, one that is _HALF_LIFE older half of that.
_WEIGHTS: list[float] = [0.5 ** (age / _HALF_LIFE) for age in range(_SAMPLES)]


class Durations:
    """What finished tasks teach about the next ones; bounded in kinds and in samples.

    When the server begins to take longer, or less long, half of the weight is on the new
    truth after about fifty tasks.
    """

    def __init__(self) -> None:
        self._kinds: OrderedDict[Hashable, _Samples] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kinds)

    def observe(self, kind: Hashable, seconds: float) -> None:
        """Note that a task took so long; what cannot be true is passed over."""
        if not 0 <= seconds <= _DAY:
            return
        samples = self._kinds.get(kind)
        if samples is None:
            samples = self._kinds[kind] = _Samples()
            if len(self._kinds) > _KINDS:
                self._kinds.popitem(last=False)
        self._kinds.move_to_end(kind)
        samples.add(seconds)

    def quantile(self, kind: Hashable, q: float) -> float | None:
        """The duration that a share *q* of such tasks stays below; None if not learned."""
        samples = self._kinds.get(kind)
        return None if samples is None else samples.quantile(q)

    def span(self, kind: Hashable) -> tuple[float, float] | None:
        """The durations between which nearly all such tasks end; None if not learned."""
        samples = self._kinds.get(kind)
        return None if samples is None else samples.span()


class _Samples:
    __slots__ = ("_seconds", "_span")

    def __init__(self) -> None:
        self._seconds: deque[float] = deque(maxlen=_SAMPLES)
        self._span: tuple[float, float] | None = None

    def add(self, seconds: float) -> None:
        self._seconds.append(seconds)
        self._span = None

    def span(self) -> tuple[float, float] | None:
        if self._span is None and len(self._seconds) >= ENOUGH:
            self._span = self._weigh(_EARLY), self._weigh(_LATE)
        return self._span

    def quantile(self, q: float) -> float | None:
        return self._weigh(q) if len(self._seconds) >= ENOUGH else None

    def _weigh(self, q: float) -> float:
        """Each sample stands in the middle of its own weight; between two is a straight line."""
        weighed = sorted(zip(reversed(self._seconds), _WEIGHTS, strict=False))
        sums = list(accumulate(weight for _, weight in weighed))
        wanted = q * sums[-1]
        before, low = 0.0, weighed[0][0]
        for (seconds, weight), total in zip(weighed, sums, strict=True):
            middle = total - weight / 2
            if middle >= wanted:
                share = (wanted - before) / (middle - before)
                return low + (seconds - low) * share
            before, low = middle, seconds
        return low
