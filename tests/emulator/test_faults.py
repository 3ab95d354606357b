"""Scripted faults strike the requests they name, committed or not, as promised."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest

from kling_async.emulator import Emulator, Fault
from tests.emulator.conftest import client

T2V = "/v1/videos/text2video"
BODY = {"prompt": "a boat"}


async def post(http: httpx.AsyncClient, **more: object) -> httpx.Response:
    return await http.post(T2V, json={**BODY, **more})


async def created(http: httpx.AsyncClient) -> str:
    return str((await post(http)).json()["data"]["task_id"])


async def task(http: httpx.AsyncClient, task_id: str) -> Any:
    return (await http.get(f"{T2V}/{task_id}")).json()["data"]


@pytest.mark.parametrize(
    ("fault", "error", "billed"),
    [
        (Fault.LOST_BEFORE, httpx.RemoteProtocolError, 0),
        (Fault.LOST_ANSWER, httpx.RemoteProtocolError, 1),
        (Fault.RESET, httpx.ReadError, 1),
        (Fault.TRUNCATED, httpx.RemoteProtocolError, 1),
        (Fault.STALL, httpx.ReadTimeout, 1),
    ],
)
async def test_connection_dies(
    emulator: Emulator,
    official: httpx.AsyncClient,
    fault: Fault,
    error: type[Exception],
    billed: int,
) -> None:
    emulator.faults.add(fault)

    with pytest.raises(error):
        await post(official, external_task_id="mine")
    assert emulator.ledger.billed("mine") == billed
    assert emulator.faults.struck == [(fault, "create")]


async def test_stalled_answer_comes_in_the_end(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    emulator.faults.add(Fault.STALL, seconds=50)
    official.timeout = httpx.Timeout(None)

    answer = await post(official)
    assert answer.json()["code"] == 0
    assert anyio.current_time() == 50


async def test_truncated_headers_promise_the_whole_body(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    emulator.faults.add(Fault.TRUNCATED)
    request = official.build_request("POST", T2V, json=BODY)

    answer = await official.send(request, stream=True)
    read = bytearray()
    with pytest.raises(httpx.RemoteProtocolError):
        await drain(answer, read)
    assert 0 < len(read) < int(answer.headers["content-length"])


async def drain(answer: httpx.Response, into: bytearray) -> None:
    async for chunk in answer.aiter_raw():
        into += chunk


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.SERVER_ERROR, 500, 5000),
        (Fault.BUSY, 503, 5001),
        (Fault.GATEWAY_TIMEOUT, 504, 5002),
        (Fault.RATE, 429, 1302),
        (Fault.PARALLEL, 429, 1303),
        (Fault.ACCOUNT, 429, 1100),
        (Fault.ARREARS, 429, 1101),
        (Fault.PACK_EXHAUSTED, 429, 1102),
        (Fault.IP, 429, 1304),
        (Fault.POLICY, 400, 1300),
        (Fault.CONTENT, 400, 1301),
        (Fault.UNAUTHORIZED, 401, 1002),
    ],
)
async def test_refusals_create_nothing(
    emulator: Emulator, official: httpx.AsyncClient, fault: Fault, status: int, code: int
) -> None:
    emulator.faults.add(fault)

    answer = await post(official)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert set(answer.json()) == {"code", "message", "request_id"}
    assert len(emulator.ledger) == 0


@pytest.mark.parametrize("fault", [Fault.GATEWAY_TIMEOUT, Fault.SERVER_ERROR, Fault.HTML])
async def test_outage_may_come_after_the_commit(
    emulator: Emulator, official: httpx.AsyncClient, fault: Fault
) -> None:
    emulator.faults.add(fault, commit=True)

    assert (await post(official)).status_code >= 500
    assert len(emulator.ledger) == 1


async def test_html_page_comes_from_a_proxy(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    emulator.faults.add(Fault.HTML)

    answer = await post(official)
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")
    assert len(emulator.ledger) == 0


@pytest.mark.parametrize(("fault", "content"), [(Fault.EMPTY, b""), (Fault.GARBAGE, b"\x00\xff{]")])
async def test_body_may_mean_nothing(
    emulator: Emulator, official: httpx.AsyncClient, fault: Fault, content: bytes
) -> None:
    emulator.faults.add(fault)

    answer = await post(official)
    assert (answer.status_code, answer.content) == (200, content)
    assert len(emulator.ledger) == 1


async def test_refusal_may_say_when_to_come_back(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    emulator.faults.add(Fault.RATE, retry_after=7, message="slow down")

    answer = await post(official)
    assert (answer.headers["retry-after"], answer.json()["message"]) == ("7", "slow down")


async def test_stuck_task_never_ends(emulator: Emulator, official: httpx.AsyncClient) -> None:
    emulator.faults.add(Fault.STUCK)
    task_id = await created(official)
    await anyio.sleep(80_000)

    assert (await task(official, task_id))["task_status"] == "processing"


@pytest.mark.parametrize("message", [None, "content violation"])
async def test_failing_task_tells_why(
    emulator: Emulator, official: httpx.AsyncClient, message: str | None
) -> None:
    emulator.faults.add(Fault.FAIL, message=message)
    task_id = await created(official)
    await anyio.sleep(99)
    before = await task(official, task_id)
    await anyio.sleep(1)
    after = await task(official, task_id)

    assert (before["task_status"], after["task_status"]) == ("processing", "failed")
    assert after["task_status_msg"] == (message or "Failure to pass the risk control system")
    assert "final_unit_deduction" not in after


async def test_found_task_may_be_denied_once(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    task_id = await created(official)
    emulator.faults.add(Fault.NOT_FOUND)

    denied = await official.get(f"{T2V}/{task_id}")
    assert denied.json()["message"] == f"Task not found by id/external id: {task_id}"
    assert (await task(official, task_id))["task_id"] == task_id


async def test_unheard_of_status_comes_once(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    task_id = await created(official)
    emulator.faults.add(Fault.UNKNOWN_STATUS)

    states = [(await task(official, task_id))["task_status"] for _ in range(2)]
    assert states == ["reviewing", "submitted"]


async def test_stale_answer_waits_for_something_newer(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    task_id = await created(official)
    told: list[str] = []
    for pause in (0, 11, 0, 90, 0, 0):
        await anyio.sleep(pause)
        told.append((await task(official, task_id))["task_status"])
        if told in (["submitted"], ["submitted", "processing", "submitted", "succeed"]):
            emulator.faults.add(Fault.STALE)

    assert told == ["submitted", "processing", "submitted", "succeed", "processing", "succeed"]


async def test_fault_strikes_a_named_task_only(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    emulator.faults.add(Fault.SERVER_ERROR, task="mine")
    emulator.faults.add(Fault.SERVER_ERROR, on="query", task="mine")

    statuses = [(await post(official, external_task_id=name)).status_code for name in ("a", "mine")]
    await post(official, external_task_id="mine")
    statuses += [(await official.get(f"{T2V}/{name}")).status_code for name in ("a", "mine", "x")]
    assert statuses == [200, 500, 200, 500, 400]


async def test_fault_spares_some_and_then_strikes_some(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    strike = emulator.faults.add(Fault.BUSY, after=1, times=2)

    statuses = [(await post(official)).status_code for _ in range(4)]
    assert statuses == [200, 503, 503, 200]
    assert (strike.times, emulator.faults.pending) == (0, [])


async def test_fault_strikes_one_endpoint_and_occasion_only(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    emulator.faults.add(Fault.BUSY, endpoint="image2video")
    emulator.faults.add(Fault.BUSY, on="list")

    statuses = [(await post(official)).status_code, (await official.get(T2V)).status_code]
    assert statuses == [200, 503]
    emulator.faults.clear()
    assert emulator.faults.pending == []


async def test_fault_on_a_refused_body_spoils_the_refusal(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    emulator.faults.add(Fault.STALL, seconds=1)

    answer = await official.post(T2V, json={})
    assert answer.json()["code"] == 1201
    assert len(emulator.ledger) == 0


def test_impossible_faults_are_refused_when_scripted() -> None:
    faults = Emulator().faults
    with pytest.raises(ValueError, match="STALE cannot strike a create, only: query"):
        faults.add(Fault.STALE, on="create")
    with pytest.raises(ValueError, match="commit= is not open for RATE"):
        faults.add(Fault.RATE, commit=True)


@pytest.mark.parametrize("fault", list(Fault))
def test_every_fault_has_a_home(fault: Fault) -> None:
    strike = Emulator().faults.add(fault)

    assert strike.on in ("create", "query", "file", "callback")


async def test_chaos_is_transient_and_repeatable() -> None:
    struck: list[list[tuple[Fault, str]]] = []
    for _ in range(2):
        emulator = Emulator(chaos=0.5, seed=3)
        async with client(emulator, "https://api.klingai.com") as http:
            for _ in range(200):
                await outcome(http)
        struck.append(list(emulator.faults.struck))

    permanent = {Fault.ARREARS, Fault.ACCOUNT, Fault.UNAUTHORIZED, Fault.STUCK, Fault.FAIL}
    assert struck[0] == struck[1]
    assert 60 < len(struck[0]) < 140
    assert not permanent & {fault for fault, _ in struck[0]}


async def outcome(http: httpx.AsyncClient) -> None:
    with suppress(httpx.TransportError):
        await post(http)


async def test_other_servers_cannot_cut_connections(emulator: Emulator) -> None:
    emulator.faults.add(Fault.LOST_ANSWER)
    plain = httpx.ASGITransport(emulator.app)
    async with httpx.AsyncClient(transport=plain, base_url="http://x") as http:
        with pytest.raises(ConnectionAbortedError):
            await http.post(T2V, json=BODY, headers={"Authorization": "Bearer key"})


async def test_fault_of_a_task_waits_for_one_that_exists(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    strike = emulator.faults.add(Fault.NOT_FOUND)

    answer = await official.get(f"{T2V}/stranger")
    assert answer.json()["code"] == 1201
    assert strike.times == 1
