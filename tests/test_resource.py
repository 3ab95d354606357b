"""A resource shows what it takes, and lists to the end whatever stands in a list."""

from __future__ import annotations

import inspect
import pydoc
from typing import Any

import anyio
import httpx
import pytest

from kling_async import Kling, KlingAI
from kling_async.emulator import Emulator

KEY = "a-secret-key-0123456789"
JUNK: list[object] = [None, 7, "x", [], {}, {"task_status": "succeed"}, {"task_id": None}]


def official(transport: httpx.AsyncBaseTransport) -> Kling:
    return Kling(KlingAI(KEY), transport=transport)


class Listed:
    """A server whose list opens with junk; its tasks end at 30 s."""

    def __init__(self, junk: list[object]) -> None:
        self.junk = junk
        self.ids: list[str] = []
        self.asked_singly: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        query = request.url.params
        if request.method == "POST":
            self.ids.insert(0, str(1000 + len(self.ids)))
            told: object = self.task(self.ids[0])
        elif "pageNum" in query:
            size = int(query["pageSize"])
            first = (int(query["pageNum"]) - 1) * size
            told = [*self.junk, *map(self.task, self.ids)][first : first + size]
        else:
            self.asked_singly.append(request.url.path)
            told = self.task(request.url.path.rpartition("/")[2])
        return httpx.Response(200, json={"code": 0, "data": told})

    def task(self, task_id: str) -> dict[str, Any]:
        if anyio.current_time() < 30:
            return {"task_id": task_id, "task_status": "processing"}
        result = {"videos": [{"url": "https://f.test/0"}]}
        return {"task_id": task_id, "task_status": "succeed", "task_result": result}


@pytest.mark.parametrize("page_size", [1, 3, 4, 100])
async def test_list_goes_on_past_what_is_no_task(page_size: int) -> None:
    server = Listed(JUNK)
    async with official(httpx.MockTransport(server)) as kling:
        for _ in range(3):
            await kling.text2video.submit(prompt="A boat")
        listed = [state.id async for state in kling.text2video.list(page_size=page_size)]

    assert listed == server.ids


async def test_pages_are_read_past_what_is_no_task() -> None:
    server = Listed(JUNK * 10)
    async with official(httpx.MockTransport(server)) as kling:
        tasks = [await kling.text2video.submit(prompt="A boat") for _ in range(600)]
        assert len([task async for task in kling.as_completed(tasks)]) == 600

    assert not server.asked_singly
    assert anyio.current_time() < 33


@pytest.mark.parametrize("call", ["submit", "run"])
def test_signature_shows_the_fields(call: str) -> None:
    kling = official(Emulator().transport())
    for resource in (kling.text2video, kling.image2video, kling.multi_image2video, kling.avatar):
        shown = inspect.signature(getattr(resource, call)).parameters

        assert set(shown) == set(resource._model.model_fields)
        assert {field.kind for field in shown.values()} == {inspect.Parameter.KEYWORD_ONLY}


def test_signature_shows_what_is_required() -> None:
    kling = official(Emulator().transport())
    shown = inspect.signature(kling.avatar.submit).parameters

    assert [name for name in shown if shown[name].default is shown[name].empty] == ["image"]
    assert shown["prompt"].annotation == str | None
    assert next(iter(shown)) == "image"
    assert shown["extra"].default == {}


def test_help_shows_the_fields() -> None:
    kling = official(Emulator().transport())
    text = pydoc.plain(pydoc.render_doc(kling.text2video.run))

    assert "*, prompt: str | None = None, " in " ".join(text.split())  # 3.13 breaks it up
    assert "Validator" not in text
    assert "Create a task and wait for its result." in text


async def test_calls_are_still_coroutine_functions_and_take_no_places() -> None:
    kling = official(Emulator().transport())
    submit: Any = kling.text2video.submit

    assert inspect.iscoroutinefunction(submit)
    with pytest.raises(TypeError):
        await submit("A boat")
