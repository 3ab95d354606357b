"""Tasks in progress stay within the account's limit, and no refusal for it reaches the user."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async import (
    ClientClosed,
    CometAPI,
    ConfigurationError,
    ContentRejected,
    Gateway,
    Image2Video,
    Kling,
    KlingAI,
    MediaError,
    Provider,
    RequestRefused,
    SubmissionUnknown,
    TaskFailed,
    Text2Video,
)
from kling_async._events import Event, RetryScheduled, SlotsChanged
from kling_async.emulator import Emulator, Fault

KEY = "one-key-one-account-0123456789"
BOAT = Text2Video(prompt="A paper boat")
GATEWAY_BOAT = Text2Video(
    model_name="kling-v2-6", prompt="A boat", mode="pro", duration=5, multi_shot=False
)
V1, V2 = "kling-v1", "kling-v2-6"
PROVIDERS: list[tuple[Provider, Text2Video]] = [
    (KlingAI(KEY), BOAT),
    (CometAPI(KEY), BOAT),
    *(
        (Gateway(f"https://gate.test/gateway/{name}", KEY), GATEWAY_BOAT)
        for name in ("passthrough", "newapi", "crazyrouter")
    ),
]


def official(
    emulator: Emulator, *, limit: int | None = None, events: list[Event] | None = None
) -> Kling:
    hooks = [] if events is None else [events.append]
    transport = emulator.transport()
    return Kling(KlingAI(KEY), transport=transport, max_at_once=limit, hooks=hooks)


def creates(emulator: Emulator) -> int:
    return sum(seen.method == "POST" for seen in emulator.requests)


def most_at_once(emulator: Emulator, model: str | None = None) -> int:
    """The most tasks that were ever in progress together."""
    jobs = [job for job in emulator.tasks.values() if model in (None, job.order.model)]
    spans = [(job.created, job.created + job.duration) for job in jobs]
    return max(sum(begin <= at < end for begin, end in spans) for at, _ in spans)


def final(events: list[Event]) -> tuple[int, int]:
    """Slots taken and queued for, as told last."""
    last = [event for event in events if isinstance(event, SlotsChanged)][-1]
    return last.running, last.queued


# Nothing of the limit reaches the user.


@pytest.mark.parametrize(("provider", "request_"), PROVIDERS)
async def test_refusal_for_the_limit_never_reaches_the_user(
    provider: Provider, request_: Text2Video
) -> None:
    emulator = Emulator(parallel=3, duration=60)
    async with Kling(provider, transport=emulator.transport()) as kling:
        videos = await kling.gather(*[request_] * 12)

    assert len({video.task_id for video in videos}) == len(emulator.ledger) == 12
    assert creates(emulator) > 12


async def test_refusal_is_told_to_the_hooks() -> None:
    emulator, events = Emulator(), list[Event]()
    emulator.faults.add(Fault.PARALLEL)
    async with official(emulator, events=events) as kling:
        await kling.submit(BOAT)
    told = [event for event in events if isinstance(event, RetryScheduled)]

    assert [(event.what, type(event.error).__name__) for event in told] == [
        ("create", "ParallelLimit")
    ]


async def test_learned_limit_is_told_to_the_hooks() -> None:
    emulator, events = Emulator(parallel=3), list[Event]()
    async with official(emulator, events=events) as kling:
        await kling.gather(*[BOAT] * 9)
    limits = [event.limit for event in events if isinstance(event, SlotsChanged)]

    assert limits[0] is None
    assert 3 in limits


async def test_full_account_is_waited_for() -> None:
    """All slots are taken by somebody else, who is done after a while."""
    emulator = Emulator(parallel=2, duration=300)
    async with official(emulator) as other, official(emulator) as kling:
        for _ in range(2):
            await other.submit(BOAT)
        await kling.submit(BOAT)

    assert 300 <= anyio.current_time() < 370


# The limit is kept.


async def _read(kling: Kling, count: int) -> list[bool]:
    return [outcome.ok async for outcome in kling.map([BOAT] * count)]


async def _each(call: Callable[[Text2Video], Coroutine[Any, Any, object]], count: int) -> None:
    async with anyio.create_task_group() as group:
        for _ in range(count):
            group.start_soon(call, BOAT)


WAYS: dict[str, Callable[[Kling], Awaitable[object]]] = {
    "submit": lambda kling: _each(kling.submit, 9),
    "run": lambda kling: _each(kling.run, 9),
    "map": lambda kling: _read(kling, 9),
    "gather": lambda kling: kling.gather(*[BOAT] * 9),
}


@pytest.mark.parametrize("limit", [1, 3])
@pytest.mark.parametrize("way", WAYS)
async def test_limit_that_was_given_is_never_exceeded(way: str, limit: int) -> None:
    emulator = Emulator(latency=1)
    async with official(emulator, limit=limit) as kling:
        await WAYS[way](kling)

    assert creates(emulator) == len(emulator.ledger) == 9
    assert most_at_once(emulator) == limit


@pytest.mark.parametrize("limit", [None, 4])
async def test_map_with_a_limit_of_its_own_keeps_to_it(limit: int | None) -> None:
    emulator = Emulator(latency=1)
    async with official(emulator, limit=limit) as kling:
        async for _ in kling.map([BOAT] * 9, max_at_once=2):
            pass
        await kling.gather(*[BOAT] * 9, max_at_once=2)

    assert len(emulator.ledger) == 18
    assert most_at_once(emulator) == 2


async def test_map_and_submit_share_the_slots() -> None:
    emulator = Emulator(latency=1)
    async with official(emulator, limit=4) as kling, anyio.create_task_group() as group:
        group.start_soon(_read, kling, 9)
        for _ in range(9):
            group.start_soon(kling.submit, BOAT)

    assert len(emulator.ledger) == 18
    assert most_at_once(emulator) == 4


async def test_full_model_holds_up_no_other() -> None:
    emulator = Emulator(duration=500)
    async with official(emulator, limit=1) as kling:
        await kling.text2video.submit(prompt="A boat", model_name=V1)
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: kling.text2video.submit(prompt="A boat", model_name=V1))
            await anyio.sleep(1)
            await kling.text2video.submit(prompt="A boat", model_name=V2)
            assert anyio.current_time() == 1

    assert most_at_once(emulator, V1) == most_at_once(emulator, V2) == 1


async def test_other_endpoint_of_the_model_shares_its_slots() -> None:
    emulator = Emulator(duration=500)
    async with official(emulator, limit=1) as kling:
        await kling.text2video.submit(prompt="A boat", model_name=V1)
        await kling.image2video.submit(image="https://a.test/a.png", model_name=V1)

    assert anyio.current_time() >= 500


# Ends are noticed, though nobody waits for them.


async def test_running_tasks_are_looked_after_while_others_queue() -> None:
    emulator = Emulator(duration=100)
    async with official(emulator, limit=2) as kling:
        for _ in range(6):
            await kling.submit(BOAT)

    assert len(emulator.ledger) == 6
    assert 200 <= anyio.current_time() <= 220


async def test_nobody_is_asked_when_the_queue_is_empty() -> None:
    emulator = Emulator(duration=100)
    async with official(emulator, limit=2) as kling:
        for _ in range(4):
            await kling.submit(BOAT)
        asked = len(emulator.requests)
        await anyio.sleep(500)

    assert asked > 4
    assert len(emulator.requests) == asked


async def test_asking_stops_when_the_waiters_give_up() -> None:
    emulator = Emulator(duration=1000)
    async with official(emulator, limit=1) as kling:
        await kling.submit(BOAT)
        with anyio.move_on_after(100):
            await kling.submit(BOAT)
        asked = len(emulator.requests)
        await anyio.sleep(500)

    assert asked > 5
    assert len(emulator.requests) == asked


async def test_waiting_for_a_task_goes_on_when_the_queue_is_empty() -> None:
    emulator = Emulator(duration=1000)
    async with official(emulator, limit=1) as kling:
        task = await kling.submit(BOAT)
        with anyio.move_on_after(100):
            await kling.submit(BOAT)
        video = await task

    assert video.task_id == task.id


async def test_refreshing_by_hand_frees_the_slot() -> None:
    emulator, events = Emulator(duration=100), list[Event]()
    async with official(emulator, limit=1, events=events) as kling:
        task = await kling.submit(BOAT)
        await anyio.sleep(150)
        await task.refresh()

    assert final(events) == (0, 0)


# Whoever leaves takes nothing along.


async def test_cancelled_waiter_frees_its_place() -> None:
    emulator, events = Emulator(duration=100), list[Event]()
    async with official(emulator, limit=1, events=events) as kling:
        await kling.submit(BOAT)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(kling.submit, BOAT)
            await anyio.sleep(50)
            group.cancel_scope.cancel()
        await kling.submit(BOAT)

    assert len(emulator.ledger) == 2
    assert final(events) == (1, 0)
    assert anyio.current_time() < 120


async def test_waiter_cancelled_as_its_turn_comes_frees_its_slot() -> None:
    emulator, events = Emulator(duration=100), list[Event]()
    async with official(emulator, limit=1, events=events) as kling:
        task = await kling.submit(BOAT)
        async with anyio.create_task_group() as group:
            group.start_soon(kling.submit, BOAT)
            await anyio.sleep(100)
            await task.refresh()
            group.cancel_scope.cancel()

    assert final(events) == (0, 0)
    assert len(emulator.ledger) == 1


async def test_create_cancelled_on_the_wire_frees_its_slot() -> None:
    emulator, events = Emulator(latency=1000), list[Event]()
    async with official(emulator, limit=1, events=events) as kling:
        with anyio.move_on_after(5):
            await kling.submit(BOAT)

    assert final(events) == (0, 0)


@pytest.mark.parametrize("message", ["the picture has no face", ""])
async def test_failed_task_frees_its_slot(message: str) -> None:
    emulator, events = Emulator(duration=100), list[Event]()
    emulator.faults.add(Fault.FAIL, message=message)
    async with official(emulator, limit=1, events=events) as kling:
        with pytest.raises(TaskFailed):
            await kling.run(BOAT)

    assert final(events) == (0, 0)


async def test_refused_create_frees_its_slot() -> None:
    emulator, events = Emulator(), list[Event]()
    emulator.faults.add(Fault.CONTENT)
    async with official(emulator, limit=1, events=events) as kling:
        with pytest.raises(ContentRejected):
            await kling.submit(BOAT)

    assert final(events) == (0, 0)


async def test_lost_create_frees_its_slot() -> None:
    emulator, events = Emulator(), list[Event]()
    emulator.faults.add(Fault.LOST_ANSWER)
    gateway, transport = Gateway("https://gate.test", KEY), emulator.transport()
    kling = Kling(gateway, transport=transport, max_at_once=1, hooks=[events.append])
    async with kling:
        with pytest.raises(SubmissionUnknown):
            await kling.submit(GATEWAY_BOAT)

    assert final(events) == (0, 0)


async def test_bad_media_frees_its_slot(tmp_path: Path) -> None:
    emulator, events = Emulator(), list[Event]()
    (tmp_path / "cat.png").write_bytes(b"no picture")
    async with official(emulator, limit=1, events=events) as kling:
        with pytest.raises(MediaError):
            await kling.submit(Image2Video(image=tmp_path / "cat.png"))

    assert final(events) == (0, 0)


async def test_refused_request_takes_no_slot() -> None:
    emulator, events = Emulator(), list[Event]()
    async with official(emulator, limit=1, events=events) as kling:
        with pytest.raises(RequestRefused):
            await kling.submit(Text2Video(prompt="x" * 9999))
        assert events == []


@pytest.mark.filterwarnings("ignore::kling_async.KlingWarning")  # of states it made up
@pytest.mark.parametrize("seed", range(3))
async def test_no_slot_is_lost_in_chaos(seed: int) -> None:
    emulator, events = Emulator(seed=seed, chaos=0.2, parallel=4), list[Event]()
    async with official(emulator, events=events) as kling:
        async for _ in kling.map([BOAT] * 20):
            pass

    assert final(events) == (0, 0)


# Resumed tasks.


async def test_resumed_task_takes_a_slot_and_frees_it() -> None:
    emulator, events = Emulator(duration=100), list[Event]()
    async with official(emulator) as first:
        token = (await first.submit(BOAT)).token
    async with official(emulator, limit=1, events=events) as kling:
        task = kling.task(token)
        taken = final(events)
        await kling.submit(BOAT)

    assert taken == (1, 0)
    assert task.state.status.is_terminal
    assert 100 <= anyio.current_time() < 110


async def test_resumed_task_that_has_ended_holds_nobody_up() -> None:
    emulator = Emulator(duration=100)
    async with official(emulator) as first:
        token = (await first.submit(BOAT)).token
    await anyio.sleep(200)
    async with official(emulator, limit=1) as kling:
        kling.task(token)
        await kling.submit(BOAT)

    assert anyio.current_time() < 201


async def test_task_taken_up_twice_takes_one_slot() -> None:
    emulator, events = Emulator(duration=100), list[Event]()
    async with official(emulator, events=events) as kling:
        task = await kling.submit(BOAT)
        kling.task(task.token)
        taken = final(events)
        await task

    assert (taken, final(events)) == ((1, 0), (0, 0))


# Pauses.


async def test_retry_after_pauses_all_creates() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.RATE, retry_after=30)
    async with official(emulator) as kling:
        with anyio.move_on_after(1):
            await kling.submit(BOAT)
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(kling.submit, BOAT)
    late = [seen.at for seen in emulator.requests][1:]

    assert len(late) == 5
    assert all(30 <= at <= 32 for at in late)


async def test_rate_limit_holds_creates_back_and_loses_none() -> None:
    emulator = Emulator(rate=2)
    async with official(emulator) as kling, anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(kling.submit, BOAT)

    assert len(emulator.ledger) == 20


async def test_creates_that_come_too_fast_are_spaced_out() -> None:
    emulator = Emulator(rate=1, duration=20)
    async with official(emulator) as kling, anyio.create_task_group() as group:
        for _ in range(200):
            group.start_soon(kling.submit, BOAT)
    creates = sum(seen.method == "POST" for seen in emulator.requests)

    assert len(emulator.ledger) == 200
    assert creates < 300


# Closing.


async def _fails(wait: Awaitable[object], kind: type[Exception]) -> None:
    with pytest.raises(kind, match="closed"):
        await wait


@pytest.mark.parametrize("waiters", [1, 5])
async def test_closing_ends_waiters_with_an_error(waiters: int) -> None:
    emulator = Emulator(duration=500)
    kling = official(emulator, limit=1)
    await kling.submit(BOAT)
    async with anyio.create_task_group() as group:
        for _ in range(waiters):
            group.start_soon(_fails, kling.submit(BOAT), ConfigurationError)
        await anyio.sleep(50)
        await kling.aclose()

    assert (len(emulator.ledger), anyio.current_time()) == (1, 50)


async def test_closing_ends_a_pause() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.RATE, retry_after=100)
    kling = official(emulator)
    async with anyio.create_task_group() as group:
        with anyio.move_on_after(1):
            await kling.submit(BOAT)
        group.start_soon(_fails, kling.submit(BOAT), ConfigurationError)
        await anyio.sleep(49)
        await kling.aclose()

    assert (len(emulator.ledger), anyio.current_time()) == (0, 50)


async def test_closing_creates_nothing_in_the_slots_it_frees() -> None:
    emulator = Emulator(duration=500)
    kling = official(emulator, limit=1)
    task = await kling.submit(BOAT)
    async with anyio.create_task_group() as group:
        group.start_soon(_fails, task, ClientClosed)
        group.start_soon(_fails, kling.submit(BOAT), ConfigurationError)
        await anyio.sleep(50)
        await kling.aclose()

    assert len(emulator.ledger) == 1


async def test_closing_does_not_wait_for_a_map_that_waits_for_slots() -> None:
    emulator = Emulator(parallel=2, duration=500)
    kling = official(emulator)
    outcomes = kling.map([BOAT] * 20)
    with anyio.move_on_after(50):
        await anext(aiter(outcomes))
    await kling.aclose()

    assert len(emulator.ledger) == 2
    assert anyio.current_time() == 50


# The figures.


async def test_most_slots_are_filled_and_few_creates_refused() -> None:
    emulator, tasks = Emulator(parallel=20, seed=1, latency=0.3), 200
    async with official(emulator) as kling:
        results = await _read(kling, tasks)
    jobs = list(emulator.tasks.values())
    spans = [(job.created, job.created + job.duration) for job in jobs]
    last = max(job.created for job in jobs)
    middle = [last * part / 100 for part in range(25, 75)]
    running = [sum(begin <= at < end for begin, end in spans) for at in middle]

    assert all(results)
    assert sum(running) / len(running) >= 0.95 * 20
    assert creates(emulator) - tasks <= 0.05 * creates(emulator)
