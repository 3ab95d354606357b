"""Listing: where a path's tasks stand in the server's list, and whether reading it pays.

A place counts from the far end of the list, so it stays as tasks are created above it:

    depth of a task = head - place        head = every item the list has had
    a create of ours      head + 1, and that is the new task's place
    a page that shows us  head = place + position, so strangers' tasks are counted too
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import islice
from math import ceil, inf
from statistics import median
from typing import NamedTuple

from ._job import Job, Sweep
from ._polling import Polling

LARGEST_PAGE = 500
LAST_PAGE = 1000

_DEEPEST = LARGEST_PAGE * LAST_PAGE
_DEEP_INTERVAL = 10.0
_QUICK_SHARE = 0.95
_SPARE_ITEMS = 5
_SAMPLE = 5_000
_COVERS = 2.5
# To reckon with too many strangers costs some items a page; with too few, a round.
_UPWARD, _DOWNWARD = 0.7, 0.3
_MISSES = 2
_REST = 30.0
_LONGEST_REST = 600.0


class _Plan(NamedTuple):
    quick: float
    """Items that most of our tasks are among."""
    reach: float
    """Items to read this time."""
    spare: float
    """Items that the list may grow by until the next round."""
    cost: float
    """Pages that a round takes on the average."""
    depths: Sequence[float]
    """Where our tasks are thought to be, or some of them."""
    stride: int
    """How many tasks each of those depths stands for."""
    deep: bool


class _Round:
    """One reading of the list, from its first page to its last."""

    def __init__(self, plan: _Plan, now: float) -> None:
        self.plan = plan
        self.start = now
        self.pages = _pages(plan.reach)
        self.size = min(LARGEST_PAGE, ceil(plan.reach / self.pages))
        self.given = 0
        self.done = 0
        self.hits = 0
        self.sunk = 0.0
        self.placed = self.ended = self.broken = False


class Listing:
    """One path's list; `due` says when it wants its next move."""

    def __init__(self, path: str, polling: Polling) -> None:
        self.path = path
        self.due = inf
        self._polling = polling
        self._jobs: dict[Job, None] = {}
        self._unplaced = 0
        self._closed = False
        self._head = self._head_before = self._strangers = 0.0
        self._seen = self._planned = -inf
        self._round: _Round | None = None
        self._span = 0.0
        self._deep_due = -inf
        self._deep_interval = _DEEP_INTERVAL
        self._explored = 0.0
        self._misses = 0
        self._rests_until = -inf

    def add(self, job: Job, now: float) -> None:
        """Reckon with a task; one that was created just now stands at the head."""
        if self._closed:
            return
        if not self._jobs:
            self._seen = now
        self._jobs[job] = None
        if job.place is None and job.born is not None and now - job.born < self._polling.interval:
            self._head += 1
            job.place = self._head_at(now)
        if job.place is None:
            self._unplaced += 1
            self._explored = 0.0
        if self._round is None and self.due == inf:
            self.due = self._next_round(now)

    def discard(self, job: Job) -> None:
        """Forget a task."""
        if job in self._jobs:
            del self._jobs[job]
            self._unplaced -= job.place is None

    def close(self) -> None:
        """The provider does not list this path: never ask for a page again."""
        self._closed = True
        self.due = inf
        self._round = None
        self._unplaced = 0
        self._jobs.clear()

    def next(self, now: float, is_ripe: Callable[[Job, float], bool]) -> Sweep | None:
        """The next page to read, if one is due and the round is worth its pages."""
        if self._round is None:
            self._begin(now, is_ripe)
        reading = self._round
        if reading is None:
            return None
        reading.given += 1
        self.due = now if reading.given < reading.pages else inf
        return Sweep(self.path, reading.given, reading.size)

    def shown(self, sweep: Sweep, now: float, items: Sequence[Job | None]) -> None:
        """A page came: our tasks and None for others, in its order."""
        reading = self._round
        if reading is None:
            return
        first = (sweep.page - 1) * sweep.size
        self._find_head(reading, first, items, now)
        head = self._head_at(now) - first
        lull = max(self._polling.sweep_interval, self._span)
        quick_cover = reading.start + _COVERS * lull
        deep_cover = self._deep_due + _COVERS * lull
        sinking = reading.plan.quick - reading.plan.spare - first
        for position, job in enumerate(items):
            if job is not None and job in self._jobs:
                reading.hits += job.told <= reading.start
                job.told = now
                job.covered = quick_cover if position < sinking else deep_cover
                self._unplaced -= job.place is None
                job.place = head - position
        if len(items) < sweep.size:
            reading.ended = True
            reading.pages = reading.given
        self._page_is_done(reading, now)

    def lost(self, now: float, *, blameless: bool) -> None:
        """A page did not come; blameless if nothing else did either."""
        reading = self._round
        if reading is not None:
            reading.broken = reading.broken or blameless
            self._page_is_done(reading, now)

    def _begin(self, now: float, is_ripe: Callable[[Job, float], bool]) -> None:
        lull = max(self._polling.sweep_interval, self._span)
        if now - self._seen > _LONGEST_REST:
            # Too old to be believed; one page will tell.
            self._strangers, self._seen = 0.0, now
        plan = self._plan(now, lull)
        if plan.reach and self._pays(plan, now, lull, is_ripe):
            if plan.deep:
                self._deep_due = now + self._deep_interval
            self._round = _Round(plan, now)
        else:
            self.due = self._next_round(now + lull)

    def _plan(self, now: float, lull: float) -> _Plan:
        head = self._head_at(now)
        # Of very many only some are looked at, the first and deepest among them.
        stride = 1 + len(self._jobs) // _SAMPLE
        jobs = islice(self._jobs, 0, None, stride)
        depths = sorted(head - job.place for job in jobs if job.place is not None)
        # New tasks push the others down until the next round has been read.
        grown = (head - self._head_before) / max(now - self._planned, lull)
        spare = _SPARE_ITEMS + grown * lull
        if depths and self._misses:
            spare += depths[-1]
        self._head_before, self._planned = head, now
        quick = _quantile(depths, _QUICK_SHARE) + spare if depths else 0.0
        full = max(depths[-1] + spare if depths else 0.0, self._unexplored())
        quick, full = min(quick, _DEEPEST), min(full, _DEEPEST)
        deep = now >= self._deep_due or _pages(full) == _pages(quick)
        reach = full if deep else quick
        extra = (_pages(full) - _pages(quick)) * lull / self._deep_interval
        return _Plan(quick, reach, spare, _pages(quick) + extra, depths, stride, deep)

    def _unexplored(self) -> float:
        """How deep to look for tasks whose place is unknown: ever deeper, while it pays."""
        if not self._unplaced or self._explored == inf:
            return 0.0
        depth = max(4 * self._explored, len(self._jobs), LARGEST_PAGE)
        spared = self._unplaced * self._deep_interval / self._polling.interval
        return depth if _pages(depth) <= spared else 0.0

    def _pays(
        self, plan: _Plan, now: float, lull: float, is_ripe: Callable[[Job, float], bool]
    ) -> bool:
        """Whether as many single questions as pages would fall due until the next round."""
        needed = ceil(plan.cost * self._polling.interval / lull)
        # The oldest come first, and those are ripe if any are.
        oldest = islice(self._jobs, 4 * needed + 100)
        ripe = (job for job in oldest if is_ripe(job, now))
        return sum(1 for _ in islice(ripe, needed)) == needed

    def _find_head(
        self, reading: _Round, first: int, items: Sequence[Job | None], now: float
    ) -> None:
        """Learn from the round's first page that shows a placed task how long the list is."""
        told = [
            job.place + first + position
            for position, job in enumerate(items)
            if job is not None and job.place is not None
        ]
        if reading.placed or not told:
            return
        reading.placed = True
        head = max(median(told), self._head)
        reading.sunk = max(0.0, head - self._head_at(now))
        if now > self._seen:
            change = (head - self._head) / (now - self._seen) - self._strangers
            self._strangers += change * (_UPWARD if change > 0 else _DOWNWARD)
        self._head, self._seen = head, now

    def _head_at(self, now: float) -> float:
        return self._head + self._strangers * max(0.0, now - self._seen)

    def _page_is_done(self, reading: _Round, now: float) -> None:
        reading.done += 1
        if reading.done < reading.pages:
            return
        self._round = None
        if not reading.broken:  # or the cover of what it showed would span the outage too
            self._span = now - reading.start
        if reading.plan.deep:
            self._deep_interval = max(_DEEP_INTERVAL, 3 * self._span)
            self._explored = inf if reading.ended else reading.plan.reach
            if self._unexplored():
                self._deep_due = now
        self._rests_until = reading.start + self._polling.sweep_interval
        if not reading.broken:
            self._judge(reading, now)
        self.due = self._next_round(now)

    def _judge(self, reading: _Round, now: float) -> None:
        """Rest ever longer while the list does not show what a newest-first list would."""
        plan = reading.plan
        # What sank out of reach is no sign of disorder, as the next round reaches deeper.
        expected = bisect_right(plan.depths, plan.reach - plan.spare - reading.sunk)
        if 2 * reading.hits >= expected * plan.stride:
            self._misses = 0
            return
        self._misses += 1
        if self._misses >= _MISSES:
            doublings = min(self._misses - _MISSES, 10)
            self._rests_until = now + min(_LONGEST_REST, _REST * 2.0**doublings)

    def _next_round(self, earliest: float) -> float:
        """Never, while there are too few tasks for even one page to pay."""
        if len(self._jobs) * self._polling.sweep_interval <= self._polling.interval:
            return inf
        return max(earliest, self._rests_until)


def _pages(depth: float) -> int:
    return ceil(depth / LARGEST_PAGE)


def _quantile(ordered: Sequence[float], q: float) -> float:
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]
