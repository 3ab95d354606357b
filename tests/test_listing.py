"""Lists are read in place of single questions where that costs less, whatever they show."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from heapq import heappop, heappush
from itertools import count
from math import inf
from random import Random

import pytest

from kling_async._durations import Durations
from kling_async._job import Ask, Job, Sleep, Sweep
from kling_async._listing import Listing
from kling_async._polling import Polling
from kling_async._schedule import Schedule

PATH = "/v1/videos/text2video"
HOUR = 3600.0


@dataclass
class Item:
    """One task in the list; a stranger's has no job."""

    ends: float
    job: Job | None = None


def newest_first(items: list[Item]) -> list[Item]:
    return items[::-1]


def oldest_first(items: list[Item]) -> list[Item]:
    return items


def at_random(items: list[Item]) -> list[Item]:
    return Random(len(items)).sample(items, len(items))


def never_ours(items: list[Item]) -> list[Item]:
    return [Item(inf)] * 100_000


@dataclass
class World:
    """A server that lists, and whoever does what the schedule says; time jumps."""

    polling: Polling = field(default_factory=Polling)
    order: Callable[[list[Item]], list[Item]] = newest_first
    refuses: bool = False
    page_takes: float = 0.5

    def __post_init__(self) -> None:
        self.schedule = Schedule(self.polling, Random(1), lists=True, durations=Durations())
        self.items: list[Item] = []
        self.now = 0.0
        self.asks: list[tuple[float, Job]] = []
        self.sweeps: list[tuple[float, Sweep]] = []
        self.lags: list[float] = []
        self._events: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = count()
        self._wake = inf

    def at(self, when: float, event: Callable[[], None]) -> None:
        heappush(self._events, (when, next(self._numbers), event))

    def create(self, takes: float, *, ours: bool = True, known: bool = True) -> None:
        item = Item(self.now + takes)
        self.items.append(item)
        if ours:
            born = self.now if known else None
            item.job = Job(str(len(self.items)), PATH, "kind", born=born, owner=item)
            self.schedule.watch(item.job, self.now)

    def create_steadily(self, every: float, takes: float, until: float, **how: bool) -> None:
        for number in range(int(until / every)):
            self.at(number * every, lambda: self.create(takes, **how))

    def run(self, until: float) -> None:
        self._perform()
        while self._events and self._events[0][0] <= until:
            self.now, _, event = heappop(self._events)
            event()
            self._perform()
        self.now = until

    def _perform(self) -> None:
        while not isinstance(move := self.schedule.next(self.now), Sleep):
            if isinstance(move, Ask):
                self.asks.append((self.now, move.job))
                self.at(self.now + 0.2, partial(self._answer, move.job))
            else:
                self.sweeps.append((self.now, move))
                when = self.now + self.page_takes / 2
                self.at(when, partial(self._read, move))
        if move.until is not None and not self.now < self._wake <= move.until:
            self._wake = move.until
            self.at(move.until, lambda: None)

    def _answer(self, job: Job) -> None:
        item = job.owner
        assert isinstance(item, Item)
        ended = item.ends <= self.now
        self.schedule.answered(job, self.now, ended=ended)
        if ended and item.job is not None:
            self._end(item)

    def _read(self, sweep: Sweep) -> None:
        first = (sweep.page - 1) * sweep.size
        page = self.order(self.items)[first : first + sweep.size]
        over = [item for item in page if item.ends <= self.now]
        self.at(self.now + self.page_takes / 2, lambda: self._show(sweep, page, over))

    def _show(self, sweep: Sweep, page: list[Item], over: list[Item]) -> None:
        if self.refuses:
            self.schedule.cannot_list(sweep)
            return
        shown = [item.job for item in page]
        ended = [item.job for item in over if item.job is not None]
        for item in over:
            if item.job is not None:
                self._end(item)
        self.schedule.swept(sweep, self.now, shown, ended)

    def _end(self, item: Item) -> None:
        self.lags.append(self.now - item.ends)
        item.job = None


def test_many_tasks_are_asked_about_by_pages() -> None:
    world = World()
    for _ in range(100):
        world.create(takes=60)

    world.run(90)

    assert not world.asks
    assert 24 <= len(world.sweeps) <= 26
    assert len(world.lags) == 100
    assert max(world.lags) < 3.5


def test_two_tasks_are_asked_about_singly() -> None:
    world = World()
    world.create(takes=60)
    world.create(takes=60)

    world.run(90)

    assert len(world.asks) > 20
    assert not world.sweeps


def test_sweeps_can_be_turned_off() -> None:
    world = World(Polling(sweeps=False))
    for _ in range(100):
        world.create(takes=60)

    world.run(90)

    assert not world.sweeps
    assert len(world.lags) == 100


def test_page_is_cut_to_what_is_needed() -> None:
    world = World()
    for _ in range(30):
        world.create(takes=60)

    world.run(20)

    assert all(30 <= sweep.size < 70 for _, sweep in world.sweeps)


def test_tasks_that_cannot_be_ready_make_no_sweep_worthwhile() -> None:
    durations = Durations()
    for _ in range(20):
        durations.observe("kind", 600)
    world = World(Polling(guards=()))
    world.schedule = Schedule(world.polling, Random(1), lists=True, durations=durations)
    for _ in range(1000):
        world.create(takes=HOUR)

    world.run(590)

    assert not world.sweeps
    assert not world.asks


def test_sweeps_are_tiered() -> None:
    world = World()
    for _ in range(20):
        world.create(takes=HOUR)
    world.create_steadily(0.05, takes=30, until=180, ours=True)

    world.run(180)

    depths = [sweep.page * sweep.size for when, sweep in world.sweeps if when > 150]
    assert max(depths) > 3000
    assert sorted(depths)[len(depths) // 2] < 1500


def test_strangers_tasks_are_reckoned_with() -> None:
    world = World()
    world.create_steadily(0.5, takes=60, until=600)
    world.create_steadily(0.1, takes=60, until=600, ours=False)

    world.run(600)

    assert len(world.asks) < 0.1 * len(world.lags)
    assert len(world.lags) > 1000
    assert max(world.lags[-500:]) < 4


def test_tasks_created_while_pages_are_read_do_no_harm() -> None:
    world = World()
    world.create_steadily(0.02, takes=60, until=240)

    world.run(240)

    assert len(world.asks) < 0.2 * len(world.lags)
    assert len(world.lags) > 8000
    assert max(world.lags) < 16


@pytest.mark.parametrize("order", [newest_first, oldest_first, at_random, never_ours])
def test_every_task_is_found_in_whatever_order(order: Callable[[list[Item]], list[Item]]) -> None:
    world = World(order=order)
    world.create_steadily(0.5, takes=60, until=600)

    world.run(700)

    assert len(world.lags) == 1200
    assert max(world.lags) < 16


def test_list_that_never_shows_ours_is_left_alone_ever_longer() -> None:
    world = World(order=never_ours)
    for _ in range(50):
        world.create(takes=HOUR)

    world.run(HOUR)

    times = [when for when, _ in world.sweeps]
    pauses = [b - a for a, b in zip(times, times[1:], strict=False)]
    assert len(times) < 20
    assert max(pauses) >= 600


def test_list_that_recovers_is_read_again() -> None:
    world = World(order=never_ours)
    for _ in range(50):
        world.create(takes=HOUR)
    world.run(60)

    world.order = newest_first
    world.run(200)

    assert not [when for when, _ in world.asks if when > 150]


def test_list_that_takes_longer_than_the_pause_between_rounds_is_no_miss() -> None:
    world = World(page_takes=4)
    for _ in range(100):
        world.create(takes=60)

    world.run(90)

    assert not [when for when, _ in world.asks if when > 10]
    assert len(world.lags) == 100
    assert max(world.lags) < 8


def test_outage_in_a_round_puts_no_question_off() -> None:
    schedule = Schedule(Polling(jitter=0), Random(1), lists=True, durations=Durations())
    jobs = [Job(str(number), PATH, "kind", born=0.0) for number in range(50)]
    for job in jobs:
        schedule.watch(job, 0.0)
    lost = schedule.next(10)
    assert isinstance(lost, Sweep)
    schedule.failed(lost, 100, hint=1, whole=True)
    back = next(move for _ in jobs if isinstance(move := schedule.next(110), Sweep))

    schedule.swept(back, 110, jobs)

    assert max(job.covered for job in jobs) < 130


class Counted(Job):
    """A task that knows how often anybody asks for its place."""

    looks = 0

    def __getattribute__(self, name: str) -> object:
        Counted.looks += name == "place"
        return super().__getattribute__(name)


def test_round_of_very_many_tasks_begins_without_a_look_at_each() -> None:
    listing = Listing(PATH, Polling())
    for number in range(50_000):
        listing.add(Counted(str(number), PATH, "kind", born=number / 1000), number / 1000)
    Counted.looks = 0

    sweep = listing.next(50, lambda job, now: True)

    assert sweep is not None
    assert sweep.size > 490
    assert Counted.looks < 12_000


@pytest.mark.parametrize("order", [newest_first, at_random])
def test_every_task_is_found_where_only_some_are_looked_at(
    order: Callable[[list[Item]], list[Item]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kling_async._listing._SAMPLE", 20)
    world = World(order=order)
    world.create_steadily(0.5, takes=60, until=300)
    world.create_steadily(0.5, takes=60, until=300, ours=False)

    world.run(400)

    assert len(world.lags) == 600
    assert max(world.lags) < 16
    assert order is at_random or len(world.asks) < 60


def test_tasks_of_unknown_place_are_looked_for_deeper_and_deeper() -> None:
    world = World()
    for _ in range(400):
        world.create(takes=HOUR, known=False)
    world.items.extend(Item(inf) for _ in range(3000))

    world.run(120)

    assert max(sweep.page * sweep.size for _, sweep in world.sweeps) > 3400
    assert not [when for when, _ in world.asks if when > 60]


def test_provider_that_does_not_list_is_asked_singly_for_good() -> None:
    world = World(refuses=True)
    for _ in range(50):
        world.create(takes=60)

    world.run(300)

    assert len(world.sweeps) == 1
    assert len(world.lags) == 50


def test_failing_pages_are_given_up_and_tasks_asked_singly() -> None:
    schedule = Schedule(Polling(jitter=0), Random(1), lists=True, durations=Durations())
    for number in range(50):
        schedule.watch(Job(str(number), PATH, "kind", born=0.0), 0.0)
    pages, asks, now = 0, 0, 0.0
    while now < 60:
        match schedule.next(now):
            case Sweep() as sweep:
                pages += 1
                schedule.failed(sweep, now)
            case Ask(job):
                asks += 1
                schedule.answered(job, now, ended=False)
            case Sleep(until):
                assert until is not None
                now = until

    assert pages <= 4
    assert asks >= 500


def test_pages_and_single_questions_take_turns() -> None:
    schedule = Schedule(Polling(max_polls_at_once=1), Random(1), lists=True, durations=Durations())
    for number in range(3000):
        schedule.watch(Job(str(number), PATH, "kind", born=0.0), 0.0)
    kinds: list[type[object]] = []
    for _ in range(6):
        move = schedule.next(10)
        kinds.append(type(move))
        if isinstance(move, Sweep):
            schedule.swept(move, 10, [None] * move.size)
        elif isinstance(move, Ask):
            schedule.answered(move.job, 10, ended=False)

    assert kinds == [Sweep, Ask] * 3
