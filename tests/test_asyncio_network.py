"""A host's addresses are tried in turn, and beside each other where one keeps silent."""

from __future__ import annotations

import asyncio
import errno
import select
import socket
import ssl
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.lowlevel
import httpcore
import pytest

from kling_async._asyncio_network import AsyncioBackend

pytestmark = pytest.mark.real_time
SIX, FOUR = socket.AF_INET6, socket.AF_INET


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server at 127.0.0.1 and nowhere else."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def lead_to(monkeypatch: pytest.MonkeyPatch, *hosts: str) -> None:
    """Let every name lead there."""

    async def found(_: str, port: int, **__: Any) -> list[Any]:
        return [
            (SIX if ":" in host else FOUR, socket.SOCK_STREAM, 0, "", (host, port))
            for host in hosts
        ]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", found)


class Dialled:
    """What asyncio is told to connect to; some addresses are silent until `go`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *silent: str) -> None:
        self.hosts: list[str] = []
        self.sockets: list[socket.socket] = []
        self.go = anyio.Event()
        self._silent = silent
        loop = asyncio.get_running_loop()
        self._connect = loop.sock_connect
        monkeypatch.setattr(loop, "sock_connect", self.connect)

    async def connect(self, sock: socket.socket, address: Any) -> None:
        self.hosts.append(address[0])
        self.sockets.append(sock)
        if address[0] in self._silent:
            await self.go.wait()
            address = ("127.0.0.1", address[1])
        await self._connect(sock, address)


async def test_address_that_refuses_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    lead_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    stream = await AsyncioBackend(65_536).connect_tcp("film.test", port, 5)

    assert stream.get_extra_info("peername") == ("127.0.0.1", port)
    await stream.aclose()


async def test_address_that_keeps_silent_is_passed_over(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    dialled = Dialled(monkeypatch, "127.0.0.2")
    lead_to(monkeypatch, "127.0.0.2", "127.0.0.1")
    stream = await AsyncioBackend(65_536).connect_tcp("film.test", port, 5)

    assert dialled.sockets[0].fileno() == -1
    await stream.aclose()


async def test_connection_that_comes_with_the_cancellation_is_closed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def leave(sock: socket.socket, _: Any) -> None:
        sockets.append(sock)
        task.cancel()

    sockets = list[socket.socket]()
    lead_to(monkeypatch, "127.0.0.1")
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", leave)
    task = asyncio.ensure_future(AsyncioBackend(65_536).connect_tcp("film.test", 80, 5))
    with pytest.raises(asyncio.CancelledError):
        await task

    assert [sock.fileno() for sock in sockets] == [-1]


async def accepted(listener: socket.socket) -> tuple[httpcore.AsyncNetworkStream, socket.socket]:
    """Both ends of a connection."""
    stream = await AsyncioBackend(65_536).connect_tcp("127.0.0.1", listener.getsockname()[1], 5)
    return stream, listener.accept()[0]


async def becomes_readable(stream: httpcore.AsyncNetworkStream) -> None:
    while not stream.get_extra_info("is_readable"):
        await anyio.lowlevel.checkpoint()
    for _ in range(3):  # and the loop has read it
        await anyio.lowlevel.checkpoint()


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


async def test_server_that_speaks_first_gets_no_handshake(listener: socket.socket) -> None:
    stream, server = await accepted(listener)
    with server:
        server.sendall(b"220 mail.test ESMTP\r\n")
        await becomes_readable(stream)
        with pytest.raises(httpcore.ConnectError, match="spoke"):
            await stream.start_tls(ssl.create_default_context(), "mail.test", 5)
        await anyio.lowlevel.checkpoint()
        assert stream.get_extra_info("socket").fileno() == -1


async def test_nothing_is_written_to_who_has_left(listener: socket.socket) -> None:
    stream, server = await accepted(listener)
    server.close()
    await becomes_readable(stream)
    with pytest.raises(httpcore.WriteError):
        await stream.write(b"GET", 5)


async def test_what_comes_with_the_time_out_is_read(listener: socket.socket) -> None:
    stream, server = await accepted(listener)
    with server:
        async with anyio.create_task_group() as group:

            async def read() -> None:
                assert await stream.read(9, 0.05) == b"just"

            group.start_soon(read)
            await anyio.lowlevel.checkpoint()
            server.sendall(b"just")
            select.select([], [], [], 0.1)  # the loop is held up past the time-out
        await stream.aclose()


async def test_when_all_refuse_the_first_reason_is_told(
    monkeypatch: pytest.MonkeyPatch, port: int
) -> None:
    lead_to(monkeypatch, "127.0.0.2", "127.0.0.3")
    with pytest.raises(httpcore.ConnectError, match=rf"Errno {errno.ECONNREFUSED}.*127\.0\.0\.2"):
        await AsyncioBackend(65_536).connect_tcp("film.test", port, 5)


async def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    async def refuse(sock: socket.socket, address: Any) -> None:
        asked.append(address[0])
        raise ConnectionRefusedError

    asked = list[str]()
    lead_to(monkeypatch, "::1", "::2", "::3", "127.0.0.1")
    monkeypatch.setattr(asyncio.get_running_loop(), "sock_connect", refuse)
    with pytest.raises(httpcore.ConnectError):
        await AsyncioBackend(65_536).connect_tcp("film.test", 80, 5)

    assert asked == ["::1", "127.0.0.1", "::2", "::3"]


async def test_silence_ends_with_the_time_out(monkeypatch: pytest.MonkeyPatch, port: int) -> None:
    dialled = Dialled(monkeypatch, "127.0.0.1")
    lead_to(monkeypatch, "127.0.0.1")
    with pytest.raises(httpcore.ConnectTimeout):
        await AsyncioBackend(65_536).connect_tcp("film.test", port, 0.1)

    assert dialled.sockets[0].fileno() == -1
