"""Schedule: which watched task to ask about next, and when; no I/O, no clock.

    unwatched --watch--> waiting --next--> asked --answered--> waiting
                            |                |---failed------> waiting, later
                            |                '---answered, ended--> unwatched
                            '--swept, ended--> unwatched

A waiting task has a time at which it is asked about alone. A page that shows it covers it:
until the next page is overdue, the single question is put off.

Every move that `next` gives must be reported once: an Ask by `answered` or `failed`, a Sweep
by `swept`, `failed` or `cannot_list`, also when the task was unwatched in between. A failure
of the server as a whole pauses everything, hastened questions too: it said no to all.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import inf
from random import Random

from ._agenda import Agenda
from ._config import MAX_RETRY_AFTER
from ._durations import Durations
from ._job import Ask, Job, Move, Sleep, Sweep
from ._listing import Listing
from ._pace import Pace
from ._polling import Polling
from ._retry import next_delay

_PAUSE = 1.0


class Schedule:
    """One client's watched tasks, as a state machine: time and answers in, moves out."""

    def __init__(
        self, polling: Polling, random: Random, *, lists: bool, durations: Durations
    ) -> None:
        self._polling = polling
        self._random = random
        self._durations = durations
        self._pace = Pace(polling, durations)
        self._lists = lists and polling.sweeps
        self._listings: dict[str, Listing] = {}
        self._sweep_due = inf
        self._after_sweep = False
        self._routine = Agenda()
        self._urgent = Agenda()
        self._watched = 0
        self._out = 0
        self._bound = polling.max_polls_at_once
        self._failures = 0
        self._paused_until = -inf

    def __len__(self) -> int:
        return self._watched

    @property
    def due(self) -> float:
        """A time before which there is no move; inf: until a job is watched or an answer comes."""
        if self._out >= self._bound:
            return inf
        return min(self._urgent.first(), self._routine.first(), self._sweep_due)

    def watch(self, job: Job, now: float) -> None:
        """Ask about a task from now on; at once if its age is not known."""
        if job.watched:
            return
        job.watched = True
        self._watched += 1
        job.since = job.told = now if job.born is None else job.born
        if job.born is not None:
            job.since += self._random.uniform(0, self._polling.jitter * self._polling.interval)
        if self._lists:
            self._add_to_list(job, now)
        if not job.asked:
            self._enter(job, self._pace.first(job, now))

    def unwatch(self, job: Job) -> None:
        """Forget a task, also while it is being asked about."""
        if not job.watched:
            return
        job.watched = False
        job.wanted = inf
        self._watched -= 1
        if job.agenda is not None:
            job.agenda.discard(job)
        if listing := self._listings.get(job.path):
            listing.discard(job)

    def hasten(self, job: Job, at: float, now: float) -> None:
        """Ask at that time at the latest; of several such times only the earliest is kept.

        A time that has come goes before everything else that is due. When the task is being
        asked about just then, it is asked about again: the answer under way may be older
        than the reason for the haste.
        """
        if not job.watched or at >= job.wanted:
            return
        job.wanted = at
        if job.agenda is not None and (at <= now or at < job.at):
            job.agenda.discard(job)
            self._urgent.add(job, at)

    def called(self, job: Job, now: float) -> float:
        """When to ask, as a call says that the task has ended: now, but once an interval at most.

        Another call within the interval is asked about at its end: it may be the true one.
        """
        if job.called <= now:
            job.called = max(now, job.called + self._polling.interval)
        return job.called

    def heard(self, job: Job, now: float) -> None:
        """A call says that the task runs: then its end will be called too, most likely."""
        if job.heard:
            return
        job.heard = True
        if job.callback and job.agenda is self._routine:
            self._routine.discard(job)
            self._routine.add(job, max(job.at, self._pace.first(job, now)))

    def is_wanted(self, job: Job) -> bool:
        """Whether a question is to come that was hastened."""
        return job.wanted < inf

    def next(self, now: float) -> Move:
        """The next move, at most `max_polls_at_once` of them unreported."""
        if not self._watched or self._out >= self._bound:
            return Sleep(None)
        if now < self._paused_until:
            return Sleep(self._paused_until)
        job = self._urgent.pop(now)
        move = self._take_turns(now) if job is None else self._ask(job, now)
        if move is None:
            return Sleep(None if (due := self.due) == inf else due)
        self._out += 1
        return move

    def answered(self, job: Job, now: float, *, ended: bool) -> None:
        """A good answer came to an Ask."""
        self._recover()
        job.asked = False
        job.failures = 0
        if ended:
            self._pace.ended(job)
            self.unwatch(job)
        elif job.watched:
            job.told = now
            pause = self._pace.pause(job, now - job.since)
            if job.callback:  # the call may have overtaken the server's own answers
                pause = min(pause, max(self._polling.interval, now - job.called))
            self._enter(job, now + pause)

    def failed(
        self, move: Ask | Sweep, now: float, *, hint: float | None = None, whole: bool = False
    ) -> None:
        """A move failed in a way that may pass.

        Args:
            hint: The server's Retry-After.
            whole: Others would fail as well (429, overload, no connection): all pause.
        """
        self._out -= 1
        if whole:
            self._pause(now, hint)
        if isinstance(move, Sweep):
            self._listings[move.path].lost(now, blameless=whole)
            self._look_for_sweeps()
            return
        job = move.job
        job.asked = False
        if job.watched:
            delay = self._delay(job.failures, None if whole else hint, self._polling.interval)
            job.failures += 1
            self._enter(job, now + delay)

    def swept(
        self, sweep: Sweep, now: float, shown: Sequence[Job | None], ended: Iterable[Job] = ()
    ) -> None:
        """A page came.

        Args:
            shown: The page in its order: the watched task, or None for any other.
            ended: Those of them that have ended.
        """
        self._recover()
        self._listings[sweep.path].shown(sweep, now, shown)
        self._look_for_sweeps()
        for job in ended:
            self.unwatch(job)

    def cannot_list(self, sweep: Sweep) -> None:
        """The provider turned out not to list that path: single questions, for good."""
        self._out -= 1
        self._listings[sweep.path].close()
        self._look_for_sweeps()

    def finished(self, job: Job, now: float, took: float | None = None) -> None:
        """Learn from a task that succeeded, before its end is reported.

        Args:
            took: Seconds by the server's own times. Without them the middle between the
                last answer that it runs and now is taken, or p5 could never sink.
        """
        if took is None and job.born is not None:
            took = (job.told + now) / 2 - job.born
        if took is not None:
            self._durations.observe(job.kind, took)

    def _take_turns(self, now: float) -> Ask | Sweep | None:
        """Pages and single questions by turns while both are due, so that neither starves."""
        page = None
        if now >= self._sweep_due and not self._after_sweep:
            page = self._next_page(now)
        job = None if page else self._pop_routine(now)
        if job is not None:
            self._after_sweep = False
            return self._ask(job, now)
        if page is None and now >= self._sweep_due:
            page = self._next_page(now)
        self._after_sweep = page is not None
        return page

    def _next_page(self, now: float) -> Sweep | None:
        page = None
        for path, listing in list(self._listings.items()):
            if now >= listing.due and (page := listing.next(now, self._pace.is_ripe)):
                self._listings[path] = self._listings.pop(path)
                break
        self._look_for_sweeps()
        return page

    def _pop_routine(self, now: float) -> Job | None:
        while (job := self._routine.pop(now)) is not None:
            if job.covered <= now or job.wanted <= now:
                return job
            self._enter(job, job.covered)
        return None

    def _ask(self, job: Job, now: float) -> Ask:
        job.asked = True
        if job.wanted <= now:
            job.wanted = inf
        return Ask(job)

    def _enter(self, job: Job, at: float) -> None:
        if job.wanted < at:
            self._urgent.add(job, job.wanted)
        else:
            self._routine.add(job, at)

    def _add_to_list(self, job: Job, now: float) -> None:
        listing = self._listings.get(job.path)
        if listing is None:
            listing = self._listings[job.path] = Listing(job.path, self._polling)
        listing.add(job, now)
        self._sweep_due = min(self._sweep_due, listing.due)

    def _look_for_sweeps(self) -> None:
        self._sweep_due = min((listing.due for listing in self._listings.values()), default=inf)

    def _recover(self) -> None:
        self._out -= 1
        if self._failures:
            self._failures = 0
            self._bound = self._polling.max_polls_at_once

    def _pause(self, now: float, hint: float | None) -> None:
        """All that was under way fails together, so that it counts as one failure."""
        if now >= self._paused_until:
            self._failures += 1
            self._bound = max(1, self._polling.max_polls_at_once >> self._failures)
        elif hint is None:
            return
        until = now + self._delay(self._failures - 1, hint, _PAUSE)
        self._paused_until = max(self._paused_until, until)

    def _delay(self, failures: int, hint: float | None, base: float) -> float:
        return next_delay(
            failures,
            random=self._random,
            hint=None if hint is None else min(hint, MAX_RETRY_AFTER),
            base=base,
            limit=self._polling.max_interval,
        )
