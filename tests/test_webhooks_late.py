"""Callbacks that overtake the server's own answers, or never come, cost no minutes."""

from __future__ import annotations

import anyio
import httpx
import pytest

from kling_async import Image2Video, Kling, KlingAI, TaskStatus, Text2Video
from kling_async.emulator import Emulator
from kling_async.webhooks import Callback
from tests.known_server import KnownCometAPI

KEY = "a-secret-key-0123456789"
VIDEOS = {"videos": [{"id": "1", "url": "https://files.example/1.mp4", "duration": "5"}]}


def behind(ends: float, seconds: float) -> httpx.MockTransport:
    """A server whose answers are as many seconds behind its callbacks."""

    def answer(request: httpx.Request) -> httpx.Response:
        task: dict[str, object] = {"task_id": "7", "task_status": "submitted"}
        if request.method == "GET":
            over = anyio.current_time() >= ends + seconds
            task["task_status"] = "succeed" if over else "processing"
            task |= {"task_result": VIDEOS} if over else {}
        return httpx.Response(200, json={"code": 0, "data": task})

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("ends", [120.0, 300.0, 900.0])
async def test_callback_that_overtakes_the_answers_is_asked_about_again(ends: float) -> None:
    url = "https://app.example/kling"
    async with Kling(KlingAI(KEY), transport=behind(ends, 2.0), callback_url=url) as kling:
        task = await kling.submit(Text2Video(prompt="A boat"))

        async def call() -> None:
            await anyio.sleep(5)
            kling.hear(Callback("7", TaskStatus.PROCESSING))
            await anyio.sleep(ends - 5)
            kling.hear(Callback("7", TaskStatus.SUCCEEDED))

        async with anyio.create_task_group() as group:
            group.start_soon(call)
            await task
        assert anyio.current_time() - ends - 2 < 12  # two intervals


async def test_tasks_taken_up_teach_that_nobody_calls() -> None:
    emulator, lags = Emulator(duration=330), list[float]()
    async with (
        Kling(KnownCometAPI(KEY), transport=emulator.transport()) as other,
        Kling(
            KnownCometAPI(KEY), transport=emulator.transport(), callback_url="https://gone.example"
        ) as kling,
    ):
        for number in range(8):
            token = (await other.submit(Text2Video(prompt=str(number)))).token
            began = anyio.current_time()
            await kling.task(token)
            lags.append(anyio.current_time() - began - 330)

    assert max(lags[3:]) < 10


async def test_one_external_id_on_two_endpoints_is_asked_about_on_both() -> None:
    asked: list[str] = []
    made: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            made.append(request.url.path)
            data = {"task_id": f"g{len(made)}", "task_status": "submitted"}
            return httpx.Response(200, json={"code": 0, "data": data})
        asked.append(request.url.path.rpartition("/")[2])
        if asked[-1] == "order-1":
            return httpx.Response(400, json={"code": "task_not_exist", "message": "none"})
        data = {"task_id": asked[-1], "task_status": "processing"}
        return httpx.Response(200, json={"code": 0, "data": data})

    transport, url = httpx.MockTransport(answer), "https://app.example/kling"
    picture = "https://images.example/1.png"
    async with Kling(KlingAI(KEY), transport=transport, callback_url=url) as kling:
        named = {"prompt": "A boat", "external_task_id": "order-1"}
        first = await kling.submit(Text2Video.model_validate(named))
        second = await kling.submit(Image2Video.model_validate({"image": picture, **named}))
        asked.clear()
        kling.hear(Callback("kling's own id", TaskStatus.SUCCEEDED, "order-1"))
        await anyio.sleep(20)

        assert {first.id, second.id} <= set(asked)
