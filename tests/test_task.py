"""A wait ends with the task, at its deadline or at an error that will not pass, and at no other."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from contextlib import aclosing

import anyio
import httpx
import pytest

from kling_async import (
    AuthenticationError,
    CometAPI,
    ConfigurationError,
    Gateway,
    InvalidRequest,
    Kling,
    KlingAI,
    KlingError,
    Polling,
    RateLimited,
    Task,
    TaskError,
    TaskFailed,
    TaskNotFound,
    TaskStatus,
    TaskTimeout,
    Text2Video,
    TransportError,
    VideoResult,
)
from kling_async.emulator import Emulator, Fault

KEY = "a-secret-key-0123456789"
GATEWAY_BOAT = Text2Video(
    model_name="kling-v2-6", prompt="A boat", mode="pro", duration=5, multi_shot=False
)
TRANSIENT = [
    Fault.LOST_BEFORE,
    Fault.RESET,
    Fault.TRUNCATED,
    Fault.STALL,
    Fault.HTML,
    Fault.SERVER_ERROR,
    Fault.BUSY,
    Fault.GATEWAY_TIMEOUT,
    Fault.RATE,
    Fault.EMPTY,
    Fault.GARBAGE,
    Fault.NOT_FOUND,
]


def official(emulator: Emulator, polling: Polling | None = None) -> Kling:
    return Kling(KlingAI(KEY), transport=emulator.transport(), polling=polling)


def scripted(*tasks: dict[str, object], polling: Polling | None = None) -> Kling:
    """A client whose server tells these states of task 7 in turn, the last one for ever."""
    left = list(tasks)

    def answer(request: httpx.Request) -> httpx.Response:
        task = left.pop(0) if len(left) > 1 else left[0]
        return httpx.Response(200, json={"code": 0, "data": {"task_id": "7", **task}})

    return Kling(KlingAI(KEY), transport=httpx.MockTransport(answer), polling=polling)


def succeeded(*urls: str) -> dict[str, object]:
    result = {"videos": [{"url": url} for url in urls]}
    return {"task_status": "succeed", "task_result": result}


def polls(emulator: Emulator) -> list[float]:
    return [seen.at for seen in emulator.requests if seen.method == "GET"]


async def statuses(task: Task[VideoResult]) -> list[TaskStatus]:
    return [state.status async for state in task.updates()]


async def test_updates_tell_every_change_and_end() -> None:
    async with official(Emulator(duration=60)) as kling:
        task = await kling.text2video.submit(prompt="A boat")

        assert await statuses(task) == ["submitted", "processing", "succeed"]
        assert await statuses(task) == ["succeed"]


async def test_task_is_awaited_as_often_as_you_like() -> None:
    emulator = Emulator(duration=60)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        first, second = await task, await task

    assert first == second
    assert first.task_id == task.id == emulator.ledger[0].task_id


async def test_many_wait_for_one_task() -> None:
    videos: list[VideoResult] = []

    async def wait(task: Task[VideoResult]) -> None:
        videos.append(await task)

    async with official(Emulator(duration=60)) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        async with anyio.create_task_group() as group:
            for _ in range(10):
                group.start_soon(wait, task)

    assert len(videos) == 10
    assert len({video.url for video in videos}) == 1


async def test_cancelled_waiter_leaves_the_others() -> None:
    videos: list[VideoResult] = []

    async def wait(task: Task[VideoResult], seconds: float | None) -> None:
        with anyio.move_on_after(seconds):
            videos.append(await task)

    async with official(Emulator(duration=60)) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        async with anyio.create_task_group() as group:
            for seconds in (None, 7, 31, None):
                group.start_soon(wait, task, seconds)

    assert len(videos) == 2


async def test_healthy_task_is_asked_about_at_an_interval() -> None:
    emulator = Emulator(duration=58)
    async with official(emulator, Polling(interval=10, jitter=0)) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        await task

    assert polls(emulator) == pytest.approx([10, 20, 30, 40, 50, 60])


async def test_late_wait_asks_at_once() -> None:
    async with official(Emulator(duration=60)) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        await anyio.sleep(100)
        await task

    assert anyio.current_time() == pytest.approx(100)


async def test_timeout_ends_the_wait_and_not_the_task() -> None:
    async with official(Emulator(duration=60)) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        with pytest.raises(TaskTimeout, match="after 12 s") as caught:
            await task.result(timeout=12)
        video = await task

    assert isinstance(caught.value, TimeoutError)
    assert caught.value.token == task.token
    assert video.task_id == task.id


@pytest.mark.parametrize("timeout", [0, 7, 12.5])
async def test_last_look_is_at_the_deadline(timeout: float) -> None:
    emulator = Emulator(duration=60)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        with pytest.raises(TaskTimeout):
            await task.result(timeout=timeout)

    assert anyio.current_time() == pytest.approx(timeout)
    assert polls(emulator)[-1] == pytest.approx(timeout)


async def test_result_at_the_deadline_is_still_taken() -> None:
    async with official(Emulator(duration=12)) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        video = await task.result(timeout=12.5)

    assert video.task_id == task.id


async def test_silent_server_delays_a_timeout_but_little() -> None:
    emulator = Emulator(duration=60)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(Fault.STALL, on="query", times=99)
        with pytest.raises(TaskTimeout):
            await task.result(timeout=12)

    assert anyio.current_time() < 30


async def test_timeout_names_the_trouble_behind_it() -> None:
    emulator = Emulator(duration=60)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(Fault.HTML, on="query", times=99)
        with pytest.raises(TaskTimeout) as caught:
            await task.result(timeout=30)

    assert isinstance(caught.value.__cause__, TransportError)


async def test_stuck_task_ends_in_the_default_timeout() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.STUCK)
    async with official(emulator) as kling:
        with pytest.raises(TaskTimeout, match="7200 s"):
            await kling.text2video.run(prompt="A boat")

    assert anyio.current_time() == pytest.approx(7200)


@pytest.mark.parametrize("own", [True, False])
async def test_wait_without_end_outlives_every_timeout(own: bool) -> None:
    polling = Polling(interval=100, max_interval=100, timeout=30 if own else None)
    async with official(Emulator(duration=8000), polling) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        await (task.result(timeout=None) if own else task)

    assert anyio.current_time() >= 8000


@pytest.mark.parametrize("make", [KlingAI, CometAPI])
async def test_token_is_taken_up_by_another_client(make: Callable[[str], KlingAI]) -> None:
    emulator = Emulator(duration=60)
    async with Kling(make(KEY), transport=emulator.transport()) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        token = task.token
    async with Kling(make(KEY), transport=emulator.transport()) as another:
        video = await another.task(f" {token}\n")

    assert video.task_id == task.id
    assert token in repr(task)


async def test_finished_task_needs_one_question() -> None:
    emulator = Emulator(duration=1)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
    await anyio.sleep(2)
    async with official(emulator) as kling:
        assert await statuses(kling.task(task.token)) == ["succeed"]

    assert anyio.current_time() == pytest.approx(2)
    assert len(polls(emulator)) == 1


@pytest.mark.parametrize(
    ("token", "reason"),
    [
        ("cometapi/text2video/7", "provider cometapi.*klingai"),
        ("klingai/text2music/7", "text2music"),
        ("7", "no token"),
        ("klingai/text2video/", "no token"),
        ("klingai/text2video/7/8/9", "no token"),
        ("", "no token"),
    ],
)
async def test_foreign_token_is_refused(token: str, reason: str) -> None:
    async with official(Emulator()) as kling:
        with pytest.raises(ConfigurationError, match=reason):
            kling.task(token)


async def test_strange_id_survives_in_a_token() -> None:
    async with scripted(succeeded("https://f.test/0")) as kling:
        task = kling.task("klingai/text2video/a%2Fb%20c")

        assert task.id == "a/b c"
        assert task.token == "klingai/text2video/a%2Fb%20c"


@pytest.mark.parametrize("fault", TRANSIENT)
async def test_passing_fault_does_not_end_a_wait(fault: Fault) -> None:
    emulator = Emulator(duration=30)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(fault, on="query", times=3, seconds=100)
        video = await task

    assert video.task_id == task.id
    assert emulator.faults.pending == []


@pytest.mark.filterwarnings("ignore::kling_async.KlingWarning")  # of states it made up
async def test_hundred_waits_survive_chaos() -> None:
    emulator = Emulator(duration=60)
    async with official(emulator) as kling:
        tasks = [await kling.text2video.submit(prompt=f"Boat {number}") for number in range(100)]
        emulator.faults.chaos = 0.3
        async with anyio.create_task_group() as group:
            for task in tasks:
                group.start_soon(task.result)

    assert {task.state.status for task in tasks} == {TaskStatus.SUCCEEDED}


async def test_lasting_not_found_ends_the_wait() -> None:
    async with official(Emulator()) as kling:
        task = kling.task("klingai/text2video/404")
        with pytest.raises(TaskNotFound) as caught:
            await task

    assert anyio.current_time() >= Polling().not_found_grace
    assert task.token in caught.value.__notes__[0]


async def test_not_found_for_less_than_a_minute_passes() -> None:
    emulator = Emulator(duration=30)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(Fault.NOT_FOUND, on="query", times=3)
        await task

    assert emulator.faults.struck == [(Fault.NOT_FOUND, "query")] * 3


async def test_lasting_refusal_of_another_kind_ends_the_wait() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        return httpx.Response(400, json={"code": 1201, "message": "no"})

    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(answer)) as kling:
        with pytest.raises(InvalidRequest):
            await kling.task("klingai/text2video/7")

    assert anyio.current_time() >= 60


async def test_refused_key_ends_the_wait_at_once() -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(Fault.UNAUTHORIZED, on="query")
        with pytest.raises(AuthenticationError) as caught:
            await task

    assert len(polls(emulator)) == 1
    assert task.token in caught.value.__notes__[0]


@pytest.mark.parametrize("fault", [Fault.RATE, Fault.BUSY])
async def test_pause_of_two_minutes_is_kept(fault: Fault) -> None:
    emulator = Emulator(duration=30)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(fault, on="query", retry_after=120)
        await task

    assert polls(emulator)[1] - polls(emulator)[0] >= 120


async def test_longer_pause_is_an_error_that_says_so() -> None:
    emulator = Emulator(duration=30)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(Fault.RATE, on="query", retry_after=121)
        with pytest.raises(RateLimited, match="121 s") as caught:
            await task

    assert task.token in caught.value.__notes__[0]


async def test_errors_stretch_the_pause_to_a_bound() -> None:
    emulator = Emulator(duration=1800)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(Fault.HTML, on="query", times=30)
        await task
    asked = polls(emulator)
    gaps = [later - earlier for earlier, later in zip(asked, asked[1:30], strict=False)]

    assert max(gaps) <= Polling().max_interval
    assert min(gaps[4:]) >= Polling().max_interval / 2
    assert len(set(gaps)) == len(gaps)


async def test_older_answer_does_not_go_back() -> None:
    emulator = Emulator(duration=60)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(Fault.STALE, on="query", times=2)
        seen = await statuses(task)

    assert seen == ["submitted", "processing", "succeed"]
    assert emulator.faults.pending == []


async def test_gateway_without_times_does_not_go_back() -> None:
    emulator = Emulator(duration=60)
    provider = Gateway("https://gate.test/gateway/crazyrouter", KEY)
    async with Kling(provider, transport=emulator.transport()) as kling:
        task = await kling.submit(GATEWAY_BOAT)
        emulator.faults.add(Fault.STALE, on="query", times=2)
        seen = await statuses(task)

    assert "submitted" not in seen[seen.index(TaskStatus.PROCESSING) :]
    assert emulator.faults.pending == []


async def test_slow_old_answer_does_not_undo_a_newer_one() -> None:
    emulator = Emulator(duration=10)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(Fault.STALL, on="query", seconds=50)
        async with anyio.create_task_group() as group:
            group.start_soon(refresh_at, task, 5)
            group.start_soon(refresh_at, task, 20)

    assert task.state.status is TaskStatus.SUCCEEDED


async def refresh_at(task: Task[VideoResult], moment: float) -> None:
    await anyio.sleep(moment)
    await task.refresh()


@pytest.mark.parametrize(
    "later", [{"task_status": "failed"}, {"task_status": "processing"}, {"task_status": "?"}]
)
@pytest.mark.filterwarnings("ignore::kling_async.KlingWarning")
async def test_ended_task_stays_as_it_ended(later: dict[str, object]) -> None:
    async with scripted(succeeded("https://f.test/0"), later) as kling:
        task = kling.task("klingai/text2video/7")
        await task
        state = await task.refresh()

    assert state.status is TaskStatus.SUCCEEDED


async def test_unheard_of_status_counts_as_running(caplog: pytest.LogCaptureFixture) -> None:
    emulator = Emulator(duration=60)
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        emulator.faults.add(Fault.UNKNOWN_STATUS, on="query", times=3)
        seen = await statuses(task)

    assert list(dict.fromkeys(seen)) == ["submitted", "unknown", "processing", "succeed"]
    assert [line for line in caplog.messages if "reviewing" in line] == [
        "klingai says 'reviewing' of a task, which this version does not know; it counts as running"
    ]


async def test_unheard_of_status_of_a_create_costs_nothing() -> None:
    reviewed: dict[str, object] = {"task_status": "reviewing"}
    async with scripted(reviewed) as kling:
        with warnings.catch_warnings(action="error"):
            task = await kling.text2video.submit(prompt="A boat")

    assert task.state.word == "reviewing"


async def test_failed_task_gives_the_reason() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.FAIL, message="Image pixel is invalid")
    async with official(emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat", external_task_id="boat-1")
        with pytest.raises(TaskFailed, match="Image pixel is invalid") as caught:
            await task

    assert caught.value.token == task.token
    assert caught.value.external_task_id == "boat-1"


async def test_failure_without_a_reason_says_so() -> None:
    async with scripted({"task_status": "failed"}) as kling:
        with pytest.raises(TaskFailed, match="no reason given"):
            await kling.task("klingai/text2video/7")


async def test_success_before_its_file_is_asked_again() -> None:
    states: Iterable[dict[str, object]] = (succeeded(), succeeded(), succeeded("https://f.test/0"))
    async with scripted(*states) as kling:
        video = await kling.task("klingai/text2video/7")

    assert video.url == "https://f.test/0"


async def test_success_without_a_file_is_an_error() -> None:
    async with scripted(succeeded()) as kling:
        with pytest.raises(TaskError, match="no file") as caught:
            await kling.task("klingai/text2video/7")

    assert caught.value.token == "klingai/text2video/7"
    assert anyio.current_time() < 60


async def test_errors_while_looking_for_a_file_pass() -> None:
    answers = [
        httpx.Response(200, json={"code": 0, "data": {"task_id": "7", **succeeded()}}),
        httpx.Response(502),
        httpx.Response(200, json={"code": 0, "data": {"task_id": "7", **succeeded("http://f/")}}),
    ]
    transport = httpx.MockTransport(lambda request: answers.pop(0))
    async with Kling(KlingAI(KEY), transport=transport) as kling:
        video = await kling.task("klingai/text2video/7")

    assert video.url == "http://f/"


async def test_updates_may_be_left_early() -> None:
    async with official(Emulator(duration=60)) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        async with aclosing(task.updates()) as updates:
            state = await anext(aiter(updates))
        video = await task

    assert state.status is TaskStatus.SUBMITTED
    assert video.task_id == task.id


async def test_closed_client_ends_a_wait_with_its_token() -> None:
    async with official(Emulator()) as kling:
        task = await kling.text2video.submit(prompt="A boat")

    with pytest.raises(KlingError, match="closed") as caught:
        await task
    assert task.token in caught.value.__notes__[0]


async def test_updates_may_be_closed_twice() -> None:
    async with official(Emulator()) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        updates = task.updates()
        await anext(updates)
        await updates.aclose()
        await updates.aclose()

    assert task.endpoint == "text2video"


def test_token_is_taken_up_outside_a_loop() -> None:
    kling = official(Emulator())

    assert kling.task("klingai/text2video/7").id == "7"
