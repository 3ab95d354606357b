"""A create is carried out exactly once, whatever befalls its answer or its caller."""

from __future__ import annotations

import time

import anyio
import httpx
import pytest

from kling_async import (
    AuthenticationError,
    BalanceExhausted,
    CometAPI,
    ConnectFailed,
    ContentRejected,
    Gateway,
    Kling,
    KlingAI,
    KlingError,
    PermissionDenied,
    Provider,
    RateLimited,
    Retries,
    SubmissionUnknown,
    Text2Video,
    Timeouts,
)
from kling_async.emulator import Emulator, Fault

KEY = "a-secret-key-of-the-usual-length-0123456789"
PLAIN = Text2Video(prompt="A paper boat")
BOAT = Text2Video(prompt="A paper boat", external_task_id="boat-1")
GATEWAY_BOAT = Text2Video(
    model_name="kling-v2-6",
    prompt="A paper boat",
    mode="pro",
    duration=5,
    multi_shot=False,
    external_task_id="boat-1",
)
AMBIGUOUS = [
    Fault.LOST_BEFORE,
    Fault.LOST_ANSWER,
    Fault.RESET,
    Fault.STALL,
    Fault.TRUNCATED,
    Fault.EMPTY,
    Fault.GARBAGE,
]
EITHER_WAY = [Fault.HTML, Fault.SERVER_ERROR, Fault.BUSY, Fault.GATEWAY_TIMEOUT]
REFUSED_FOR_NOW = [Fault.RATE, Fault.PARALLEL]
PERMANENT: dict[Fault, type[KlingError]] = {
    Fault.ACCOUNT: PermissionDenied,
    Fault.ARREARS: BalanceExhausted,
    Fault.PACK_EXHAUSTED: BalanceExhausted,
    Fault.IP: PermissionDenied,
    Fault.POLICY: ContentRejected,
    Fault.CONTENT: ContentRejected,
    Fault.UNAUTHORIZED: AuthenticationError,
}
UNCERTAIN = [(fault, False) for fault in AMBIGUOUS] + [
    (fault, commit) for fault in EITHER_WAY[:2] for commit in (False, True)
]
GATEWAYS = ["newapi", "passthrough", "crazyrouter"]


def official(emulator: Emulator, *, timeouts: Timeouts | None = None, most: int = 20) -> Kling:
    transport = emulator.transport()
    return Kling(KlingAI(KEY), transport=transport, timeouts=timeouts, max_connections=most)


def cometapi(emulator: Emulator) -> Kling:
    return Kling(CometAPI(KEY), transport=emulator.transport())


def gateway(emulator: Emulator, name: str) -> Kling:
    base_url = f"https://gate.test/gateway/{name}"
    return Kling(Gateway(base_url, KEY), transport=emulator.transport())


def creates(emulator: Emulator) -> int:
    return sum(seen.method == "POST" for seen in emulator.requests)


@pytest.mark.parametrize(
    ("fault", "commit"),
    [(fault, False) for fault in AMBIGUOUS + EITHER_WAY + REFUSED_FOR_NOW]
    + [(fault, True) for fault in EITHER_WAY],
)
async def test_one_fault_costs_one_task(fault: Fault, commit: bool) -> None:
    emulator = Emulator()
    emulator.faults.add(fault, on="create", commit=commit)
    async with official(emulator) as kling:
        video = await kling.run(BOAT)

    assert [entry.task_id for entry in emulator.ledger] == [video.task_id]
    assert video.external_task_id == "boat-1"


@pytest.mark.parametrize(("fault", "commit"), UNCERTAIN)
async def test_same_fault_again_and_again_costs_one_task(fault: Fault, commit: bool) -> None:
    emulator = Emulator()
    emulator.faults.add(fault, on="create", commit=commit, times=3)
    async with official(emulator) as kling:
        task = await kling.submit(BOAT)

    assert [entry.task_id for entry in emulator.ledger] == [task.id]


@pytest.mark.filterwarnings("ignore::kling_async.KlingWarning")  # of states it made up
@pytest.mark.parametrize("seed", range(3))
async def test_chaos_never_pays_twice(seed: int) -> None:
    emulator = Emulator(seed=seed, chaos=0.3)
    patient = Retries(look_ups=20)
    kling = Kling(KlingAI(KEY), transport=emulator.transport(), retries=patient)
    async with kling, anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(kling.run, Text2Video(prompt=f"Boat {number}"))

    assert len(emulator.ledger) == 10
    assert emulator.ledger.billed_twice == {}


@pytest.mark.parametrize(("fault", "kind"), PERMANENT.items(), ids=str)
async def test_permanent_refusal_raises_at_once(fault: Fault, kind: type[KlingError]) -> None:
    emulator = Emulator()
    emulator.faults.add(fault, on="create")
    async with official(emulator) as kling:
        with pytest.raises(kind):
            await kling.submit(PLAIN)

    assert creates(emulator) == len(emulator.requests) == 1
    assert len(emulator.ledger) == 0
    assert anyio.current_time() == 0


async def test_create_that_is_told_as_done_is_asked_for_its_files() -> None:
    async with official(Emulator(duration=0)) as kling:
        video = await kling.run(PLAIN)

    assert video.videos


async def test_refusal_for_an_hour_says_so() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.RATE, on="create", retry_after=3600)
    async with official(emulator) as kling:
        with pytest.raises(RateLimited, match="3600 s"):
            await kling.submit(BOAT)

    assert creates(emulator) == 1


async def test_pause_the_server_asks_for_is_kept() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.RATE, on="create", retry_after=90)
    async with official(emulator) as kling:
        await kling.submit(BOAT)

    assert anyio.current_time() >= 90


async def test_server_without_connection_is_tried_three_times() -> None:
    tried: list[float] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        tried.append(anyio.current_time())
        raise httpx.ConnectError("refused")

    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(refuse)) as kling:
        with pytest.raises(ConnectFailed):
            await kling.submit(PLAIN)

    assert len(tried) == Retries().connect
    assert tried == sorted(set(tried))


@pytest.mark.parametrize("fault", [Fault.LOST_ANSWER, Fault.STALL, Fault.EMPTY, Fault.RESET])
async def test_cometapi_adopts_what_it_finds(fault: Fault) -> None:
    emulator = Emulator()
    emulator.faults.add(fault, on="create")
    async with cometapi(emulator) as kling:
        task = await kling.submit(BOAT)

    assert [entry.task_id for entry in emulator.ledger] == [task.id]
    assert creates(emulator) == 1


@pytest.mark.parametrize(("fault", "commit"), UNCERTAIN)
async def test_cometapi_without_look_up_is_unknown(fault: Fault, commit: bool) -> None:
    emulator = Emulator(finds_external_id=False)
    emulator.faults.add(fault, on="create", commit=commit)
    async with cometapi(emulator) as kling:
        with pytest.raises(SubmissionUnknown, match="boat-1") as caught:
            await kling.submit(BOAT)

    assert caught.value.external_task_id == "boat-1"
    assert creates(emulator) == 1


async def test_cometapi_looks_again_when_the_create_must_have_arrived() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.LOST_BEFORE, on="create")
    async with cometapi(emulator) as kling:
        with pytest.raises(SubmissionUnknown):
            await kling.submit(PLAIN)

    assert [seen.method for seen in emulator.requests] == ["POST", "GET", "GET"]
    assert emulator.requests[-1].at >= Timeouts().total


@pytest.mark.parametrize("name", GATEWAYS)
@pytest.mark.parametrize(("fault", "commit"), UNCERTAIN)
async def test_gateway_is_unknown_at_once(name: str, fault: Fault, commit: bool) -> None:
    emulator = Emulator()
    emulator.faults.add(fault, on="create", commit=commit)
    async with gateway(emulator, name) as kling:
        with pytest.raises(SubmissionUnknown, match="boat-1"):
            await kling.submit(GATEWAY_BOAT)

    assert [seen.method for seen in emulator.requests] == ["POST"]


@pytest.mark.parametrize("name", GATEWAYS)
@pytest.mark.parametrize("faults", [1, 2])
async def test_resend_sends_once_more(name: str, faults: int) -> None:
    emulator = Emulator(strict_ids=False)
    emulator.faults.add(Fault.LOST_ANSWER, on="create", times=faults)
    async with gateway(emulator, name) as kling:
        if faults == 1:
            await kling.submit(GATEWAY_BOAT, resend=True)
        else:
            with pytest.raises(SubmissionUnknown):
                await kling.submit(GATEWAY_BOAT, resend=True)

    assert creates(emulator) == 2


async def test_taken_id_is_adopted() -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        first = await kling.submit(BOAT)
        second = await kling.submit(BOAT)

    assert second.id == first.id
    assert len(emulator.ledger) == 1


@pytest.mark.parametrize("ahead", [-7200, 7200])
async def test_refused_token_is_signed_anew_once(ahead: float) -> None:
    off = [ahead, 0.0]
    emulator = Emulator(
        access_keys={"an-access-key": KEY}, wall=lambda: time.time() + off[creates(emulator) - 1]
    )
    provider = KlingAI(access_key="an-access-key", secret_key=KEY)
    async with Kling(provider, transport=emulator.transport()) as kling:
        await kling.submit(BOAT)

    assert creates(emulator) == 2
    assert len(emulator.ledger) == 1


@pytest.mark.parametrize("ahead", [-7200, 7200])
async def test_clock_that_differs_for_good_is_an_error(ahead: float) -> None:
    emulator = Emulator(access_keys={"an-access-key": KEY}, wall=lambda: time.time() + ahead)
    provider = KlingAI(access_key="an-access-key", secret_key=KEY)
    async with Kling(provider, transport=emulator.transport()) as kling:
        with pytest.raises(AuthenticationError):
            await kling.submit(PLAIN)

    assert creates(emulator) == 2


@pytest.mark.parametrize("code", [1003, 1004])
@pytest.mark.parametrize(
    "provider", [KlingAI(KEY), CometAPI(KEY), Gateway("https://gw.example", KEY)], ids=repr
)
async def test_plain_key_is_never_signed_anew(provider: Provider, code: int) -> None:
    seen: list[str] = []

    def refuse(request: httpx.Request) -> httpx.Response:
        seen.append(request.method)
        return httpx.Response(401, json={"code": code, "message": "token expired"})

    async with Kling(provider, transport=httpx.MockTransport(refuse)) as kling:
        with pytest.raises(AuthenticationError):
            await kling.submit(PLAIN)

    assert seen == ["POST"]


async def test_plain_key_is_not_tried_again() -> None:
    emulator = Emulator(keys={"another"})
    async with official(emulator) as kling:
        with pytest.raises(AuthenticationError):
            await kling.submit(PLAIN)

    assert creates(emulator) == 1


async def test_look_up_that_finds_something_else_finds_nothing() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            raise httpx.ReadError("reset", request=request)
        info = {"external_task_id": "another-one"}
        task = {"task_id": "7", "task_status": "processing", "task_info": info}
        return httpx.Response(200, json={"code": 0, "data": task})

    async with Kling(CometAPI("any-key"), transport=httpx.MockTransport(answer)) as kling:
        with pytest.raises(SubmissionUnknown) as caught:
            await kling.submit(BOAT)

    assert caught.value.token == "cometapi/text2video/boat-1/kling-v1"


class Forgetful(KlingAI):
    """It finds external ids, but nobody has seen it refuse a second one."""

    refuses_duplicate_ids: bool | None = None


async def test_not_found_alone_never_leads_to_a_second_create() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.LOST_BEFORE, on="create")
    async with Kling(Forgetful("any-key"), transport=emulator.transport()) as kling:
        with pytest.raises(SubmissionUnknown):
            await kling.submit(BOAT)

    assert [seen.method for seen in emulator.requests].count("POST") == 1


async def test_strange_transport_is_not_believed_that_nothing_was_sent() -> None:
    class Foreign(httpx.AsyncBaseTransport):
        sent = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            Foreign.sent += 1
            raise httpx.ConnectTimeout("server disconnected", request=request)

    async with Kling(Gateway("https://gw.example", "any-key"), transport=Foreign()) as kling:
        with pytest.raises(SubmissionUnknown):
            await kling.submit(GATEWAY_BOAT)

    assert Foreign.sent == 1


async def test_look_up_that_echoes_the_id_finds_nothing() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        if request.method == "POST":
            raise httpx.ReadError("reset", request=request)
        return httpx.Response(200, json={"code": 0, "data": {"task_id": "boat-1"}})

    async with Kling(CometAPI("any-key"), transport=httpx.MockTransport(answer)) as kling:
        with pytest.raises(SubmissionUnknown):
            await kling.submit(BOAT)
