"""A gate keeps to the limit it is given or finds it, in order, leaks nothing and never sticks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from random import Random
from typing import TypeVar

import anyio
import pytest
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kling_async import ConfigurationError, RequestRefused
from kling_async._config import Slotting
from kling_async._events import Event, Hooks, SlotsChanged
from kling_async._slots import Gate, Slots, Ticket

T = TypeVar("T")


class Even(Random):
    """No jitter: always the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


class Account:
    """A gate and its server, whose answers come at once; time stands until it is moved."""

    def __init__(
        self, parallel: int, *, limit: int | None = None, slotting: Slotting | None = None
    ) -> None:
        self.parallel = parallel
        self.gate = Gate("kling-v1", limit, slotting or Slotting(), Even())
        self.now = 0.0
        self.refused = 0

    @property
    def tasks(self) -> list[Ticket]:
        """Those that run, oldest first."""
        return sorted(self.gate.members, key=lambda ticket: ticket.number)

    def queue(self, count: int, weight: int = 1) -> None:
        for _ in range(count):
            self.gate.enter(Ticket(self.gate, weight))
        self.settle()

    def settle(self) -> None:
        """Create what may be created: all that may leave together does."""
        while sent := self.sent():
            for ticket in sent:
                if sum(task.weight for task in self.tasks) + ticket.weight <= self.parallel:
                    self.gate.accept(ticket)
                else:
                    self.refused += 1
                    self.gate.refuse(ticket, self.now)

    def sent(self) -> list[Ticket]:
        return list(iter(lambda: self.gate.admit(self.now), None))

    def end(self, count: int) -> None:
        for ticket in self.tasks[:count]:
            self.gate.leave(ticket)
            self.settle()

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.settle()

    def watch(self, seconds: int) -> None:
        """Let time pass, with an end every three seconds."""
        for _ in range(seconds // 3):
            self.sleep(3)
            self.end(1)


# What is learned.


@pytest.mark.parametrize(("parallel", "refused"), [(1, 7), (5, 3), (8, 8), (20, 4), (100, 7)])
def test_first_refusals_close_the_gate_at_the_limit(parallel: int, refused: int) -> None:
    account = Account(parallel)
    account.queue(500)

    assert (account.gate.ceiling, account.gate.running) == (parallel, parallel)
    assert account.refused == refused


@pytest.mark.parametrize(("running", "at_once"), [(0, 8), (8, 8), (64, 9), (80, 11), (800, 114)])
def test_more_creates_leave_together_as_more_tasks_run(running: int, at_once: int) -> None:
    account = Account(1000)
    account.queue(running)
    for _ in range(500):
        account.gate.enter(Ticket(account.gate, 1))

    assert len(account.sent()) == at_once


@pytest.mark.parametrize("limit", [None, 1000])
def test_no_more_creates_leave_together_than_may(limit: int | None) -> None:
    account = Account(1000, limit=limit, slotting=Slotting(most_creates=40))
    account.queue(800)
    for _ in range(100):
        account.gate.enter(Ticket(account.gate, 1))
    sent = account.sent()
    account.gate.accept(sent[0])

    assert len(sent) == 40
    assert len(account.sent()) == 1


def test_each_end_opens_one_slot() -> None:
    account = Account(20)
    account.queue(500)
    before = account.refused
    account.end(15)

    assert account.gate.running == 20
    assert account.refused == before


def test_refused_tries_come_half_as_often_each_time() -> None:
    account = Account(5)
    account.queue(50)
    waits: list[float | None] = []
    for _ in range(6):
        waits.append(account.gate.wait(account.now))
        account.sleep(waits[-1] or 0)

    assert waits == [60, 120, 240, 480, 960, 960]
    assert account.gate.ceiling == 5


def test_accepted_tries_come_ever_faster() -> None:
    account = Account(5)
    account.queue(50)
    account.parallel = 9
    waits: list[float | None] = []
    while account.gate.running < 9:
        waits.append(account.gate.wait(account.now))
        account.sleep(waits[-1] or 0)

    assert waits == [60, 15, 15]
    assert account.gate.ceiling == 9
    assert account.refused == 6


def test_far_larger_limit_is_found_in_minutes() -> None:
    account = Account(20)
    account.queue(5000)
    account.parallel = 400
    before = account.refused
    account.watch(600)

    assert account.gate.ceiling == 400
    assert account.refused - before < 60


def test_try_that_slipped_through_counts_as_refused() -> None:
    """The end of a task was not noticed yet, so the server had room for one more."""
    account = Account(5)
    account.queue(50)
    account.parallel = 6
    account.sleep(60)
    account.parallel = 5
    account.end(2)

    assert account.gate.ceiling == 5
    assert account.gate.wait(account.now) == 120


def test_lowered_limit_is_learned_refusal_by_refusal() -> None:
    account = Account(20)
    account.queue(500)
    before = account.refused
    account.parallel = 12
    account.end(30)

    assert (account.gate.ceiling, account.gate.running) == (12, 12)
    assert account.refused - before == 8


def test_refusal_out_of_the_blue_begins_the_whiles_anew() -> None:
    account = Account(20)
    account.queue(500)
    account.sleep(60)
    account.sleep(120)
    account.parallel = 19
    account.end(1)

    assert account.gate.wait(account.now) == 60


@pytest.mark.parametrize(("before", "after"), [(20, 40), (1, 30), (40, 20), (20, 1)])
def test_changed_limit_is_found_within_the_hour(before: int, after: int) -> None:
    account = Account(before)
    account.queue(5000)
    account.watch(600)
    account.parallel = after
    account.watch(3600)

    assert account.gate.ceiling == after


def test_strangers_with_all_the_slots_are_waited_out() -> None:
    account = Account(0)
    account.queue(500)
    for _ in range(10):
        account.sleep(60)
    before = account.gate.running
    account.parallel = 20
    account.sleep(60)
    after = account.gate.running
    account.watch(300)

    assert (before, after) == (0, 1)
    assert account.gate.ceiling == 20


def test_nothing_of_ours_running_is_not_waited_for_longer_than_a_minute() -> None:
    """The heavy one can never fit above what was learned, whoever ends."""
    account = Account(3)
    account.queue(3)
    account.queue(1, weight=9)
    for _ in range(4):
        account.sleep(account.gate.wait(account.now) or 0)
    account.end(3)

    assert (account.gate.wait(account.now) or 0) <= 60


def test_limit_that_was_given_starts_at_once() -> None:
    account = Account(50, limit=20)
    account.queue(50)

    assert (account.gate.running, account.refused, account.gate.ceiling) == (20, 0, None)
    assert account.gate.wait(account.now) is None


def test_smaller_limit_of_the_account_is_learned_below_the_given_one() -> None:
    account = Account(10, limit=20)
    account.queue(500)
    account.sleep(60)
    account.parallel = 50
    account.watch(600)

    assert account.gate.ceiling == 20
    assert account.gate.running == 20


def test_heavy_task_counts_as_its_images() -> None:
    account = Account(20, limit=20)
    account.queue(3, weight=9)

    assert account.gate.running == 18


def test_task_heavier_than_the_limit_is_refused() -> None:
    account = Account(5, limit=5)

    with pytest.raises(RequestRefused, match=r"takes 6 slots, max_at_once is 5") as caught:
        account.queue(1, weight=6)
    assert caught.value.field == "n"
    assert not account.gate.queue


def test_refused_ones_keep_their_order() -> None:
    account = Account(20)
    for _ in range(3):
        account.gate.enter(Ticket(account.gate, 1))
    first, second, third = account.sent()
    for ticket in (second, first, third):
        account.gate.refuse(ticket, account.now)

    assert list(account.gate.queue) == [first, second, third]


@pytest.mark.parametrize("refused_at", [0, 3, 7])
def test_first_of_those_sent_together_may_be_the_one_refused(refused_at: int) -> None:
    account = Account(7)
    for _ in range(8):
        account.gate.enter(Ticket(account.gate, 1))
    first, *others = account.sent()
    for ticket in others[:refused_at]:
        account.gate.accept(ticket)
    account.gate.refuse(first, account.now)
    for ticket in others[refused_at:]:
        account.gate.accept(ticket)

    assert account.gate.ceiling == 7
    account.end(1)
    assert account.gate.running == 7


def test_refusal_with_resumed_tasks_never_raises_the_limit() -> None:
    account = Account(5)
    account.queue(20)
    for _ in range(10):
        account.gate.adopt(Ticket(account.gate, 1))
    account.sleep(60)

    assert account.gate.ceiling == 5


def test_try_that_is_given_up_leaves_the_limit_as_it_was() -> None:
    account = Account(5)
    account.queue(20)
    account.now += 60
    (ticket,) = account.sent()
    account.gate.leave(ticket)

    assert account.gate.ceiling == 5
    assert account.gate.wait(account.now) == 60
    assert account.gate.running == 5


# Any order of events.


class AnyOrder(RuleBasedStateMachine):
    """A server whose limit moves and is partly used by others, and a gate in front of it."""

    @initialize(limit=st.none() | st.integers(1, 20), parallel=st.integers(0, 30))
    def begin(self, limit: int | None, parallel: int) -> None:
        self.gate = Gate("kling-v1", limit, Slotting(), Random(0))
        self.parallel = parallel
        self.used = self.strangers = self.adopted = 0
        self.now = 0.0
        self.order: list[Ticket] = []
        self.wire: list[Ticket] = []
        self.answers: list[tuple[Ticket, bool]] = []
        self.running: list[Ticket] = []
        self.ended: list[Ticket] = []

    @property
    def all(self) -> list[Ticket]:
        answered = [ticket for ticket, _ in self.answers]
        return [*self.gate.queue, *self.wire, *answered, *self.running, *self.ended]

    @rule(weight=st.integers(1, 9))
    def enter(self, weight: int) -> None:
        ticket = Ticket(self.gate, weight)
        if self.gate.limit is not None and weight > self.gate.limit:
            with pytest.raises(RequestRefused):
                self.gate.enter(ticket)
            return
        self.gate.enter(ticket)
        self.order.append(ticket)

    @rule()
    def admit(self) -> None:
        wait = self.gate.wait(self.now)
        ticket = self.gate.admit(self.now)
        assert (ticket is not None) == (wait == 0)
        if ticket is None:
            return
        waiting = [one for one in self.order if one in self.gate.queue]
        assert all(self.order.index(ticket) < self.order.index(other) for other in waiting)
        if self.gate.limit is not None:
            assert self.gate.running <= self.gate.limit
        self.wire.append(ticket)

    @precondition(lambda self: self.wire)
    @rule(data=st.data())
    def arrive(self, data: st.DataObject) -> None:
        ticket = self._pop(self.wire, data)
        fits = self.used + self.strangers + ticket.weight <= self.parallel
        self.used += ticket.weight * fits
        self.answers.append((ticket, fits))

    @precondition(lambda self: self.answers)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        ticket, accepted = self._pop(self.answers, data)
        ceiling = self.gate.ceiling
        if accepted:
            self.gate.accept(ticket)
            self.running.append(ticket)
        else:
            self.gate.refuse(ticket, self.now)
            assert self.gate.ceiling is not None
            assert self.gate.ceiling <= (self.gate.ceiling if ceiling is None else ceiling)

    @rule()
    def adopt(self) -> None:
        ticket = Ticket(self.gate, 1)
        self.gate.adopt(ticket)
        self.used += 1
        self.running.append(ticket)

    @precondition(lambda self: self.running)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        ticket = self._pop(self.running, data)
        self.used -= ticket.weight
        self.ended.append(ticket)

    @precondition(lambda self: self.ended)
    @rule(data=st.data())
    def notice(self, data: st.DataObject) -> None:
        self.gate.leave(self._pop(self.ended, data))

    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        assume(self.all)
        ticket = data.draw(st.sampled_from(self.all))
        for _ in range(2):
            self.gate.leave(ticket)
        for place in (self.wire, self.running, self.ended):
            if ticket in place:
                place.remove(ticket)
        self.answers = [answer for answer in self.answers if answer[0] is not ticket]

    @rule(parallel=st.integers(0, 30), strangers=st.integers(0, 20))
    def change(self, parallel: int, strangers: int) -> None:
        self.parallel, self.strangers = parallel, strangers

    @rule(seconds=st.floats(0, 2000))
    def sleep(self, seconds: float) -> None:
        self.now += seconds

    @invariant()
    def counts_are_right(self) -> None:
        wire = [*self.wire, *(ticket for ticket, _ in self.answers)]
        running = [*self.running, *self.ended]

        assert self.gate.on_the_wire == len(wire)
        assert self.gate.running == sum(ticket.weight for ticket in [*wire, *running])
        assert self.gate.members == set(running)

    @invariant()
    def waiting_has_an_end(self) -> None:
        if self.gate.queue and not self.gate.on_the_wire:
            wait = self.gate.wait(self.now)
            assert wait is not None or self.gate.running > 0
            assert wait is None or wait <= 1.1 * 960 + 1e-6
            assert self.gate.running > 0 or (wait is not None and wait <= 60 + 1e-6)

    def teardown(self) -> None:
        for ticket in self.all:
            self.gate.leave(ticket)
        assert (self.gate.running, self.gate.on_the_wire) == (0, 0)
        assert not self.gate.queue
        assert not self.gate.members

    @staticmethod
    def _pop(place: list[T], data: st.DataObject) -> T:
        return place.pop(data.draw(st.integers(0, len(place) - 1)))


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(
    max_examples=150,
    stateful_step_count=60,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


# Waiting.


def waiting_room(limit: int | None = None, *, events: list[Event] | None = None) -> Slots:
    hooks = Hooks([] if events is None else [events.append])
    return Slots(limit, Slotting(), Even(), hooks, lambda ticket: None)


@contextmanager
def ending(slots: Slots, ticket: Ticket) -> Iterator[None]:
    try:
        yield
    finally:
        slots.leave(ticket)


@pytest.mark.parametrize("limit", [0, -1])
def test_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(ConfigurationError, match=f"max_at_once is {limit}; give 1 or more"):
        waiting_room(limit)


async def test_slots_are_handed_out_in_order() -> None:
    slots = waiting_room(1)
    served: list[int] = []

    async def client(number: int) -> None:
        await anyio.sleep(number)
        with ending(slots, await slots.take("kling-v1")):
            served.append(number)
            await anyio.sleep(100)

    async with anyio.create_task_group() as group:
        for number in (3, 0, 2, 1, 4):
            group.start_soon(client, number)

    assert served == [0, 1, 2, 3, 4]
    assert anyio.current_time() == 500


async def test_light_task_does_not_overtake_a_heavy_one() -> None:
    slots = waiting_room(9)
    served: list[tuple[float, int]] = []

    async def client(weight: int) -> None:
        with ending(slots, await slots.take("image", weight)):
            served.append((anyio.current_time(), weight))
            await anyio.sleep(10)

    async with anyio.create_task_group() as group:
        for weight in (5, 9, 1):
            group.start_soon(client, weight)
            await anyio.sleep(1)

    assert served == [(0, 5), (10, 9), (20, 1)]


async def test_cancelled_waiter_frees_its_place() -> None:
    slots = waiting_room(1)
    first = await slots.take("kling-v1")
    with anyio.move_on_after(5):
        await slots.take("kling-v1")
    slots.leave(first)
    with anyio.fail_after(0.001):
        last = await slots.take("kling-v1")

    assert (last.gate.running, len(last.gate.queue)) == (1, 0)


async def test_waiter_that_is_cancelled_as_its_turn_comes_frees_its_slot() -> None:
    slots = waiting_room(1)
    first = await slots.take("kling-v1")

    async def client() -> None:
        with ending(slots, await slots.take("kling-v1")):
            await anyio.sleep(100)

    async with anyio.create_task_group() as group:
        group.start_soon(client)
        await anyio.sleep(1)
        slots.leave(first)
        group.cancel_scope.cancel()

    assert (first.gate.running, first.gate.on_the_wire) == (0, 0)


async def test_refused_one_waits_for_its_next_try() -> None:
    slots = waiting_room()
    ticket = await slots.take("kling-v1")
    slots.refuse(ticket)
    await slots.turn(ticket)

    assert anyio.current_time() == 60
    assert ticket.gate.on_the_wire == 1


async def _create(slots: Slots, ticket: Ticket | None, started: list[float]) -> None:
    await (slots.turn(ticket) if ticket else slots.take("kling-v1"))
    started.append(anyio.current_time())


async def test_pause_holds_up_queued_and_repeated_creates() -> None:
    slots, started = waiting_room(2), list[float]()
    first, second = [await slots.take("kling-v1") for _ in range(2)]
    async with anyio.create_task_group() as group:
        group.start_soon(_create, slots, None, started)
        await anyio.sleep(1)
        slots.pause(30)
        slots.pause(3)
        for ticket in (second, None):
            group.start_soon(_create, slots, ticket, started)
        slots.leave(first)
        await anyio.sleep(50)
        slots.leave(second)

    assert started == pytest.approx([31, 31.1, 51])


async def test_longer_pause_is_kept_to() -> None:
    slots = waiting_room(2)
    slots.pause(10)
    async with anyio.create_task_group() as group:
        group.start_soon(slots.take, "kling-v1")
        await anyio.sleep(5)
        slots.pause(20)

    assert anyio.current_time() == 25


async def test_creates_after_a_pause_are_spaced_out_until_they_go_well() -> None:
    slots, started = waiting_room(99), list[float]()
    for _ in range(3):  # each later than the one before, so none is of the same burst
        slots.pause(1)
        await anyio.sleep(1)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(_create, slots, None, started)
    assert started == pytest.approx([3, 3.225, 3.45])

    for _ in range(60):
        ticket = await slots.take("kling-v1")
        slots.accept(ticket)
        slots.leave(ticket)
    began = anyio.current_time()
    for _ in range(9):
        await slots.take("kling-v1")
    assert anyio.current_time() == began


async def test_refusals_of_one_burst_space_out_once() -> None:
    slots, started = waiting_room(99), list[float]()
    for _ in range(9):
        slots.pause(1)
    async with anyio.create_task_group() as group:
        for _ in range(2):
            group.start_soon(_create, slots, None, started)

    assert started == pytest.approx([1, 1.1])


async def _is_turned_away(slots: Slots) -> None:
    with pytest.raises(ConfigurationError, match="this client is closed"):
        await slots.take("kling-v1")


@pytest.mark.parametrize("pause", [0, 100])
async def test_closing_ends_every_wait_with_an_error(pause: int) -> None:
    slots = waiting_room(1)
    first = await slots.take("kling-v1")
    slots.pause(pause)
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(_is_turned_away, slots)
        await anyio.sleep(1)
        slots.close()
        slots.leave(first)

    assert anyio.current_time() == 1
    assert (first.gate.running, len(first.gate.queue)) == (0, 0)


async def test_changes_are_told_once_each() -> None:
    events: list[Event] = []
    slots = waiting_room(1, events=events)
    ticket = await slots.take("kling-v1")
    slots.accept(ticket)
    async with anyio.create_task_group() as group:
        group.start_soon(slots.take, "kling-v1")
        await anyio.sleep(1)
        slots.leave(ticket)
        slots.leave(ticket)

    counts = [(event.running, event.queued) for event in events if isinstance(event, SlotsChanged)]
    assert counts == [(1, 0), (1, 1), (1, 0)]
