"""Talks to the emulator in process, with the errors a real socket would give."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import anyio
import httpx
from starlette.types import ASGIApp, Message

from kling_async.emulator._answers import DROP, How
from kling_async.emulator._app import IN_PROCESS

_CHUNK = 65_536


class _Stream(httpx.AsyncByteStream):
    """A received body, which may end in an error."""

    def __init__(self, body: bytes, error: httpx.TransportError | None) -> None:
        self._body = body
        self._error = error

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), _CHUNK):
            yield self._body[at : at + _CHUNK]
        if self._error is not None:
            raise self._error


@dataclass
class _Exchange:
    """One request and what has come back so far."""

    request: httpx.Request
    content: bytes
    status: int | None = None
    headers: list[tuple[bytes, bytes]] = field(default_factory=list[tuple[bytes, bytes]])
    body: bytearray = field(default_factory=bytearray)
    dropped: How | None = None

    async def receive(self) -> Message:
        return {"type": "http.request", "body": self.content, "more_body": False}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self.headers = list(message["headers"])
        else:
            self.body += message.get("body", b"")

    async def drop(self, how: How) -> None:
        self.dropped = how

    def response(self) -> httpx.Response:
        if self.status is None:
            raise self._error("Server disconnected without sending a response.")
        # Half an answer has a good status line: the error comes only while the body is read.
        error = None
        if self.dropped is not None:
            error = self._error("peer closed connection without sending complete message body")
        stream = _Stream(bytes(self.body), error)
        return httpx.Response(self.status, headers=self.headers, stream=stream)

    def _error(self, message: str) -> httpx.TransportError:
        kind = httpx.ReadError if self.dropped == "reset" else httpx.RemoteProtocolError
        return kind(message, request=self.request)


class EmulatorTransport(httpx.AsyncBaseTransport):
    """An httpx transport that ends at the emulator, whatever host is asked for."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer one request, keeping to the client's read time-out."""
        exchange = _Exchange(request, await request.aread())
        limit = request.extensions.get("timeout", {}).get("read")
        # A stalled handler is cancelled where it waits: what it has committed stays.
        with anyio.move_on_after(limit) as span:
            await self._app(_scope(exchange), exchange.receive, exchange.send)
        if span.cancelled_caught:
            raise httpx.ReadTimeout("The read operation timed out", request=request)
        return exchange.response()


def _scope(exchange: _Exchange) -> dict[str, object]:
    url = exchange.request.url
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": exchange.request.method,
        "scheme": url.scheme,
        "path": url.path,
        "raw_path": url.raw_path.partition(b"?")[0],
        "query_string": url.query,
        "root_path": "",
        # ASGI wants names in lower case, httpx keeps them as written.
        "headers": [(name.lower(), value) for name, value in exchange.request.headers.raw],
        "client": ("127.0.0.1", 1),
        "server": (url.host, url.port or (443 if url.scheme == "https" else 80)),
        "extensions": {DROP: exchange.drop, IN_PROCESS: {}},
    }
