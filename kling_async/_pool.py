"""Pool: connections that are kept for the next request, found without looking through them all.

httpx's own pool walks over every connection at every request; here the one that was used last
is on top. The protocol itself, HTTP/1.1, is left to httpcore.
"""

from __future__ import annotations

import ssl
import time
from collections import deque
from collections.abc import AsyncIterator
from typing import Any, TypeAlias, cast

import anyio
import httpcore
import httpx

from ._network import Network, running

_MAPPED = (
    "ConnectError",
    "ConnectTimeout",
    "LocalProtocolError",
    "NetworkError",
    "PoolTimeout",
    "ProtocolError",
    "ProxyError",
    "ReadError",
    "ReadTimeout",
    "RemoteProtocolError",
    "TimeoutException",
    "UnsupportedProtocol",
    "WriteError",
    "WriteTimeout",
)
_IN_HTTPX: dict[type, type[httpx.TransportError]] = {
    getattr(httpcore, name): getattr(httpx, name) for name in _MAPPED
}

Key: TypeAlias = tuple[bytes, bytes, int | None, str | None]
Idle: TypeAlias = deque[tuple[float, httpcore.AsyncHTTPConnection]]


class Pool(httpx.AsyncBaseTransport):
    """Sends each request once: what dies under it is an error, whoever sends it again.

    How many connections there are at most is for the caller to see to.

    Args:
        kept: Seconds that an idle connection is kept; None closes each after its answer.
        piece: Bytes that a connection reads at once.
    """

    def __init__(
        self, context: ssl.SSLContext, *, kept: float | None, piece: int = 64 * 1024
    ) -> None:
        self._context = context
        self._kept = kept
        self._idle: dict[Key, Idle] = {}
        self._busy: set[httpcore.AsyncHTTPConnection] = set()
        self._home: object = None
        self._is_closed = False
        self._network = Network(piece)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it on a connection that is idle, or a new one."""
        url = request.url
        if url.scheme not in ("http", "https"):
            raise httpx.UnsupportedProtocol(f"{url.scheme!r} is no protocol of this client")
        key = url.raw_scheme, url.raw_host, url.port, request.extensions.get("sni_hostname")
        target = httpcore.URL(
            scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path
        )
        connection = await self._take(key) or self._new(target)
        self._busy.add(connection)
        try:
            answer = await connection.handle_async_request(
                httpcore.Request(
                    request.method,
                    target,
                    headers=request.headers.raw,
                    content=request.stream,
                    extensions=request.extensions,
                )
            )
        except BaseException as error:
            await self._close(connection)
            _raise_as_httpx(error)
            raise
        return httpx.Response(
            answer.status,
            headers=answer.headers,
            stream=_Body(self, key, connection, answer),
        )

    async def aclose(self) -> None:
        """Close every connection, those too that are in use."""
        self._is_closed = True
        self._settle()
        idle = [connection for kept in self._idle.values() for _, connection in kept]
        self._idle.clear()
        for connection in [*idle, *self._busy]:
            await self._close(connection)

    def _new(self, url: httpcore.URL) -> httpcore.AsyncHTTPConnection:
        return httpcore.AsyncHTTPConnection(
            url.origin,
            ssl_context=self._context,
            keepalive_expiry=self._kept,
            network_backend=self._network,
        )

    async def _take(self, key: Key) -> httpcore.AsyncHTTPConnection | None:
        self._settle()
        idle = self._idle.get(key)
        while idle:
            _, connection = idle.pop()
            if not connection.has_expired():
                return connection
            await self._close(connection)
        return None

    async def give_back(self, key: Key, connection: httpcore.AsyncHTTPConnection) -> None:
        """Its answer is over, or was left: only what stands at a beginning is kept."""
        if self._kept is None or self._is_closed or not _is_at_a_beginning(connection):
            await self._close(connection)
            return
        self._busy.discard(connection)
        idle = self._idle.setdefault(key, deque())
        now = time.monotonic()
        idle.append((now, connection))
        while idle and idle[0][0] < now - self._kept:  # others may take some meanwhile
            await self._close(idle.popleft()[1])

    async def _close(self, connection: httpcore.AsyncHTTPConnection) -> None:
        self._busy.discard(connection)
        with anyio.CancelScope(shield=True):
            await connection.aclose()

    def _settle(self) -> None:
        """What belongs to a loop that has ended is of no use in another one."""
        home = running()
        if home is not self._home:
            self._home = home
            self._idle.clear()
            self._busy.clear()


class _Body(httpx.AsyncByteStream):
    """The rest of an answer, at whose end the connection goes back."""

    def __init__(
        self,
        pool: Pool,
        key: Key,
        connection: httpcore.AsyncHTTPConnection,
        answer: httpcore.Response,
    ) -> None:
        self._pool = pool
        self._key = key
        self._connection: httpcore.AsyncHTTPConnection | None = connection
        self._stream = cast("httpx.AsyncByteStream", answer.stream)
        self._pieces = aiter(self._stream)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        try:
            return await anext(self._pieces)
        except Exception as error:  # that it ends is one too
            _raise_as_httpx(error)
            raise

    async def aclose(self) -> None:
        """Give the connection back, or close it if something is left."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await self._stream.aclose()
        finally:
            await self._pool.give_back(self._key, connection)


def _is_at_a_beginning(connection: httpcore.AsyncHTTPConnection) -> bool:
    """Whether its answer was read to the end, and nothing came after it: httpcore keeps what did,
    tells nobody, and would take it for the answer to the next request."""
    inner: Any = getattr(connection, "_connection", None)
    state: Any = getattr(inner, "_h11_state", None)
    return connection.is_idle() and state is not None and not state.trailing_data[0]


def _raise_as_httpx(error: BaseException) -> None:
    """By httpx's name, if it has one."""
    for kind in type(error).__mro__:
        if kind in _IN_HTTPX:
            raise _IN_HTTPX[kind](str(error)) from error
