"""Connections serve one request after another, few serve many, and idle ones do not stay open."""

from __future__ import annotations

import gc
import ssl
import time
from functools import partial

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
import pytest
from httpx._transports.default import _load_httpcore_exceptions

from kling_async import AnswerLost, ConfigurationError, ConnectFailed, Timeouts
from kling_async._exchange import Call, Place
from kling_async._pool import _IN_HTTPX, Pool
from kling_async._transport import Transport
from tests.hang_ups import (
    announces_the_close,
    closes_after_the_request,
    closes_at_once,
    stalls_after_the_request,
)
from tests.pooled import ask, create, opened, remembered
from tests.tls_host import TASK, Conversation, TLSHost, serve

pytestmark = pytest.mark.real_time


async def test_polls_share_one_connection(host: TLSHost) -> None:
    async with opened(host) as transport:
        for number in range(30):
            assert (await ask(transport, host, number)).content == TASK

    assert host.connections == 1
    assert len(host.requests) == 30


async def test_question_is_remembered_with_its_key(host: TLSHost) -> None:
    async with opened(host) as transport:
        for token in ("first", "second", "first"):
            await transport.send(Call("GET", f"{host.url}/v1/7"), {"authorization": token})

    assert [head.partition("authorization: ")[2].split()[0] for head in host.heads] == [
        "first",
        "second",
        "first",
    ]


async def test_parallel_requests_share_so_many_connections(host: TLSHost) -> None:
    async with opened(host, most=7) as transport, anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(ask, transport, host, number)

    assert host.connections <= 7
    assert sorted(host.requests) == sorted(f"GET /v1/{number} HTTP/1.1" for number in range(100))


async def test_connections_left_idle_are_closed(
    host: TLSHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, later = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + later[0])
    async with opened(host) as transport:
        async with anyio.create_task_group() as group:
            for number in range(5):
                group.start_soon(ask, transport, host, number)
        first = host.connections
        later[0] += 40
        await ask(transport, host)
        later[0] += 40
        await ask(transport, host)  # on the one that was used in between
        for _ in range(3):
            await anyio.lowlevel.checkpoint()
        assert len(host.open_sockets()) == 1
        later[0] += 70
        await ask(transport, host)

    assert host.connections == first + 1


async def test_connection_is_taken_while_old_ones_are_closed(
    host: TLSHost, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, later = time.monotonic, [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: real() + later[0])

    async def follow(steps: int) -> None:
        for _ in range(steps):
            await anyio.lowlevel.checkpoint()
        await ask(transport, host)

    async with opened(host) as transport:
        for steps in range(30):
            async with anyio.create_task_group() as group:
                group.start_soon(ask, transport, host)
                group.start_soon(ask, transport, host)
            later[0] += 40
            await ask(transport, host)
            later[0] += 40  # one is too old now, and is closed when the other comes back
            async with anyio.create_task_group() as group:
                group.start_soon(follow, 0)
                group.start_soon(follow, steps)
            later[0] += 100


async def test_connection_is_forgotten_when_it_breaks(host: TLSHost) -> None:
    host.scripts = [closes_at_once, closes_after_the_request, announces_the_close]
    async with opened(host) as transport:
        for _ in range(2):
            with pytest.raises((AnswerLost, ConnectFailed)):
                await create(transport, host)
        await create(transport, host)
        assert remembered(host) == 0


async def test_client_that_is_closed_ends_what_is_under_way(host: TLSHost) -> None:
    host.scripts = [stalls_after_the_request]
    async with opened(host) as transport, anyio.create_task_group() as group:

        async def fails() -> None:
            with pytest.raises(AnswerLost, match="lost the answer"):  # and not by its time-out
                await create(transport, host)

        group.start_soon(fails)
        await anyio.to_thread.run_sync(host.reached.wait, 5)
        await transport.aclose()
        with pytest.raises(ConfigurationError, match="closed"):
            await ask(transport, host)


async def test_connection_that_stands_after_the_close_is_closed_too(host: TLSHost) -> None:
    def dawdles(conversation: Conversation) -> None:
        host.reached.set()
        conversation.wait()
        serve(conversation)

    host.scripts = [dawdles]
    async with opened(host) as transport:
        async with anyio.create_task_group() as group:
            group.start_soon(create, transport, host)
            await anyio.to_thread.run_sync(host.reached.wait, 5)
            await transport.aclose()
            host.go.set()
        assert host.creates == 1


async def test_file_is_read_from_the_address_that_was_checked(host: TLSHost) -> None:
    place = Place("https", "film.test", host.port, f"https://film.test:{host.port}/7.mp4")
    async with opened(host) as transport:
        for _ in range(2):
            async with transport.open(place, {}, "127.0.0.1") as answer:
                assert b"".join([piece async for piece in answer.pieces()]) == TASK

    assert host.connections == 2  # none is kept: it was checked for one name alone


async def test_file_is_read_no_faster_than_it_is_wanted(host: TLSHost) -> None:
    film = bytes(16_000_000)  # more than the system would hold

    def sends(conversation: Conversation) -> None:
        closes_after_the_request(conversation)
        conversation.say(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(film))
        conversation.say(film)
        conversation.end()

    host.scripts = [sends]
    place = Place("https", "film.test", host.port, f"https://film.test:{host.port}/7.mp4")
    async with opened(host) as transport, transport.open(place, {}, "127.0.0.1") as answer:
        pieces = answer.pieces()
        read = len(await anext(pieces))
        assert not await anyio.to_thread.run_sync(host.closed.wait, 1)
        read += sum([len(piece) async for piece in pieces])

    assert read == len(film)


async def test_headers_are_told_as_httpx_tells_them(host: TLSHost) -> None:
    sent = [
        (b"Via", b"1.1 a"),
        (b"X-Menu", "à la carte".encode()),
        (b"via", b"1.1 b"),
        (b"Content-Length", b"0"),
    ]
    latin = [(b"Server", "café".encode("latin-1")), (b"Content-Length", b"0")]
    for headers in (sent, latin):
        lines = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        host.scripts.append(partial(says_head, lines))
    async with opened(host) as transport:
        for headers in (sent, latin):
            assert (await ask(transport, host)).headers == dict(httpx.Headers(headers))


def says_head(lines: bytes, conversation: Conversation) -> None:
    closes_after_the_request(conversation)
    conversation.say(b"HTTP/1.1 200 OK\r\n" + lines + b"\r\n")


def test_every_error_of_httpcore_has_its_name_in_httpx() -> None:
    assert _load_httpcore_exceptions() == _IN_HTTPX


async def test_other_protocols_are_refused() -> None:
    pool = Pool(ssl.create_default_context(), kept=60)

    with pytest.raises(httpx.UnsupportedProtocol, match="ftp"):
        await pool.handle_async_request(httpx.Request("GET", "ftp://film.test/"))


async def test_answer_may_be_closed_twice(host: TLSHost) -> None:
    pool = Pool(httpx.create_ssl_context(), kept=60)
    for _ in range(2):
        answer = await pool.handle_async_request(httpx.Request("GET", host.url))
        assert await answer.aread() == TASK
        assert isinstance(answer.stream, httpx.AsyncByteStream)
        await answer.stream.aclose()
    await pool.aclose()

    assert host.connections == 1


# The first loop is closed over connections that nobody has closed, which is for asyncio to say.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_client_may_be_used_in_one_loop_after_another(host: TLSHost, backend: str) -> None:
    transport = Transport(timeouts=Timeouts(), max_connections=20)
    for _ in range(2):
        assert anyio.run(ask, transport, host, backend=backend).content == TASK
    anyio.run(transport.aclose, backend=backend)
    gc.collect()

    assert host.connections == 2


async def test_certificate_must_be_for_the_files_host(host: TLSHost) -> None:
    place = Place("https", "other.test", host.port, f"https://other.test:{host.port}/7.mp4")
    async with opened(host) as transport:
        with pytest.raises(ConnectFailed):
            async with transport.open(place, {}, "127.0.0.1"):
                raise AssertionError
