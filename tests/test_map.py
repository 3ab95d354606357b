"""`map`: outcomes as they finish, lazily, in flat memory, and nothing that was paid for is lost."""

from __future__ import annotations

import asyncio
import gc
import logging
import tracemalloc
from collections import Counter
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from itertools import count, islice
from typing import Any, cast
from weakref import ref

import anyio
import anyio.lowlevel
import httpx
import pytest

from kling_async import (
    ClientClosed,
    CometAPI,
    ConfigurationError,
    Kling,
    KlingAI,
    Outcome,
    RequestRefused,
    Task,
    TaskFailed,
    Text2Video,
    VideoResult,
)
from kling_async.emulator import Emulator, Fault

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A boat")
Found = Outcome[VideoResult]


def client(emulator: Emulator, **options: Any) -> Kling:
    return Kling(CometAPI(KEY), transport=emulator.transport(), **options)


def boats(number: int, read: list[int] | None = None) -> Iterator[Text2Video]:
    """Requests that note how far they were read."""
    for index in range(number):
        if read is not None:
            read.append(index)
        yield Text2Video(prompt=f"Boat {index}")


async def asynchronously(requests: Iterable[Text2Video]) -> AsyncIterator[Text2Video]:
    for request in requests:
        await anyio.lowlevel.checkpoint()
        yield request


async def consume(outcomes: AsyncIterable[Found], found: Counter[int], seconds: float = 0) -> None:
    """Count the good outcomes by index, each after some work."""
    async for outcome in outcomes:
        found[outcome.index] += outcome.ok
        await anyio.sleep(seconds)


def by_prompt(first: float, others: float) -> Any:
    """Durations: of boat 0, and of all others."""
    return lambda _, body: first if body["prompt"] == "Boat 0" else others


@pytest.mark.parametrize("lazily", [True, False])
async def test_outcomes_come_from_any_kind_of_source(lazily: bool) -> None:
    source: Any = asynchronously(boats(7)) if lazily else list(boats(7))
    async with client(Emulator(duration=20)) as kling:
        outcomes = [outcome async for outcome in kling.map(source, max_at_once=3)]

    assert sorted(outcome.index for outcome in outcomes) == list(range(7))
    assert all(outcome.ok and outcome.unwrap() is outcome.result for outcome in outcomes)
    assert all(f"Boat {outcome.index}" in repr(outcome.request) for outcome in outcomes)


@pytest.mark.parametrize("ordered", [True, False])
async def test_no_request_is_no_outcome(ordered: bool) -> None:
    none: list[Text2Video] = []
    async with client(Emulator()) as kling:
        assert [each async for each in kling.map(none, ordered=ordered)] == []


async def test_outcomes_come_as_they_finish() -> None:
    async with client(Emulator(duration=by_prompt(100, 10))) as kling:
        found = [outcome.index async for outcome in kling.map(boats(3))]

    assert found[-1] == 0


async def test_ordered_outcomes_wait_for_the_first() -> None:
    read: list[int] = []
    async with client(Emulator(duration=by_prompt(100, 10))) as kling:
        outcomes = kling.map(boats(9, read), max_at_once=3, ordered=True)
        first = await anext(reader := aiter(outcomes))
        assert first.index == 0
        assert len(read) == 3
        assert [outcome.index async for outcome in reader] == list(range(1, 9))


async def test_ordered_window_bounds_what_waits_behind_a_stuck_task() -> None:
    read: list[int] = []
    async with client(Emulator(duration=by_prompt(10_000, 1))) as kling:
        reader = aiter(kling.map(boats(500, read), ordered=True))
        with anyio.move_on_after(2000):
            await anext(reader)

    assert len(read) == 100


async def test_tasks_at_once_are_bounded() -> None:
    emulator = Emulator(duration=20, parallel=4)
    async with client(emulator) as kling:
        outcomes = [outcome async for outcome in kling.map(boats(12), max_at_once=4)]

    assert all(outcome.ok for outcome in outcomes)
    assert not any(fault is Fault.PARALLEL for fault, _ in emulator.faults.struck)


@pytest.mark.parametrize("bad", [0, -1])
async def test_bound_below_one_is_refused(bad: int) -> None:
    async with client(Emulator()) as kling:
        with pytest.raises(ConfigurationError, match="1 or more"):
            kling.map([BOAT], max_at_once=bad)


async def test_nothing_is_read_before_the_loop_begins() -> None:
    read: list[int] = []
    async with client(Emulator()) as kling:
        outcomes = kling.map(boats(9, read))
        await anyio.sleep(10)
        await outcomes.aclose()

    assert read == []


async def test_source_is_read_only_when_a_slot_is_free() -> None:
    read: list[int] = []
    async with (
        client(Emulator(duration=60), max_at_once=2) as kling,
        kling.map(boats(9, read)) as outcomes,
    ):
        await anext(aiter(outcomes))

    assert len(read) <= 5  # two ran, one or two followed them, and one more waits for its slot


async def test_slow_consumer_slows_the_reading_down() -> None:
    emulator = Emulator(duration=1)
    async with client(emulator) as kling, kling.map(boats(999), max_at_once=5) as outcomes:
        async for _ in outcomes:
            await anyio.sleep(10_000)
            break

    assert len(emulator.ledger) <= 11


async def test_unread_outcomes_are_bounded_without_a_limit_too() -> None:
    read: list[int] = []
    async with (
        client(Emulator(duration=1), max_at_once=10) as kling,
        kling.map(boats(5000, read)) as outcomes,
    ):
        reader = aiter(outcomes)
        await anext(reader)
        await anyio.sleep(1000)

    assert 100 < len(read) < 130


async def test_tasks_in_progress_are_bounded_even_if_nobody_else_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kling_async._map._UNBOUNDED", 20)
    read: list[int] = []
    async with client(Emulator(duration=600)) as kling, kling.map(boats(99, read)) as outcomes:
        with anyio.move_on_after(100):
            await anext(aiter(outcomes))

    assert len(read) == 20


async def test_infinite_source_is_left_alone_after_the_break() -> None:
    requests = (Text2Video(prompt=f"Boat {number}") for number in count())
    emulator = Emulator(duration=5)
    async with client(emulator) as kling:
        async for outcome in kling.map(requests, max_at_once=3):
            if outcome.index >= 20:
                break
        await anyio.sleep(1)
        bills = len(emulator.ledger)
        await anyio.sleep(100)

    assert len(emulator.ledger) == bills


@pytest.mark.parametrize("ordered", [True, False])
async def test_break_loses_nothing_that_was_paid_for(ordered: bool) -> None:
    emulator = Emulator(duration=lambda random, _: random.uniform(10, 60))
    async with (
        client(emulator) as kling,
        kling.map(boats(99), max_at_once=8, ordered=ordered) as outcomes,
    ):
        first = await anext(aiter(outcomes))
    async with client(emulator) as another:
        videos = [await another.task(token) for token in outcomes.pending]

    ids = {first.unwrap().task_id, *(video.task_id for video in videos)}
    assert ids == set(emulator.tasks)


async def test_break_with_creates_on_the_wire_loses_none() -> None:
    emulator = Emulator(duration=10, latency=6)
    async with client(emulator) as kling, kling.map(boats(99), max_at_once=3) as outcomes:
        await anext(aiter(outcomes))
        await anyio.sleep(3)  # their successors are on the wire

    assert len(outcomes.pending) == len(emulator.ledger) - 1


async def test_break_calls_off_creates_that_wait_for_a_slot() -> None:
    emulator = Emulator(duration=600, parallel=1)
    async with (
        Kling(KlingAI(KEY), transport=emulator.transport()) as kling,
        kling.map(boats(99)) as outcomes,
    ):
        reader = aiter(outcomes)
        with anyio.move_on_after(30):
            await anext(reader)

    assert len(emulator.ledger) == len(outcomes.pending) == 1
    assert anyio.current_time() < 60


async def test_left_tasks_are_asked_about_no_more() -> None:
    emulator = Emulator(duration=600)
    async with client(emulator) as kling:
        async with kling.map(boats(9)) as outcomes:
            with anyio.move_on_after(30):
                await anext(aiter(outcomes))
        asked = len(emulator.requests)
        await anyio.sleep(600)

    assert len(emulator.requests) == asked
    assert len(outcomes.pending) == 9


async def test_pending_tasks_can_be_resumed_in_the_same_client() -> None:
    async with client(Emulator(duration=60)) as kling:
        async with kling.map(boats(9)) as outcomes:
            with anyio.move_on_after(30):
                await anext(aiter(outcomes))
        tasks = [kling.task(token) for token in outcomes.pending]
        assert len([task async for task in kling.as_completed(tasks)]) == 9
        assert len(outcomes.pending) == 9  # not by these outcomes
        await anyio.sleep(1)


async def test_one_bad_request_is_an_outcome() -> None:
    source = cast("list[Text2Video]", [BOAT, Text2Video(prompt="x" * 9999), "boat", None, BOAT])
    async with client(Emulator(duration=10)) as kling:
        outcomes = {each.index: each async for each in kling.map(source)}

    assert [outcomes[index].ok for index in range(5)] == [True, False, False, False, True]
    assert isinstance(outcomes[1].error, RequestRefused)
    with pytest.raises(RequestRefused, match="str is no request"):
        outcomes[2].unwrap()


async def test_failures_are_outcomes_with_tokens() -> None:
    emulator = Emulator(duration=10)
    emulator.faults.add(Fault.FAIL, message="too dark")
    emulator.faults.add(Fault.CONTENT, on="create", after=2)
    async with client(emulator) as kling:
        outcomes = [each async for each in kling.map(boats(5), max_at_once=1, ordered=True)]

    assert [outcome.ok for outcome in outcomes].count(False) == 2
    assert isinstance(outcomes[0].error, TaskFailed)
    assert outcomes[0].token is not None


class Odd:
    """A result type that cannot read its own results."""

    @classmethod
    def from_state(cls, state: object, token: str | None = None) -> Odd:
        raise LookupError("odd")


async def test_result_that_cannot_be_read_is_an_outcome(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Text2Video, "result_type", Odd)
    async with client(Emulator(duration=10)) as kling:
        outcomes = [each async for each in kling.map([BOAT])]

    assert isinstance(outcomes[0].error, LookupError)
    assert outcomes[0].token is not None


@pytest.mark.parametrize("lazily", [True, False])
@pytest.mark.parametrize("kind", [ZeroDivisionError, SystemExit])
async def test_source_that_raises_is_told_after_all_it_gave(
    lazily: bool, kind: type[BaseException]
) -> None:
    def source() -> Iterator[Text2Video]:
        yield from boats(5)
        raise kind

    found: Counter[int] = Counter()
    requests: Any = asynchronously(source()) if lazily else source()
    async with client(Emulator(duration=20, latency=4)) as kling:
        with pytest.raises(kind):
            await consume(kling.map(requests), found)

    assert found == Counter(range(5))


async def test_source_that_waits_for_ever_can_be_left() -> None:
    closed: list[bool] = []

    async def source() -> AsyncIterator[Text2Video]:
        try:
            yield BOAT
            await anyio.sleep_forever()
        finally:
            closed.append(True)

    async with client(Emulator(duration=20)) as kling:
        async for outcome in kling.map(source()):
            assert outcome.ok
            break
        await anyio.sleep(1)
        assert closed == [True]


async def test_source_is_closed_and_may_take_its_time() -> None:
    closed: list[float] = []

    async def source() -> AsyncIterator[Text2Video]:
        try:
            while True:
                yield BOAT
        finally:
            await anyio.sleep(3)
            closed.append(anyio.current_time())

    async with (
        client(Emulator(duration=20)) as kling,
        kling.map(source(), max_at_once=1) as outcomes,
    ):
        await anext(aiter(outcomes))

    assert len(closed) == 1


async def test_source_that_fails_as_it_is_left_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def source() -> AsyncIterator[Text2Video]:
        try:
            while True:
                yield BOAT
        finally:
            raise LookupError("no way out")

    async with (
        client(Emulator(duration=20)) as kling,
        kling.map(source(), max_at_once=1) as outcomes,
    ):
        await anext(aiter(outcomes))

    assert "no way out" in caplog.text


class Stream:
    """An async iterable that is no generator."""

    def __init__(self, number: int) -> None:
        self._left = number

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> Text2Video:
        if not self._left:
            raise StopAsyncIteration
        self._left -= 1
        return BOAT


async def test_source_may_be_any_async_iterable() -> None:
    async with client(Emulator(duration=5)) as kling:
        assert len([each async for each in kling.map(Stream(4))]) == 4


async def test_nested_maps_end() -> None:
    async def again(outcomes: AsyncIterable[Found]) -> AsyncIterator[Any]:
        async for outcome in outcomes:
            yield outcome.request

    async with client(Emulator(duration=20)) as kling:
        inner = kling.map(boats(9), max_at_once=3)
        outer = [outcome async for outcome in kling.map(again(inner), max_at_once=2)]

    assert len(outer) == 9


async def test_leaving_the_outer_of_nested_maps_leaves_the_inner() -> None:
    async def again(outcomes: AsyncIterable[Found]) -> AsyncIterator[Any]:
        async for outcome in outcomes:
            yield outcome.request

    emulator = Emulator(duration=20)
    async with client(emulator) as kling:
        async for _ in kling.map(again(kling.map(boats(99), max_at_once=3)), max_at_once=2):
            break
        await anyio.sleep(1)
        bills = len(emulator.ledger)
        await anyio.sleep(100)

    assert len(emulator.ledger) == bills


async def test_one_reader_may_be_shared() -> None:
    found: Counter[int] = Counter()

    async with client(Emulator(duration=20)) as kling, anyio.create_task_group() as group:
        reader = aiter(kling.map(boats(20), max_at_once=4))
        for _ in range(3):
            group.start_soon(consume, reader, found)

    assert found == Counter(range(20))


async def test_second_loop_over_the_same_outcomes_is_refused() -> None:
    async with client(Emulator(duration=5)) as kling:
        outcomes = kling.map([BOAT])
        async for _ in outcomes:
            pass
        with pytest.raises(RuntimeError, match=r"each is handed out once"):
            aiter(outcomes)


async def test_cancelled_step_loses_no_outcome() -> None:
    async with client(Emulator(duration=20)) as kling:
        reader = aiter(kling.map(boats(3)))
        found: list[int] = []
        while len(found) < 3:
            with anyio.move_on_after(0.7):
                found.append((await anext(reader)).index)

    assert sorted(found) == [0, 1, 2]


async def test_cancelled_consumer_stops_the_submitting() -> None:
    emulator = Emulator(duration=20)

    async with client(emulator) as kling:
        outcomes = kling.map(boats(99), max_at_once=2)
        with anyio.move_on_after(70):
            await consume(outcomes, Counter())
        await anyio.sleep(1)
        bills = len(emulator.ledger)
        await anyio.sleep(100)

    assert len(emulator.ledger) == bills
    assert len(outcomes.pending) == 2


@pytest.mark.parametrize("busy", [True, False])
async def test_closed_client_ends_the_loop_with_the_tokens(busy: bool) -> None:
    """Neither a loop that waits nor one that is at work may take it for the natural end."""
    kling = client(Emulator(duration=20))
    outcomes = kling.map(boats(99), max_at_once=2)

    async def wait() -> None:
        with pytest.raises(ClientClosed) as caught:
            await consume(outcomes, Counter(), 100 if busy else 0)
        assert "\n".join(outcomes.pending) in caught.value.__notes__

    async with anyio.create_task_group() as group:
        group.start_soon(wait)
        await anyio.sleep(70)
        await kling.aclose()


async def test_closed_client_ends_gather_with_an_error() -> None:
    kling = client(Emulator(duration=20))

    async def gather() -> None:
        with pytest.raises(ClientClosed):
            await kling.gather(*boats(9), max_at_once=2)

    async with anyio.create_task_group() as group:
        group.start_soon(gather)
        await anyio.sleep(30)
        await kling.aclose()


async def test_closing_after_the_end_is_no_error() -> None:
    async with client(Emulator(duration=20)) as kling:
        outcomes = kling.map(boats(3))
        async with outcomes:
            found = [outcome async for outcome in outcomes]
        with pytest.raises(StopAsyncIteration):
            await outcomes.read()

    assert len(found) == 3
    assert outcomes.pending == []


async def test_reader_hears_of_it_when_the_feeder_is_cancelled(anyio_backend_name: str) -> None:
    """As by a program that cancels all its tasks in order to end."""
    if anyio_backend_name == "trio":
        pytest.skip("there tasks are cancelled by scopes, and nobody else has the feeder's")

    async def source() -> AsyncIterator[Text2Video]:
        yield BOAT
        await anyio.sleep_forever()

    async def cancel() -> None:
        await anyio.sleep(7)
        for task in asyncio.all_tasks():
            if "Background._run" in repr(task.get_coro()):
                task.cancel()

    async with client(Emulator(duration=20)) as kling, anyio.create_task_group() as group:
        group.start_soon(cancel)
        reader = aiter(kling.map(source()))
        assert isinstance((await anext(reader)).error, ClientClosed)  # so was the poller
        with pytest.raises(ClientClosed):
            await anext(reader)


async def test_map_of_a_closed_client_ends_at_once() -> None:
    kling = client(Emulator(duration=20))
    outcomes = kling.map(boats(3))
    await kling.aclose()
    with pytest.raises(ClientClosed):
        await anext(aiter(outcomes))


async def test_gather_keeps_the_order() -> None:
    emulator = Emulator(duration=by_prompt(100, 10))
    async with client(emulator) as kling:
        results = await kling.gather(*boats(4))
    ids = [entry.task_id for entry in emulator.ledger]

    assert sorted(result.task_id for result in results) == sorted(ids)
    assert emulator.tasks[results[0].task_id].body["prompt"] == "Boat 0"


async def test_gather_raises_when_all_have_ended() -> None:
    emulator = Emulator(duration=by_prompt(10, 100))
    emulator.faults.add(Fault.FAIL, message="too dark")
    async with client(emulator) as kling:
        with pytest.raises(TaskFailed, match="too dark"):
            await kling.gather(*boats(3), max_at_once=3)

    assert anyio.current_time() >= 100


async def test_as_completed_gives_tasks_as_they_end() -> None:
    async with client(Emulator(duration=by_prompt(100, 10))) as kling:
        tasks = [await kling.submit(request) for request in boats(3)]
        ended = [task async for task in kling.as_completed([*tasks, *tasks])]
        again = [task async for task in kling.as_completed(tasks)]

    assert ended[-1] is tasks[0]
    assert len(ended) == len(again) == 3


async def test_as_completed_gives_failures_too() -> None:
    emulator = Emulator(duration=10)
    emulator.faults.add(Fault.FAIL, message="too dark")
    async with client(emulator) as kling:
        tasks = [await kling.submit(request) for request in boats(2)]
        ended = [task async for task in kling.as_completed(tasks)]
        with pytest.raises(TaskFailed):
            await tasks[0]

    assert len(ended) == 2


async def test_left_as_completed_stops_the_asking() -> None:
    emulator = Emulator(duration=by_prompt(10, 600))
    async with client(emulator) as kling:
        tasks = [await kling.submit(request) for request in boats(5)]
        async for _ in kling.as_completed(tasks):
            break
        await anyio.sleep(1)
        asked = len(emulator.requests)
        await anyio.sleep(300)

    assert len(emulator.requests) == asked
    assert all(task.record.on_end == () for task in tasks)


async def test_as_completed_of_no_iterable_says_so() -> None:
    async with client(Emulator()) as kling:
        with pytest.raises(TypeError, match="iterable"):
            kling.as_completed(cast("list[Task[VideoResult]]", 7))


async def test_left_outcomes_are_freed(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with client(Emulator(duration=20)) as kling:
        outcomes = kling.map(boats(9), max_at_once=2)
        async for _ in outcomes:
            break
        await anyio.sleep(1)
        gone = ref(outcomes)
        del outcomes
        await anyio.sleep(100)
        gc.collect()

        assert gone() is None


async def test_memory_does_not_grow_with_the_source() -> None:
    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(at_once), max_at_once=20) as kling:
        reader = aiter(kling.map((BOAT for _ in range(300)), max_at_once=20))
        tracemalloc.start()
        _ = [each async for each in islice_async(reader, 150)]
        del _
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        async for _ in reader:
            pass
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert after - before < 50_000


async def islice_async(items: AsyncIterator[Found], number: int) -> AsyncIterator[Found]:
    for _ in islice(count(), number):
        yield await anext(items)


def at_once(request: httpx.Request) -> httpx.Response:
    """A server whose tasks have ended when they are created."""
    video = {"task_result": {"videos": [{"url": "https://f.test/0"}]}}
    task = {"task_id": str(next(IDS)), "task_status": "succeed", **video}
    return httpx.Response(200, json={"code": 0, "data": task})


IDS = count()
