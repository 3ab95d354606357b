"""With transport="aiohttp" calls go by aiohttp: faster, less is known of errors, else the same."""

from __future__ import annotations

import gc
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx_aiohttp  # noqa: F401  # here, as to load it reads files
import pytest

from kling_async import AnswerLost, ConfigurationError, Kling, KlingAI, Timeouts
from kling_async._exchange import Call, Place, Reply
from kling_async._transport import Transport
from kling_async.emulator import Emulator
from tests.tls_host import ANSWER, HEAD, LAST_ANSWER, TASK, Conversation, TLSHost

pytestmark = pytest.mark.real_time
KEY = "a-secret-key-0123456789"
LARGE = {"image": "x" * 3_000_000}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@asynccontextmanager
async def opened(**timeouts: float) -> AsyncIterator[Transport]:
    transport = Transport(timeouts=Timeouts(**timeouts), max_connections=3, transport="aiohttp")
    try:
        yield transport
    finally:
        await transport.aclose()


async def ask(transport: Transport, host: TLSHost) -> Reply:
    return await transport.send(Call("GET", f"{host.url}/v1"), {"authorization": KEY})


async def create(transport: Transport, host: TLSHost, body: dict[str, str]) -> Reply:
    return await transport.send(Call("POST", f"{host.url}/v1", body), {"authorization": KEY})


async def test_calls_share_connections(host: TLSHost) -> None:
    async with opened() as transport:
        for _ in range(5):
            assert (await ask(transport, host)).content == TASK
        async with anyio.create_task_group() as group:
            for _ in range(20):
                group.start_soon(ask, transport, host)

    assert host.connections <= 3
    assert len(host.requests) == 25


@pytest.mark.parametrize("body", [{"prompt": "A boat"}, LARGE], ids=["small", "large"])
async def test_create_arrives_whole(host: TLSHost, body: dict[str, str]) -> None:
    async with opened() as transport:
        assert (await create(transport, host, body)).content == TASK

    assert host.creates == 1


async def test_failed_connection_proves_nothing(host: TLSHost) -> None:
    """httpx-aiohttp calls a connection failed that was lost, too."""
    host.scripts = [lambda _: None, lambda conversation: conversation.shake_hands()]
    async with opened() as transport:
        for _ in range(2):
            with pytest.raises(AnswerLost):
                await create(transport, host, {"prompt": "A boat"})

    assert host.creates <= 1


@pytest.mark.parametrize("says", [b"", ANSWER[:20], ANSWER[:-5]])
async def test_create_is_never_sent_again(host: TLSHost, says: bytes) -> None:
    def breaks(conversation: Conversation) -> None:
        conversation.shake_hands()
        conversation.read()
        conversation.say()
        conversation.read()
        conversation.say(says)

    host.scripts = [breaks]
    async with opened() as transport:
        await ask(transport, host)
        with pytest.raises(AnswerLost):
            await create(transport, host, {"prompt": "A boat"})

    assert host.creates == 1


@pytest.mark.parametrize("shakes_hands", [False, True])
async def test_silence_ends_with_its_time_out(host: TLSHost, shakes_hands: bool) -> None:
    def stalls(conversation: Conversation) -> None:
        if shakes_hands:
            conversation.shake_hands()
        conversation.pause()

    host.scripts = [stalls]
    times = {"connect": 5.0, "read": 0.2} if shakes_hands else {"connect": 0.2, "read": 5.0}
    async with opened(**times) as transport:
        started = anyio.current_time()
        with pytest.raises(AnswerLost):
            await ask(transport, host)

    assert anyio.current_time() - started < 4


async def test_cookies_are_not_kept(host: TLSHost) -> None:
    cookie = HEAD % len(TASK) + b"Set-Cookie: a=b\r\n\r\n" + TASK

    def bakes(conversation: Conversation) -> None:
        conversation.shake_hands()
        while conversation.read():
            conversation.say(cookie)

    host.scripts = [bakes]
    async with opened() as transport:
        for _ in range(2):
            assert (await ask(transport, host)).headers["set-cookie"] == "a=b"

    assert not any("cookie:" in head.lower() for head in host.heads)


async def test_files_go_by_the_clients_own_connections(host: TLSHost) -> None:
    place = Place("https", "film.test", host.port, f"https://film.test:{host.port}/7.mp4")
    async with opened() as transport:
        assert transport.pins
        async with transport.open(place, {}, "127.0.0.1") as answer:
            assert b"".join([piece async for piece in answer.pieces()]) == TASK


async def test_task_runs_to_its_end() -> None:
    emulator = Emulator(duration=0.1)
    async with (
        emulator.serve() as origin,
        Kling(KlingAI(KEY, base_url=f"{origin}/official"), transport="aiohttp") as kling,
    ):
        task = await kling.text2video.submit(prompt="A boat")
        assert (await task.refresh()).id == task.id

    assert len(emulator.ledger) == 1


async def test_proxy_of_the_environment_is_used(
    host: TLSHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    def proxies(conversation: Conversation) -> None:
        conversation.read()
        conversation.say(LAST_ANSWER)

    host.scripts = [proxies]
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{host.port}")
    async with opened() as transport:
        await transport.send(Call("GET", "http://kling.invalid/v1"), {})
        assert not transport.pins

    assert host.requests == ["GET http://kling.invalid/v1 HTTP/1.1"]


# The first loop is closed over a session that nobody has closed, which is for aiohttp to say.
@pytest.mark.filterwarnings("ignore:Unclosed:ResourceWarning")
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_client_may_be_used_in_one_loop_after_another(host: TLSHost) -> None:
    transport = Transport(timeouts=Timeouts(), max_connections=3, transport="aiohttp")

    async def use(*, closes: bool) -> None:
        assert (await ask(transport, host)).content == TASK
        if closes:
            await transport.aclose()

    anyio.run(lambda: use(closes=False))
    anyio.run(lambda: use(closes=True))
    gc.collect()

    assert host.connections == 2


async def test_unused_client_is_closed() -> None:
    async with opened():
        pass


def test_trio_is_refused() -> None:
    async def use() -> None:
        async with opened() as transport:
            with pytest.raises(ConfigurationError, match="asyncio"):
                await transport.send(Call("GET", "http://127.0.0.1:9"), {})

    anyio.run(use, backend="trio")


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "httpx_aiohttp", None)

    with pytest.raises(ConfigurationError, match=r"kling_async\[aiohttp\]"):
        Kling(KlingAI(KEY), transport="aiohttp")


def test_proxy_that_aiohttp_would_pass_by_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALL_PROXY", "http://127.0.0.1:9")

    with pytest.raises(ConfigurationError, match="HTTPS_PROXY"):
        Kling(KlingAI(KEY), transport="aiohttp")


def test_other_names_are_refused() -> None:
    with pytest.raises(ConfigurationError, match="transport is 'requests'"):
        Kling(KlingAI(KEY), transport="requests")  # type: ignore[arg-type]  # refused at run time too
