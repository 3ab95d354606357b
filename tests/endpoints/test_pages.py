"""The samples on the providers' five pages go out as they are printed there."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest
from pydantic import ValidationError

from kling_async import Avatar, CometAPI, Gateway, Image2Video, MediaError
from tests.endpoints.wire import PICTURE, Wire, refused

BOAT = (
    "https://h2.inkwai.com/bs2/upload-ylab-stunt/se/ai_portal_queue_mmu_image_upscale_aiweb/"
    "3214b798-e1b4-4b00-b7af-72b5b0417420_raw_image_0.jpg"
)
ASTRONAUT = "https://filesystem.site/cdn/20250414/chxiLc2O45zoLT8BCrQ6WQlTvGDDnK.png"
TEXT = '{"prompt": "A happy scene of a vacation on the beach."}'
IMAGE = f'{{"image": "{BOAT}"}}'
IMAGES = f"""{{
"model_name": "kling-v1-6",
"duration": "5",
"image_list": [
{{ "image": "{BOAT}" }}, {{ "image": "{BOAT}" }},
{{ "image": "{ASTRONAUT}" }}, {{ "image": "{ASTRONAUT}" }}
],
"prompt": "The astronauts got up and left."
}}"""
AVATAR = '{"image": "example"}'

SHOTS = [
    {"index": 1, "prompt": "A pier", "duration": "2"},
    {"index": 2, "prompt": "The sea", "duration": "3"},
]
MASK = {"mask": PICTURE, "trajectories": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}
PAN = {"horizontal": 0, "vertical": 0, "pan": -5, "tilt": 0, "roll": 0, "zoom": 0}
# What the gateway's page lists; some of it excludes other parts, so it takes four requests.
SOUND: dict[str, Any] = {
    "prompt": 'A man <<<voice_1>>> says: "Hello"',
    "negative_prompt": "rain",
    "model_name": "kling-v2-6",
    "mode": "pro",
    "duration": "10",
    "sound": "on",
    "voice_list": [{"voice_id": "v1"}, {"voice_id": "v2"}],
    "watermark_info": {"enabled": True},
    "image": PICTURE,
}
STORYBOARD: dict[str, Any] = {
    "model_name": "kling-v3",
    "mode": "std",
    "duration": "5",
    "multi_shot": True,
    "shot_type": "customize",
    "multi_prompt": SHOTS,
    "image": PICTURE,
    "image_tail": PICTURE,
}
BRUSH: dict[str, Any] = {
    "model_name": "kling-v1",
    "mode": "std",
    "duration": "5",
    "cfg_scale": 0.5,
    "image": PICTURE,
    "static_mask": PICTURE,
    "dynamic_masks": [MASK],
}
CAMERA: dict[str, Any] = {
    "model_name": "kling-v1-5",
    "mode": "pro",
    "duration": "5",
    "camera_control": {"type": "simple", "config": PAN},
    "image": PICTURE,
}
GATEWAY = {"sound": SOUND, "storyboard": STORYBOARD, "brush": BRUSH, "camera": CAMERA}
GATEWAY_FIELDS = {
    "model_name",
    "image",
    "image_tail",
    "prompt",
    "negative_prompt",
    "voice_list",
    "sound",
    "cfg_scale",
    "mode",
    "static_mask",
    "multi_shot",
    "shot_type",
    "multi_prompt",
    "dynamic_masks",
    "camera_control",
    "duration",
    "watermark_info",
}


def compact(sample: str) -> bytes:
    """The sample without its line ends and indents."""
    return json.dumps(json.loads(sample), separators=(",", ":")).encode()


def without_id(request: httpx.Request) -> bytes:
    """What was sent, less the external_task_id at its end, which must be there."""
    body, added = request.content.split(b',"external_task_id":')
    assert re.fullmatch(rb'"ka-[0-9a-f]{32}"}', added)
    return body + b"}"


async def test_text2video_sample_is_sent_as_printed() -> None:
    wire = Wire()
    async with wire.client(CometAPI("key-of-the-test")) as kling:
        await kling.text2video.submit(prompt="A happy scene of a vacation on the beach.")

    assert without_id(wire.only()) == compact(TEXT)
    assert wire.only().url == "https://api.cometapi.com/kling/v1/videos/text2video"


async def test_image2video_sample_is_sent_as_printed() -> None:
    wire = Wire()
    async with wire.client(CometAPI("key-of-the-test")) as kling:
        await kling.image2video.submit(image=BOAT)

    assert without_id(wire.only()) == compact(IMAGE)
    assert wire.only().url == "https://api.cometapi.com/kling/v1/videos/image2video"


async def test_multi_image2video_sample_is_sent_as_printed() -> None:
    wire = Wire()
    async with wire.client(CometAPI("key-of-the-test")) as kling:
        await kling.multi_image2video.submit(
            model_name="kling-v1-6",
            duration=5,
            image_list=[BOAT, BOAT, ASTRONAUT, ASTRONAUT],
            prompt="The astronauts got up and left.",
        )

    assert without_id(wire.only()) == compact(IMAGES)
    assert wire.only().url == "https://api.cometapi.com/kling/v1/videos/multi-image2video"


async def test_avatar_sample_is_sent_as_printed_when_unchecked() -> None:
    """The page's sample breaks the page's rules, so it takes two steps round the checks."""
    wire = Wire()
    async with wire.client(CometAPI("key-of-the-test"), validate=False) as kling:
        await kling.submit(Avatar.model_construct(image="example"))

    assert without_id(wire.only()) == compact(AVATAR)
    assert wire.only().url == "https://api.cometapi.com/kling/v1/videos/avatar/image2video"


def test_avatar_sample_lacks_a_voice() -> None:
    with pytest.raises(ValidationError, match="exactly one of audio_id and sound_file is required"):
        Avatar(image="example")


async def test_avatar_sample_holds_no_base64() -> None:
    fields = {"image": "example", "audio_id": "1"}
    text = await refused(Avatar, fields, "comet")

    assert "image: the text 'example'" in text
    assert "Base64" in text


def test_avatar_sample_fails_as_media() -> None:
    with pytest.raises(MediaError) as caught:
        Avatar(image="example", audio_id="1").body(CometAPI("key-of-the-test").limits)

    assert caught.value.field == "image"


@pytest.mark.parametrize("sample", GATEWAY.values(), ids=GATEWAY)
async def test_gateway_page_is_sent_in_full(sample: dict[str, Any]) -> None:
    wire = Wire()
    async with wire.client(Gateway("https://gw.example", "key-of-the-test")) as kling:
        await kling.image2video.submit(**sample)

    assert without_id(wire.only()) == compact(json.dumps(sample))
    assert wire.only().url == "https://gw.example/kling/v1/videos/image2video"


def test_gateway_requests_cover_the_page() -> None:
    assert {field for sample in GATEWAY.values() for field in sample} == GATEWAY_FIELDS


def test_models_know_every_field_of_the_gateway_page() -> None:
    assert set(Image2Video.model_fields) >= GATEWAY_FIELDS


async def test_create_is_a_json_post_with_the_key() -> None:
    wire = Wire()
    async with wire.client(CometAPI("key-of-the-test")) as kling:
        await kling.text2video.submit(prompt="A boat")
    request = wire.only()

    assert request.method == "POST"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["authorization"] == "Bearer key-of-the-test"


async def test_own_id_and_callback_stand_at_the_end() -> None:
    wire = Wire()
    async with wire.client(CometAPI("key-of-the-test")) as kling:
        await kling.text2video.submit(
            external_task_id="mine", callback_url="https://me.example/hook", prompt="A boat"
        )

    assert json.loads(wire.only().content) == {
        "prompt": "A boat",
        "callback_url": "https://me.example/hook",
        "external_task_id": "mine",
    }
    assert wire.only().content.endswith(b'"external_task_id":"mine"}')
