"""Sends one Call and gives its Reply; what carries it there is behind httpx's own interface.

Of the core, only this file and what it sends by know the HTTP library: `_carrier`, which
chooses, and `_pool`, `_network`, `_asyncio_network` and `_aiohttp`, which are chosen from.
"""

from __future__ import annotations

import ssl
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator, Mapping
from contextlib import (
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from functools import lru_cache
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit

import anyio
import httpx

from ._body import LARGE, encoded
from ._carrier import HTTPTransport, carriers
from ._config import MAX_ANSWER, Timeouts
from ._errors import (
    AnswerLost,
    BadEnvelope,
    ConfigurationError,
    ConnectFailed,
    DownloadError,
    TransportError,
)
from ._events import Hooks, KlingClosed
from ._exchange import Call, Place, Reply
from ._stopwatch import Stopwatch

BeforeSending: TypeAlias = Callable[[], Awaitable[None]]
_ASKED_AGAIN = 1_024
"""Requests that are remembered: most questions are asked many times, and to build one costs
about as much as to send it."""
_UNTOLD = nullcontext[Callable[[int], None]](lambda status: None)
# These say that the request never left, where httpx itself raises them.
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class Transport:
    """So many exchanges at once; redirects are never followed, cookies never kept."""

    def __init__(
        self,
        *,
        timeouts: Timeouts,
        max_connections: int,
        transport: HTTPTransport | str | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        if max_connections < 1:
            raise ConfigurationError(f"max_connections is {max_connections}; give 1 or more")
        self._timeouts = timeouts
        self._hooks = hooks or Hooks()
        # In front of every pool: some get slower with each request that waits in them.
        self._places = anyio.Semaphore(max_connections, fast_acquire=True)
        self._carriers = carriers(transport, max_connections)
        self.looks_up = self._carriers.looks_up
        self.pins = self._carriers.pins
        waits = httpx.Timeout(
            timeouts.read, connect=timeouts.connect, write=timeouts.write, pool=None
        )
        self._extensions = {"timeout": waits.as_dict()}
        self._question = lru_cache(_ASKED_AGAIN if self._carriers.reuses else 0)(self._built)
        self._is_closed = False

    async def send(
        self,
        call: Call,
        headers: Mapping[str, str],
        leaving: BeforeSending | None = None,
    ) -> Reply:
        """Carry out one exchange; *headers* hold the key and go nowhere else.

        Args:
            leaving: Awaited when the wait for a free connection is over.
        """
        content = await encoded(call.json) if call.json is not None else None
        async with self._places:
            if leaving is not None:
                await leaving()
            self._check_open()
            with (
                self._timed(call.method, call.url) as answered,
                _translated(call.url, self._timeouts, trusted=self._carriers.trusted),
                anyio.fail_after(self._timeouts.total),
            ):
                given = tuple(headers.items())
                if content is None:
                    request = self._question(call.method, call.url, given)
                else:
                    request = self._built(call.method, call.url, given, content)
                response = await self._carriers.calls.handle_async_request(request)
                try:
                    answered(response.status_code)
                    whole = await _whole(response)
                finally:
                    await response.aclose()
                return Reply(response.status_code, _lowered(response.headers), whole)

    def _built(
        self,
        method: str,
        url: str,
        headers: tuple[tuple[str, str], ...],
        content: bytes | None = None,
    ) -> httpx.Request:
        sent, extensions = {"accept": "*/*", "accept-encoding": "gzip"}, self._extensions
        sent.update(headers)
        if content is None:
            return httpx.Request(method, url, headers=sent, extensions=extensions)
        sent["content-type"] = "application/json"
        sent["content-length"] = str(len(content))
        if len(content) <= LARGE:
            return httpx.Request(method, url, headers=sent, content=content, extensions=extensions)
        sent["host"] = httpx.URL(url).netloc.decode("ascii")
        stream = _BitByBit(content)
        return httpx.Request(method, url, headers=sent, stream=stream, extensions=extensions)

    @asynccontextmanager
    async def open(
        self, place: Place, headers: Mapping[str, str], address: str | None = None
    ) -> AsyncGenerator[Download]:
        """GET a file from any host, piece by piece; never with the key.

        Args:
            address: What to connect to; without one, what the host's name leads to.
        """
        url, sent = httpx.URL(place.url), {"accept": "*/*", **headers}
        sent["accept-encoding"] = "identity"
        extensions = dict[str, Any](self._extensions)
        if address is not None:
            sent["host"] = url.netloc.decode("ascii")
            extensions["sni_hostname"] = place.host  # whom the certificate must be for
            url = url.copy_with(host=address)
        self._check_open()
        with (
            self._timed("GET", place.url) as answered,
            _translated(place.url, self._timeouts),
        ):
            request = httpx.Request("GET", url, headers=sent, extensions=extensions)
            response = await self._carriers.files.handle_async_request(request)
            try:
                answered(response.status_code)
                yield Download(response)
            finally:
                await response.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        was_closed, self._is_closed = self._is_closed, True
        try:
            if not was_closed:
                await self._carriers.aclose()
        finally:
            if self._hooks:
                self._hooks.tell(KlingClosed())

    def _timed(self, method: str, url: str) -> AbstractContextManager[Callable[[int], None]]:
        return Stopwatch(self._hooks, method, url) if self._hooks else _UNTOLD

    def _check_open(self) -> None:
        if self._is_closed:
            raise ConfigurationError("this client is closed", advice="Open another one.")


class _BitByBit(httpx.AsyncByteStream):
    """A large body: encrypted in one go it would hold the loop up."""

    def __init__(self, content: bytes) -> None:
        self._content = content
        self._places = iter(range(0, len(content), LARGE))

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        for start in self._places:
            return self._content[start : start + LARGE]
        raise StopAsyncIteration


class Download:
    """An answer that is read piece by piece."""

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self.status = response.status_code
        self.headers = _lowered(response.headers)

    async def pieces(self) -> AsyncGenerator[bytes]:
        """The bytes of the file as they come."""
        pieces = cast("AsyncGenerator[bytes]", self._response.aiter_bytes())
        async with aclosing(pieces):
            async for piece in pieces:
                yield piece


def place(url: str, sender: Place | None = None) -> Place:
    """Where a file is; *url* may be relative to the *sender* of a redirect."""
    try:
        whole = httpx.URL(url) if sender is None else httpx.URL(sender.url).join(url)
        host = whole.raw_host.decode("ascii")
        port = whole.port if whole.port is not None else 443 if whole.scheme == "https" else 80
    except (httpx.InvalidURL, ValueError) as error:
        raise DownloadError(f"the file's address is malformed: {error}") from error
    if whole.scheme not in ("http", "https") or not host or port not in range(1, 65536):
        raise DownloadError(f"the file's address names no web server: {url.partition('?')[0]!r}")
    if whole.userinfo:
        raise DownloadError(f"the file's address at {host} holds a user name or password")
    return Place(whole.scheme, host, port, str(whole))


async def _whole(response: httpx.Response) -> bytes:
    """The body, decompressed if need be."""
    encoding = response.headers.get("content-encoding", "identity").strip().lower()
    if encoding not in ("identity", "gzip"):
        raise httpx.DecodingError(f"nobody asked for {encoding!r}")
    # httpx would make a thousand times as much of each piece before anybody could look at it.
    unpack = zlib.decompressobj(wbits=31).decompress if encoding == "gzip" else _as_it_is
    found, size = list[bytes](), 0
    async for piece in cast("httpx.AsyncByteStream", response.stream):
        found.append(unpack(piece, MAX_ANSWER + 1 - size))
        size += len(found[-1])
        if size > MAX_ANSWER:
            # Its body stays out of the error: nobody has looked for the key in it.
            raise BadEnvelope(
                f"the answer is larger than {MAX_ANSWER} bytes", status=response.status_code
            )
    return b"".join(found)


def _as_it_is(piece: bytes, _: int) -> bytes:
    return piece


def _lowered(headers: httpx.Headers) -> dict[str, str]:
    """As httpx tells them; it takes ten times as long, for an encoding they have in common."""
    found = dict[str, str]()
    for raw_name, raw in headers.raw:
        name = raw_name.decode("latin-1").lower()
        try:
            value = raw.decode()
        except UnicodeDecodeError:
            value = raw.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found


@contextmanager
def _translated(url: str, timeouts: Timeouts, *, trusted: bool = True) -> Generator[None]:
    """Map the HTTP library's errors to ours, by whether anything was sent."""
    host = _host(url)
    try:
        yield
    except _NOTHING_SENT as error:
        if not trusted:
            raise AnswerLost(f"lost the answer of {host}: {_words(error)}") from error
        raise _unreachable(host, error) from error
    except TimeoutError as error:
        raise AnswerLost(f"no whole answer from {host} within {timeouts.total:g} s") from error
    except (httpx.UnsupportedProtocol, httpx.InvalidURL) as error:
        raise ConfigurationError(f"cannot send to {host}: {error}") from error
    except (httpx.LocalProtocolError, UnicodeError):
        # The library quotes the header that it refuses, and that is the key's.
        raise ConfigurationError(
            f"cannot send to {host}: the address or a header is malformed"
        ) from None
    except httpx.WriteTimeout as error:
        raise AnswerLost(
            f"nothing more could be sent to {host} for {timeouts.write:g} s"
        ) from error
    except httpx.TimeoutException as error:
        raise AnswerLost(f"no answer from {host} within {timeouts.read:g} s") from error
    except (httpx.DecodingError, zlib.error) as error:
        raise BadEnvelope(f"the answer of {host} cannot be decompressed: {error}") from error
    except (httpx.HTTPError, httpx.StreamError, ssl.SSLError) as error:
        raise AnswerLost(f"lost the answer of {host}: {_words(error)}") from error


def _host(url: str) -> str:
    return urlsplit(url).hostname or "that address"


def _words(error: Exception) -> str:
    """What the error says, or the one behind it: under trio the outer one is often empty."""
    told: BaseException | None = error
    while told is not None:
        if text := str(told):
            return text
        told = told.__cause__ or told.__context__
    return type(error).__name__


def _unreachable(host: str, error: Exception) -> TransportError:
    return ConnectFailed(
        f"cannot connect to {host}: {_words(error)}",
        advice="Check the host, its region and the network.",
    )
