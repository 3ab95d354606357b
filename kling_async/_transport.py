"""Sends one Call and gives its Reply; the only core file that imports the HTTP library."""

from __future__ import annotations

import ssl
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterable,
    Iterator,
    Mapping,
)
from contextlib import (
    AbstractContextManager,
    aclosing,
    asynccontextmanager,
    contextmanager,
    nullcontext,
)
from http.cookiejar import CookieJar
from typing import Any, TypeAlias, cast
from urllib.parse import urlsplit
from urllib.request import getproxies

import anyio
import anyio.to_thread
import httpx
from pydantic_core import to_json

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

HTTPTransport: TypeAlias = httpx.AsyncBaseTransport
"""What ``Kling(transport=…)`` takes: httpx's own, aiohttp's, an ASGI app, a mock."""

BeforeSending: TypeAlias = Callable[[], Awaitable[None]]
_LARGE = 64 * 1024
_UNTOLD = nullcontext[Callable[[int], None]](lambda status: None)
# These say that the request never left, where httpx itself raises them.
_NOTHING_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class Transport:
    """One pool of connections, bounded; redirects are never followed."""

    def __init__(
        self,
        *,
        timeouts: Timeouts,
        max_connections: int,
        transport: HTTPTransport | None = None,
        hooks: Hooks | None = None,
    ) -> None:
        if max_connections < 1:
            raise ConfigurationError(f"max_connections is {max_connections}; give 1 or more")
        self._timeouts = timeouts
        self._hooks = hooks or Hooks()
        # In front of httpx's pool, which gets slower with every request that waits in it.
        self._places = anyio.Semaphore(max_connections, fast_acquire=True)
        # Other libraries' transports also call a lost connection a failed one (httpx-aiohttp
        # does), and a create that is taken for unsent is sent again.
        self._trusted = transport is None or type(transport).__module__.split(".")[0] == "httpx"
        # Without somebody else's transport or proxy, names are looked up here.
        self.looks_up = transport is None
        self.pins = transport is None and not getproxies().keys() & {"http", "https", "all"}
        try:
            verify = httpx.create_ssl_context() if transport is None else True
            self._client = httpx.AsyncClient(
                cookies=_NoCookies(),
                transport=transport,
                verify=verify,
                timeout=httpx.Timeout(
                    timeouts.read, connect=timeouts.connect, write=timeouts.write, pool=None
                ),
                # The default expiry of 5 s would close every connection between two polls.
                limits=httpx.Limits(
                    max_connections=max_connections,
                    max_keepalive_connections=max_connections,
                    keepalive_expiry=60.0,
                ),
                follow_redirects=False,
            )
            # Files have connections of their own: slow downloads must not hold up a create or
            # a poll. None is used twice: it was checked for one host's name, and its address
            # may be many hosts'.
            self._files = self._client
            if transport is None:
                self._files = httpx.AsyncClient(
                    cookies=_NoCookies(),
                    verify=verify,
                    timeout=httpx.Timeout(timeouts.read, connect=timeouts.connect, pool=None),
                    limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
                    follow_redirects=False,
                )
        except (ValueError, OSError, ImportError, httpx.InvalidURL) as error:
            raise ConfigurationError(
                f"cannot set up HTTP: {error}",
                advice="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE.",
            ) from error

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
        content = await _encode(call.json) if call.json is not None else None
        sent = {**headers, "accept-encoding": "gzip"}
        if content is not None:
            sent["content-type"] = "application/json"
            sent["content-length"] = str(len(content))
        async with self._places:
            if leaving is not None:
                await leaving()
            async with self._exchange(call, sent, content) as response:
                chunks = [chunk async for chunk in _bounded(response, MAX_ANSWER)]
                return Reply(response.status_code, _lowered(response.headers), b"".join(chunks))

    @asynccontextmanager
    async def _exchange(
        self, call: Call, headers: Mapping[str, str], content: bytes | None
    ) -> AsyncGenerator[httpx.Response]:
        self._check_open()
        body = _bit_by_bit(content) if content is not None and len(content) > _LARGE else content
        with (
            self._timed(call.method, call.url) as answered,
            _translated(call.url, self._timeouts, trusted=self._trusted),
            anyio.fail_after(self._timeouts.total),
        ):
            async with self._client.stream(
                call.method, call.url, headers=headers, content=body
            ) as response:
                answered(response.status_code)
                yield response

    @asynccontextmanager
    async def open(
        self, place: Place, headers: Mapping[str, str], address: str | None = None
    ) -> AsyncGenerator[Download]:
        """GET a file from any host, piece by piece; never with the key.

        Args:
            address: What to connect to; without one, what the host's name leads to.
        """
        url, sent, extensions = httpx.URL(place.url), dict(headers), dict[str, Any]()
        sent["accept-encoding"] = "identity"
        if address is not None:
            sent["host"] = url.netloc.decode("ascii")
            extensions["sni_hostname"] = place.host  # whom the certificate must be for
            url = url.copy_with(host=address)
        self._check_open()
        with (
            self._timed("GET", place.url) as answered,
            _translated(place.url, self._timeouts),
        ):
            async with self._files.stream(
                "GET", url, headers=sent, extensions=extensions
            ) as response:
                answered(response.status_code)
                yield Download(response)

    async def aclose(self) -> None:
        """Close every connection."""
        try:
            await self._files.aclose()
        finally:
            await self._client.aclose()  # it may be the same one, which is no harm
            if self._hooks:
                self._hooks.tell(KlingClosed())

    def _timed(self, method: str, url: str) -> AbstractContextManager[Callable[[int], None]]:
        return Stopwatch(self._hooks, method, url) if self._hooks else _UNTOLD

    def _check_open(self) -> None:
        if self._client.is_closed:
            raise ConfigurationError("this client is closed", advice="Open another one.")


class _NoCookies(CookieJar):
    """Keeps none: they would be sent to everybody, and a strange one raises warnings."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Leave them alone."""


async def _bit_by_bit(content: bytes) -> AsyncGenerator[bytes]:
    """A large body bit by bit: encrypted in one go it would hold the loop up."""
    for start in range(0, len(content), _LARGE):
        yield content[start : start + _LARGE]


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


async def _encode(json: Mapping[str, Any]) -> bytes:
    if _is_large(json):
        return await anyio.to_thread.run_sync(b"".join, _pieces(json))
    return to_json(json)


def _is_large(value: object) -> bool:
    if isinstance(value, str):
        return len(value) > _LARGE
    return any(map(_is_large, _parts(value)))


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()


def _pieces(value: object) -> Iterator[bytes]:
    """JSON in pieces: one call for ten megabytes would hold the GIL to its end."""
    if not _is_large(value):
        yield to_json(value)
    elif isinstance(value, str):
        yield b'"'
        for start in range(0, len(value), _LARGE):
            yield to_json(value[start : start + _LARGE])[1:-1]
            time.sleep(0)  # lets other threads run
        yield b'"'
    elif isinstance(value, Mapping):
        separator = b"{"
        for name, item in cast("Mapping[str, object]", value).items():
            yield separator + to_json(name) + b":"
            yield from _pieces(item)
            separator = b","
        yield b"}"
    else:
        separator = b"["
        for item in _parts(value):
            yield separator
            yield from _pieces(item)
            separator = b","
        yield b"]"


async def _bounded(response: httpx.Response, limit: int) -> AsyncIterator[bytes]:
    size = 0
    async for chunk in response.aiter_bytes():
        size += len(chunk)
        if size > limit:
            # Its body stays out of the error: nobody has looked for the key in it.
            raise BadEnvelope(
                f"the answer is larger than {limit} bytes", status=response.status_code
            )
        yield chunk


def _lowered(headers: httpx.Headers) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items()}


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
    except httpx.TimeoutException as error:
        raise AnswerLost(f"no answer from {host} within {timeouts.read:g} s") from error
    except httpx.DecodingError as error:
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
