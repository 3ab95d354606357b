"""The poller asks for whoever waits, survives what passes, and hides no error."""

from __future__ import annotations

import gc
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

import anyio
import httpx
import pytest

from kling_async import (
    AuthenticationError,
    ClientClosed,
    Event,
    Kling,
    KlingAI,
    KlingError,
    Polling,
    RetryScheduled,
    Task,
    TaskError,
    TaskPolled,
    TaskStatus,
    TaskTimeout,
    Text2Video,
    VideoResult,
)
from kling_async._job import Job
from kling_async.emulator import Emulator, Fault
from tests.known_server import KnownCometAPI

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A boat")
TOKEN = "klingai/text2video/7"
Boats = list[Task[VideoResult]]


def single(emulator: Emulator, polling: Polling | None = None) -> Kling:
    """A client whose server has no lists."""
    return Kling(KnownCometAPI(KEY), transport=emulator.transport(), polling=polling)


def official(emulator: Emulator, polling: Polling | None = None) -> Kling:
    return Kling(KlingAI(KEY), transport=emulator.transport(), polling=polling)


def answering(answer: Callable[[int], Any], **options: Any) -> Kling:
    """A client that is told what *answer* says to the nth question, or what it raises."""
    count = iter(range(1_000_000))

    def handle(request: httpx.Request) -> httpx.Response:
        told = answer(next(count))
        return httpx.Response(200, json={"code": 0, "data": {"task_id": "7", **told}})

    return Kling(KlingAI(KEY), transport=httpx.MockTransport(handle), **options)


def ends_at(number: int) -> Callable[[int], dict[str, object]]:
    video = {"task_result": {"videos": [{"url": "https://f.test/0"}]}}
    return lambda n: {"task_status": "succeed", **video} if n >= number else {"task_status": "run"}


async def submitted(kling: Kling, number: int) -> Boats:
    return [await kling.submit(BOAT) for _ in range(number)]


def polls(emulator: Emulator) -> list[float]:
    return [seen.at for seen in emulator.requests if seen.method == "GET"]


@pytest.mark.parametrize("make", [KlingAI, KnownCometAPI])
async def test_every_result_arrives_though_a_third_of_the_polls_fail(make: type[KlingAI]) -> None:
    emulator, number = Emulator(duration=lambda random, _: random.uniform(5, 60)), 200
    async with Kling(make(KEY), transport=emulator.transport(), max_at_once=number) as kling:
        tasks = await submitted(kling, number)
        emulator.faults.chaos = 0.3
        results = [await task async for task in kling.as_completed(tasks)]

    assert {result.task_id for result in results} == set(emulator.tasks)
    assert len({fault for fault, _ in emulator.faults.struck}) >= 12


async def test_questions_at_once_are_bounded() -> None:
    under_way, most = 0, 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal under_way, most
        under_way, most = under_way + 1, max(most, under_way + 1)
        await anyio.sleep(1)
        under_way -= 1
        task_id = request.url.path.rpartition("/")[2]
        task = {"task_id": task_id, **ends_at(0)(0)}
        return httpx.Response(200, json={"code": 0, "data": task})

    transport, polling = httpx.MockTransport(answer), Polling(max_polls_at_once=3, sweeps=False)
    async with Kling(KlingAI(KEY), transport=transport, polling=polling) as kling:
        tasks = [kling.task(f"klingai/text2video/{number}") for number in range(12)]
        assert len([task async for task in kling.as_completed(tasks)]) == 12

    assert most == 3
    assert anyio.current_time() == pytest.approx(4)


async def test_success_without_its_file_is_counted_on_pages_too() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if not request.url.query:
            task = {"task_id": request.url.path.rpartition("/")[2], "task_status": "processing"}
            return httpx.Response(200, json={"code": 0, "data": task})
        page = [{"task_id": str(number), "task_status": "succeed"} for number in range(40)]
        return httpx.Response(200, json={"code": 0, "data": page})

    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(answer)) as kling:
        tasks = [kling.task(f"klingai/text2video/{number}") for number in range(40)]
        with anyio.move_on_after(60):
            assert len([task async for task in kling.as_completed(tasks)]) == 40
        with pytest.raises(TaskError, match="no file"):
            await tasks[0]

    assert anyio.current_time() < 60


async def first_of(tasks: AsyncIterator[Task[VideoResult]]) -> None:
    await anext(tasks)


async def test_no_asyncio_task_per_waited_task(anyio_backend_name: str) -> None:
    emulator = Emulator(duration=60)
    async with single(emulator) as kling:
        tasks = await submitted(kling, 50)
        ended = kling.as_completed(tasks)
        async with anyio.create_task_group() as group:
            group.start_soon(first_of, ended)
            await anyio.sleep(1)
            assert len(anyio.get_running_tasks()) < 10
            group.cancel_scope.cancel()
        del ended
        await anyio.sleep(1)


async def test_nobody_waits_so_nothing_is_asked() -> None:
    emulator = Emulator(duration=60)
    async with single(emulator) as kling:
        task = await kling.submit(BOAT)
        await anyio.sleep(30)
        assert polls(emulator) == []
        with anyio.move_on_after(12):
            await task
        asked = len(polls(emulator))
        await anyio.sleep(300)

    assert asked > 0
    assert len(polls(emulator)) == asked


async def test_question_for_nobody_is_broken_off() -> None:
    emulator = Emulator(duration=60)
    kling = single(emulator)  # never closed: nothing of it may go on
    task = await kling.submit(BOAT)
    emulator.faults.add(Fault.STALL, on="query", times=99)
    with anyio.move_on_after(12):
        await task
    await anyio.sleep(0.1)

    assert emulator.faults.struck
    assert all("_work" not in str(task.name) for task in anyio.get_running_tasks())


async def test_wait_goes_on_after_a_question_was_broken_off() -> None:
    emulator = Emulator(duration=60)
    async with single(emulator, Polling(max_polls_at_once=1)) as kling:
        task = await kling.submit(BOAT)
        for _ in range(3):
            emulator.faults.add(Fault.STALL, on="query")
            with anyio.move_on_after(12):
                await task
        emulator.faults.clear()
        video = await task

    assert video.task_id == task.id


async def test_answer_after_the_last_waiter_left_is_still_learned() -> None:
    emulator = Emulator(duration=4, latency=2)
    async with single(emulator) as kling:
        task, other = await submitted(kling, 2)
        with anyio.move_on_after(100) as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(other.result)
                with anyio.move_on_after(5.9 - anyio.current_time() + 2):
                    await task
        assert not scope.cancelled_caught

    assert other.state.status is TaskStatus.SUCCEEDED


async def test_abandoned_updates_stop_the_asking() -> None:
    emulator = Emulator(duration=600)
    async with single(emulator) as kling:
        task = await kling.submit(BOAT)
        async for _ in task.updates():
            break
        async with aclosing(task.updates()) as updates:
            await anext(updates)
            await updates.aclose()
        await anyio.sleep(600)

    assert polls(emulator) == []
    assert task.endpoint == "text2video"


async def test_many_watched_tasks_are_asked_about_by_one_waking(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("kling_async._poller._MANY", 20)
    emulator = Emulator(duration=7)
    async with single(emulator, Polling(max_polls_at_once=50)) as kling:
        tasks = await submitted(kling, 100)
        assert len([task async for task in kling.as_completed(tasks)]) == 100

    assert all(moment == pytest.approx(round(moment, 2)) for moment in polls(emulator)[:50])


async def test_garbage_collected_waiter_stops_the_asking() -> None:
    emulator = Emulator(duration=600)
    async with single(emulator) as kling:
        task = await kling.submit(BOAT)
        updates = aiter(task.updates())
        await anext(updates)
        cycle: list[object] = [updates]
        cycle.append(cycle)
        del updates, cycle
        await anyio.to_thread.run_sync(gc.collect)  # in any thread
        await anyio.sleep(600)

    assert polls(emulator) == []


async def test_updates_go_on_after_a_cancelled_step() -> None:
    async with single(Emulator(duration=60)) as kling:
        task = await kling.submit(BOAT)
        updates = aiter(task.updates())
        assert (await anext(updates)).status is TaskStatus.SUBMITTED
        for _ in range(3):
            with anyio.move_on_after(1):
                await anext(updates)
        seen = [state.status async for state in updates]

    assert seen == ["processing", "succeed"]


async def test_waiters_come_and_go_while_a_question_is_under_way() -> None:
    emulator = Emulator(duration=60, latency=3)
    results: list[VideoResult] = []

    async def wait(task: Task[VideoResult], begin: float, seconds: float | None) -> None:
        await anyio.sleep(begin)
        with anyio.move_on_after(seconds):
            results.append(await task)

    async with single(emulator) as kling:
        task = await kling.submit(BOAT)
        async with anyio.create_task_group() as group:
            for tenth in range(100):
                group.start_soon(wait, task, tenth / 10, None if tenth == 57 else 0.35)

    assert len(results) == 1


async def test_task_is_awaited_a_thousand_times_at_once() -> None:
    emulator = Emulator(duration=58)
    async with single(emulator) as kling:
        task = await kling.submit(BOAT)
        async with anyio.create_task_group() as group:
            for _ in range(1000):
                group.start_soon(task.result)

    assert len(polls(emulator)) <= 12


async def test_last_look_is_shared() -> None:
    emulator = Emulator(duration=600)
    failed: list[TaskTimeout] = []

    async def wait(task: Task[VideoResult]) -> None:
        with pytest.raises(TaskTimeout) as caught:
            await task.result(timeout=3)
        failed.append(caught.value)

    async with single(emulator) as kling:
        task = await kling.submit(BOAT)
        async with anyio.create_task_group() as group:
            for _ in range(100):
                group.start_soon(wait, task)

    assert polls(emulator) == [3]
    assert len(failed) == 100


async def test_last_look_outlives_the_waiter_who_began_it() -> None:
    emulator = Emulator(duration=600, latency=2)
    async with single(emulator) as kling:
        task = await kling.submit(BOAT)

        async def wait(timeout: float, patience: float) -> None:
            with anyio.move_on_after(patience), pytest.raises(TaskTimeout):
                await task.result(timeout=timeout)

        async with anyio.create_task_group() as group:
            group.start_soon(wait, 1, 2)
            group.start_soon(wait, 1.5, 99)
            group.start_soon(wait, 1.5, 99)

    assert len(polls(emulator)) == 2


async def test_failed_last_look_is_not_repeated_by_each() -> None:
    emulator = Emulator(duration=600, latency=1)
    causes: list[BaseException | None] = []

    async def wait(task: Task[VideoResult]) -> None:
        with pytest.raises(TaskTimeout) as caught:
            await task.result(timeout=3)
        causes.append(caught.value.__cause__)

    async with single(emulator) as kling:
        task = await kling.submit(BOAT)
        emulator.faults.add(Fault.HTML, on="query", times=99)
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(wait, task)

    assert len(polls(emulator)) == 1
    assert all(isinstance(cause, KlingError) for cause in causes)


async def test_closing_in_the_middle_of_a_sweep_ends_every_wait() -> None:
    emulator = Emulator(duration=600)
    ended: list[str | None] = []

    async def wait(task: Task[VideoResult]) -> None:
        with pytest.raises(ClientClosed) as caught:
            await task
        assert any(task.token in note for note in caught.value.__notes__)
        ended.append(caught.value.token)

    kling = official(emulator)
    tasks = await submitted(kling, 50)
    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(wait, task)
        await anyio.sleep(1)
        emulator.faults.add(Fault.STALL, on="list", times=99)
        await anyio.sleep(20)
        await kling.aclose()
        await kling.aclose()

    assert sorted(map(str, ended)) == sorted(task.token for task in tasks)
    assert (Fault.STALL, "list") in emulator.faults.struck


async def test_wait_begun_after_closing_ends_at_once() -> None:
    kling = single(Emulator(duration=60))
    task = await kling.submit(BOAT)
    await kling.aclose()
    now = anyio.current_time()
    for _ in range(3):
        with pytest.raises(ClientClosed, match="closed"):
            await task

    assert anyio.current_time() == now


async def test_passing_error_of_a_strange_transport_passes() -> None:
    def answer(n: int) -> object:
        if n < 3:
            raise ConnectionResetError("by the peer")
        return ends_at(5)(n)

    async with answering(answer) as kling:
        video = await kling.task(TOKEN)

    assert video.url == "https://f.test/0"


async def test_unforeseen_error_that_passes_is_logged_and_survived(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(n: int) -> object:
        if n == 1:
            raise ZeroDivisionError("in the transport")
        return ends_at(3)(n)

    async with answering(answer) as kling:
        await kling.task(TOKEN)

    assert "unforeseen" in caplog.text
    assert "in the transport" in caplog.text


class Picky(Exception):
    """One that cannot be copied."""

    def __init__(self, one: int, two: int) -> None:
        super().__init__("picky")


@pytest.mark.parametrize("error", [ZeroDivisionError("always"), Picky(1, 2)])
async def test_unforeseen_error_that_lasts_reaches_every_waiter(error: Exception) -> None:
    def answer(n: int) -> object:
        raise error

    raised: list[BaseException] = []

    async def wait(task: Task[Any]) -> None:
        with pytest.raises(type(error)) as caught:
            await task
        raised.append(caught.value)

    async with answering(answer) as kling, anyio.create_task_group() as group:
        for _ in range(5):
            group.start_soon(wait, kling.task(TOKEN))

    assert len(raised) == 5
    assert all(len(each.__notes__) == 1 and TOKEN in each.__notes__[0] for each in raised)
    assert 60 <= anyio.current_time() < 150


async def test_defect_of_the_poller_reaches_the_waiters(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with single(Emulator(duration=60)) as kling:
        tasks = await submitted(kling, 3)

        def fail(job: Job, now: float, *, ended: bool) -> None:
            raise LookupError("a defect")

        with monkeypatch.context() as patch:
            patch.setattr(kling._poller._schedule, "answered", fail)
            patch.setattr(kling._poller._schedule, "failed", fail)
            async with anyio.create_task_group() as group:
                for task in tasks:
                    group.start_soon(wait_for, TypeError, task)
        assert "asking about tasks failed" in caplog.text


async def wait_for(kind: type[Exception], task: Task[Any]) -> None:
    with pytest.raises(kind):
        await task


async def test_wait_can_be_begun_again_after_an_error() -> None:
    emulator = Emulator(duration=60)
    async with single(emulator) as kling:
        task = await kling.submit(BOAT)
        emulator.faults.add(Fault.UNAUTHORIZED, on="query")
        with pytest.raises(AuthenticationError):
            await task
        video = await task

    assert video.task_id == task.id


async def test_result_learned_after_an_error_counts() -> None:
    emulator = Emulator(duration=60)
    async with single(emulator) as kling:
        task = await kling.submit(BOAT)
        emulator.faults.add(Fault.UNAUTHORIZED, on="query")
        with pytest.raises(AuthenticationError):
            await task
        with pytest.raises(AuthenticationError):
            task.result_now()
        await anyio.sleep(60)
        await task.refresh()

    assert task.result_now().task_id == task.id


async def test_unfinished_task_has_no_result_yet() -> None:
    async with single(Emulator(duration=60)) as kling:
        task = await kling.submit(BOAT)
        with pytest.raises(KlingError, match="still submitted"):
            task.result_now()


async def test_states_on_a_page_reach_tasks_nobody_waits_for() -> None:
    emulator = Emulator(duration=20)
    async with official(emulator) as kling:
        bystander, *tasks = await submitted(kling, 40)
        async for _ in kling.as_completed(tasks):
            pass

    assert bystander.state.status is TaskStatus.SUCCEEDED


@pytest.mark.parametrize("fault", [Fault.POLICY, Fault.UNAUTHORIZED])
async def test_list_that_is_refused_is_not_asked_for_again(fault: Fault) -> None:
    events: list[Event] = []
    emulator = Emulator(duration=60)
    emulator.faults.add(fault, on="list", times=99)
    transport = emulator.transport()
    async with Kling(KlingAI(KEY), transport=transport, hooks=[events.append]) as kling:
        await kling.gather(*[BOAT] * 40)

    assert Counter(on for _, on in emulator.faults.struck)["list"] == 1
    assert not any(event.on_page for event in events if isinstance(event, TaskPolled))


async def test_page_that_is_lost_is_read_again() -> None:
    events: list[Event] = []
    emulator = Emulator(duration=60)
    emulator.faults.add(Fault.RESET, on="list")
    transport = emulator.transport()
    async with Kling(KlingAI(KEY), transport=transport, hooks=[events.append]) as kling:
        await kling.gather(*[BOAT] * 40)

    assert [event.what for event in events if isinstance(event, RetryScheduled)] == ["page"]
    assert any(event.on_page for event in events if isinstance(event, TaskPolled))


async def test_server_that_is_overloaded_pauses_all_questions() -> None:
    emulator = Emulator(duration=60)
    async with single(emulator) as kling:
        tasks = await submitted(kling, 20)
        emulator.faults.add(Fault.RATE, on="query", retry_after=40)
        async for _ in kling.as_completed(tasks):
            pass
    asked = polls(emulator)

    assert max(later - earlier for earlier, later in zip(asked, asked[1:], strict=False)) >= 40


async def test_task_that_had_ended_when_created_keeps_no_slot() -> None:
    def handle(request: httpx.Request) -> httpx.Response:
        task = {"task_id": str(id(request)), **ends_at(0)(0)}
        return httpx.Response(200, json={"code": 0, "data": task})

    transport = httpx.MockTransport(handle)
    async with Kling(KnownCometAPI(KEY), transport=transport, max_at_once=1) as kling:
        for _ in range(3):
            await kling.run(BOAT)

    assert anyio.current_time() < 1


async def test_two_creates_of_one_task_both_hear_of_its_end() -> None:
    async with official(Emulator(duration=60)) as kling:
        request = Text2Video(prompt="A boat", external_task_id="one")
        first, second = await kling.submit(request), await kling.submit(request)
        results = [await task async for task in kling.as_completed([first, second])]
        async with aclosing(kling.map([BOAT] * 30)) as outcomes:
            assert len([each async for each in outcomes]) == 30

    assert first.id == second.id
    assert len(results) == 2
