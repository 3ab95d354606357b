"""What the schedule of questions costs and gains, in virtual time.

Run: python benchmarks/polling.py [singles|sweeps|cost]
"""

from __future__ import annotations

import sys
import time
import tracemalloc
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from heapq import heappop, heappush
from itertools import count, islice, pairwise
from random import Random
from statistics import fmean, quantiles

from kling_async._durations import Durations
from kling_async._job import Ask, Job, Sleep, Sweep
from kling_async._polling import Polling
from kling_async._schedule import Schedule

ROUND_TRIP = 0.2
PAGE_TRIP = 0.5
LAST_GUARD = 26.0
PATH = "/v1/videos/text2video"
KIND = "text2video, kling-v2-6, std, 5 s"
# HTTP_COST 6: what a dynamic program that knows the law reaches, by questions a task.
OPTIMUM = [(10, 5.22), (13, 3.99), (20, 2.59), (27, 1.92)]


def usual(random: Random) -> float:
    return max(30.0, random.lognormvariate(4.787, 0.5))


def slow(random: Random) -> float:
    return 2 * usual(random)


def fast(random: Random) -> float:
    return max(15.0, usual(random) / 2)


def failing(random: Random) -> float:
    return random.uniform(2, 15) if random.random() < 0.05 else usual(random)


class Task:
    """One task on the simulated server."""

    __slots__ = ("created", "ends", "job")

    def __init__(self, created: float, takes: float) -> None:
        self.created = created
        self.ends = created + takes
        self.job: Job | None = None


def newest_first(listed: list[Task], first: int, size: int) -> list[Task]:
    end = max(0, len(listed) - first)
    return listed[max(0, end - size) : end][::-1]


def oldest_first(listed: list[Task], first: int, size: int) -> list[Task]:
    return listed[first : first + size]


def in_any_order(listed: list[Task], first: int, size: int) -> list[Task]:
    return sorted(listed, key=lambda task: hash(str(task.created)))[first : first + size]


Order = Callable[[list[Task], int, int], list[Task]]


class World:
    """A server, a poller and its schedule, and a clock that jumps from event to event."""

    def __init__(self, polling: Polling, *, lists: bool, durations: Durations, seed: int) -> None:
        self.random = Random(seed)
        self.durations = durations
        self.schedule = Schedule(polling, Random(seed), lists=lists, durations=durations)
        self.now = 0.0
        self.learns = True
        self.order: Order = newest_first
        self.since = 0.0
        self.lags: list[float] = []
        self.asks = self.guard_asks = self.pages = 0
        self.listed: list[Task] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._wake = float("inf")

    def at(self, when: float, event: Callable[[], None]) -> None:
        heappush(self._events, (when, next(self._numbers), event))

    def run(self, until: float = float("inf")) -> None:
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heappop(self._events)
            event()
            self._perform()

    def create(self, takes: float, *, ours: bool = True) -> None:
        task = Task(self.now, takes)
        self.listed.append(task)
        if ours:
            task.job = Job(str(len(self.listed)), PATH, KIND, born=self.now, owner=task)
            self.schedule.watch(task.job, self.now)

    def _perform(self) -> None:
        while True:
            match self.schedule.next(self.now):
                case Ask(job):
                    self._ask(job)
                case Sweep() as sweep:
                    self.pages += self.now >= self.since
                    self.at(self.now + PAGE_TRIP / 2, partial(self._read, sweep))
                case Sleep(until):
                    if until is not None and not self.now < self._wake <= until:
                        self._wake = until
                        self.at(until, lambda: None)
                    return

    def _ask(self, job: Job) -> None:
        if self.now >= self.since:
            self.asks += 1
            self.guard_asks += self.now - job.since < LAST_GUARD
        asked = self.now

        def answer() -> None:
            task = job.owner
            assert isinstance(task, Task)
            ended = task.ends <= asked + ROUND_TRIP / 2
            if ended:
                self._end(task)
            self.schedule.answered(job, self.now, ended=ended)

        self.at(self.now + ROUND_TRIP, answer)

    def _read(self, sweep: Sweep) -> None:
        page = self.order(self.listed, (sweep.page - 1) * sweep.size, sweep.size)
        over = [task for task in page if task.job is not None and task.ends <= self.now]

        def answer() -> None:
            shown = [task.job for task in page]
            ended = [task.job for task in over if task.job is not None]
            for task in over:
                if task.job is not None:
                    self._end(task)
            self.schedule.swept(sweep, self.now, shown, ended)

        self.at(self.now + PAGE_TRIP / 2, answer)

    def _end(self, task: Task) -> None:
        if self.now >= self.since:
            self.lags.append(self.now - task.ends)
        if self.learns and task.job is not None and task.ends - task.created > 15:
            self.schedule.finished(task.job, self.now)
        task.job = None


def trained(law: Callable[[Random], float], samples: int, seed: int) -> Durations:
    durations = Durations()
    random = Random(seed)
    for _ in range(samples):
        durations.observe(KIND, law(random))
    return durations


def spread(lags: list[float]) -> str:
    cuts = quantiles(lags, n=100)
    return f"{fmean(lags):8.2f} {cuts[94]:8.2f} {cuts[98]:8.2f}"


def singles(
    polling: Polling, law: Callable[[Random], float], *, tasks: int, learns: bool, seeds: int
) -> tuple[float, float, list[float]]:
    """Questions a task, guard questions a task, and lags, over several training samples."""
    asks, early, lags = 0, 0, list[float]()
    for seed in range(seeds):
        durations = trained(usual, 50, seed)
        world = World(polling, lists=False, durations=durations, seed=seed)
        world.learns = learns
        for number in range(tasks):
            takes = law(world.random)
            world.at(number * 0.5, partial(world.create, takes))
        world.run()
        asks, early, lags = asks + world.asks, early + world.guard_asks, lags + world.lags
    return (asks - early) / len(lags), early / len(lags), lags


def at_equal_polls(curve: list[tuple[float, float]], polls: float) -> float:
    """The lag at so many questions a task; it is about a straight line of their inverse."""
    points = sorted((1 / questions, lag) for questions, lag in curve)
    wanted = 1 / polls
    (x, y), (x2, y2) = next(pair for pair in pairwise(points) if pair[1][0] >= wanted)
    return y + (y2 - y) * (wanted - x) / (x2 - x)


def show_singles() -> None:
    base = Polling(max_polls_at_once=100_000, sweeps=False)
    print("\nSingle questions, learned from 50 tasks (20 samples of them, 500 tasks each)")
    print(f"{'interval':>9} {'asks':>7} {'+guards':>8} {'mean s':>8} {'p95':>8} {'p99':>8}")
    curve: list[tuple[float, float]] = []
    for interval in (2, 3, 4, 5, 8, 12):
        polling = replace(base, interval=interval)
        asks, early, lags = singles(polling, usual, tasks=500, learns=False, seeds=20)
        curve.append((asks, fmean(lags)))
        print(f"{interval:9} {asks:7.1f} {early:8.2f} {spread(lags)}")
    print("\nAt equal questions, guards apart")
    print(f"{'asks':>9} {'optimum':>8} {'here':>8} {'ratio':>7}")
    for polls, optimum in OPTIMUM:
        here = at_equal_polls(curve, polls)
        print(f"{polls:9} {optimum:8.2f} {here:8.2f} {here / optimum:7.2f}")
    print("\nWhen the truth is another than what was learned (interval 5)")
    print(f"{'truth':>22} {'asks':>7} {'+guards':>8} {'mean s':>8} {'p95':>8} {'p99':>8}")
    for law in (usual, slow, fast, failing):
        for learns in (False, True):
            asks, early, lags = singles(base, law, tasks=1000, learns=learns, seeds=5)
            name = f"{law.__name__}, {'learning' if learns else 'frozen'}"
            print(f"{name:>22} {asks:7.1f} {early:8.2f} {spread(lags)}")
    print("\nWithout learning")
    for name, polling in {
        "fixed 5 s": replace(base, learn=False),
        "exponential 1 to 30 s": replace(base, learn=False, growth=2, interval=1, max_interval=30),
    }.items():
        asks, early, lags = singles(polling, usual, tasks=1000, learns=False, seeds=5)
        print(f"{name:>22} {asks:7.1f} {early:8.2f} {spread(lags)}")


def arrivals(random: Random, rate: float, until: float) -> Iterator[float]:
    now = random.expovariate(rate)
    while now < until:
        yield now
        now += random.expovariate(rate)


def sweeping(
    in_flight: int,
    *,
    strangers: float = 0.0,
    seconds: float = 900.0,
    order: Order = newest_first,
    before: int = 0,
) -> World:
    """A steady state of so many tasks; the first ten minutes are not counted."""
    world = World(Polling(), lists=True, durations=Durations(), seed=7)
    world.since = 600.0
    world.order = order
    world.listed.extend(Task(-1e6, 0) for _ in range(before))
    until = world.since + seconds
    rate = in_flight / 136
    for when in arrivals(world.random, rate, until):
        world.at(when, lambda: world.create(usual(world.random)))
    if strangers:
        for when in arrivals(world.random, rate * strangers, until):
            world.at(when, lambda: world.create(usual(world.random), ours=False))
    world.run(until)
    return world


def restarted(in_flight: int) -> World:
    """Tasks of the last ten minutes that another process created, all taken up at once."""
    world = World(Polling(), lists=True, durations=Durations(), seed=7)
    births = list(arrivals(world.random, in_flight / 136, 600))
    tasks = [Task(birth - 600, usual(world.random)) for birth in births]
    world.listed.extend(tasks)
    running = [task for task in tasks if task.ends > 0]
    for number, task in enumerate(running):
        task.job = Job(str(number), PATH, KIND, born=None, owner=task)
        world.schedule.watch(task.job, 0.0)
    world.at(0.0, lambda: None)
    world.run()
    return world


def row(name: str, world: World) -> str:
    done = len(world.lags)
    together = (world.pages + world.asks) / done
    return (
        f"{name:>31} {world.pages / done:8.3f} {world.asks / done:7.3f} {together:8.3f}"
        f" {spread(world.lags)}"
    )


def show_sweeps() -> None:
    print("\nSweeps: requests a finished task, while tasks come and go")
    print(
        f"{'in flight':>31} {'pages':>8} {'asks':>7} {'together':>8}"
        f" {'mean s':>8} {'p95':>8} {'p99':>8}"
    )
    for in_flight in (3, 10, 100, 1000, 10_000):
        world = sweeping(in_flight, seconds=900 if in_flight < 5000 else 300)
        print(row(f"{in_flight:,}", world))
    print(row("1,000, and 3,000 strangers'", sweeping(1000, strangers=3)))
    print(row("10, and 1,000 strangers'", sweeping(10, strangers=100)))
    print(row("200, oldest first", sweeping(200, order=oldest_first)))
    print(row("200, oldest first, below 9,000", sweeping(200, order=oldest_first, before=9000)))
    print(row("200, in any order", sweeping(200, order=in_any_order)))
    print(row("200, singly", sweeping(200, order=lambda listed, first, size: [])))
    print(row("10,000 after a restart", restarted(10_000)))


def full(jobs: int, *, lists: bool) -> tuple[Schedule, float]:
    """A schedule that watches so many, and the bytes each takes, its id and owner apart."""
    polling = Polling(max_polls_at_once=jobs)
    durations = trained(lambda random: random.uniform(1, 1000), 200, 1)
    random = Random(1)
    watched: list[Job] = []
    tracemalloc.start()
    schedule = Schedule(polling, random, lists=lists, durations=durations)
    for _ in range(jobs):
        watched.append(Job("", PATH, KIND, born=random.uniform(-500, 0)))
        schedule.watch(watched[-1], 0.0)
    traced, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return schedule, (traced - watched.__sizeof__()) / jobs


def show_cost(jobs: int = 100_000, turns: int = 4) -> None:
    print(f"\nOf our own, at {jobs:,} jobs asked every 5 s")
    schedule, size = full(jobs, lists=False)
    drive(schedule, jobs)
    questions, spent = drive(schedule, jobs * turns, now=60.0)
    print(f"{spent / questions * 1e6:6.2f} µs CPU a question (next and answered)")
    print(f"{size:6.0f} bytes a job, its id and owner apart")
    _, size = full(jobs, lists=True)
    print(f"{size:6.0f} bytes a job where the provider lists")


def drive(schedule: Schedule, questions: int, now: float = 5.0) -> tuple[int, float]:
    """Ask and answer so often, with as much under way as 0.2 s of round trip mean."""
    under_way: deque[tuple[float, Job]] = deque()
    asked = 0
    started = time.process_time()
    while asked < questions:
        now += 0.01
        while isinstance(move := schedule.next(now), Ask):
            under_way.append((now + ROUND_TRIP, move.job))
            asked += 1
        while under_way and under_way[0][0] <= now:
            schedule.answered(under_way.popleft()[1], now, ended=False)
    return asked, time.process_time() - started


def main() -> None:
    parts = {"singles": show_singles, "sweeps": show_sweeps, "cost": show_cost}
    for name in islice(sys.argv, 1, None) if len(sys.argv) > 1 else parts:
        parts[name]()


if __name__ == "__main__":
    main()
