"""Every HTTP request is told to the hooks, with how it went and how long it took."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import anyio
import httpx
import pytest

from kling_async import (
    AnswerLost,
    ConnectFailed,
    Event,
    ExchangeFinished,
    InvalidRequest,
    Kling,
    KlingAI,
    Text2Video,
    Timeouts,
)
from kling_async._events import Hooks
from kling_async._exchange import Call
from kling_async._transport import Transport
from kling_async.emulator import Emulator

KEY = "a-secret-key-0123456789"


Handler = Callable[[httpx.Request], httpx.Response | Awaitable[httpx.Response]]


async def exchange(
    handler: Handler, url: str = "https://api.test/v1/videos?key=7", seconds: float | None = None
) -> ExchangeFinished:
    """What is told of one GET, left after so many seconds."""
    events: list[Event] = []
    transport = Transport(
        timeouts=Timeouts(total=60),
        max_connections=1,
        transport=httpx.MockTransport(handler),  # type: ignore[arg-type]  # it may be slow
        hooks=Hooks([events.append]),
    )
    with anyio.move_on_after(seconds), suppress(AnswerLost, ConnectFailed):
        await transport.send(Call("GET", url), {})
    await transport.aclose()
    (told,) = [event for event in events if isinstance(event, ExchangeFinished)]
    return told


async def slowly(request: httpx.Request) -> httpx.Response:
    await anyio.sleep(3)
    return httpx.Response(200, content=b"{}")


async def test_answer_is_told_with_its_status_and_time() -> None:
    told = await exchange(slowly)

    assert told.seconds == pytest.approx(3)
    assert told == ExchangeFinished("GET", "api.test", 443, 200, told.seconds, None)


async def test_port_is_told_as_it_is_asked() -> None:
    assert (await exchange(slowly, "http://api.test")).port == 80
    assert (await exchange(slowly, "http://api.test:8080/v1")).port == 8080


async def test_answer_that_never_comes_is_told_with_its_error() -> None:
    async def never(request: httpx.Request) -> httpx.Response:
        await anyio.sleep(1000)
        raise NotImplementedError

    told = await exchange(never)

    assert told.seconds == pytest.approx(60)
    assert told == ExchangeFinished("GET", "api.test", 443, None, told.seconds, "AnswerLost")


async def test_failed_connection_is_told() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    assert (await exchange(refuse)).error == "ConnectFailed"


async def test_answer_that_breaks_is_told_with_status_and_error() -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"{"
            raise httpx.ReadError("reset")

    told = await exchange(lambda request: httpx.Response(200, stream=Broken()))

    assert (told.status, told.error) == (200, "AnswerLost")


async def test_request_that_is_left_is_told_as_cancelled() -> None:
    told = await exchange(slowly, seconds=1)

    assert told.seconds == pytest.approx(1)
    assert told == ExchangeFinished("GET", "api.test", 443, None, told.seconds, "cancelled")


async def test_wait_for_a_connection_is_not_counted() -> None:
    events: list[Event] = []
    transport = Transport(
        timeouts=Timeouts(),
        max_connections=1,
        transport=httpx.MockTransport(slowly),
        hooks=Hooks([events.append]),
    )
    async with anyio.create_task_group() as group:
        for _ in range(3):
            group.start_soon(transport.send, Call("GET", "https://api.test"), {})

    assert [told.seconds for told in events if isinstance(told, ExchangeFinished)] == [
        pytest.approx(3)
    ] * 3
    assert anyio.current_time() == pytest.approx(9)
    await transport.aclose()


async def test_malformed_address_is_only_the_requests_own_trouble() -> None:
    events: list[Event] = []
    transport = Transport(
        timeouts=Timeouts(),
        max_connections=1,
        transport=httpx.MockTransport(slowly),
        hooks=Hooks([events.append]),
    )
    with pytest.raises(ValueError, match="port|Port"):
        await transport.send(Call("GET", "https://api.test:port/"), {})

    assert [(told.host, told.port) for told in events if isinstance(told, ExchangeFinished)] == [
        ("", None)
    ]
    await transport.aclose()


async def test_file_is_told_by_its_host_and_without_its_signature(tmp_path: Path) -> None:
    events: list[Event] = []
    emulator = Emulator(duration=1)
    async with Kling(KlingAI(KEY), transport=emulator.transport(), hooks=[events.append]) as kling:
        video = await kling.run(Text2Video(prompt="A boat"))
        events.clear()
        await kling.download(video, tmp_path / "boat.mp4")
    (told,) = [event for event in events if isinstance(event, ExchangeFinished)]

    assert told.host == httpx.URL(video.url).host
    assert (told.method, told.status, told.error) == ("GET", 200, None)


async def test_queries_refused_by_the_server_are_told_by_status() -> None:
    events: list[Event] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        return httpx.Response(404, json={"code": 1203, "message": "no"})

    async with Kling(
        KlingAI(KEY), transport=httpx.MockTransport(refuse), hooks=[events.append]
    ) as kling:
        with pytest.raises(InvalidRequest):
            await kling.text2video.get("7")
    (told,) = [event for event in events if isinstance(event, ExchangeFinished)]

    assert (told.status, told.error) == (404, None)
