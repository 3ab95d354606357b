"""Bodies are taken or refused by the official rules."""

from __future__ import annotations

import anyio
import httpx
import pytest

from tests.emulator.media import IMAGE, jpeg, png, text, wav

T2V, I2V = "text2video", "image2video"
MULTI, AVATAR = "multi-image2video", "avatar/image2video"
URL = "https://example.com/cat.png"
V3 = {"model_name": "kling-v3"}
SHOT = {"index": 1, "prompt": "a", "duration": "2"}
SHOTS = [SHOT, {"index": 2, "prompt": "b", "duration": "3"}]
STORY = {**V3, "multi_shot": True, "shot_type": "customize", "multi_prompt": SHOTS}
MASK = {"mask": IMAGE, "trajectories": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}
V15 = {"model_name": "kling-v1-5", "mode": "pro", "image": IMAGE}
ZEROS = dict.fromkeys(["horizontal", "vertical", "pan", "tilt", "roll", "zoom"], 0)


def simple(**config: object) -> dict[str, object]:
    return {"type": "simple", "config": config}


GOOD: list[tuple[str, dict[str, object]]] = [
    (T2V, {"prompt": "x" * 2500, "negative_prompt": "y" * 2500, "cfg_scale": 1}),
    (T2V, {"prompt": "x", "duration": "10", "aspect_ratio": "9:16", "mode": "pro"}),
    (T2V, {"prompt": "x", "duration": 5, "unheard_of": True, "negative_prompt": None}),
    (T2V, {"prompt": "x", **V3, "duration": "15", "mode": "4k", "sound": "on"}),
    (T2V, {"prompt": "x", "model_name": "kling-v2-master", "mode": "pro"}),
    (T2V, STORY),
    (T2V, {"prompt": "x", **V3, "multi_shot": True, "shot_type": "intelligence"}),
    (T2V, {"prompt": "x", "multi_shot": False, "shot_type": "whatever", "multi_prompt": []}),
    (T2V, {"prompt": "x", "camera_control": simple(pan=-10)}),
    (T2V, {"prompt": "x", "camera_control": simple(**{**ZEROS, "zoom": 1.5})}),
    (T2V, {"prompt": "x", "camera_control": {"type": "down_back"}}),
    (T2V, {"prompt": "x", "watermark_info": {"enabled": False}}),
    (T2V, {"prompt": "x", "watermark_info": ""}),
    (I2V, {"image": IMAGE}),
    (I2V, {"image": URL, "image_tail": IMAGE}),
    (I2V, {**V15, "image": "", "image_tail": URL}),
    (I2V, {**V15, "camera_control": simple(zoom=3)}),
    (I2V, {**V15, "static_mask": IMAGE, "dynamic_masks": [MASK]}),
    (I2V, {"image": URL, "dynamic_masks": [{**MASK, "mask": URL}] * 6}),
    (I2V, {"image": text(jpeg(750, 300)), **STORY}),
    (I2V, {"image": IMAGE, **V3, "element_list": [{"element_id": 829836802793406551}]}),
    (
        I2V,
        {
            "image": IMAGE,
            "model_name": "kling-v2-6",
            "mode": "pro",
            "sound": "on",
            "voice_list": [{"voice_id": "v"}],
        },
    ),
    (I2V, {"image": IMAGE, "image_tail": IMAGE, "model_name": "kling-v2-6", "mode": "pro"}),
    (MULTI, {"image_list": [{"image": URL}], "prompt": "x"}),
    (MULTI, {"image_list": [{"image": IMAGE}] * 4, "prompt": "x", "model_name": "kling-v1-6"}),
    (AVATAR, {"image": URL, "audio_id": "a"}),
    (AVATAR, {"image": IMAGE, "sound_file": URL, "prompt": "x" * 2500, "mode": "pro"}),
    (AVATAR, {"image": IMAGE, "sound_file": text(wav(2.5))}),
    (AVATAR, {"image": IMAGE, "sound_file": text(b"RIFF0000WAVE")}),
    (AVATAR, {"image": IMAGE, "sound_file": text(b"ID3 and more")}),
    (AVATAR, {"image": IMAGE, "sound_file": text(b"\xff\xf1 and more")}),
    (AVATAR, {"image": IMAGE, "sound_file": text(bytes(4) + b"ftypM4A ")}),
]

BAD: list[tuple[str, dict[str, object], str]] = [
    (T2V, {}, "prompt can not be null"),
    (T2V, {"prompt": ""}, "prompt can not be null"),
    (T2V, {"prompt": 3}, "prompt value '3' is invalid"),
    (T2V, {"prompt": "x" * 2501}, "prompt must not be longer than 2500 characters"),
    (T2V, {"prompt": "x", "negative_prompt": "y" * 2501}, "negative_prompt must not"),
    (T2V, {"prompt": "x", "duration": "99"}, "duration value '99' is invalid"),
    (T2V, {"prompt": "x", "duration": 7.5}, "duration value '7.5' is invalid"),
    (T2V, {"prompt": "x", "duration": "five"}, "duration value 'five' is invalid"),
    (T2V, {"prompt": "x", **V3, "duration": "2"}, "duration value '2' is invalid"),
    (T2V, {"prompt": "x", "mode": "standard"}, "mode value 'standard' is invalid"),
    (T2V, {"prompt": "x", "mode": "4k"}, "mode value '4k' is not supported by kling-v1"),
    (T2V, {"prompt": "x", "aspect_ratio": "4:3"}, "aspect_ratio value '4:3' is invalid"),
    (T2V, {"prompt": "x", "cfg_scale": 1.1}, "cfg_scale value '1.1' is invalid"),
    (T2V, {"prompt": "x", "cfg_scale": True}, "cfg_scale value 'True' is invalid"),
    (T2V, {"prompt": "x", "sound": True}, "sound value 'True' is invalid"),
    (T2V, {"prompt": "x", "sound": "on"}, "sound value 'on' is not supported by kling-v1"),
    (T2V, {"prompt": "x", "model_name": "kling-v2-6", "sound": "on"}, "in mode std"),
    (T2V, {"prompt": "x", **V3, "voice_list": [{"voice_id": "v"}]}, "sound must be on"),
    (T2V, {"prompt": "x", "voice_list": [{}]}, "voice_list[0].voice_id can not be null"),
    (T2V, {"prompt": "x", "voice_list": [{"voice_id": "v"}] * 3}, "1 to 2 items, not 3"),
    (T2V, {"prompt": "x", "voice_list": "v"}, "voice_list value 'v' is invalid"),
    (T2V, {"prompt": "x", "voice_list": ["v"]}, "voice_list value 'v' is invalid"),
    (T2V, {"prompt": "x", "multi_shot": "yes"}, "multi_shot value 'yes' is invalid"),
    (T2V, {"prompt": "x", **V3, "multi_shot": True}, "shot_type can not be null"),
    (T2V, {**STORY, "multi_prompt": None}, "multi_prompt can not be null"),
    (T2V, {**STORY, "multi_prompt": [SHOT] * 7}, "1 to 6 items, not 7"),
    (T2V, {**STORY, "multi_prompt": [SHOT]}, "add up to 2, duration is 5"),
    (T2V, {**STORY, "multi_prompt": [{**SHOT, "duration": "6"}]}, "multi_prompt.duration"),
    (T2V, {**STORY, "multi_prompt": [{**SHOT, "prompt": "x" * 513}]}, "512 characters"),
    (T2V, {**STORY, "multi_prompt": [{"prompt": "x"}]}, "multi_prompt[0].index can not"),
    (T2V, {**STORY, "model_name": "kling-v2-6"}, "multi_shot value 'true' is not supported"),
    (T2V, {**V3, "multi_shot": True, "shot_type": "intelligence"}, "prompt can not be null"),
    (T2V, {"prompt": "x", "model_name": "kling-v1-5"}, "not supported by text2video"),
    (T2V, {"prompt": "x", "camera_control": "simple"}, "camera_control value 'simple'"),
    (T2V, {"prompt": "x", "camera_control": {"config": {}}}, "camera_control.type can not"),
    (T2V, {"prompt": "x", "camera_control": {"type": "simple"}}, "config is for type simple"),
    (T2V, {"prompt": "x", "camera_control": {**simple(pan=1), "type": "down_back"}}, "config"),
    (T2V, {"prompt": "x", "camera_control": simple(pan=1, tilt=1)}, "exactly one non-zero"),
    (T2V, {"prompt": "x", "camera_control": simple(**ZEROS)}, "exactly one non-zero"),
    (T2V, {"prompt": "x", "camera_control": simple(pan=11)}, "config.pan value '11'"),
    (T2V, {"prompt": "x", "camera_control": simple(pan=1), "duration": "10"}, "camera_control"),
    (T2V, {"prompt": "x", "watermark_info": {"enabled": "yes"}}, "watermark_info.enabled"),
    (T2V, {"prompt": "x", "watermark_info": [True]}, "watermark_info value"),
    (T2V, {"prompt": "x", "callback_url": 1}, "callback_url value '1' is invalid"),
    (T2V, {"prompt": "x", "external_task_id": 1}, "external_task_id value '1' is invalid"),
    (I2V, {"prompt": "x"}, "image can not be null"),
    (I2V, {"image": f"data:image/png;base64,{IMAGE}"}, "File is not in a valid base64 format"),
    (I2V, {"image": "example"}, "File is not in a valid base64 format"),
    (I2V, {"image": "ünïcode="}, "File is not in a valid base64 format"),
    (I2V, {"image": text(b"GIF89a")}, "Image format is not supported"),
    (I2V, {"image": text(b"\xff\xd8\xff\xe0\x00\x10")}, "Image format is not supported"),
    (I2V, {"image": text(png(299, 600))}, "Image pixel is invalid"),
    (I2V, {"image": text(png(751, 300))}, "aspect ratio of the input image is invalid"),
    (I2V, {"image": text(png(640, 640) + bytes(10 * 1024 * 1024))}, "exceeds 10MB"),
    (I2V, {"image": IMAGE, "image_tail": "no base64"}, "valid base64 format"),
    (I2V, {"image": IMAGE, "image_tail": IMAGE, "static_mask": IMAGE}, "used together"),
    (I2V, {**V15, "static_mask": IMAGE, "camera_control": simple(pan=1)}, "used together"),
    (I2V, {**V15, "image_tail": IMAGE, "camera_control": simple(pan=1)}, "used together"),
    (I2V, {"image_tail": IMAGE}, "image_tail value"),
    (I2V, {"image": IMAGE, "image_tail": IMAGE, "duration": "10"}, "image_tail value"),
    (I2V, {"image": IMAGE, "image_tail": IMAGE, "model_name": "kling-v2-1"}, "in mode std"),
    (I2V, {**V15, "camera_control": {"type": "forward_up"}}, "camera_control.type"),
    (I2V, {"image": IMAGE, "camera_control": simple(pan=1)}, "camera_control value 'simple'"),
    (I2V, {"image": IMAGE, "static_mask": text(png(600, 300))}, "aspect ratio of a mask"),
    (I2V, {"image": IMAGE, "static_mask": IMAGE, "model_name": "kling-v2-1"}, "masks"),
    (I2V, {"image": URL, "dynamic_masks": [MASK] * 7}, "1 to 6 items, not 7"),
    (I2V, {"image": URL, "dynamic_masks": [{"mask": URL}]}, "trajectories can not be null"),
    (I2V, {"image": URL, "dynamic_masks": [{**MASK, "trajectories": [{"x": 1, "y": 1}]}]}, "2 to"),
    (I2V, {"image": URL, "dynamic_masks": [{**MASK, "trajectories": [{"x": 1}] * 2}]}, ".y can"),
    (I2V, {"image": IMAGE, "element_list": [{"element_id": 1}]}, "element_list value"),
    (I2V, {"image": IMAGE, **V3, "element_list": [{"element_id": "1"}]}, "element_id value '1'"),
    (I2V, {"image": IMAGE, **V3, "multi_shot": True, "shot_type": "intelligence"}, "prompt can"),
    (
        I2V,
        {
            "image": IMAGE,
            **V3,
            "sound": "on",
            "voice_list": [{"voice_id": "v"}],
            "element_list": [{"element_id": 1}],
        },
        "element_list can not be used together with voice_list",
    ),
    (
        I2V,
        {
            "image": IMAGE,
            "image_tail": IMAGE,
            "model_name": "kling-v2-6",
            "mode": "pro",
            "sound": "on",
        },
        "image_tail value",
    ),
    (MULTI, {"image_list": [{"image": URL}]}, "prompt can not be null"),
    (MULTI, {"prompt": "x", "image_list": []}, "image_list can not be null"),
    (MULTI, {"prompt": "x", "image_list": [{"image": URL}] * 5}, "1 to 4 items, not 5"),
    (MULTI, {"prompt": "x", "image_list": [{}]}, "image_list[0].image can not be null"),
    (MULTI, {"prompt": "x", "image_list": [{"image": URL}], "mode": "4k"}, "mode value '4k'"),
    (MULTI, {"prompt": "x", "image_list": [{"image": URL}], "model_name": "kling-v1"}, "model"),
    (AVATAR, {"audio_id": "a"}, "image can not be null"),
    (AVATAR, {"image": URL}, "exactly one of audio_id and sound_file"),
    (AVATAR, {"image": URL, "audio_id": "a", "sound_file": URL}, "exactly one of"),
    (AVATAR, {"image": URL, "audio_id": "a", "prompt": "x" * 2501}, "prompt must not be longer"),
    (AVATAR, {"image": URL, "sound_file": text(b"OggS")}, "Audio format is not supported"),
    (AVATAR, {"image": URL, "sound_file": text(wav(301))}, "must be 2 to 300 seconds"),
    (AVATAR, {"image": URL, "sound_file": text(wav(1.9))}, "must be 2 to 300 seconds"),
    (AVATAR, {"image": URL, "sound_file": text(b"ID3" + bytes(5_300_000))}, "exceeds 5MB"),
]


async def post(http: httpx.AsyncClient, endpoint: str, body: object) -> httpx.Response:
    return await http.post(f"/v1/videos/{endpoint}", json=body)


@pytest.mark.parametrize(("endpoint", "body"), GOOD)
async def test_body_is_taken(
    official: httpx.AsyncClient, endpoint: str, body: dict[str, object]
) -> None:
    answer = await post(official, endpoint, body)

    assert answer.json()["message"] == "SUCCEED"


@pytest.mark.parametrize(("endpoint", "body", "message"), BAD)
async def test_body_is_refused(
    official: httpx.AsyncClient, endpoint: str, body: dict[str, object], message: str
) -> None:
    answer = await post(official, endpoint, body)

    assert (answer.status_code, answer.json()["code"]) == (400, 1201)
    assert message in answer.json()["message"]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff"])
async def test_body_that_is_no_object_is_1200(official: httpx.AsyncClient, content: bytes) -> None:
    answer = await official.post("/v1/videos/text2video", content=content)

    assert (answer.status_code, answer.json()["code"]) == (400, 1200)


async def test_unheard_of_model_is_1203(official: httpx.AsyncClient) -> None:
    answer = await post(official, T2V, {"prompt": "x", "model_name": "kling-v99"})

    assert (answer.status_code, answer.json()["code"]) == (404, 1203)


async def test_masks_of_different_size_fail_the_task(official: httpx.AsyncClient) -> None:
    body = {**V15, "static_mask": text(png(320, 320)), "dynamic_masks": [MASK]}
    created = await post(official, I2V, body)
    task_id = created.json()["data"]["task_id"]

    await anyio.sleep(100)
    task = (await official.get(f"/v1/videos/{I2V}/{task_id}")).json()["data"]
    assert task["task_status"] == "failed"
    assert "resolution or aspect ratio" in task["task_status_msg"]
