"""Aiohttp: carries calls by aiohttp, for who has installed that extra and asks for it."""

from __future__ import annotations

import asyncio
import ssl

import httpx

from ._errors import ConfigurationError


class Aiohttp(httpx.AsyncBaseTransport):
    """httpx-aiohttp's transport, with a session for each event loop that it is used in."""

    def __init__(
        self, context: ssl.SSLContext, max_connections: int, *, kept: float, proxied: bool
    ) -> None:
        try:
            import aiohttp
            import httpx_aiohttp
        except ImportError:
            raise ConfigurationError(
                'transport="aiohttp" needs httpx-aiohttp: pip install "kling_async[aiohttp]"'
            ) from None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._carrier: httpx.AsyncBaseTransport | None = None

        def session() -> aiohttp.ClientSession:
            return aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(
                    limit=max_connections, keepalive_timeout=kept, ssl=context
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                trust_env=proxied,
            )

        def carrier() -> httpx.AsyncBaseTransport:
            return httpx_aiohttp.AiohttpTransport(verify=context, client=session)

        self._new = carrier

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it by the session of the loop that runs."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            raise ConfigurationError("aiohttp runs on asyncio, and on nothing else") from None
        carrier = self._carrier
        if carrier is None or loop is not self._loop:
            # The session of a loop that has ended is of no use, and cannot be closed any more.
            carrier, self._loop = self._new(), loop
            self._carrier = carrier
        return await carrier.handle_async_request(request)

    async def aclose(self) -> None:
        """Close the session."""
        if self._carrier is not None:
            await self._carrier.aclose()
