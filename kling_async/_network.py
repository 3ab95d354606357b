"""Network: opens connections, by asyncio itself where that runs, else as httpcore does."""

from __future__ import annotations

import asyncio
import signal
import ssl
import sys
from collections.abc import Iterable
from typing import Any, cast

import anyio
import httpcore

from ._asyncio_network import AsyncioBackend


def running() -> object:
    """The run of an event loop that this is; what belongs to another one is of no use here."""
    trio: Any = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        return trio.lowlevel.current_trio_token()
    return asyncio.get_running_loop()


class Network(httpcore.AsyncNetworkBackend):
    """Whichever backend goes with the event loop that runs.

    Args:
        piece: Bytes that are read at once, if need be.
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
        """Connect in the loop that runs."""
        if isinstance(running(), asyncio.AbstractEventLoop):
            return await AsyncioBackend(self._piece).connect_tcp(host, port, timeout)
        return await _in_trio(host, port, timeout)


async def _in_trio(host: str, port: int, timeout: float | None) -> httpcore.AsyncNetworkStream:
    backend = cast("httpcore.AsyncNetworkBackend", httpcore.TrioBackend())
    while True:
        try:
            stream = await backend.connect_tcp(host, port, timeout)
        except* KeyboardInterrupt:
            pass  # it hit one of the tasks in which trio dials
        else:
            return _Guarded(stream)
        # In a task of ours it goes to the main task from here, in any other it is raised.
        signal.raise_signal(signal.SIGINT)


class _Guarded(httpcore.AsyncNetworkStream):
    """Closes a connection whose handshake is cancelled; httpcore closes it after errors only.
    And knows of what was received but not decrypted, where httpcore looks at the socket alone."""

    def __init__(self, stream: httpcore.AsyncNetworkStream) -> None:
        self._stream = stream

    async def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return await self._stream.read(max_bytes, timeout)

    async def write(self, buffer: bytes, timeout: float | None = None) -> None:
        await self._stream.write(buffer, timeout)

    async def aclose(self) -> None:
        await self._stream.aclose()

    async def start_tls(
        self,
        ssl_context: ssl.SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            encrypted = await self._stream.start_tls(ssl_context, server_hostname, timeout)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await self._stream.aclose()
            raise
        return _Guarded(encrypted)

    def get_extra_info(self, info: str) -> Any:
        found = self._stream.get_extra_info(info)
        if info == "is_readable" and not found:
            return _holds_something(self._stream.get_extra_info("ssl_object"))
        return found


def _holds_something(tls: ssl.SSLObject | None) -> bool:
    """Whether anything more than nothing comes out of it; what does is lost."""
    try:
        return tls is not None and bool(tls.read(1))
    except ssl.SSLWantReadError:
        return False
