"""FileHost: GETs files from any host, follows redirects, and sees where they lead."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from ._addresses import Addresses
from ._config import Downloads
from ._errors import ConfigurationError, ConnectFailed, DownloadError
from ._exchange import Place
from ._transport import Download, Transport, place

_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_MOST_REDIRECTS = 5


class FileHost:
    """Whoever a result's address leads to; nobody that is trusted with a key."""

    def __init__(self, transport: Transport, home: str, limits: Downloads) -> None:
        self._transport = transport
        try:
            here = place(home)
        except DownloadError as error:
            raise ConfigurationError(f"base_url {home!r}: {error.message}") from error
        self._addresses = Addresses(here, limits, looks_up=transport.looks_up, pins=transport.pins)

    @asynccontextmanager
    async def get(self, url: str, headers: Mapping[str, str]) -> AsyncGenerator[Download]:
        """The answer at the end of all redirects."""
        sender, here = None, place(url)
        for _ in range(_MOST_REDIRECTS + 1):
            addresses = await self._addresses.check(here, sender)
            async with self._open(here, headers, addresses) as answer:
                location = answer.headers.get("location", "")
                if answer.status not in _REDIRECTS or not location:
                    yield answer
                    return
            sender, here = here, place(location, here)
        raise DownloadError(f"{place(url)} redirects more than {_MOST_REDIRECTS} times")

    @asynccontextmanager
    async def _open(
        self, here: Place, headers: Mapping[str, str], addresses: list[str]
    ) -> AsyncGenerator[Download]:
        async with AsyncExitStack() as stack:
            yield await self._connect(stack, here, headers, addresses)

    async def _connect(
        self,
        stack: AsyncExitStack,
        here: Place,
        headers: Mapping[str, str],
        addresses: list[str],
    ) -> Download:
        for address in addresses[:-1]:
            try:
                return await stack.enter_async_context(self._transport.open(here, headers, address))
            except ConnectFailed:
                continue
        last = addresses[-1] if addresses else None
        return await stack.enter_async_context(self._transport.open(here, headers, last))
