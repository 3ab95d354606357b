"""Each imitated server answers in its own shapes, found by prefix or by host."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest

from kling_async.emulator import Emulator, Fault
from tests.emulator.conftest import client
from tests.emulator.media import IMAGE

T2V, I2V = "/v1/videos/text2video", "/v1/videos/image2video"
STRICT = {"model_name": "kling-v1", "mode": "std", "duration": "5", "multi_shot": False}
BODY = {"prompt": "a boat", **STRICT}
GATEWAY = "http://gateway.example/gateway"


async def created(http: httpx.AsyncClient, **more: object) -> str:
    answer = (await http.post(T2V.removeprefix("/"), json={**BODY, **more})).json()
    return str(answer.get("task_id") or answer["data"]["task_id"])


async def queried(http: httpx.AsyncClient, task_id: str) -> Any:
    return (await http.get(f"{T2V}/{task_id}")).json()


@pytest.mark.parametrize(
    "origin",
    [
        "https://api-singapore.klingai.com",
        "https://api-beijing.klingai.com",
        "https://api.klingai.com:443",
        "http://127.0.0.1:8000",
        "http://127.0.0.1:8000/official",
        "https://api.cometapi.com/official",
    ],
)
async def test_official_is_found(emulator: Emulator, origin: str) -> None:
    async with client(emulator, origin) as http:
        answer = (await http.post(T2V, json=BODY)).json()

    assert answer["message"] == "SUCCEED"
    assert "request_id" in answer


@pytest.mark.parametrize(
    "origin",
    [
        "https://api.cometapi.com/kling",
        "http://127.0.0.1:8000/kling",
        "http://127.0.0.1:8000/cometapi/kling",
    ],
)
async def test_cometapi_is_found(emulator: Emulator, origin: str) -> None:
    async with client(emulator, origin) as http:
        answer = (await http.post(T2V, json=BODY)).json()

    assert answer["message"] == "success"
    assert "request_id" not in answer


async def test_cometapi_tells_no_empty_reason(comet: httpx.AsyncClient, emulator: Emulator) -> None:
    task_id = await created(comet, external_task_id="mine")
    running = await queried(comet, task_id)
    emulator.tasks[task_id].fail("content violation")
    failed = await queried(comet, "mine")

    assert "task_status_msg" not in running["data"]
    assert "request_id" in running
    assert failed["data"]["task_status_msg"] == "content violation"


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"prompt": "x" * 501}, "500 characters"),
        ({"prompt": "x", "negative_prompt": "y" * 201}, "200 characters"),
        ({"prompt": "x", "duration": "7", "model_name": "kling-v3"}, "duration value '7'"),
        ({"prompt": "x", "aspect_ratio": "21:9"}, "aspect_ratio value '21:9'"),
    ],
)
async def test_cometapi_has_limits_of_its_own(
    comet: httpx.AsyncClient, body: dict[str, object], message: str
) -> None:
    answer = await comet.post(T2V, json=body)

    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["param"]) == (400, "invalid_request", "")
    assert message in error["message"]


async def test_cometapi_takes_seven_ratios_and_any_model(comet: httpx.AsyncClient) -> None:
    answer = await comet.post(
        T2V, json={"prompt": "x", "aspect_ratio": "2:3", "model_name": "kling-v99"}
    )

    assert answer.json()["code"] == 0


async def test_unheard_of_model_takes_every_option(comet: httpx.AsyncClient) -> None:
    model = {"model_name": "kling-v99", "mode": "4k", "sound": "on", "image": IMAGE}
    camera = {"camera_control": {"type": "forward_up"}, "element_list": [{"element_id": 1}]}
    for more in ({"image_tail": IMAGE}, {"static_mask": IMAGE}, camera):
        answer = await comet.post(I2V, json={**model, **more})

        assert answer.json()["code"] == 0


@pytest.mark.parametrize("count", [1, 5])
async def test_cometapi_wants_two_to_four_images(comet: httpx.AsyncClient, count: int) -> None:
    body = {"prompt": "x", "image_list": [{"image": IMAGE}] * count}
    answer = await comet.post("/v1/videos/multi-image2video", json=body)

    assert f"2 to 4 items, not {count}" in answer.json()["error"]["message"]


async def test_cometapi_sends_strays_to_its_web_site(emulator: Emulator) -> None:
    async with client(emulator, "https://api.cometapi.com") as http:
        moved = await http.get("/v1/videos/text2video/1")
        page = await http.get("/kling/v1/videos/text2video")

    assert (moved.status_code, moved.headers["location"]) == (
        301,
        "/kling/v1/videos/text2video/1",
    )
    assert (page.status_code, page.text[:15]) == (200, "<!doctype html>")


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/v1/videos/motion-pictures", 1203),
        ("DELETE", f"{T2V}/1", 1202),
        ("POST", f"{T2V}/1", 1202),
        ("GET", "/v1/videos/text2video/1/2", 1203),
    ],
)
async def test_official_refuses_strays(
    official: httpx.AsyncClient, method: str, path: str, code: int
) -> None:
    answer = await official.request(method, path)

    assert (answer.status_code, answer.json()["code"]) == (404, code)


async def test_passthrough_wants_every_documented_field(emulator: Emulator) -> None:
    async with client(emulator, f"{GATEWAY}/passthrough/kling") as http:
        for missing in STRICT:
            body = {name: value for name, value in BODY.items() if name != missing}
            answer = (await http.post(T2V, json=body)).json()

            assert answer["message"] == f"{missing} can not be null"


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"watermark_info": {}}, "watermark_info.enabled can not be null"),
        ({"mode": "4k"}, "mode value '4k' is invalid"),
        ({"multi_shot": True, "shot_type": "intelligence"}, "shot_type value"),
        (
            {"camera_control": {"type": "simple", "config": {"pan": 1}}},
            "camera_control.config.horizontal can not be null",
        ),
    ],
)
async def test_passthrough_is_stricter(
    emulator: Emulator, more: dict[str, object], message: str
) -> None:
    async with client(emulator, f"{GATEWAY}/passthrough/kling") as http:
        answer = (await http.post(T2V, json={**BODY, **more})).json()

    assert answer["code"] == 1201
    assert message in answer["message"]


@pytest.mark.parametrize("flavour", ["passthrough", "newapi", "crazyrouter"])
async def test_gateways_do_not_find_external_ids(emulator: Emulator, flavour: str) -> None:
    async with client(emulator, f"{GATEWAY}/{flavour}/kling") as http:
        await created(http, external_task_id="mine")
        answer = await http.get(f"{T2V}/mine")

    assert answer.status_code == 400
    assert answer.json()["code"] == (1201 if flavour == "passthrough" else "task_not_exist")


async def test_finding_external_ids_may_be_set() -> None:
    emulator = Emulator(finds_external_id=True)
    async with client(emulator, f"{GATEWAY}/newapi/kling") as http:
        task_id = await created(http, external_task_id="mine")

        assert (await queried(http, "mine"))["data"]["task_id"] == task_id


async def test_new_api_creates_an_openai_video(emulator: Emulator) -> None:
    async with client(emulator, f"{GATEWAY}/newapi/kling") as http:
        answer = (await http.post(T2V, json={"prompt": "x", "model": "kling-v1-6"})).json()

    task_id = answer["id"]
    assert answer == {
        "id": task_id,
        "task_id": task_id,
        "object": "video",
        "model": "kling-v1-6",
        "status": "",
        "progress": 0,
        "created_at": 1_800_000_000,
    }


async def test_new_api_wants_a_model(emulator: Emulator) -> None:
    async with client(emulator, f"{GATEWAY}/newapi/kling") as http:
        answer = (await http.post(T2V, json={"prompt": "x"})).json()

    assert answer["code"] == "fail_to_fetch_task"
    assert json.loads(answer["message"])["message"] == "model_name can not be null"


async def test_new_api_wraps_kling_in_its_record(emulator: Emulator) -> None:
    async with client(emulator, f"{GATEWAY}/newapi/kling") as http:
        task_id = await created(http)
        waiting = (await queried(http, task_id))["data"]
        emulator.tasks[task_id].succeed()
        answer = await queried(http, task_id)

    done = answer["data"]
    (video,) = done["data"]["data"]["task_result"]["videos"]
    assert (waiting["status"], waiting["progress"]) == ("SUBMITTED", "10%")
    assert (waiting["start_time"], waiting["finish_time"]) == (0, 0)
    assert (answer["code"], done["status"], done["progress"]) == ("success", "SUCCESS", "100%")
    assert (done["fail_reason"], done["action"]) == (video["url"], "textGenerate")
    assert done["finish_time"] == 1_800_000_000


async def test_new_api_tells_why_a_task_failed(emulator: Emulator) -> None:
    async with client(emulator, f"{GATEWAY}/newapi/kling") as http:
        answer = await http.post(I2V, json={"image": IMAGE, "model_name": "kling-v1"})
        task_id = answer.json()["id"]
        emulator.tasks[task_id].fail("no luck")
        data = (await http.get(f"{I2V}/{task_id}")).json()["data"]

    assert (data["status"], data["fail_reason"], data["action"]) == (
        "FAILURE",
        "no luck",
        "generate",
    )


async def test_new_api_shows_the_task_as_openai_would(emulator: Emulator) -> None:
    async with client(emulator, f"{GATEWAY}/newapi") as http:
        first, second = [await created_under(http) for _ in range(2)]
        queued = (await http.get(f"/v1/videos/{first}")).json()
        emulator.tasks[first].succeed()
        emulator.tasks[second].fail("no luck")
        completed = (await http.get(f"/v1/videos/{first}")).json()
        failed = (await http.get(f"/v1/videos/{second}")).json()
        generation = (await http.get(f"/v1/video/generations/{first}")).json()

    assert (queued["object"], queued["status"], queued["progress"]) == ("video", "queued", 0)
    assert completed["status"] == "completed"
    assert completed["metadata"]["url"].endswith(f"/{first}/0.mp4")
    assert failed["error"] == {"message": "no luck", "code": "task_failed"}
    assert generation["data"]["status"] == "SUCCESS"


async def created_under(http: httpx.AsyncClient) -> str:
    return str((await http.post(f"/kling{T2V}", json=BODY)).json()["id"])


async def test_new_api_has_words_for_unheard_of_states(emulator: Emulator) -> None:
    emulator.faults.add(Fault.UNKNOWN_STATUS, times=2)
    async with client(emulator, f"{GATEWAY}/newapi") as http:
        task_id = await created_under(http)
        kling = (await http.get(f"/kling{T2V}/{task_id}")).json()["data"]
        openai = (await http.get(f"/v1/videos/{task_id}")).json()

    assert (kling["status"], openai["status"]) == ("UNKNOWN", "unknown")


async def test_new_api_hides_kling_codes_in_strings(emulator: Emulator) -> None:
    emulator.faults.add(Fault.PARALLEL)
    emulator.faults.add(Fault.RATE)
    async with client(emulator, f"{GATEWAY}/newapi/kling") as http:
        parallel = await http.post(T2V, json=BODY)
        rate = await http.post(T2V, json=BODY)

    assert (parallel.status_code, parallel.json()["code"]) == (429, "fail_to_fetch_task")
    assert json.loads(parallel.json()["message"])["code"] == 1303
    assert (rate.status_code, rate.json()["message"]) == (429, "当前分组上游负载已饱和，请稍后再试")


async def test_gateway_has_an_answer_for_strays(emulator: Emulator) -> None:
    async with client(emulator, f"{GATEWAY}/newapi/kling") as http:
        answer = await http.post("/v1/videos/other")

    assert answer.status_code == 404
    assert answer.json()["error"]["type"] == "new_api_error"


async def test_crazyrouter_is_flat(emulator: Emulator) -> None:
    async with client(emulator, f"{GATEWAY}/crazyrouter/kling") as http:
        ids = [await created(http) for _ in range(3)]
        emulator.tasks[ids[1]].succeed()
        emulator.tasks[ids[2]].fail("no luck")
        queued, succeeded, failed = [(await queried(http, name))["data"] for name in ids]

    assert set(queued) == {"task_id", "status", "url", "format", "metadata", "error"}
    assert (queued["status"], queued["url"], queued["error"]) == ("queued", "", None)
    assert (succeeded["status"], succeeded["format"]) == ("succeeded", "mp4")
    assert succeeded["url"].endswith("/0.mp4")
    assert (failed["status"], failed["error"]["message"]) == ("failed", "no luck")
