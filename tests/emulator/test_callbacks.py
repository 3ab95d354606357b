"""Callback URLs are told of every change, signed if there is a secret."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator

import anyio
import httpx
import pytest

from kling_async.emulator import Emulator, Fault
from kling_async.emulator._callbacks import sign
from tests.emulator.conftest import client

NOW = 1_800_000_000.0
SECRET = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
T2V = "/v1/videos/text2video"


class Inbox(httpx.AsyncBaseTransport):
    """A web server that keeps what it is sent."""

    def __init__(self) -> None:
        self.requests: list[httpx.Request] = []
        self.down = False

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("down")
        self.requests.append(request)
        return httpx.Response(204)

    @property
    def statuses(self) -> list[str]:
        return [json.loads(request.content)["task_status"] for request in self.requests]


@pytest.fixture
def inbox() -> Inbox:
    return Inbox()


@pytest.fixture
async def emulator(inbox: Inbox) -> AsyncIterator[Emulator]:
    async with Emulator(
        duration=100.0, callback_transport=inbox, webhook_secret=SECRET, wall=lambda: NOW
    ) as emulator:
        yield emulator


async def create(http: httpx.AsyncClient) -> str:
    body = {
        "prompt": "a boat",
        "callback_url": "https://app.example/hook",
        "external_task_id": "me",
    }
    return str((await http.post(T2V, json=body)).json()["data"]["task_id"])


async def test_every_change_is_told(official: httpx.AsyncClient, inbox: Inbox) -> None:
    task_id = await create(official)
    await anyio.sleep(101)

    last = json.loads(inbox.requests[-1].content)
    assert inbox.statuses == ["submitted", "processing", "succeed"]
    assert "code" not in last
    assert (last["task_id"], last["task_info"]) == (task_id, {"external_task_id": "me"})
    assert last["task_result"]["videos"][0]["url"].endswith("/0.mp4")
    assert last["updated_at"] == 1_800_000_100_000


async def test_forced_end_is_told_at_once(
    emulator: Emulator, official: httpx.AsyncClient, inbox: Inbox
) -> None:
    task_id = await create(official)
    await anyio.sleep(20)
    emulator.tasks[task_id].fail("no luck")
    await anyio.sleep(0.1)

    assert inbox.statuses == ["submitted", "processing", "failed"]


async def test_stuck_task_is_told_as_far_as_it_came(
    emulator: Emulator, official: httpx.AsyncClient, inbox: Inbox
) -> None:
    emulator.faults.add(Fault.STUCK)
    await create(official)
    await anyio.sleep(1000)

    assert inbox.statuses == ["submitted", "processing"]


async def test_callback_is_signed(official: httpx.AsyncClient, inbox: Inbox) -> None:
    await create(official)
    await anyio.sleep(1)

    (request,) = inbox.requests
    message_id, stamp = request.headers["webhook-id"], request.headers["webhook-timestamp"]
    assert stamp == "1800000000"
    assert request.headers["webhook-signature"] == sign(SECRET, message_id, stamp, request.content)


def test_signature_agrees_with_the_documented_one() -> None:
    body = (
        b'{"id":"1234567890","status":"succeeded","message":"",'
        b'"create_time":1781080778802,"update_time":1781080794151}'
    )

    signature = sign(SECRET, "9876543210", "1781080794", body)
    assert signature == "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4="


async def test_without_a_secret_nothing_is_signed(inbox: Inbox) -> None:
    async with (
        Emulator(callback_transport=inbox) as emulator,
        client(emulator, "https://api.klingai.com") as http,
    ):
        await create(http)
        await anyio.sleep(0.1)

    assert "webhook-signature" not in inbox.requests[0].headers


async def test_late_callback_comes_after_its_followers(
    emulator: Emulator, official: httpx.AsyncClient, inbox: Inbox
) -> None:
    emulator.faults.add(Fault.LATE_CALLBACK, seconds=50)
    await create(official)
    await anyio.sleep(101)

    assert inbox.statuses == ["processing", "submitted", "succeed"]


async def test_forged_callback_comes_unsigned_before_the_true_one(
    emulator: Emulator, official: httpx.AsyncClient, inbox: Inbox
) -> None:
    emulator.faults.add(Fault.FORGED_CALLBACK)
    await create(official)
    await anyio.sleep(1)

    assert inbox.statuses == ["succeed", "submitted"]
    assert "webhook-signature" not in inbox.requests[0].headers
    assert [delivery.forged for delivery in emulator.callbacks] == [True, False]


async def test_doubled_callback_keeps_its_id(
    emulator: Emulator, official: httpx.AsyncClient, inbox: Inbox
) -> None:
    emulator.faults.add(Fault.DOUBLE_CALLBACK)
    await create(official)
    await anyio.sleep(1)

    one, two = inbox.requests
    assert one.headers["webhook-id"] == two.headers["webhook-id"]


async def test_dead_receiver_does_no_harm(
    emulator: Emulator, official: httpx.AsyncClient, inbox: Inbox
) -> None:
    inbox.down = True
    await create(official)
    await anyio.sleep(11)
    inbox.down = False
    await anyio.sleep(90)

    assert [delivery.answer for delivery in emulator.callbacks] == [None, None, 204]


async def test_unentered_emulator_sends_nothing(inbox: Inbox) -> None:
    emulator = Emulator(callback_transport=inbox, duration=1.0)
    async with client(emulator, "https://api.klingai.com") as http:
        await create(http)
        await anyio.sleep(10)

    assert inbox.requests == []


async def test_leaving_ends_what_was_to_come(inbox: Inbox) -> None:
    async with (
        Emulator(callback_transport=inbox, duration=1e9) as emulator,
        client(emulator, "https://api.klingai.com") as http,
    ):
        await create(http)

    assert anyio.current_time() < 1


async def test_error_of_the_block_comes_out_as_it_is() -> None:
    with pytest.raises(KeyError):
        async with Emulator():
            raise KeyError


async def test_entering_twice_is_entering_once(inbox: Inbox) -> None:
    async with Emulator(callback_transport=inbox, duration=10.0) as emulator:
        async with emulator:
            pass
        async with client(emulator, "https://api.klingai.com") as http:
            await create(http)
            await anyio.sleep(11)

    assert inbox.statuses == ["submitted", "processing", "succeed"]
