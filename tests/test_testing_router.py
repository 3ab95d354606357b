"""The router for respx answers as CometAPI and Kling do, and as it was told to."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
import respx

from kling_async import (
    AnswerLost,
    CometAPI,
    ContentRejected,
    Downloads,
    Kling,
    KlingAI,
    ParallelLimit,
    Provider,
    RateLimited,
    TaskFailed,
    TaskStatus,
    Text2Video,
)
from kling_async.emulator import Fault
from kling_async.testing import KlingRouter, mock_kling

KEY = "a-secret-key-0123456789"
BOTH = pytest.mark.parametrize("provider", [CometAPI(KEY), KlingAI(KEY)], ids=lambda one: one.name)


@BOTH
async def test_every_create_is_taken_and_succeeds(provider: Provider) -> None:
    with mock_kling() as router:
        async with Kling(provider) as kling:
            video = await kling.text2video.run(prompt="A paper boat", duration=5)

        [task] = router.tasks
        assert video.task_id == task.id
        assert task.asked == 1
        assert task.sent["prompt"] == "A paper boat"
        assert router.sent == [task.sent]
        assert router["create"].call_count == 1


@BOTH
async def test_task_ends_at_the_third_question(provider: Provider) -> None:
    with mock_kling() as router:
        boat = router.create(questions=3)
        async with Kling(provider) as kling:
            task = await kling.text2video.submit(prompt="A paper boat")
            states = [state.status async for state in task.updates()]

        assert boat.asked == 3
        assert states == [TaskStatus.SUBMITTED, TaskStatus.PROCESSING, TaskStatus.SUCCEEDED]


@BOTH
async def test_task_fails_for_its_reason(provider: Provider) -> None:
    with mock_kling() as router:
        router.create(failure="No boats today", questions=2)
        async with Kling(provider) as kling:
            with pytest.raises(TaskFailed, match="No boats today"):
                await kling.text2video.run(prompt="A paper boat")
            await kling.text2video.run(prompt="A cork")


async def test_next_create_is_refused_by_its_code() -> None:
    with mock_kling() as router:
        router.refuse(1301, "No boats")
        async with Kling(KlingAI(KEY)) as kling:
            with pytest.raises(ContentRejected, match="No boats"):
                await kling.text2video.run(prompt="A paper boat")
            await kling.text2video.run(prompt="A cork")

        assert [body["prompt"] for body in router.sent] == ["A paper boat", "A cork"]
        assert [task.sent["prompt"] for task in router.tasks] == ["A cork"]


async def test_parallel_limit_is_waited_out() -> None:
    with mock_kling() as router:
        router.refuse(1303, times=2)
        async with Kling(KlingAI(KEY)) as kling:
            await kling.text2video.run(prompt="A paper boat")

        assert router["create"].call_count == 3
        assert len(router.tasks) == 1


@pytest.mark.parametrize(
    ("provider", "kind"), [(CometAPI(KEY), RateLimited), (KlingAI(KEY), ParallelLimit)]
)
async def test_dialects_word_the_code_each_in_its_way(
    provider: Provider, kind: type[Exception]
) -> None:
    with mock_kling() as router:
        router.refuse(1303, on="query")
        async with Kling(provider) as kling:
            with pytest.raises(kind):
                await kling.text2video.get("7")


async def test_lists_ask_about_every_task_of_their_kind() -> None:
    with mock_kling() as router:
        router.create(questions=2)
        router.refuse(5000, on="list")
        async with Kling(KlingAI(KEY)) as kling:
            await kling.text2video.submit(prompt="A paper boat")
            with pytest.raises(Exception, match="5000"):
                [state async for state in kling.text2video.list()]
            pages = [[state.status async for state in kling.text2video.list()] for _ in range(3)]
            assert [state async for state in kling.image2video.list()] == []

        assert [status for [status] in pages] == [
            TaskStatus.PROCESSING,
            TaskStatus.SUCCEEDED,
            TaskStatus.SUCCEEDED,
        ]


async def test_looking_for_an_own_id_asks_about_nothing() -> None:
    with mock_kling() as router:
        boat = router.create(questions=2)
        async with Kling(KlingAI(KEY)) as kling:
            request = Text2Video(prompt="A paper boat", external_task_id="boat-1")
            task = await kling.submit(request)
            again = await kling.submit(request)

        assert task.id == again.id == boat.id
        assert boat.asked == 0


async def test_emulator_behind_it_has_more_faults() -> None:
    with mock_kling() as router:
        router.emulator.faults.add(Fault.LOST_ANSWER)
        async with Kling(KlingAI(KEY)) as kling:
            await kling.text2video.run(prompt="A paper boat")

        assert router["create"].call_count == 1
        assert len(router.tasks) == 1


async def test_routes_are_respxs_own() -> None:
    with mock_kling(assert_all_mocked=True) as router:
        router["query"].mock(side_effect=httpx.ReadTimeout)
        router.get("https://my.example/health").respond(204)
        async with Kling(KlingAI(KEY)) as kling, httpx.AsyncClient() as http:
            with pytest.raises(AnswerLost):
                await kling.text2video.get("7")
            assert (await http.get("https://my.example/health")).status_code == 204
            with pytest.raises(respx.models.AllMockedAssertionError):
                await http.get("https://your.example/")


async def test_videos_are_downloaded_from_it(tmp_path: Path) -> None:
    downloads = Downloads(private=True)  # the address is looked up by nobody
    with mock_kling():
        async with Kling(CometAPI(KEY), downloads=downloads) as kling:
            video = await kling.text2video.run(prompt="A paper boat")
            [path] = await kling.download(video, tmp_path / "boat.mp4")

    assert b"ftyp" in path.read_bytes()[:12]


@pytest.mark.parametrize("announce", ["create", "refuse"])
def test_what_was_announced_must_happen(announce: str) -> None:
    with pytest.raises(AssertionError, match="nobody asked for"):
        with mock_kling() as router:
            router.create() if announce == "create" else router.refuse(1303)
    with pytest.raises(KeyError), mock_kling() as router:
        router.create()
        raise KeyError  # this one counts
    with mock_kling(assert_all_called=False) as router:
        router.create()


def test_routes_of_others_must_be_called() -> None:
    with pytest.raises(AssertionError, match="not called"):
        with mock_kling() as router:
            router.get("https://my.example/health")


async def test_router_begins_anew_each_time() -> None:
    router = mock_kling()
    boat = router.create(questions=2)
    for number in range(2):
        with router:
            async with Kling(KlingAI(KEY)) as kling:
                await kling.text2video.run(prompt=f"Boat {number}")
        assert len(router.tasks) == len(router.sent) == 1

    assert boat.asked == 2
    assert router.tasks[0].asked == 1


@mock_kling()
async def test_router_decorates(respx_mock: KlingRouter) -> None:
    respx_mock.create(questions=2)
    async with Kling(KlingAI(KEY)) as kling:
        await kling.text2video.run(prompt="A paper boat")

    assert [task.asked for task in respx_mock.tasks] == [2]


def test_mistakes_are_told() -> None:
    router = mock_kling()

    with pytest.raises(ValueError, match="code 1305 is none of Kling's: 1000, "):
        router.refuse(1305)
    with pytest.raises(ValueError, match="questions=0"):
        router.create(questions=0)
