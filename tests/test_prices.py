"""A request costs what Kling's lists say (KLING_API G), and has no price where they are silent."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from itertools import product
from typing import Any

import pytest

from kling_async import MODELS, Avatar, Image2Video, MultiImage2Video, Request, Text2Video
from kling_async._prices import RATES, Rate, price
from kling_async.emulator import _prices as emulator_prices
from kling_async.emulator._refusals import Refusal
from kling_async.emulator._rules import Bounds, accept
from tests.endpoints.wire import PICTURE, PROVIDERS, SPEECH

# Section G, as it is printed there. A clip of 5 s / 10 s: "v1 1/2, pro 3.5/7; v1-5, v1-6, v2-1
# 2/4, pro 3.5/7; v2-5-turbo 1.5/3, pro 2.5/5; v2-6 pro 2.5/5, sound 5/10, voice 6/12; masters
# 10/20".
CLIPS = {
    "kling-v1": "std 1/2 pro 3.5/7",
    "kling-v1-5": "std 2/4 pro 3.5/7",
    "kling-v1-6": "std 2/4 pro 3.5/7",
    "kling-v2-1": "std 2/4 pro 3.5/7",
    "kling-v2-5-turbo": "std 1.5/3 pro 2.5/5",
    "kling-v2-6": "pro 2.5/5 sound 5/10 voice 6/12",
    "kling-v2-master": "std 10/20 pro 10/20",
    "kling-v2-1-master": "std 10/20 pro 10/20",
}
# A second: "3.0 silent 0.6/0.8/3.0(4K), with audio 0.9/1.2/3.0; 2.6 0.3/0.5, audio 1.0, voice
# 1.2; 2.5 Turbo 0.3/0.5".
SECONDS = {
    ("kling-v3", "silent"): "0.6 0.8 3.0",
    ("kling-v3", "sound"): "0.9 1.2 3.0",
    ("kling-v2-6", "silent"): "0.3 0.5",
    ("kling-v2-6", "sound"): "- 1.0",
    ("kling-v2-6", "voice"): "- 1.2",
    ("kling-v2-5-turbo", "silent"): "0.3 0.5",
}
VOICES = [{"voice_id": "v"}]
LOUD: dict[str, dict[str, Any]] = {
    "silent": {},
    "sound": {"sound": "on"},
    "voice": {"sound": "on", "voice_list": VOICES},
}
SHOTS: dict[str, Any] = {"multi_shot": True, "shot_type": "intelligence"}
POINTS = [{"x": 1, "y": 1}, {"x": 2, "y": 2}]
MOVE: dict[str, Any] = {"dynamic_masks": [{"mask": PICTURE, "trajectories": POINTS}]}


def text(name: str | None = None, **fields: Any) -> Request[Any]:
    return Text2Video(prompt="A boat", model_name=name, **fields)


def image(name: str | None = None, **fields: Any) -> Request[Any]:
    return Image2Video(model_name=name, **{"image": PICTURE, **fields})


def images(name: str | None = None, **fields: Any) -> Request[Any]:
    return MultiImage2Video(
        prompt="They meet", image_list=[PICTURE, PICTURE], model_name=name, **fields
    )


def avatar(**fields: Any) -> Request[Any]:
    return Avatar(image=PICTURE, **fields)


MAKERS = {"text2video": text, "image2video": image, "multi-image2video": images}
SERVED = [
    pytest.param(endpoint, name, id=f"{endpoint}-{name}")
    for name, row in MODELS.items()
    for endpoint in sorted(row.endpoints & MAKERS.keys())
]


def cost(request: Request[Any]) -> Decimal | None:
    return price(request.endpoint, request.model, request.options())


@pytest.mark.parametrize("name", CLIPS)
def test_clip_costs_what_the_list_says(name: str) -> None:
    words = CLIPS[name].split()
    found: list[str] = []
    for what in words[::2]:
        # Sound and voices are listed for pro only.
        fields = {"mode": "pro", **LOUD[what]} if what in LOUD else {"mode": what}
        found += [what, "/".join(str(cost(image(name, duration=s, **fields))) for s in (5, 10))]

    assert found == words


@pytest.mark.parametrize(("name", "heard"), SECONDS)
def test_second_costs_what_the_page_says(name: str, heard: str) -> None:
    for mode, figure in zip(("std", "pro", "4k"), SECONDS[name, heard].split(), strict=False):
        for length in MODELS[name].durations:
            found = cost(text(name, mode=mode, duration=length, **LOUD[heard]))

            assert found == (None if figure == "-" else Decimal(figure) * int(length))


@pytest.mark.parametrize(
    ("request_", "units"),
    [
        (text(), "1"),
        (image(), "1"),
        (images(), "2"),
        (text("kling-v1-6"), "2"),
        (text("kling-v2-master"), "10"),
        (text("kling-v2-5-turbo", duration=10), "3"),
        (text("kling-v2-6"), "1.5"),
        (text("kling-v3", duration=3), "1.8"),
        (text("kling-v3", mode="4k", duration=15, sound="on"), "45"),
        (text("kling-v3", duration=10), "6"),
        (text("kling-v2-master", duration=10), "20"),
        (images(mode="pro", duration=10), "7"),
        (images("kling-v1-6", cfg_scale=0.5, aspect_ratio="1:1"), "2"),
        (image("kling-v2-5-turbo", mode="pro", image_tail=PICTURE), "2.5"),
        (image("kling-v1-6", mode="pro", image=None, image_tail=PICTURE), "3.5"),
        (text("kling-v3", sound="off", multi_shot=False), "3"),
        (image("kling-v3", element_list=[], voice_list=[]), "3"),
        (text("", negative_prompt="rain", watermark_info={"enabled": True}), "1"),
        (text(callback_url="https://a.example/hook", external_task_id="boat-1"), "1"),
    ],
)
def test_price_is_plain_and_exact(request_: Request[Any], units: str) -> None:
    found = cost(request_)

    assert isinstance(found, Decimal)
    assert str(found) == units


@pytest.mark.parametrize(
    "request_",
    [
        text("kling-v9"),
        text("kling-v1-5"),
        text("kling-v2-1"),
        text("kling-video-o1"),
        text("kling-v3-omni"),
        images("kling-v3"),
        text("kling-v1", mode="4k"),
        text("kling-v3", mode="8k"),
        text("kling-v3", mode=""),
        text("kling-v2-master", mode="4k"),
        text("kling-v1", duration=7),
        text("kling-v3", duration=2),
        text("kling-v3", duration=16),
        text(sound="on"),
        text("kling-v2-5-turbo", mode="pro", sound="on"),
        text("kling-v2-6", sound="on"),
        text("kling-v2-6", sound="on", voice_list=VOICES),
        text("kling-v3", sound="on", voice_list=VOICES),
        text("kling-v3", **SHOTS),
        image("kling-v3", element_list=[{"element_id": 1}]),
        image("kling-v1", static_mask=PICTURE),
        image("kling-v1", **MOVE),
        images(**MOVE),
        text(camera_control={"type": "down_back"}),
        text(extra={"sound": "on"}),
        text(extra={"new": 0}),
        avatar(sound_file=SPEECH),
        avatar(audio_id="a", mode="pro"),
    ],
)
def test_what_the_lists_leave_open_has_no_price(request_: Request[Any]) -> None:
    assert cost(request_) is None


@pytest.mark.parametrize(
    ("endpoint", "model", "options"),
    [
        ("text2video", None, {}),
        ("motion-control", "kling-v2-6", {"mode": "std"}),
        ("avatar", "kling-v3", {"duration": "5"}),
        ("omni-video", "kling-v3-omni", {}),
        ("text2video", "kling-v2-6", {"mode": "pro", "voice_list": VOICES}),
        ("text2video", "kling-v3", {"sound": "auto"}),
        ("text2video", "kling-v3", {"duration": 5.0}),
        ("text2video", "kling-v3", {"duration": "-5"}),
        ("text2video", "kling-v3", {"n": 4}),
    ],
)
def test_unheard_of_request_has_no_price(
    endpoint: str, model: str | None, options: dict[str, Any]
) -> None:
    assert price(endpoint, model, options) is None


def test_length_may_be_a_number() -> None:
    assert price("text2video", "kling-v3", {"duration": 5, "sound": "off"}) == 3


@pytest.mark.parametrize("rate", RATES.values(), ids=["-".join(map(str, key)) for key in RATES])
def test_row_is_of_a_known_model_and_tells_its_source(rate: Rate) -> None:
    modes = MODELS[rate.model].modes or ("std", "pro")

    assert rate.units.keys() <= set(modes)
    assert all(type(units) is Decimal and units > 0 for units in rate.units.values())
    assert "rice" in rate.source
    assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", rate.date)


def test_every_silent_model_of_the_endpoints_has_a_price() -> None:
    priced = {model for model, sound, _ in RATES if sound == "off"}

    assert priced == {name for name, row in MODELS.items() if row.endpoints != {"omni-video"}}


def emulated(request: Request[Any]) -> Decimal | None:
    """What the emulator, whose table is its own, would bill; None where it refuses."""
    body = request.body(PROVIDERS["kling"].limits)
    try:
        order = accept(request.endpoint, body, Bounds())
    except Refusal:
        return None
    return emulator_prices.price(order.model, order.mode, order.seconds, body)


def combinations(endpoint: str, name: str) -> Iterator[Request[Any]]:
    """A request of every mode, length, sound and frame, whether the model has it or not."""
    lengths = [None, *range(3, 16)]
    heard = ["silent"] if endpoint == "multi-image2video" else list(LOUD)
    frames: list[dict[str, Any]] = [{}]
    if endpoint == "image2video":
        frames += [{"image_tail": PICTURE}, {"image_tail": PICTURE, "image": None}]
    for mode, length, sound, frame in product((None, "std", "pro", "4k"), lengths, heard, frames):
        yield MAKERS[endpoint](name, mode=mode, duration=length, **LOUD[sound], **frame)


@pytest.mark.parametrize(("endpoint", "name"), SERVED)
def test_emulator_bills_the_same(endpoint: str, name: str) -> None:
    bills = [(cost(request), emulated(request)) for request in combinations(endpoint, name)]
    compared = [(own, other) for own, other in bills if other is not None]

    # What has no price costs one unit there.
    assert [(own or Decimal(1)) for own, _ in compared] == [other for _, other in compared]
    assert any(own is not None for own, _ in compared)
