"""The server on loopback that everybody is measured against, a process of its own.

Run by the benchmarks: python -m benchmarks.peers.server

It prints its port and serves until its input ends. A path that begins with the name of a fault
meets that fault when it creates something.
"""

from __future__ import annotations

import asyncio
import json
import socket
import struct
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks.peers.apis import Answer, World, intent
from benchmarks.peers.clock import SharedTime

FAULTS = {
    "reset": "answer lost: reset",
    "closed": "answer lost: closed",
    "stalled": "answer lost: stalled",
    "truncated": "answer cut off",
    "500": "500, but carried out",
    "502": "502 page, but carried out",
    "lost": "reset before it arrived, once",
    "429": "429 once",
    "refused": "connection refused at first",
}
"""The first six meet every create of the intent, and it is carried out all the same."""
_ONCE = {"lost", "429"}
_NO_LINGER = struct.pack("ii", 1, 0)
_PAGE = b"<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"
# Kling's own code for creates that come too fast; the others read the status alone.
_BUSY = b'{"code":1302,"message":"The API request is too fast, exceeding the rate limit"}'
_SHUT_FOR = 0.5


class Server:
    """All APIs on all ports; `/-/` begins runs and tells what happened."""

    def __init__(self) -> None:
        self.port = 0
        self.world = World(time.monotonic, 0.0, "")
        self.struck: Counter[tuple[str, str]] = Counter()

    def control(self, name: str, wish: dict[str, Any]) -> Answer:
        """What the benchmark asks for, not a client."""
        if name == "begin":
            clock = SharedTime(Path(wish["clock"])).get if wish.get("clock") else time.monotonic
            origin = f"http://127.0.0.1:{self.port}"
            self.world = World(clock, wish.get("takes"), origin)
            self.struck.clear()
            return Answer(200, b"{}")
        if name == "shut":
            return Answer(200, b"%d" % self._shut())
        world = self.world
        figures = {
            "requests": world.requests,
            "billed": world.billed,
            "lags": world.lags,
            "most_in_flight": world.most_in_flight,
        }
        return Answer(200, json.dumps(figures).encode())

    def _shut(self) -> int:
        """A port that refuses connections for a while."""
        link = socket.socket()
        link.bind(("127.0.0.1", 0))
        loop = asyncio.get_running_loop()

        async def listen() -> None:
            await loop.create_server(lambda: Connection(self), sock=link)

        loop.call_later(_SHUT_FOR, lambda: loop.create_task(listen()))
        port: int = link.getsockname()[1]
        return port


class Connection(asyncio.Protocol):
    """HTTP/1.1, kept alive."""

    transport: asyncio.Transport

    def __init__(self, server: Server) -> None:
        self._server = server
        self._data = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        # A page shall leave in one piece, whatever the reader does.
        transport.set_write_buffer_limits(high=1 << 24)

    def data_received(self, data: bytes) -> None:
        self._data += data
        while b"\r\n\r\n" in self._data:
            head, _, rest = self._data.partition(b"\r\n\r\n")
            size = head.lower().partition(b"\ncontent-length:")[2].partition(b"\r\n")[0]
            length = int(size) if size else 0
            if len(rest) < length:
                return
            self._data = rest[length:]
            method, target, _ = head.decode("latin-1").split(" ", 2)
            self._serve(method, target, rest[:length])

    def _serve(self, method: str, target: str, body: bytes) -> None:
        first, _, rest = target[1:].partition("/")
        if first == "-":
            self._send(self._server.control(rest, json.loads(body or b"{}")))
            return
        if first not in FAULTS:
            self._send(self._server.world.answer(method, target, body))
        elif method == "POST":
            self._strike(first, f"/{rest}", body)
        else:
            self._send(self._server.world.answer(method, f"/{rest}", body))

    def _strike(self, fault: str, target: str, body: bytes) -> None:
        world, struck = self._server.world, self._server.struck
        key = fault, intent(body)
        struck[key] += 1
        if fault == "refused" or (fault in _ONCE and struck[key] > 1):
            self._send(world.answer("POST", target, body))
            return
        if fault == "429":
            self._send(Answer(429, _BUSY, "Retry-After: 1\r\n"))
            return
        if fault != "lost":
            head, text = _wire(world.answer("POST", target, body))
            if fault == "truncated":
                self.transport.write(head + text[: len(text) // 2])
        if fault == "500":
            self._send(Answer(500, b'{"code":5000,"message":"Internal server error"}'))
        if fault == "502":
            self._send(Answer(502, _PAGE))
        if fault in ("truncated", "closed"):
            self.transport.close()
        if fault in ("reset", "lost"):
            link = self.transport.get_extra_info("socket")
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
            self.transport.abort()

    def _send(self, answer: Answer) -> None:
        self.transport.write(b"".join(_wire(answer)))


def _wire(answer: Answer) -> tuple[bytes, bytes]:
    kind = "text/html" if answer.body.startswith(b"<") else "application/json"
    head = (
        f"HTTP/1.1 {answer.status} Something\r\nContent-Type: {kind}\r\n{answer.headers}"
        f"Content-Length: {len(answer.body)}\r\n\r\n"
    )
    return head.encode(), answer.body


async def main() -> None:
    server, loop = Server(), asyncio.get_running_loop()
    listener = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0, backlog=4096)
    server.port = listener.sockets[0].getsockname()[1]
    print(server.port, flush=True)
    await loop.run_in_executor(None, sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(main())
