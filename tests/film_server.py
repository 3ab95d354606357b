"""FilmServer: a file host on a real port, which cuts connections on purpose."""

from __future__ import annotations

import re
import socket
import struct
from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import anyio
from anyio.abc import SocketAttribute, SocketStream, TaskStatus

_PIECE = 65_536
_NO_LINGER = struct.pack("ii", 1, 0)


class FilmServer:
    """Serves `/<number>.mp4`, and breaks off after so many bytes of each answer.

    Args:
        film: Makes the film of a number.
        reset: Cut by RST, which throws away what is on its way, and not by FIN.
        pause: Seconds between two pieces.
    """

    def __init__(
        self,
        film: Callable[[int], bytes],
        *,
        break_after: int | None = None,
        reset: bool = False,
        pause: float = 0.0,
    ) -> None:
        self._film = film
        self._break_after = break_after
        self._reset = reset
        self._pause = pause
        self.authorized = 0
        self.starts: dict[int, list[int]] = {}
        """Where each request for a film began."""
        self.sent: Counter[int] = Counter()
        self._more = anyio.Event()

    async def reaches(self, size: int) -> None:
        """Wait until so many bytes were sent."""
        while self.sent.total() < size:
            self._more = anyio.Event()
            await self._more.wait()

    async def serve(self, *, task_status: TaskStatus[str]) -> None:
        """Serve until cancelled; gives the origin."""
        listener = await anyio.create_tcp_listener(local_host="127.0.0.1", backlog=1000)
        async with listener:
            port = listener.extra(SocketAttribute.local_port)
            task_status.started(f"http://127.0.0.1:{port}")
            await listener.serve(self._serve)

    async def _serve(self, stream: SocketStream) -> None:
        async with stream:
            with suppress(anyio.BrokenResourceError, anyio.EndOfStream):
                await self._answer(stream, (await stream.receive()).decode("latin-1"))

    async def _answer(self, stream: SocketStream, head: str) -> None:
        self.authorized += bool(re.search("^(authorization|cookie):", head, re.I | re.M))
        found, wish = re.match(r"GET /(\d+)\.mp4", head), re.search(r"bytes=(\d+)-", head)
        assert found is not None
        number = int(found[1])
        content = memoryview(self._film(number))
        start, size = int(wish[1]) if wish else 0, len(content)
        self.starts.setdefault(number, []).append(start)
        lines = [
            "HTTP/1.1 206 Partial Content" if wish else "HTTP/1.1 200 OK",
            *([f"Content-Range: bytes {start}-{size - 1}/{size}"] if wish else []),
            f'Content-Length: {size - start}\r\nContent-Type: video/mp4\r\nETag: "{number}"',
        ]
        await stream.send("\r\n".join([*lines, "\r\n"]).encode())
        end = size if self._break_after is None else min(size, start + self._break_after)
        for at in range(start, end, _PIECE):
            piece = content[at : min(end, at + _PIECE)]
            await stream.send(bytes(piece))
            self.sent[number] += len(piece)
            self._more.set()
            await anyio.sleep(self._pause)
        if end < size and self._reset:
            await anyio.sleep(0.05)  # most of it shall be read before it is thrown away
            link = stream.extra(SocketAttribute.raw_socket)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
