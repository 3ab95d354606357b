"""A callback makes the client ask at once; what it says is never believed."""

from __future__ import annotations

import json
from typing import Any

import anyio
import httpx
import pytest

from kling_async import (
    ConfigurationError,
    Event,
    Kling,
    KlingAI,
    TaskFinished,
    TaskStatus,
)
from kling_async.emulator import Emulator, Fault
from kling_async.webhooks import Callback
from tests.known_server import KnownCometAPI
from tests.switchboard import BOAT, KEY, connected


async def test_end_is_noticed_when_it_is_called() -> None:
    async with connected(duration=100) as line:
        await line.kling.run(BOAT)

        assert anyio.current_time() == pytest.approx(100)
        assert line.asked == [pytest.approx(100)]
        assert [call.answer for call in line.emulator.callbacks] == [200] * 3


async def test_forged_end_leads_to_questions_ever_farther_apart() -> None:
    async with connected(duration=100) as line:
        task = await line.kling.submit(BOAT)
        updates = task.updates()
        await anyio.sleep(50)
        await line.call(task)
        assert (await anext(updates)).status is TaskStatus.SUBMITTED
        assert (await anext(updates)).status is TaskStatus.PROCESSING
        assert line.asked == [50]

        await task
        # The answers may be behind a true call, so it is asked again, after growing pauses.
        assert line.asked == [50, 55, 60, pytest.approx(70), 90, pytest.approx(100)]


async def test_forged_result_is_not_handed_out() -> None:
    async with connected(duration=100) as line:
        line.emulator.faults.add(Fault.FORGED_CALLBACK, times=3)
        video = await line.kling.run(BOAT)

    assert sum(call.forged for call in line.emulator.callbacks) == 3
    assert "forged" not in video.url


async def test_call_in_the_midst_of_a_question_is_asked_about_after_it() -> None:
    async with connected(duration=10, latency=4) as line:
        line.switchboard.down = True
        task = await line.kling.submit(BOAT)
        async with anyio.create_task_group() as group:
            group.start_soon(task.result)
            await anyio.sleep(4)
            await line.call(task)  # asked from now on
            await anyio.sleep(2)
            await line.call(task)  # the answer under way may be older than this
            with anyio.fail_after(14):
                await task

    assert len(line.asked) == 2


async def test_flood_about_a_live_task_is_a_question_an_interval() -> None:
    async with connected(duration=1000) as line:
        task = await line.kling.submit(BOAT)
        async with anyio.create_task_group() as group:
            group.start_soon(task.result)
            for _ in range(300):
                await line.call(task)
                await anyio.sleep(0.1)
            group.cancel_scope.cancel()

    assert 6 <= len(line.asked) <= 7
    assert min(b - a for a, b in zip(line.asked, line.asked[1:], strict=False)) > 4.9


@pytest.mark.parametrize("taken_up", [False, True])
async def test_flood_about_a_task_nobody_waits_for_is_a_question_an_interval(
    taken_up: bool,
) -> None:
    async with connected(duration=1000) as line:
        task = await line.kling.submit(BOAT)
        if taken_up:
            token = task.token
            del task
            record = line.kling._poller.records[BOAT.path].popitem()[1]  # in another process
            line.kling._slots.leave(record.ticket)
            task = line.kling.task(token)
        await anyio.sleep(10)
        for _ in range(300):
            await line.call(task)
            await anyio.sleep(0.1)
        asked = len(line.asked)
        await anyio.sleep(600)

    assert asked <= 7
    assert len(line.asked) <= 7  # and then nobody waits again


async def test_flood_while_the_server_is_down_does_not_add_to_it() -> None:
    async with connected(duration=1000) as line:
        task = await line.kling.submit(BOAT)
        line.emulator.faults.add(Fault.UNAUTHORIZED, on="query", times=1000)
        for _ in range(100):
            await line.call(task)
            await anyio.sleep(0.1)

    assert len(line.asked) <= 3


async def test_true_call_behind_a_forged_one_is_not_swallowed() -> None:
    async with connected(duration=100) as line:
        line.switchboard.down = True
        task = await line.kling.submit(BOAT)
        await anyio.sleep(99)
        await line.call(task)
        await anyio.sleep(1.5)
        await line.call(task)
        await anyio.sleep(6)

    assert task.state.status is TaskStatus.SUCCEEDED
    assert len(line.asked) == 2


async def test_call_is_taken_in_though_nobody_waits() -> None:
    events: list[Event] = []
    async with connected(duration=100, client={"hooks": [events.append]}) as line:
        task = await line.kling.submit(BOAT)
        await anyio.sleep(1000)

    assert task.state.status is TaskStatus.SUCCEEDED
    assert len(line.asked) == 1
    assert [type(event) for event in events].count(TaskFinished) == 1
    assert not line.kling._poller._watched


async def test_call_that_fails_to_be_asked_about_is_asked_about_again() -> None:
    async with connected(duration=100) as line:
        task = await line.kling.submit(BOAT)
        line.emulator.faults.add(Fault.HTML, on="query", times=2)
        await anyio.sleep(200)

    assert task.state.status is TaskStatus.SUCCEEDED
    assert not line.kling._poller._watched


async def test_waiter_joins_a_call_that_is_being_asked_about() -> None:
    async with connected(duration=100, latency=3) as line:
        task = await line.kling.submit(BOAT)
        await anyio.sleep(50)
        await line.call(task)
        await anyio.sleep(1)
        async with anyio.create_task_group() as group:
            group.start_soon(task.result)

    assert task.state.status is TaskStatus.SUCCEEDED


async def test_late_call_about_a_task_that_has_ended_asks_nothing() -> None:
    async with connected(duration=100) as line:
        line.emulator.faults.add(Fault.LATE_CALLBACK, times=3, seconds=300)
        task = await line.kling.submit(BOAT)
        await task
        asked = len(line.asked)
        await anyio.sleep(1000)

    assert len(line.emulator.callbacks) == 3
    assert len(line.asked) == asked


async def test_calls_before_the_answer_to_the_create_are_about_no_stranger() -> None:
    unknown: list[Callback] = []
    async with connected(duration=30, app={"on_unknown": unknown.append}) as line:
        line.emulator.faults.add(Fault.STALL, seconds=40)
        task = await line.kling.submit(BOAT)
        assert anyio.current_time() == 40
        assert [call.status for call in line.emulator.callbacks][-1] == "succeed"
        await anyio.sleep(1)

    assert line.asked == [40]
    assert task.state.status is TaskStatus.SUCCEEDED
    assert unknown == []


@pytest.mark.parametrize("knows_ours", [False, True])
async def test_call_before_the_answer_is_known_by_either_id(knows_ours: bool) -> None:
    asked: list[float] = []

    async def answer(request: httpx.Request) -> httpx.Response:
        task = {"task_id": "7", "task_status": "failed"}
        if request.method == "POST":
            ours = json.loads(request.content)["external_task_id"]
            told = ("8", ours) if knows_ours else ("7", None)
            assert kling.hear(Callback(told[0], TaskStatus.FAILED, told[1])) is knows_ours
            task["task_status"] = "submitted"
        else:
            asked.append(anyio.current_time())
        return httpx.Response(200, json={"code": 0, "data": task})

    kling = Kling(
        KlingAI(KEY), transport=httpx.MockTransport(answer), callback_url="https://a.test"
    )
    async with kling:
        task = await kling.submit(BOAT)
        await anyio.sleep(1)

    assert task.state.status is TaskStatus.FAILED
    assert asked == [0]


async def test_task_is_found_by_its_external_id() -> None:
    """A gateway may have ids of its own, while Kling calls with Kling's."""
    async with connected(duration=100) as line:
        task = await line.kling.submit(BOAT)
        await line.post(
            {
                "task_id": "9",
                "task_status": "x",
                "task_info": {"external_task_id": task.external_task_id},
            }
        )
        await anyio.sleep(1)

    assert len(line.asked) == 1


async def test_unknown_is_forgotten_after_a_while() -> None:
    async with connected() as line:
        calls = line.kling._waiting.calls
        for number in range(10_000):
            calls.hear(Callback(str(number), TaskStatus.SUCCEEDED, f"id-{number}"))
        assert len(calls._strangers._said) < 2_000

        calls.expect("mine")
        assert calls.hear(Callback("1", TaskStatus.FAILED, "mine"))
        await anyio.sleep(301)
        assert not calls.hear(Callback("1", TaskStatus.FAILED, "mine"))


async def test_closed_client_asks_nothing() -> None:
    async with connected(duration=100) as line:
        task = await line.kling.submit(BOAT)
        await line.kling.aclose()
        assert line.kling.hear(Callback(task.id, TaskStatus.SUCCEEDED)) is False
        await anyio.sleep(1)

    assert line.asked == []


async def test_task_taken_up_is_called_about_too() -> None:
    async with connected(duration=100) as line:
        task = await line.kling.submit(BOAT)
        # Another process with the same address for calls, and with the same server.
        client = Kling(
            KlingAI(KEY), transport=line.emulator.transport(), callback_url="https://x.test"
        )
        async with client, anyio.create_task_group() as group:
            taken = client.task(task.token)
            group.start_soon(taken.result)
            await anyio.sleep(99.9)
            assert len(line.asked) == 2  # at once, and once for safety
            await anyio.sleep(0.2)
            assert client.hear(Callback(task.id, TaskStatus.SUCCEEDED))

    assert anyio.current_time() == pytest.approx(100.1)


async def test_call_does_not_slow_down_a_task_that_has_none() -> None:
    emulator = Emulator(duration=100)
    async with Kling(KnownCometAPI(KEY), transport=emulator.transport()) as kling:
        task = await kling.submit(BOAT)
        for _ in range(2):
            kling.hear(Callback(task.id, TaskStatus.PROCESSING))
        with anyio.move_on_after(21):
            await task

    assert len([seen for seen in emulator.requests if seen.method == "GET"]) == 4


async def test_own_callback_url_counts_as_well() -> None:
    emulator = Emulator(duration=100)
    async with Kling(KnownCometAPI(KEY), transport=emulator.transport()) as kling:
        task = await kling.text2video.submit(prompt="A boat", callback_url="https://own.test/")
        with anyio.move_on_after(59):
            await task

    assert [seen for seen in emulator.requests if seen.method == "GET"] == []


def test_callback_url_can_be_set_later() -> None:
    kling = Kling(KlingAI(KEY))
    assert kling.callback_url is None

    kling.callback_url = "https://app.example:8443/kling/t?x=1"
    assert kling.callback_url == "https://app.example:8443/kling/t?x=1"

    kling.callback_url = None
    assert kling.callback_url is None


@pytest.mark.parametrize(
    "url",
    ["", "app.example/hush", "ftp://app.example/hush", "https://", "https:///hush", "/hush"]
    + [
        "https://app.example:x/hush",
        "https://[hush",
        "https://app .example/hush",
        "https://a/\nhush",
    ]
    + [b"https://app.example/hush", 7],
)
def test_callback_url_that_is_none_is_refused_and_not_shown(url: Any) -> None:
    with pytest.raises(ConfigurationError, match="callback_url") as refused:
        Kling(KlingAI(KEY), callback_url=url)

    assert "hush" not in str(refused.value)
