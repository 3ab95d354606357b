"""An event loop in virtual time whose HTTP goes to a real server, in another process.

Time jumps to the next deadline when there is nothing to do, and stands still while an answer is
on its way: an hour's waiting costs what an hour's waiting costs, but for the hour. The server
reads the same clock, from a shared page of memory. Everybody who is measured runs on it.
"""

from __future__ import annotations

import asyncio
import selectors
import socket
from collections import deque
from collections.abc import Callable
from mmap import mmap
from pathlib import Path
from struct import Struct
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

LATENCY = 0.2
"""Virtual seconds from a request to its answer."""
_TIME = Struct("d")


class SharedTime:
    """A number of seconds that one process sets and another one reads."""

    def __init__(self, path: Path) -> None:
        if not path.exists():
            path.write_bytes(bytes(_TIME.size))
        with path.open("r+b") as file:
            self._page = mmap(file.fileno(), _TIME.size)

    def get(self) -> float:
        seconds: float = _TIME.unpack_from(self._page)[0]
        return seconds

    def set(self, seconds: float) -> None:
        _TIME.pack_into(self._page, 0, seconds)


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs one client."""

    def __init__(self, shared: SharedTime) -> None:
        self._now = shared.get()
        self._shared = shared
        self.awaited = set[object]()
        """Connections that come about, and answers that are on their way."""
        self.traffic = WeakKeyDictionary[socket.socket, _Traffic]()
        _Wire.loop = self
        super().__init__(_Selector(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds
        self._shared.set(self._now)

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        self.awaited.add(sock)
        try:
            await super().sock_connect(sock, address)
        finally:
            self.awaited.discard(sock)

    # The same as in asyncio, but for types of what is only handed on.
    def run_in_executor(  # type: ignore[override]
        self, executor: Any, call: Callable[..., Any], *how: Any
    ) -> Any:
        job = super().run_in_executor(executor, call, *how)
        self.awaited.add(job)
        job.add_done_callback(self.awaited.discard)
        return job

    async def create_connection(  # type: ignore[override]
        self,
        factory: Callable[[], Any],
        host: str | None = None,
        port: int | None = None,
        **how: Any,
    ) -> Any:
        link = how.pop("sock", None)
        if link is None:
            link = socket.socket()
            link.setblocking(False)
            await self.sock_connect(link, (host, port))
        link.__class__ = _Wire  # whoever made it keeps it
        self.traffic[link] = _Traffic()
        return await super().create_connection(factory, sock=link, ssl=how.get("ssl"))


class _Selector(selectors.DefaultSelector):
    def __init__(self, loop: VirtualLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or self._loop.awaited:
            return super().select(None if timeout is None or timeout > 0 else 0)
        ready = super().select(0)
        if not ready and timeout > 0:
            self._loop.jump(timeout)
        return ready


class _Traffic:
    """What is on its way on one connection."""

    def __init__(self) -> None:
        self.leaving = deque[bytes]()
        self.head = b""
        self.left: int | None = None

    def is_whole(self, data: bytes | memoryview) -> bool:
        """Whether the answer is, with this piece of it; no piece is its end."""
        if self.left is None:
            self.head += data
            head, found, body = self.head.partition(b"\r\n\r\n")
            if found:
                size = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
                self.left = int(size) - len(body)
        else:
            self.left -= len(data)
        if data and self.left != 0:
            return False
        self.head, self.left = b"", None
        return True


class _Wire(socket.socket):
    """A connection on which what is sent takes its time."""

    __slots__ = ()
    loop: ClassVar[VirtualLoop]
    """There is one."""

    def send(self, data: Any, flags: int = 0, /) -> int:
        loop = self.loop
        loop.traffic[self].leaving.append(bytes(data))
        loop.call_later(LATENCY, self._leave)
        return len(data)

    def _leave(self) -> None:
        loop = self.loop
        data = loop.traffic[self].leaving.popleft()
        if self.fileno() >= 0:
            loop.awaited.add(self)
            sent = super().send(data)
            assert sent == len(data), "the request is larger than the system's buffer"

    def recv(self, size: int, flags: int = 0, /) -> bytes:
        data = super().recv(size, flags)
        if not flags:
            self._account(data)
        return data

    def recv_into(self, buffer: Any, nbytes: int = 0, flags: int = 0) -> int:
        size = super().recv_into(buffer, nbytes, flags)
        self._account(memoryview(buffer)[:size])
        return size

    def _account(self, data: bytes | memoryview) -> None:
        loop = self.loop
        if loop.traffic[self].is_whole(data):
            loop.awaited.discard(self)

    def close(self) -> None:
        self.loop.awaited.discard(self)
        super().close()
