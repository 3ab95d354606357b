"""Carriers: which of httpx's transports requests go by, and what may be believed of it."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from http.cookiejar import CookieJar
from typing import TypeAlias
from urllib.request import getproxies

import httpx

from ._errors import ConfigurationError

HTTPTransport: TypeAlias = httpx.AsyncBaseTransport
"""What ``Kling(transport=…)`` takes: httpx's own, aiohttp's, an ASGI app, a mock."""

KEPT = 60.0
"""Seconds that idle connections are kept: polls are further apart than httpx's default of 5."""

_FILE_PIECE = 1024 * 1024
"""Bytes of a file that are handed on at once: each step from the socket to the disk costs as
much for few as for many."""


@dataclass(frozen=True, slots=True)
class Carriers:
    """One for calls, one for files, whose slow downloads must not hold up a create or a poll."""

    calls: HTTPTransport
    files: HTTPTransport
    trusted: bool
    """A failed connection means that nothing was sent. Other libraries' transports also call
    a lost connection that (httpx-aiohttp does), and a create taken for unsent is sent again."""
    looks_up: bool
    """Names of file hosts are looked up here, as nobody else's transport does it."""
    pins: bool
    """Files come from the very address that was checked; a proxy would look for its own."""
    reuses: bool
    """A request that is sent again may be the same object: nobody changes it on its way."""

    async def aclose(self) -> None:
        """Close both, which may be one."""
        try:
            await self.files.aclose()
        finally:
            if self.calls is not self.files:
                await self.calls.aclose()


def carriers(transport: HTTPTransport | str | None, max_connections: int) -> Carriers:
    """What a client is to use; nothing is connected yet."""
    if isinstance(transport, httpx.AsyncBaseTransport):
        trusted = type(transport).__module__.split(".")[0] == "httpx"
        return Carriers(transport, transport, trusted, looks_up=False, pins=False, reuses=False)
    if transport not in (None, "aiohttp"):
        raise ConfigurationError(
            f"transport is {transport!r}", advice='Give an httpx.AsyncBaseTransport, or "aiohttp".'
        )
    try:
        return _of_the_environment(max_connections, by_aiohttp=transport is not None)
    except (ValueError, OSError, ImportError, httpx.InvalidURL) as error:
        raise ConfigurationError(
            f"cannot set up HTTP: {error}",
            advice="Check HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and SSL_CERT_FILE.",
        ) from error


def _of_the_environment(max_connections: int, *, by_aiohttp: bool) -> Carriers:
    context = httpx.create_ssl_context()
    proxies = getproxies().keys() & {"http", "https", "all"}
    if by_aiohttp and proxies == {"all"}:
        raise ConfigurationError(
            "aiohttp knows nothing of ALL_PROXY", advice="Set HTTP_PROXY and HTTPS_PROXY."
        )
    calls: HTTPTransport
    files: HTTPTransport
    if proxies:
        calls, files = _Stock(context, max_connections), _Stock(context, None)
    else:
        # Loaded here: it takes as long as httpx itself, and whoever has a transport needs none.
        from ._pool import Pool

        calls, files = Pool(context, kept=KEPT), Pool(context, kept=None, piece=_FILE_PIECE)
    if by_aiohttp:
        from ._aiohttp import Aiohttp

        calls = Aiohttp(context, max_connections, kept=KEPT, proxied=bool(proxies))
    return Carriers(
        calls, files, trusted=not by_aiohttp, looks_up=True, pins=not proxies, reuses=True
    )


class _Stock(httpx.AsyncBaseTransport):
    """httpx as it is, which knows what the environment says of proxies, and of hosts without.

    A create has a connection to itself: httpx keeps one on which more came than the answer, and
    would take that for the answer to the next request.

    Args:
        max_connections: None for files, of which no connection is kept: it was checked for one
            host's name, and its address may be many hosts'.
    """

    def __init__(self, context: ssl.SSLContext, max_connections: int | None) -> None:
        def new(kept: int) -> httpx.AsyncClient:
            limits = httpx.Limits(
                max_connections=max_connections,
                max_keepalive_connections=kept,
                keepalive_expiry=KEPT,
            )
            return httpx.AsyncClient(cookies=_NoCookies(), verify=context, limits=limits)

        def both() -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
            return new(max_connections or 0), new(0)

        self._new, self._clients = both, both()
        self._home: object = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        others, creates = self._settled()
        client = creates if request.method == "POST" else others
        return await client.send(request, stream=True)

    async def aclose(self) -> None:
        others, creates = self._settled()
        try:
            await others.aclose()
        finally:
            await creates.aclose()

    def _settled(self) -> tuple[httpx.AsyncClient, httpx.AsyncClient]:
        """The connections of a loop that has ended are of no use, and cannot be closed any more."""
        from ._network import running

        home = running()
        if self._home not in (None, home):
            self._clients = self._new()
        self._home = home
        return self._clients


class _NoCookies(CookieJar):
    """Keeps none: they would be sent to everybody, and a strange one raises warnings."""

    def extract_cookies(self, response: object, request: object) -> None:
        """Leave them alone."""
