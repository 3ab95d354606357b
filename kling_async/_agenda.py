"""Agenda: jobs in the order of their times, in buckets of a tenth of a second."""

from __future__ import annotations

from bisect import insort
from heapq import heapify, heappop, heappush
from itertools import count
from math import inf

from ._job import Job

_PER_SECOND = 10
_SLACK = 64


class Agenda:
    """A timer wheel: to add and to remove are O(1), and what is removed is gone.

    Only the bucket whose turn has come is sorted; at 100,000 jobs that costs a quarter of
    what one heap of them all does. Within it removed jobs stay until its turn is over.
    """

    __slots__ = ("_buckets", "_numbers", "_size", "_tick", "_ticks", "_turn")

    def __init__(self) -> None:
        self._buckets: dict[int, dict[Job, None]] = {}
        self._ticks: list[int] = []
        self._tick: float = -inf
        self._turn: list[tuple[float, int, Job]] = []
        self._numbers = count(0, -1)
        self._size = 0

    def add(self, job: Job, at: float) -> None:
        """Put a job that stands in no agenda into this one."""
        job.agenda = self
        job.at = at
        self._size += 1
        tick = int(at * _PER_SECOND)
        bucket = self._buckets.get(tick)
        if bucket is not None:
            bucket[job] = None
        elif tick > self._tick:
            self._buckets[tick] = {job: None}
            heappush(self._ticks, tick)
        else:
            insort(self._turn, (-at, next(self._numbers), job))

    def discard(self, job: Job) -> None:
        """Take a job out."""
        job.agenda = None
        tick = int(job.at * _PER_SECOND)
        if bucket := self._buckets.get(tick):
            bucket.pop(job, None)
            if not bucket:
                del self._buckets[tick]
        self._size -= 1
        self._trim()

    def pop(self, now: float) -> Job | None:
        """Take out the first job if its time has come."""
        turn = self._turn
        while True:
            while turn:
                before, _, job = turn[-1]
                if job.agenda is self and job.at == -before:
                    if job.at > now:
                        return None
                    job.agenda = None
                    self._size -= 1
                    turn.pop()
                    return job
                turn.pop()
            if not self._ticks or self._ticks[0] > now * _PER_SECOND:
                return None
            self._turn_to(heappop(self._ticks))

    def first(self) -> float:
        """A time before which nothing is due; inf if there is nothing at all."""
        if self._turn:
            return -self._turn[-1][0]
        return self._ticks[0] / _PER_SECOND if self._ticks else inf

    def _turn_to(self, tick: int) -> None:
        self._tick = tick
        numbers = self._numbers
        self._turn.extend((-job.at, next(numbers), job) for job in self._buckets.pop(tick, ()))
        self._turn.sort()

    def _trim(self) -> None:
        if not self._size:
            self._turn.clear()
            self._ticks.clear()
        elif len(self._ticks) > 2 * len(self._buckets) + _SLACK:
            self._ticks = list(self._buckets)
            heapify(self._ticks)
