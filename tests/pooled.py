"""A client's transport in a test, which must leave no connection behind."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio.lowlevel
import httpcore

from kling_async import Timeouts
from kling_async._exchange import Call, Reply
from kling_async._transport import Transport
from tests.tls_host import TLSHost


@asynccontextmanager
async def opened(
    host: TLSHost, *, timeouts: Timeouts | None = None, most: int = 20
) -> AsyncIterator[Transport]:
    """A client's transport, which leaves no connection behind."""
    transport = Transport(timeouts=timeouts or Timeouts(connect=5, read=5), max_connections=most)
    try:
        yield transport
    finally:
        await transport.aclose()
        await nothing_is_open(host)


async def nothing_is_open(host: TLSHost) -> None:
    for _ in range(3):  # asyncio closes sockets when it comes round again
        await anyio.lowlevel.checkpoint()
    assert host.open_sockets() == []


async def create(transport: Transport, host: TLSHost, body: dict[str, str] | None = None) -> Reply:
    return await transport.send(Call("POST", f"{host.url}/v1", body or {"prompt": "A boat"}), {})


async def ask(transport: Transport, host: TLSHost, number: int = 7) -> Reply:
    return await transport.send(Call("GET", f"{host.url}/v1/{number}"), {})


def remembered(host: TLSHost) -> int:
    """Connections to the host, open or not, that are held anywhere."""
    gc.collect()
    origin = httpcore.URL(host.url).origin
    kind = httpcore.AsyncHTTPConnection
    found = (each for each in gc.get_objects() if issubclass(type(each), kind))
    return sum(each.can_handle_request(origin) for each in found)
