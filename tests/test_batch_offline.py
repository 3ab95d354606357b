"""A batch whose network goes away: a moment is borne, an outage stops the submitting."""

from __future__ import annotations

from contextlib import nullcontext
from math import inf
from pathlib import Path

import anyio
import httpx
import pytest

from kling_async import BatchStopped, ConnectFailed, Kling, KlingAI, RequestRefused, Text2Video
from kling_async._contact import Contact
from kling_async.emulator import Emulator
from tests.harbour import KEY, Harbour, boats


class Network(httpx.AsyncBaseTransport):
    """Is away for some seconds, *after* some more."""

    def __init__(self, emulator: Emulator, away: float, after: float = 0.0) -> None:
        self._inner = emulator.transport()
        self._from = anyio.current_time() + after
        self._until = self._from + away
        self.refused = 0

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        is_create = request.method == "POST"  # tasks that run would only be waited for
        if is_create and self._from <= anyio.current_time() < self._until:
            self.refused += 1
            raise ConnectFailed("cannot connect")
        return await self._inner.handle_async_request(request)

    def client(self) -> Kling:
        return Kling(KlingAI(KEY), transport=self)


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


async def test_server_that_was_never_reached_stops_the_batch(harbour: Harbour) -> None:
    network = Network(harbour.emulator, away=inf)
    with pytest.raises(BatchStopped, match="nothing gets through to the server") as caught:
        await harbour.run(boats(*range(50)), network.client(), max_at_once=2)

    assert isinstance(caught.value.__cause__, ConnectFailed)
    assert network.refused <= 4 * 3  # four rows, each tried three times

    await harbour.run(boats(*range(50)))
    assert harbour.paid == len(harbour.files) == 50


@pytest.mark.parametrize(("away", "stops"), [(40, False), (4000, True)])
async def test_network_may_be_away_for_a_while(harbour: Harbour, away: float, stops: bool) -> None:
    network = Network(harbour.emulator, away, after=25)
    began = anyio.current_time()
    with pytest.raises(BatchStopped) if stops else nullcontext():
        await harbour.run(boats(*range(300)), network.client(), max_at_once=5)

    assert network.refused > 9
    assert anyio.current_time() - began > 25 + 60  # seconds of virtual time
    await harbour.run(boats(*range(300)))
    assert harbour.paid == len(harbour.files) == 300


def test_one_create_that_gets_through_proves_that_others_may() -> None:
    contact = Contact()
    assert [contact.failed(now) for now in (0, 1)] == [False, False]
    contact.made()
    assert [contact.failed(now) for now in (10, 11, 69, 70)] == [False, False, False, True]
    contact.made()

    assert not contact.failed(99)


async def test_requests_that_were_refused_unsent_are_counted(harbour: Harbour) -> None:
    found = await harbour.run([*boats(0), *[Text2Video(prompt="x" * 3000)] * 2])

    assert sum(isinstance(outcome.error, RequestRefused) for outcome in found) == 2
    assert harbour.summary == (
        "1 saved, 0 succeeded, 0 failed, 0 running, 0 unknown, 0 not submitted,"
        " 2 refused unsent, 1 units"
    )
