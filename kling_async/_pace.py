"""Pace: how long to wait before the next single question about a task, by its age."""

from __future__ import annotations

from math import inf

from ._durations import Durations
from ._job import Job
from ._polling import Polling

_GROWTH = 0.25
# From few samples p99 comes out low, and to slow down there would cost 0.3 s of mean lag.
_LATE = 1.5
_LONGEST_NET = 600.0
_HEARD = 5
_LOST = 3
# An age is a difference of floats: what is due now can seem to be due in a moment.
_MOMENT = 0.1


class Pace:
    """The questions of one task that nothing hastens and no sweep spares.

    A gap that grows by a factor from question to question is a straight line of the age,
    so no job has to remember its own.
    """

    def __init__(self, polling: Polling, durations: Durations) -> None:
        self._polling = polling
        self._durations = durations
        self._lost = 0
        """Tasks in a row that ended without the call that was to come."""

    def ended(self, job: Job) -> None:
        """Learn whether calls come: to rely on those that never do would cost minutes a task."""
        # One that was found ended at once may have been called about before us.
        if job.callback and (job.born is not None or job.told > job.since):
            self._lost = self._lost + 1 if job.called == -inf else 0

    def _relies_on_calls(self, job: Job) -> bool:
        return job.callback and self._lost < _LOST

    def first(self, job: Job, now: float) -> float:
        """When to ask first; at once about a task that may have ended unseen."""
        soonest = max(now, job.called)
        if job.born is None:
            return soonest
        first = job.since + self.pause(job, 0.0)
        if first >= now:
            return first
        age = now - job.since
        return soonest if job.callback or self.is_ripe(job, now) else now + self.pause(job, age)

    def pause(self, job: Job, age: float) -> float:
        """Seconds until the next question about a task that still runs at this *age*."""
        polling = self._polling
        span = self._span(job)
        if self._relies_on_calls(job):
            return self._net(job, span, age)
        if span is None:
            return min(polling.max_interval, polling.interval + (polling.growth - 1) * age)
        early, late = span
        if age < early - _MOMENT:
            return self._next_guard(age, early) - age
        overdue = age - _LATE * late
        if overdue <= 0:
            return polling.interval
        return min(polling.max_interval, polling.interval + _GROWTH * overdue)

    def is_ripe(self, job: Job, now: float) -> bool:
        """Whether single questions about the task fall due at every interval now."""
        if self._relies_on_calls(job):
            return False
        span = self._span(job)
        return span is None or now - job.since >= span[0]

    def _span(self, job: Job) -> tuple[float, float] | None:
        if job.born is None or not self._polling.learn:
            return None
        return self._durations.span(job.kind)

    def _next_guard(self, age: float, early: float) -> float:
        guards = (guard for guard in self._polling.guards if age + _MOMENT < guard < early)
        return min(guards, default=early)

    def _net(self, job: Job, span: tuple[float, float] | None, age: float) -> float:
        """A safety net below callbacks: they may be lost, but seldom are."""
        longest = self._polling.max_interval
        unlearned = _HEARD * longest if job.heard else longest
        first = unlearned if span is None else span[1]
        if age < first - _MOMENT:
            return first - age
        return min(max(_LONGEST_NET, longest), longest + _GROWTH * (age - first))
