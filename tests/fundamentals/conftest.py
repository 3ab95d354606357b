"""What every lesson uses: an emulator, a client that talks to it, and a picture."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from kling_async import Kling, KlingAI
from kling_async.emulator import Emulator
from tests.media_samples import png


@pytest.fixture
def emulator() -> Emulator:
    """A Kling look-alike on which every task takes 100 seconds, none of them real."""
    return Emulator(duration=100.0)


@pytest.fixture
async def kling(emulator: Emulator) -> AsyncIterator[Kling]:
    """A client of Kling's own API, connected to the emulator."""
    transport = Watched(emulator.transport())
    async with Kling(KlingAI("a-key-of-mine"), transport=transport) as kling:
        yield kling
    assert transport.is_closed
    assert not transport.open_answers
    assert not emulator.faults.pending, "a fault was set up and struck nobody"


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    """A picture as large as Kling wants them."""
    path = tmp_path / "cat.png"
    path.write_bytes(png(640, 640))
    return path


class Watched(httpx.AsyncBaseTransport):
    """Knows which answers were not read to their end and not closed either."""

    def __init__(self, inner: httpx.AsyncBaseTransport) -> None:
        self._inner = inner
        self.open_answers: set[httpx.AsyncByteStream] = set()
        self.is_closed = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._inner.handle_async_request(request)
        assert isinstance(response.stream, httpx.AsyncByteStream)
        response.stream = WatchedStream(response.stream, self.open_answers)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()
        self.is_closed = True


class WatchedStream(httpx.AsyncByteStream):
    """Stands in the set of open answers until it is closed."""

    def __init__(
        self, inner: httpx.AsyncByteStream, open_answers: set[httpx.AsyncByteStream]
    ) -> None:
        self._inner = inner
        self._open_answers = open_answers
        open_answers.add(self)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for chunk in self._inner:
            yield chunk

    async def aclose(self) -> None:
        await self._inner.aclose()
        self._open_answers.discard(self)
