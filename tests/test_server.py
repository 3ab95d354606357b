"""Every state and error of a server passes one place, which names it and warns once."""

from __future__ import annotations

import time
import warnings

import httpx
import pytest

from kling_async import (
    APIError,
    CometAPI,
    ConfigurationError,
    Kling,
    KlingAI,
    KlingError,
    NotServed,
    RateLimited,
    ServerError,
    TaskNotFound,
    __version__,
)
from kling_async.emulator import Emulator, Fault

KEY = "a-secret-key-of-the-usual-length-0123456789"


def official(emulator: Emulator) -> Kling:
    return Kling(KlingAI(KEY), transport=emulator.transport())


async def test_query_with_an_expired_token_is_signed_anew() -> None:
    def wall() -> float:
        return time.time() + (7200 if len(emulator.requests) == 2 else 0)

    emulator = Emulator(access_keys={"name": KEY}, wall=wall)
    provider = KlingAI(access_key="name", secret_key=KEY)
    async with Kling(provider, transport=emulator.transport()) as kling:
        task = await kling.text2video.submit(prompt="A boat")
        await task.refresh()

    assert [seen.method for seen in emulator.requests] == ["POST", "GET", "GET"]


@pytest.mark.parametrize("fault", [Fault.LOST_BEFORE, Fault.HTML, Fault.SERVER_ERROR])
async def test_error_names_its_provider(fault: Fault) -> None:
    emulator = Emulator()
    emulator.faults.add(fault, on="query")
    async with official(emulator) as kling:
        with pytest.raises(KlingError, match="klingai") as caught:
            await kling.text2video.get("7")

    assert caught.value.provider == "klingai"


@pytest.mark.parametrize(("fault", "kind"), [(Fault.RATE, RateLimited), (Fault.BUSY, ServerError)])
@pytest.mark.parametrize(("seconds", "said"), [(120, False), (121, True)])
async def test_long_pause_is_in_the_advice(
    fault: Fault, kind: type[APIError], seconds: float, said: bool
) -> None:
    emulator = Emulator()
    emulator.faults.add(fault, on="query", retry_after=seconds)
    async with official(emulator) as kling:
        with pytest.raises(kind) as caught:
            await kling.text2video.get("7")

    assert (f"{seconds} s" in str(caught.value)) == said


async def test_error_without_a_hint_has_no_pause() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.RATE, on="query")
    async with official(emulator) as kling:
        with pytest.raises(RateLimited, match="Wait") as caught:
            await kling.text2video.get("7")

    assert caught.value.retry_after is None


async def test_unheard_of_status_is_logged_once_a_client(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        task = {"task_id": "7", "task_status": "dreaming"}
        many = "pageNum" in request.url.query.decode()
        return httpx.Response(200, json={"code": 0, "data": [task] if many else task})

    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(answer)) as kling:
        await kling.text2video.get("7")
        again = await kling.text2video.get("7")
        listed = [state async for state in kling.text2video.list()]

    assert [again.status, *(state.status for state in listed)] == ["unknown", "unknown"]
    assert len([line for line in caplog.messages if "'dreaming'" in line]) == 1


async def test_known_status_does_not_warn() -> None:
    async with official(Emulator()) as kling:
        with warnings.catch_warnings(action="error"):
            task = await kling.text2video.submit(prompt="A boat")
            state = await kling.text2video.get(task.id)

    assert state.word == "submitted"


async def test_server_without_lists_is_not_asked_for_one() -> None:
    emulator = Emulator()
    async with Kling(CometAPI(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(NotServed, match="cometapi"):
            await anext(aiter(kling.text2video.list()))

    assert len(emulator.requests) == 0


@pytest.mark.parametrize("page_size", [1, 2, 3, 100])
async def test_list_gives_every_task(page_size: int) -> None:
    async with official(Emulator()) as kling:
        ids = {(await kling.text2video.submit(prompt=f"Boat {n}")).id for n in range(4)}
        listed = [state.id async for state in kling.text2video.list(page_size=page_size)]

    assert len(listed) == 4
    assert set(listed) == ids


@pytest.mark.parametrize("page_size", [0, 501])
async def test_impossible_page_size_is_refused(page_size: int) -> None:
    async with official(Emulator()) as kling:
        with pytest.raises(ConfigurationError, match="page_size"):
            await anext(aiter(kling.text2video.list(page_size=page_size)))


async def test_missing_task_is_not_found() -> None:
    async with official(Emulator()) as kling:
        with pytest.raises(TaskNotFound, match="404"):
            await kling.text2video.get("404")


async def test_requests_say_who_asks() -> None:
    agents: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        agents.append(request.headers["user-agent"])
        return httpx.Response(200, json={"code": 0, "data": {"task_id": "7"}})

    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(answer)) as kling:
        await kling.text2video.get("7")

    assert agents == [f"kling_async/{__version__}"]
