"""What multi-image2video takes and refuses, by provider."""

from __future__ import annotations

import base64
import io
from typing import Any

import pytest

from kling_async import Image2Video, KlingWarning, MultiImage2Video, ReferenceImage
from tests.endpoints.wire import PICTURE, Cases, accepted, missing, refused
from tests.media_samples import jpeg, png

ROW = Cases({"prompt": "They meet", "image_list": [{"image": PICTURE}] * 2}, gateway={})
MASK = {"mask": PICTURE, "trajectories": [{"x": 1, "y": 2}] * 2}


def images(count: int) -> list[dict[str, str]]:
    return [{"image": PICTURE}] * count


VALID = [
    *(ROW.valid(f"{n}-images", "kling", image_list=images(n)) for n in (1, 4)),
    *(ROW.valid(f"{n}-images", "comet", image_list=images(n)) for n in (2, 4)),
    *(ROW.valid(f"{n}-images", "gateway", image_list=images(n)) for n in (1, 4)),
    ROW.valid("prompt", "kling", prompt="a" * 2500),
    ROW.valid("prompt", "comet", prompt="a" * 500),
    ROW.valid("prompt", "gateway", prompt="a" * 2500),
    ROW.valid("negative", "kling", negative_prompt="a" * 2500),
    ROW.valid("negative", "comet", negative_prompt="a" * 200),
    ROW.valid("ratio", "kling", aspect_ratio="9:16"),
    *(ROW.valid(f"{n}-s-{m}", duration=n, mode=m) for n, m in (("5", "std"), ("10", "pro"))),
    ROW.valid("brush", "comet", cfg_scale=0.5, static_mask=PICTURE, dynamic_masks=[MASK] * 6),
    ROW.valid("watermark", watermark_info={"enabled": False}),
    ROW.valid("model", model_name="kling-v1-6"),
]
INVALID = [
    ROW.invalid("0-images", "kling", "image_list~1 to 4 images~got 0", image_list=[]),
    ROW.invalid("5-images", "kling", "image_list~1 to 4 images~got 5", image_list=images(5)),
    ROW.invalid("1-image", "comet", "image_list~2 to 4 images~got 1", image_list=images(1)),
    ROW.invalid("5-images", "comet", "image_list~2 to 4 images~got 5", image_list=images(5)),
    ROW.invalid("0-images", "gateway", "image_list~1 to 4 images~got 0", image_list=[]),
    ROW.invalid("5-images", "gateway", "image_list~1 to 4 images~got 5", image_list=images(5)),
    ROW.invalid("prompt", "kling", "prompt~2500~2501", prompt="a" * 2501),
    ROW.invalid("prompt", "comet", "prompt~500~501", prompt="a" * 501),
    ROW.invalid("prompt", "gateway", "prompt~2500~2501", prompt="a" * 2501),
    ROW.invalid("negative", "kling", "negative_prompt~2500~2501", negative_prompt="a" * 2501),
    ROW.invalid("negative", "comet", "negative_prompt~200~201", negative_prompt="a" * 201),
    ROW.invalid("empty-prompt", "kling", "prompt~not empty", prompt=""),
    ROW.invalid("no-prompt", "kling", "prompt", prompt=None),
    ROW.invalid("4:3", "kling", "aspect_ratio~1:1, 16:9, 9:16~'4:3'", aspect_ratio="4:3"),
    ROW.invalid("6-s", "kling", "duration~5, 10~6 s", duration=6),
    ROW.invalid("4k", "kling", "mode~std, pro~'4k'", mode="4k"),
    ROW.invalid("other-model", "kling", "model_name~kling-v1-6", model_name="kling-v2-1"),
    ROW.invalid("cfg", "comet", "cfg_scale~0 to 1~1.5", cfg_scale=1.5),
    ROW.invalid("7-masks", "comet", "dynamic_masks~6 masks~got 7", dynamic_masks=[MASK] * 7),
    ROW.invalid("no-list", "kling", "image_list~a list, got str", image_list=PICTURE),
    ROW.invalid("bytes", "kling", "image_list~a list, got bytes", image_list=png(300, 300)),
    ROW.invalid("number", "kling", "image_list.1.image~got int", image_list=[PICTURE, 5]),
    ROW.invalid("other-key", "kling", "image_list.1.url", image_list=[PICTURE, {"url": PICTURE}]),
]


@pytest.mark.parametrize(("fields", "to"), VALID)
async def test_valid_request_is_sent(fields: dict[str, Any], to: str) -> None:
    body = await accepted(MultiImage2Video(**fields), to)

    assert body == fields


@pytest.mark.parametrize(("fields", "to", "words"), INVALID)
async def test_invalid_request_is_refused(
    fields: dict[str, Any], to: str, words: list[str]
) -> None:
    text = await refused(MultiImage2Video, fields, to)

    assert not missing(words, text)


async def test_images_are_given_in_any_form() -> None:
    picture = png(300, 300)
    given: list[Any] = [
        PICTURE,
        {"image": picture},
        ReferenceImage(image=PICTURE),
        io.BytesIO(picture),
    ]
    body = await accepted(MultiImage2Video(prompt="They meet", image_list=tuple(given)))
    text = base64.b64encode(picture).decode()

    assert [item["image"] for item in body["image_list"]] == [PICTURE, text, PICTURE, text]


async def test_bad_picture_is_named_by_its_place() -> None:
    fields = {"prompt": "They meet", "image_list": [PICTURE, jpeg(300, 299)]}
    text = await refused(MultiImage2Video, fields)

    assert not missing(["image_list[1].image: ", "height 299", "300 px"], text)


def test_list_cannot_be_changed_afterwards() -> None:
    given = [PICTURE]
    request = MultiImage2Video(prompt="They meet", image_list=given)
    given.append(PICTURE)

    assert request.image_list == (ReferenceImage(image=PICTURE),)


@pytest.mark.parametrize("field", ["cfg_scale", "static_mask", "dynamic_masks"])
async def test_brush_is_doubtful_at_kling(field: str) -> None:
    values: dict[str, Any] = {"cfg_scale": 0.5, "static_mask": PICTURE, "dynamic_masks": [MASK]}
    request = MultiImage2Video(prompt="They meet", image_list=[PICTURE], **{field: values[field]})

    with pytest.warns(KlingWarning, match=f"does not list {field}"):
        await accepted(request)


async def test_ratio_is_doubtful_at_comet() -> None:
    request = MultiImage2Video(prompt="They meet", image_list=[PICTURE] * 2, aspect_ratio="1:1")

    with pytest.warns(KlingWarning, match="does not list aspect_ratio"):
        await accepted(request, "comet")


def test_images_have_a_name_of_their_own_here() -> None:
    assert "image" not in MultiImage2Video.model_fields
    assert "image_list" not in Image2Video.model_fields
