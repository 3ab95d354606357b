"""Where the providers differ, and how a user overrules them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace
from typing import Any

import pytest

from kling_async import (
    Avatar,
    CometAPI,
    Element,
    Gateway,
    Image2Video,
    KlingAI,
    KlingWarning,
    Limits,
    MultiImage2Video,
    Request,
    Text2Video,
)
from tests.endpoints.wire import PICTURE, PROVIDERS, SPEECH, Wire, accepted, refused
from tests.media_samples import wav

KLING, COMET, GATEWAY = (PROVIDERS[name].limits for name in ("kling", "comet", "gateway"))
RATIOS = {"16:9", "9:16", "1:1"}


def test_kling_has_the_defaults() -> None:
    assert PROVIDERS["kling"].limits == Limits()


@pytest.mark.parametrize(
    ("name", "kling", "comet", "gateway"),
    [
        ("prompt", 2500, 500, 2500),
        ("negative_prompt", 2500, 200, 2500),
        ("avatar_prompt", 2500, 2500, 2500),
        ("images", (1, 4), (2, 4), (1, 4)),
        ("audio_seconds", (2, 300), (2, 60), (2, 300)),
        ("aspect_ratios", RATIOS, RATIOS | {"4:3", "3:4", "3:2", "2:3"}, RATIOS),
        ("durations", None, {"5", "10"}, {"5", "10"}),
        ("modes", None, {"std", "pro"}, {"std", "pro"}),
        ("shot_types", {"customize", "intelligence"}, {"customize", "intelligence"}, {"customize"}),
        ("masks_match_pixels", False, True, False),
        ("whole_camera_moves", False, False, True),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_limit_is_as_documented(name: str, kling: object, comet: object, gateway: object) -> None:
    assert [getattr(limits, name) for limits in (KLING, COMET, GATEWAY)] == [kling, comet, gateway]


def test_limits_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Limits().prompt = 5  # type: ignore[misc]  # refused at run time too


@pytest.mark.parametrize("limits", [KLING, COMET, GATEWAY], ids=["kling", "comet", "gateway"])
def test_fields_in_limits_exist(limits: Limits) -> None:
    models: list[type[Request[Any]]] = [Text2Video, Image2Video, MultiImage2Video, Avatar]
    known = {f"{model.endpoint}.{name}" for model in models for name in model.model_fields}

    assert limits.required | limits.unlisted <= known


COMET_PAGES: dict[type[Request[Any]], str] = {
    Text2Video: "prompt negative_prompt aspect_ratio callback_url model_name cfg_scale mode"
    " duration camera_control external_task_id",
    Image2Video: "image prompt negative_prompt callback_url mode model_name image_tail cfg_scale"
    " duration static_mask dynamic_masks external_task_id",
    MultiImage2Video: "model_name duration image_list prompt negative_prompt callback_url mode"
    " cfg_scale static_mask dynamic_masks external_task_id",
    Avatar: "image audio_id sound_file prompt mode callback_url external_task_id",
}


@pytest.mark.parametrize("model", COMET_PAGES)
def test_comet_doubts_what_its_pages_lack(model: type[Request[Any]]) -> None:
    unlisted = {
        name.removeprefix(f"{model.endpoint}.")
        for name in COMET.unlisted
        if name.startswith(f"{model.endpoint}.")
    }

    assert unlisted == set(model.model_fields) - set(COMET_PAGES[model].split()) - {"extra"}


async def test_unlisted_field_is_sent_with_one_warning() -> None:
    request = Text2Video(prompt="A boat", model_name="kling-v3", sound="on")
    wire = Wire()
    async with wire.client(CometAPI("key-of-the-test")) as kling:
        with pytest.warns(KlingWarning, match="text2video: the provider's page.*list sound"):
            await kling.submit(request)
        await kling.submit(request)

    assert len(wire.requests) == 2


async def test_element_is_doubtful_at_a_gateway() -> None:
    request = Image2Video(
        image=PICTURE,
        model_name="kling-v3",
        mode="std",
        duration=5,
        element_list=[Element(element_id=1)],
    )

    with pytest.warns(KlingWarning, match="does not list element_list"):
        await accepted(request, "gateway")


async def test_own_limits_lift_a_provider_s() -> None:
    wire = Wire()
    provider = CometAPI("key-of-the-test", limits=Limits(prompt=2500, modes=None))
    async with wire.client(provider) as kling:
        await kling.text2video.submit(
            prompt="a" * 2500, model_name="kling-v3", mode="4k", duration=15
        )

    assert len(wire.requests) == 1


async def test_own_limits_hold() -> None:
    provider = KlingAI("key-of-the-test", limits=Limits(prompt=3))
    told = await refused(Text2Video, {"prompt": "boat"}, provider)

    assert told == (
        "prompt: at most 3 characters at this provider, got 4."
        " If what its pages say is out of date, give the provider other limits=."
    )


async def test_own_limits_may_name_no_choices() -> None:
    limits = replace(Limits(), aspect_ratios=None, shot_types=None)
    provider = KlingAI("key-of-the-test", limits=limits)
    wire = Wire()
    async with wire.client(provider) as kling:
        await kling.text2video.submit(prompt="A boat", aspect_ratio="21:9")
        await kling.text2video.submit(
            prompt="A boat", model_name="kling-v3", multi_shot=True, shot_type="auto"
        )

    assert len(wire.requests) == 2


async def test_own_gateway_may_require_nothing() -> None:
    provider = Gateway("https://gw.example", "key-of-the-test", limits=Limits())
    wire = Wire()
    async with wire.client(provider) as kling:
        await kling.image2video.submit(image_tail=PICTURE, model_name="kling-v1-6", mode="pro")

    assert len(wire.requests) == 1


async def test_limits_are_off_without_validation() -> None:
    wire = Wire()
    async with wire.client(CometAPI("key-of-the-test"), validate=False) as kling:
        await kling.text2video.submit(prompt="a" * 5000, aspect_ratio="21:9", mode="8k")
        await kling.avatar.submit(image=PICTURE, sound_file=wav(301, rate=10))
        await kling.image2video.submit(image=b"no picture", duration=60)

    assert len(wire.requests) == 3


async def test_address_of_a_recording_is_left_to_the_server() -> None:
    body = await accepted(Avatar(image=PICTURE, sound_file=SPEECH), "comet")

    assert body == {"image": PICTURE, "sound_file": SPEECH}
