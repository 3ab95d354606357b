"""What image2video takes and refuses, by provider."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

import pytest

from kling_async import Image2Video, RequestRefused
from tests.endpoints.wire import PICTURE, PROVIDERS, Cases, accepted, missing, refused
from tests.media_samples import jpeg, png, wav

REQUIRED = {"model_name": "kling-v1", "mode": "std", "duration": "5"}
PRO_V1_6 = {"model_name": "kling-v1-6", "mode": "pro"}
V3 = {"model_name": "kling-v3"}
TEN_MB = 10 * 1024 * 1024
POINT = {"x": 1, "y": 2}
MASK = {"mask": PICTURE, "trajectories": [POINT] * 2}
TAIL = {"image_tail": PICTURE}
STILL = {"static_mask": PICTURE}
MOVING = {"dynamic_masks": [MASK]}
CAMERA = {"camera_control": {"type": "simple", "config": {"zoom": 5}}}
VOICE = {"voice_id": "v"}
VOICED = {**V3, "voice_list": [VOICE], "sound": "on"}
ROW = Cases({"image": PICTURE}, gateway=REQUIRED)


def elements(count: int) -> dict[str, Any]:
    return {**V3, "element_list": [{"element_id": number} for number in range(count)]}


def path(points: int) -> dict[str, Any]:
    return {"dynamic_masks": [{"mask": PICTURE, "trajectories": [POINT] * points}]}


VALID = [
    ROW.valid("image"),
    ROW.valid("image", "comet"),
    ROW.valid("image", "gateway"),
    ROW.valid("prompt", prompt="a" * 2500),
    ROW.valid("prompt", "comet", prompt="a" * 500),
    ROW.valid("prompt", "gateway", prompt="a" * 2500),
    ROW.valid("negative", "comet", negative_prompt="a" * 200),
    ROW.valid("negative", "gateway", negative_prompt="a" * 2500),
    ROW.valid("end-frame-alone", image=None, **TAIL, **PRO_V1_6),
    ROW.valid("both-frames", **TAIL),
    ROW.valid("both-frames", "comet", **TAIL),
    ROW.valid("both-frames", "gateway", **TAIL),
    ROW.valid("both-frames-and-shots", **TAIL, **V3, multi_shot=True, shot_type="intelligence",
              prompt="A pier"),
    ROW.valid("both-masks", **STILL, **MOVING),
    ROW.valid("6-masks", "comet", dynamic_masks=[MASK] * 6),
    ROW.valid("6-masks", "gateway", dynamic_masks=[MASK] * 6),
    *(ROW.valid(f"{count}-points", **path(count)) for count in (2, 77)),
    ROW.valid("3-elements", **elements(3)),
    ROW.valid("camera", "gateway", **CAMERA | {"model_name": "kling-v1-5", "mode": "pro"}),
    ROW.valid("2-voices", **{**VOICED, "voice_list": [VOICE] * 2}),
    *(ROW.valid(f"{n}-s", "comet", duration=n, mode="pro") for n in ("5", "10")),
    *(ROW.valid(f"{n}-s", "gateway", duration=n, mode="pro") for n in ("5", "10")),
    ROW.valid("v3-4k", duration="15", mode="4k", **V3),
]  # fmt: skip
INVALID = [
    ROW.invalid("no-frame", "kling", "image or image_tail is required", image=None),
    ROW.invalid("end-alone", "comet", "image: required", image=None, **TAIL, **PRO_V1_6),
    ROW.invalid("end-alone", "gateway", "image: required", image=None, **TAIL, **PRO_V1_6),
    ROW.invalid("prompt", "kling", "prompt~2500~2501", prompt="a" * 2501),
    ROW.invalid("prompt", "comet", "prompt~500~501", prompt="a" * 501),
    ROW.invalid("prompt", "gateway", "prompt~2500~2501", prompt="a" * 2501),
    ROW.invalid("negative", "comet", "negative_prompt~200~201", negative_prompt="a" * 201),
    ROW.invalid("negative", "gateway", "negative_prompt~2500~2501", negative_prompt="a" * 2501),
    ROW.invalid("tail+still", "kling", "choose one of image_tail and static_mask", **TAIL, **STILL),
    ROW.invalid("tail+moving", "kling", "choose one of~dynamic_masks", **TAIL, **MOVING),
    ROW.invalid("tail+camera", "kling", "image_tail and camera_control", **TAIL, **CAMERA),
    ROW.invalid("still+camera", "kling", "static_mask~and camera_control", **STILL, **CAMERA),
    ROW.invalid("moving+camera", "kling", "dynamic_masks and camera_control", **MOVING, **CAMERA),
    ROW.invalid("all-three", "kling", "image_tail~camera_control", **TAIL, **STILL, **CAMERA),
    ROW.invalid("7-masks", "kling", "dynamic_masks~6 masks~7", dynamic_masks=[MASK] * 7),
    ROW.invalid("1-point", "kling", "trajectories~from 2 to 77 points~got 1", **path(1)),
    ROW.invalid("78-points", "kling", "trajectories~from 2 to 77 points~got 78", **path(78)),
    ROW.invalid("4-elements", "kling", "element_list~3 elements~got 4", **elements(4)),
    ROW.invalid("voiced-element", "kling", "element_list and voice_list", **VOICED | elements(1)),
    ROW.invalid("3-voices", "kling", "voice_list~2 voices~3", voice_list=[VOICE] * 3),
    ROW.invalid("11-s", "comet", "duration~5, 10~'11'", duration="11", **V3),
    ROW.invalid("11-s", "gateway", "duration~5, 10~'11'", duration="11"),
    ROW.invalid("4k", "comet", "mode~pro, std~'4k'", mode="4k", **V3),
    ROW.invalid("4k", "gateway", "mode~pro, std~'4k'", mode="4k"),
    ROW.invalid("intelligence", "gateway", "shot_type~customize~'intelligence'",
                multi_shot=True, shot_type="intelligence", prompt="A pier"),
    ROW.invalid("intelligence-without-prompt", "kling", "prompt is required",
                multi_shot=True, shot_type="intelligence", **V3),
    ROW.invalid("half-step", "gateway", "camera_control.config.zoom~whole numbers~0.5",
                camera_control={"type": "simple", "config": {"zoom": 0.5}}),
    ROW.invalid("aspect-ratio", "kling", "aspect_ratio", aspect_ratio="16:9"),
]  # fmt: skip


@pytest.mark.parametrize(("fields", "to"), VALID)
@pytest.mark.filterwarnings("ignore:.*does not list:kling_async.KlingWarning")
async def test_valid_request_is_sent(fields: dict[str, Any], to: str) -> None:
    body = await accepted(Image2Video(**fields), to)

    assert set(body) == {name for name, value in fields.items() if value is not None}
    assert body.get("image") == fields["image"]


@pytest.mark.parametrize(("fields", "to", "words"), INVALID)
async def test_invalid_request_is_refused(
    fields: dict[str, Any], to: str, words: list[str]
) -> None:
    text = await refused(Image2Video, fields, to)

    assert not missing(words, text)


PICTURES = {
    "300-px": png(300, 300),
    "jpeg": jpeg(300, 300),
    "2.5-to-1": png(750, 300),
    "1-to-2.5": png(300, 750),
    "10-MB": png(300, 300, size=TEN_MB),
}
NOT_PICTURES = {
    "299-px-high": (png(300, 299), "height 299~300 px"),
    "299-px-wide": (jpeg(299, 300), "width 299~300 px"),
    "over-2.5-to-1": (png(751, 300), "751 x 300 px~2.5"),
    "under-1-to-2.5": (png(300, 751), "300 x 751 px~0.4"),
    "over-10-MB": (png(300, 300, size=TEN_MB + 1), "10,485,761 bytes~10,485,760 bytes"),
    "gif": (b"GIF89a" + bytes(100), "GIF~JPEG or PNG"),
    "sound": (wav(3), "WAV~JPEG or PNG"),
    "empty": (b"", "empty"),
}
FIELDS: dict[str, dict[str, Any]] = {
    "image": {},
    "image_tail": {"image": PICTURE},
    "static_mask": {"image": PICTURE},
}


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize("picture", PICTURES.values(), ids=PICTURES)
async def test_picture_within_the_rules_is_encoded(field: str, picture: bytes) -> None:
    fields = {**FIELDS[field], field: picture}
    body = await accepted(Image2Video(**fields))

    assert body[field] == base64.b64encode(picture).decode()


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(("picture", "says"), NOT_PICTURES.values(), ids=NOT_PICTURES)
async def test_picture_outside_the_rules_is_refused(field: str, picture: bytes, says: str) -> None:
    text = await refused(Image2Video, {**FIELDS[field], field: picture})

    assert not missing([f"{field}: ", *says.split("~")], text)


async def test_dynamic_mask_is_held_to_the_rules() -> None:
    masks = [MASK, {**MASK, "mask": png(299, 300)}]
    text = await refused(Image2Video, {"image": PICTURE, "dynamic_masks": masks})

    assert "dynamic_masks[1].mask: " in text


@pytest.mark.parametrize("kind", ["bytes", "bytearray", "memoryview", "file", "path", "data-url"])
async def test_every_kind_of_source_is_encoded(kind: str, tmp_path: Path) -> None:
    picture = png(300, 300)
    (tmp_path / "cat.png").write_bytes(picture)
    text = base64.b64encode(picture).decode()
    sources: dict[str, Any] = {
        "bytes": picture,
        "bytearray": bytearray(picture),
        "memoryview": memoryview(picture),
        "file": io.BytesIO(picture),
        "path": tmp_path / "cat.png",
        "data-url": f"data:image/png;base64,{text}",
    }

    assert await accepted(Image2Video(image=sources[kind])) == {"image": text}


async def test_file_name_as_text_is_refused() -> None:
    text = await refused(Image2Video, {"image": "cat.png"})

    assert not missing(["image: ", "Path('cat.png')"], text)


def mask_problem(to: str = "kling", **pictures: Any) -> str:
    """Why the pictures do not go together, if they do not."""
    request = Image2Video(**pictures)
    try:
        request.body(PROVIDERS[to].limits)
    except RequestRefused as error:
        return str(error)
    return ""


@pytest.mark.parametrize(
    ("mask", "to"),
    [
        pytest.param(png(600, 400), "kling", id="same-size"),
        pytest.param(png(900, 600), "kling", id="same-shape"),
        pytest.param(png(901, 600), "kling", id="rounded"),
        pytest.param(png(600, 400), "comet", id="comet-same-size"),
    ],
)
def test_mask_that_fits_is_sent(mask: bytes, to: str) -> None:
    assert not mask_problem(to, image=png(600, 400), static_mask=mask)


@pytest.mark.parametrize(
    ("mask", "to"),
    [
        pytest.param(png(600, 600), "kling", id="other-shape"),
        pytest.param(png(903, 600), "kling", id="nearly"),
        pytest.param(png(601, 400), "comet", id="comet-one-pixel-more"),
        pytest.param(png(900, 600), "comet", id="comet-same-shape"),
    ],
)
def test_mask_that_does_not_fit_is_refused(mask: bytes, to: str) -> None:
    text = mask_problem(to, image=png(600, 400), static_mask=mask)

    assert text.startswith("static_mask: ")
    assert "image, 600 x 400 px" in text


def test_dynamic_mask_of_another_shape_is_refused() -> None:
    moving = {"mask": png(600, 600), "trajectories": [POINT] * 2}
    text = mask_problem(image=png(600, 400), dynamic_masks=[moving])

    assert text.startswith("dynamic_masks[0].mask: ")
    assert "600 x 600 px" in text


def test_masks_of_two_sizes_are_refused() -> None:
    moving = {"mask": png(900, 600), "trajectories": [POINT] * 2}
    text = mask_problem(image=PICTURE, static_mask=png(600, 400), dynamic_masks=[moving])

    assert not missing(["dynamic_masks[0].mask: ", "600 x 400 px", "900 x 600 px"], text)


def test_masks_at_addresses_are_left_to_the_server() -> None:
    assert not mask_problem(image=png(600, 400), static_mask=PICTURE, dynamic_masks=[MASK])
