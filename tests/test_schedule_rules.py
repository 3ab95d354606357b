"""Whatever happens, the schedule keeps its bounds, its order, and nothing that is over."""

from __future__ import annotations

import gc
from collections.abc import Iterable, Iterator, Sequence
from random import Random
from types import ModuleType

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from kling_async._durations import Durations
from kling_async._job import Ask, Job, Sleep, Sweep
from kling_async._polling import Polling
from kling_async._schedule import Schedule

AT_ONCE = 5
PATHS = ["/v1/videos/text2video", "/v1/videos/image2video"]
POLLING = Polling(max_polls_at_once=AT_ONCE)


class Life(RuleBasedStateMachine):
    """Tasks come, go, fail and end in any order, while time passes."""

    def __init__(self) -> None:
        super().__init__()
        self.schedule = Schedule(POLLING, Random(1), lists=True, durations=Durations())
        self.now = 0.0
        self.jobs: list[Job] = []
        self.out: list[Ask | Sweep] = []
        self.earliest: dict[Job, float] = {}
        self.quiet_until = 0.0

    def take(self) -> float | None:
        """Take all moves that are due; the time of the next ones."""
        while not isinstance(move := self.schedule.next(self.now), Sleep):
            assert self.now >= self.quiet_until
            assert move not in self.out
            if isinstance(move, Ask):
                assert move.job.watched
                assert self.now >= self.earliest[move.job]
            self.out.append(move)
            assert len(self.out) <= AT_ONCE
        return move.until

    @rule(
        path=st.sampled_from(PATHS),
        born=st.sampled_from(["now", "before", None]),
        n=st.integers(1, 9),
    )
    def watch(self, path: str, born: str | None, n: int) -> None:
        for number in range(n):
            birth = {"now": self.now, "before": self.now - 99, None: None}[born]
            job = Job(f"{len(self.jobs)}-{number}", path, "kind", born=birth, callback=n == 9)
            self.jobs.append(job)
            self.earliest[job] = self.now + 5 if born == "now" else self.now
            self.schedule.watch(job, self.now)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data())
    def unwatch(self, data: st.DataObject) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        self.jobs.remove(job)
        self.schedule.unwatch(job)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), seconds=st.floats(0, 20))
    def hasten(self, data: st.DataObject, seconds: float) -> None:
        job = data.draw(st.sampled_from(self.jobs))
        at = self.now + seconds
        self.earliest[job] = min(self.earliest[job], at)
        self.schedule.hasten(job, at, self.now)

    @rule(seconds=st.floats(0, 30))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.take()

    @precondition(lambda self: self.out)
    @rule(data=st.data(), ended=st.booleans())
    def answer(self, data: st.DataObject, ended: bool) -> None:
        move = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        if isinstance(move, Ask):
            self.schedule.answered(move.job, self.now, ended=ended)
            self.over([move.job] if ended else [])
            self.expect(move.job, 5)
            return
        ours = [job for job in self.jobs if job.path == move.path]
        shown = data.draw(st.permutations([*ours, None, None]))[: move.size]
        gone = [job for job in shown if job is not None and ended]
        self.schedule.swept(move, self.now, shown, gone)
        self.over(gone)

    def expect(self, job: Job, pause: float) -> None:
        """What was asked in haste can stand just before the first of a safety net's times."""
        self.earliest[job] = min(self.now + (0 if job.callback else pause), job.wanted)

    def over(self, ended: Sequence[Job]) -> None:
        self.jobs = [job for job in self.jobs if job not in ended]

    @precondition(lambda self: self.out)
    @rule(data=st.data(), hint=st.none() | st.floats(0, 60), whole=st.booleans())
    def fail(self, data: st.DataObject, hint: float | None, whole: bool) -> None:
        move = self.out.pop(data.draw(st.integers(0, len(self.out) - 1)))
        self.schedule.failed(move, self.now, hint=hint, whole=whole)
        if whole:
            self.quiet_until = max(self.quiet_until, self.now + (hint or 0))
        if isinstance(move, Ask):
            self.expect(move.job, 2.5 if hint is None or whole else hint)

    @precondition(lambda self: any(isinstance(move, Sweep) for move in self.out))
    @rule()
    def refuse_to_list(self) -> None:
        move = next(move for move in self.out if isinstance(move, Sweep))
        self.out.remove(move)
        self.schedule.cannot_list(move)

    @invariant()
    def counts_the_watched(self) -> None:
        assert len(self.schedule) == len(self.jobs) == sum(job.watched for job in self.jobs)

    def teardown(self) -> None:
        """Nobody starves: with all answered, every task is asked, or shown, in the end."""
        unheard, end = set(self.jobs), self.now + 2000
        while self.now < end and unheard:
            until = self.take()
            for move in self.out:
                if isinstance(move, Ask):
                    unheard.discard(move.job)
                    self.schedule.answered(move.job, self.now, ended=False)
                    self.expect(move.job, 5)
                else:
                    self.schedule.swept(move, self.now, [])
            if not self.out:
                assert until is not None
                assert until > self.now
                self.now = max(self.now, until)
            self.out.clear()
        assert not unheard


TestLife = Life.TestCase
TestLife.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


def jobs(many: int) -> Iterator[Job]:
    for number in range(many):
        yield Job(str(number), PATHS[0], number % 1000, born=None, callback=number % 7 == 0)


def reachable(root: object) -> int:
    """Objects of ours that *root* keeps alive, and what their containers hold."""
    seen = {id(root)}
    found, queue = 0, [root]
    while queue:
        found += 1
        for each in gc.get_referents(queue.pop()):
            if id(each) not in seen and not isinstance(each, type | ModuleType):
                seen.add(id(each))
                queue.append(each)
    return found


def come_and_go(it: Schedule, jobs: Iterable[Job], now: float) -> float:
    """Tasks come in thousands; some end, some are left, some hastened, some asked meanwhile."""
    batch: list[Job] = []
    for number, each in enumerate(jobs):
        each.born = now if number % 3 else None
        it.watch(each, now)
        it.hasten(each, now + 7200 + number * 0.1, now)
        batch.append(each)
        if len(batch) == 1000:
            now += 5.5
            while not isinstance(move := it.next(now), Sleep):
                if isinstance(move, Ask):
                    it.answered(move.job, now, ended=False)
                else:
                    it.swept(move, now, batch[: move.size])
            for gone in batch:
                it.unwatch(gone)
            batch.clear()
    return now


@pytest.mark.parametrize("lists", [False, True])
def test_nothing_is_left_of_tasks_that_came_and_went(lists: bool) -> None:
    polling = Polling(max_polls_at_once=100)
    it = Schedule(polling, Random(1), lists=lists, durations=Durations())
    now = come_and_go(it, jobs(1000), 0)
    before = reachable(it)

    come_and_go(it, jobs(100_000), now)

    assert len(it) == 0
    assert reachable(it) <= before + 20
