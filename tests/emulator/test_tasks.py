"""A task is created, billed once, moves with the clock and ends with a video."""

from __future__ import annotations

from decimal import Decimal

import anyio
import httpx
import pytest

from kling_async.emulator import Emulator
from tests.emulator.conftest import KEY, client

T2V = "/v1/videos/text2video"


async def create(http: httpx.AsyncClient, **body: object) -> str:
    answer = await http.post(T2V, json={"prompt": "a boat", **body})
    return str(answer.json()["data"]["task_id"])


async def status(http: httpx.AsyncClient, task_id: str) -> str:
    answer = await http.get(f"{T2V}/{task_id}")
    return str(answer.json()["data"]["task_status"])


async def test_create_answers_a_submitted_task(official: httpx.AsyncClient) -> None:
    answer = await official.post(T2V, json={"prompt": "a boat", "external_task_id": "mine"})

    envelope = answer.json()
    task = envelope["data"]
    assert (answer.status_code, envelope["code"]) == (200, 0)
    assert set(envelope) == {"code", "message", "request_id", "data"}
    assert task["task_status"] == "submitted"
    assert task["task_info"] == {"external_task_id": "mine"}
    assert task["task_id"].isdigit()
    assert task["created_at"] == task["updated_at"] == 1_800_000_000_000


async def test_task_moves_with_the_clock(official: httpx.AsyncClient) -> None:
    task_id = await create(official)
    seen: list[str] = []
    for pause in (9, 2, 88, 2):
        await anyio.sleep(pause)
        seen.append(await status(official, task_id))

    assert seen == ["submitted", "processing", "processing", "succeed"]


async def test_success_tells_video_and_units(official: httpx.AsyncClient) -> None:
    task_id = await create(official, watermark_info={"enabled": True})
    await anyio.sleep(100)

    task = (await official.get(f"{T2V}/{task_id}")).json()["data"]
    (video,) = task["task_result"]["videos"]
    assert video["url"] == f"https://files.kling-emulator.test/{task_id}/0.mp4"
    assert video["watermark_url"].endswith("/0-watermark.mp4")
    assert video["duration"] == "5.1"
    assert task["final_unit_deduction"] == "1"
    assert task["watermark_info"] == {"enabled": True}
    assert task["updated_at"] - task["created_at"] == 100_000


async def test_speed_runs_ahead_of_the_loop() -> None:
    emulator = Emulator(speed=60, duration=120.0, wall=lambda: 1_800_000_000.0)
    async with client(emulator, "https://api.klingai.com") as http:
        task_id = await create(http)
        await anyio.sleep(2)
        task = (await http.get(f"{T2V}/{task_id}")).json()["data"]

    assert task["task_status"] == "succeed"
    assert task["updated_at"] == 1_800_000_120_000


def test_speed_must_be_above_zero() -> None:
    with pytest.raises(ValueError, match="above 0"):
        Emulator(speed=0)


async def test_ledger_knows_what_was_billed(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    task_id = await create(official, external_task_id="mine", model_name="kling-v1-6")
    await create(official)

    entry = emulator.ledger[0]
    assert (entry.task_id, entry.account, entry.path) == (task_id, "key", T2V)
    assert (entry.model_name, entry.units, entry.at) == ("kling-v1-6", Decimal(2), 1.8e9)
    assert (emulator.ledger.billed("mine"), emulator.ledger.billed("other")) == (1, 0)
    assert emulator.ledger.units == Decimal(3)
    assert [len(emulator.ledger), len(emulator.ledger[:1]), len(list(emulator.ledger))] == [2, 1, 2]


async def test_second_use_of_an_external_id_is_refused(
    emulator: Emulator, official: httpx.AsyncClient
) -> None:
    await create(official, external_task_id="mine")

    answer = await official.post(T2V, json={"prompt": "a boat", "external_task_id": "mine"})
    assert (answer.status_code, answer.json()["code"]) == (400, 1201)
    assert answer.json()["message"] == "External_task_id mine already exists"
    assert emulator.ledger.billed("mine") == 1


async def test_external_ids_may_repeat_if_not_strict() -> None:
    emulator = Emulator(strict_ids=False)
    async with client(emulator, "https://api.klingai.com") as http:
        await create(http, external_task_id="mine")
        second = await create(http, external_task_id="mine")
        found = await http.get(f"{T2V}/mine")

    assert found.json()["data"]["task_id"] == second
    assert emulator.ledger.billed_twice == {"mine": 2}


async def test_accounts_do_not_see_each_other(official: httpx.AsyncClient) -> None:
    task_id = await create(official, external_task_id="mine")

    for asked in (task_id, "mine"):
        answer = await official.get(f"{T2V}/{asked}", headers={"Authorization": "Bearer other"})
        assert answer.json()["message"] == f"Task not found by id/external id: {asked}"


async def test_task_is_found_under_its_own_path_only(official: httpx.AsyncClient) -> None:
    task_id = await create(official)

    answer = await official.get(f"/v1/videos/image2video/{task_id}")
    assert (answer.status_code, answer.json()["code"]) == (400, 1201)


async def test_tests_may_end_a_task(emulator: Emulator, official: httpx.AsyncClient) -> None:
    ids = [await create(official) for _ in range(3)]
    emulator.tasks[ids[0]].succeed()
    emulator.tasks[ids[1]].fail("no luck")
    emulator.tasks[ids[2]].stick()
    await anyio.sleep(80_000)

    assert [emulator.tasks[name].state.status for name in ids] == [
        "succeed",
        "failed",
        "processing",
    ]
    failed = (await official.get(f"{T2V}/{ids[1]}")).json()
    assert (failed["code"], failed["data"]["task_status_msg"]) == (0, "no luck")
    assert list(emulator.tasks) == ids
    assert repr(emulator.tasks[ids[0]]) == f"<Job {ids[0]} text2video>"


async def test_same_seed_gives_the_same_durations() -> None:
    durations: list[list[float]] = []
    for _ in range(2):
        emulator = Emulator(seed=7)
        async with client(emulator, "https://api.klingai.com") as http:
            ids = [await create(http) for _ in range(20)]
        durations.append([emulator.tasks[name].duration for name in ids])

    assert durations[0] == durations[1]
    assert 60 < sorted(durations[0])[10] < 240


async def test_duration_may_depend_on_the_body() -> None:
    emulator = Emulator(duration=lambda random, body: 7.0 if body["mode"] == "pro" else 3.0)
    async with client(emulator, "https://api.klingai.com") as http:
        task_id = await create(http, mode="pro")

    assert emulator.tasks[task_id].duration == 7.0


async def test_requests_are_remembered(emulator: Emulator, official: httpx.AsyncClient) -> None:
    await anyio.sleep(3)
    await official.get(T2V, params={"pageNum": "1"})

    (seen,) = emulator.requests
    assert (seen.method, seen.host, seen.path) == ("GET", "api-singapore.klingai.com", T2V)
    assert (seen.query, seen.authorized, seen.at) == ("pageNum=1", True, anyio.current_time())


async def test_latency_delays_answers() -> None:
    emulator = Emulator(latency=0.5)
    async with client(emulator, "https://api.klingai.com") as http:
        before = anyio.current_time()
        await create(http)

    assert anyio.current_time() - before == pytest.approx(0.5)


@pytest.mark.parametrize("path", ["/", "/ledger"])
async def test_ledger_is_shown_as_json(
    emulator: Emulator, official: httpx.AsyncClient, path: str
) -> None:
    task_id = await create(official)

    shown = (await official.get(path)).json()
    assert shown["ledger"] == {
        "creates": 1,
        "units": "1",
        "by_path": {T2V: 1},
        "billed_twice": {},
    }
    assert shown["tasks"] == [{"task_id": task_id, "task_status": "submitted"}]


async def test_transport_serves_any_host(emulator: Emulator) -> None:
    async with httpx.AsyncClient(transport=emulator.transport(), headers=KEY) as http:
        answer = await http.post("http://kling.example/v1/videos/text2video", json={"prompt": "x"})

    assert answer.json()["code"] == 0
