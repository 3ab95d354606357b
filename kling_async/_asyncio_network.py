"""Connections of asyncio's own, as httpcore takes them: a third of what they cost through anyio."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from itertools import chain, zip_longest
from math import inf
from typing import Any, cast

import anyio
import httpcore

_HEAD_START = 0.25
"""Seconds that an address has before the next one is tried beside it (RFC 8305)."""

_MOST = 1024 * 1024
"""Bytes that may have come and not been read. Whoever is read has far fewer, which counts under
uvloop: it loses what a server has sent that closes while it is made to wait."""

_RECORD = 16 * 1024
"""Bytes that TLS may have begun to read, beside those that it says are there."""

Address = tuple[socket.AddressFamily, Any]


class AsyncioBackend(httpcore.AsyncNetworkBackend):
    """Opens connections in the asyncio loop that runs.

    Args:
        piece: Bytes that each has room for at first.
    """

    def __init__(self, piece: int) -> None:
        self._piece = piece

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Connect, by whichever of the host's addresses answers first."""
        with _connecting(timeout):
            sock = await _first(await _addresses(host, port))
            _, line = await asyncio.get_running_loop().create_connection(
                lambda: _Line(self._piece), sock=sock
            )
        return AsyncioStream(line, sock)


class AsyncioStream(httpcore.AsyncNetworkStream):
    """One connection, with or without TLS."""

    def __init__(self, line: _Line, sock: socket.socket) -> None:
        self._line = line
        self._socket = sock

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """What has come, be it more than httpcore asks for; nothing at the end."""
        return await self._line.read(inf if timeout is None else timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send, and wait while too much is on its way."""
        await self._line.write(buffer, inf if timeout is None else timeout)

    async def aclose(self) -> None:
        """Close at once: nothing that would still be said is wanted."""
        self._line.transport.abort()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """The same connection, encrypted."""
        raw, line = self._line.transport, _Line(self._line.piece)
        try:
            with _connecting(timeout):
                if self._line.is_over:
                    raise OSError("the server closed, or spoke, before the TLS handshake")
                encrypted = await asyncio.get_running_loop().start_tls(
                    raw, line, ssl_context, server_hostname=server_hostname
                )
        except BaseException:
            raw.abort()
            raise
        assert encrypted is not None
        line.connection_made(encrypted)
        return AsyncioStream(line, self._socket)

    def get_extra_info(self, info: str) -> Any:
        """What httpcore asks for."""
        if info == "is_readable":
            return self._line.is_over or _is_readable(self._socket)
        return self._line.transport.get_extra_info(info)


class _Line(asyncio.BufferedProtocol):
    """Holds what has come until it is read. As a plain Protocol, asyncio would make room for
    a quarter of a megabyte at each answer, which takes longer than all of the rest."""

    transport: asyncio.Transport

    def __init__(self, piece: int) -> None:
        self._loop = asyncio.get_running_loop()
        self.piece = piece
        self._buffer = memoryview(bytearray(piece))
        self._filled = 0
        self._reader: asyncio.Future[None] | None = None
        self._writer: asyncio.Future[None] | None = None
        self._is_full = self._is_paused = self._has_ended = False
        self._error: Exception | None = None

    @property
    def is_over(self) -> bool:
        """Whether something has come that nobody asked for, be it the end."""
        return self._has_ended or self._filled > 0

    async def read(self, timeout: float) -> bytes:
        while not self._filled:
            if self._error is not None:
                raise httpcore.ReadError(str(self._error)) from self._error
            if self._has_ended:
                return b""
            self._reader = self._loop.create_future()
            try:
                await self._woken(self._reader, timeout, httpcore.ReadTimeout)
            finally:
                self._reader = None
        piece, self._filled = bytes(self._buffer[: self._filled]), 0
        if self._is_paused:
            self._is_paused = False
            self.transport.resume_reading()
        return piece

    async def write(self, data: bytes, timeout: float) -> None:
        if not data:  # so httpcore ends a request
            return
        if self._has_ended or self.transport.is_closing():
            raise httpcore.WriteError(str(self._error or "the connection is closed"))
        self.transport.write(data)
        while self._is_full and not self._has_ended:
            self._writer = self._loop.create_future()
            try:
                await self._woken(self._writer, timeout, httpcore.WriteTimeout)
            finally:
                self._writer = None

    async def _woken(
        self, future: asyncio.Future[None], timeout: float, late: type[Exception]
    ) -> None:
        timer = self._loop.call_later(timeout, _fail, future, late)
        try:
            await future
        finally:
            timer.cancel()

    # What the loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)  # which uvloop's is by conduct alone

    def get_buffer(self, sizehint: int) -> memoryview:
        # All that TLS holds must fit: asyncio throws the rest away if the server has closed.
        room = sizehint + _RECORD
        if self._filled + room > len(self._buffer):
            self._buffer = memoryview(bytearray(self._buffer[: self._filled]) + bytes(room))
        return self._buffer[self._filled :]

    def buffer_updated(self, nbytes: int) -> None:
        self._filled += nbytes
        if self._filled >= _MOST:  # the server sends no more until it is read
            self._is_paused = True
            self.transport.pause_reading()
        _wake(self._reader)

    def eof_received(self) -> None:
        self._has_ended = True
        _wake(self._reader)
        _wake(self._writer)

    def connection_lost(self, exc: Exception | None) -> None:
        self._error = exc
        self.eof_received()

    def pause_writing(self) -> None:
        self._is_full = True

    def resume_writing(self) -> None:
        self._is_full = False
        _wake(self._writer)


def _wake(future: asyncio.Future[None] | None) -> None:
    if future is not None and not future.done():
        future.set_result(None)


def _fail(future: asyncio.Future[None], late: type[Exception]) -> None:
    if not future.done():
        future.set_exception(late())


def _is_readable(sock: socket.socket) -> bool:
    """Whether there is anything in it, so that it is of no use while idle."""
    try:
        sock.recv(1, socket.MSG_PEEK)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


@contextmanager
def _connecting(timeout: float | None) -> Generator[None]:
    try:
        with anyio.fail_after(timeout):
            yield
    except TimeoutError as error:
        raise httpcore.ConnectTimeout(str(error)) from error
    except OSError as error:  # those of ssl are too
        raise httpcore.ConnectError(str(error)) from error


async def _addresses(host: str, port: int) -> list[Address]:
    """Where the host is, by both families in turn."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    first = found[0][0]
    each = [(family, address) for family, _, _, _, address in found]
    alike = [one for one in each if one[0] == first]
    others = [one for one in each if one[0] != first]
    return [one for one in chain.from_iterable(zip_longest(alike, others)) if one is not None]


async def _first(addresses: list[Address]) -> socket.socket:
    """A socket that is connected to the one that answers first."""
    won: list[socket.socket] = []
    failures: list[OSError] = []

    async def attempt(address: Address, over: anyio.Event) -> None:
        try:
            sock = await _dial(*address)
        except OSError as error:
            failures.append(error)
        else:
            won.append(sock)
            if len(addresses) > 1:  # else there is nobody to call off
                group.cancel_scope.cancel()
        over.set()

    try:
        async with anyio.create_task_group() as group:
            for address in addresses:
                over = anyio.Event()
                group.start_soon(attempt, address, over)
                with anyio.move_on_after(_HEAD_START):
                    await over.wait()
        if won:
            return won.pop()
    finally:
        for sock in won:  # one at most, and only if somebody cancels at this very moment
            sock.close()
    raise failures[0]


async def _dial(family: socket.AddressFamily, address: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock
