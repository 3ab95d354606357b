"""The table of models says what Kling's capability map says, and refuses by it."""

from __future__ import annotations

import re
import warnings
from itertools import product
from typing import Any

import pytest

from kling_async import (
    MODELS,
    CameraConfig,
    CameraControl,
    Image2Video,
    KlingAI,
    KlingWarning,
    Model,
    MultiImage2Video,
    Request,
    RequestRefused,
    Text2Video,
)
from kling_async._capabilities import check_model
from tests.endpoints.wire import PICTURE, PROVIDERS, Wire, accepted, missing, refused

T2V, I2V, MULTI, OMNI = "text2video", "image2video", "multi-image2video", "omni-video"
SIMPLE = CameraControl(type="simple", config=CameraConfig(zoom=1))
# Kling's map, read anew: where each feature works, as mode/seconds; "" is nowhere, "all" is
# wherever the model works, and "?" is what the sources leave open.
_NO = {"tail": "", "end": "", "mask": "", "camera": "", "cfg": "", "sound": "", "voice": ""}
_NONE = {**_NO, "shots": "", "elements": ""}
_V3 = {**_NONE, "tail": "all", "sound": "all", "voice": "?", "shots": "all", "elements": "all"}
_5, _PRO_5, _PRO = "std/5 pro/5", "pro/5", "pro/5 pro/10"
MAP: dict[str, dict[str, str]] = {
    "kling-v1": {**_NONE, "tail": _5, "mask": _5, "camera": "std/5", "cfg": "all"},
    "kling-v1-5": {
        **_NONE, "tail": _PRO, "end": _PRO, "mask": _PRO_5, "camera": _PRO_5, "cfg": "all",
    },
    "kling-v1-6": {**_NONE, "tail": _PRO, "end": _PRO, "cfg": "all"},
    "kling-v2-master": _NONE,
    "kling-v2-1": {**_NONE, "tail": _PRO},
    "kling-v2-1-master": _NONE,
    "kling-v2-5-turbo": {**_NONE, "tail": _PRO},
    "kling-v2-6": {**_NONE, "tail": _PRO, "sound": _PRO, "voice": _PRO},
    "kling-v3": {**_V3, "cfg": "?"},
    "kling-video-o1": {**_NONE, "tail": "all", "elements": "all"},
    "kling-v3-omni": _V3,
}  # fmt: skip
SERVED = {
    T2V: "kling-v1 kling-v1-6 kling-v2-master kling-v2-1-master kling-v2-5-turbo kling-v2-6"
    " kling-v3",
    I2V: "kling-v1 kling-v1-5 kling-v1-6 kling-v2-master kling-v2-1 kling-v2-1-master"
    " kling-v2-5-turbo kling-v2-6 kling-v3",
    MULTI: "kling-v1-6",
    OMNI: "kling-video-o1 kling-v3-omni",
}
SECONDS = {
    "kling-v3": range(3, 16),
    "kling-video-o1": range(3, 11),
    "kling-v3-omni": range(3, 16),
}
MODES = {
    "kling-v2-master": "",
    "kling-v2-1-master": "",
    "kling-v3": "std pro 4k",
    "kling-v3-omni": "std pro 4k",
}
OPTIONS: dict[str, dict[str, Any]] = {
    "tail": {"image_tail": PICTURE},
    "end": {"end_only": True},
    "mask": {"static_mask": PICTURE},
    "camera": {"camera_control": SIMPLE},
    "cfg": {"cfg_scale": 0.5},
    "sound": {"sound": "on"},
    "voice": {"voice_list": ["v"]},
    "shots": {"multi_shot": True},
    "elements": {"element_list": [1]},
}
TEXT_OPTIONS = {"camera", "cfg", "sound", "voice", "shots"}
CAMERA_ENDPOINT = {"kling-v1": T2V, "kling-v1-5": I2V}


def modes_of(name: str) -> list[str]:
    return MODES.get(name, "std pro").split()


def seconds_of(name: str) -> list[str]:
    return [str(number) for number in SECONDS.get(name, (5, 10))]


def refusal_of(endpoint: str, name: str, **options: Any) -> str:
    """What the table says against it, if anything."""
    try:
        check_model(endpoint, name, options)
    except RequestRefused as error:
        return str(error)
    return ""


CELLS = [
    pytest.param(name, endpoint, option, id=f"{name}-{endpoint}-{option}")
    for endpoint in (T2V, I2V, OMNI)
    for name in SERVED[endpoint].split()
    for option in OPTIONS
    if endpoint != T2V or option in TEXT_OPTIONS
]


def expected(name: str, endpoint: str, option: str) -> set[tuple[str, ...]]:
    """The modes and lengths in which the map has it."""
    cell = MAP[name][option]
    if option == "camera" and CAMERA_ENDPOINT.get(name) != endpoint:
        return set()
    if cell in ("all", "?"):
        return set(product(modes_of(name) or ["std"], seconds_of(name)))
    return {tuple(pair.split("/")) for pair in cell.split()}


@pytest.mark.parametrize(("name", "endpoint", "option"), CELLS)
def test_cell_agrees_with_the_map(name: str, endpoint: str, option: str) -> None:
    works = {
        (mode, length)
        for mode, length in product(modes_of(name) or ["std"], seconds_of(name))
        if not refusal_of(endpoint, name, mode=mode, duration=length, **OPTIONS[option])
    }

    assert works == expected(name, endpoint, option)


@pytest.mark.parametrize("name", MAP)
def test_row_agrees_with_the_map(name: str) -> None:
    row = MODELS[name]

    assert row.name == name
    assert row.modes == tuple(modes_of(name))
    assert row.durations == tuple(seconds_of(name))
    assert row.endpoints == {endpoint for endpoint in SERVED if name in SERVED[endpoint].split()}


def test_no_model_is_left_out() -> None:
    assert list(MODELS) == list(MAP)


@pytest.mark.parametrize("row", MODELS.values(), ids=MODELS)
def test_row_tells_its_source(row: Model) -> None:
    assert "capability map" in row.source
    assert re.fullmatch(r"20\d\d-(0[1-9]|1[0-2])", row.date)


def image(name: str, **fields: Any) -> tuple[type[Request[Any]], dict[str, Any]]:
    return Image2Video, {"image": PICTURE, "model_name": name, **fields}


def text(name: str, **fields: Any) -> tuple[type[Request[Any]], dict[str, Any]]:
    return Text2Video, {"prompt": "A boat", "model_name": name, **fields}


TAIL = {"image_tail": PICTURE}
MASK = {"static_mask": PICTURE}
DOWN = {"camera_control": {"type": "down_back"}}
SHOTS = {"multi_shot": True, "shot_type": "intelligence"}
BAD = {
    "v1-tail-10-s": (image("kling-v1", duration=10, **TAIL), "image_tail: ~duration '10'~: 5"),
    "v1-end-only": (
        image("kling-v1", image=None, **TAIL),
        "image_tail without image: kling-v1~kling-v1-5, kling-v1-6 can",
    ),
    "v1-mask-10-s": (image("kling-v1", duration=10, **MASK), "static_mask: ~duration '10'~: 5"),
    "v1-camera-image": (image("kling-v1", **DOWN), "camera_control: ~allowed: text2video"),
    "v1-camera-pro": (text("kling-v1", mode="pro", **DOWN), "camera_control: ~mode 'pro'~: std"),
    "v1-sound": (text("kling-v1", sound="on"), "sound: ~kling-v2-6, kling-v3 can"),
    "v1-5-text": (text("kling-v1-5"), "model_name: kling-v1-5~kling-v1, kling-v1-6, kling-v2"),
    "v1-5-camera": (
        image("kling-v1-5", mode="pro", **DOWN),
        "camera_control: ~type 'down_back'~allowed: simple",
    ),
    "v1-5-mask-std": (image("kling-v1-5", **MASK), "static_mask: ~mode 'std'~allowed: pro"),
    "v1-6-tail-std": (image("kling-v1-6", **TAIL), "image_tail: ~mode 'std'~allowed: pro"),
    "v1-6-mask": (image("kling-v1-6", **MASK), "static_mask: ~allowed: multi-image2video"),
    "v2-master-cfg": (text("kling-v2-master", cfg_scale=0.5), "cfg_scale: ~kling-v1, kling-v1-6"),
    "v2-1-text": (text("kling-v2-1"), "model_name: kling-v2-1~kling-v2-1-master"),
    "v2-1-sound": (image("kling-v2-1", sound="on"), "sound: ~kling-v2-6, kling-v3 can"),
    "v2-1-master-tail": (image("kling-v2-1-master", **TAIL), "image_tail: ~kling-v2-5-turbo"),
    "v2-5-turbo-6-s": (text("kling-v2-5-turbo", duration=6), "duration: ~6 s~allowed: 5, 10"),
    "v2-5-turbo-tail": (image("kling-v2-5-turbo", **TAIL), "image_tail: ~'std'~allowed: pro"),
    "v2-6-sound-std": (text("kling-v2-6", sound="on"), "sound: ~mode 'std'~allowed: pro"),
    "v2-6-loud-tail": (
        image("kling-v2-6", mode="pro", sound="on", **TAIL),
        "image_tail: kling-v2-6~only with sound off",
    ),
    "v2-6-shots": (text("kling-v2-6", **SHOTS), "multi_shot: ~kling-v3 can"),
    "v3-mask": (image("kling-v3", **MASK), "static_mask: kling-v3~kling-v1, kling-v1-5 can"),
    "v3-end-only": (image("kling-v3", image=None, **TAIL), "image_tail without image: kling-v3"),
    "v3-2-s": (text("kling-v3", duration=2), "duration: ~2 s~allowed: 3, 4, 5"),
    "v3-8k": (text("kling-v3", mode="8k"), "mode: '8k'~allowed: std, pro, 4k"),
    "o1-text": (text("kling-video-o1"), "model_name: kling-video-o1~text2video"),
    "v3-omni-image": (image("kling-v3-omni"), "model_name: kling-v3-omni~image2video~kling-v3"),
}


@pytest.mark.parametrize(("request_", "says"), BAD.values(), ids=BAD)
async def test_known_bad_option_is_refused(
    request_: tuple[type[Request[Any]], dict[str, Any]], says: str
) -> None:
    told = await refused(*request_)

    assert not missing(says.split("~"), told)


async def test_default_model_is_held_to_its_row() -> None:
    told = await refused(Text2Video, {"prompt": "A boat", "sound": "on"})

    assert "kling-v1 cannot do this" in told


async def test_default_of_several_images_is_held_to_its_row() -> None:
    told = await refused(
        MultiImage2Video, {"prompt": "They meet", "image_list": [PICTURE], "duration": 3}
    )

    assert "kling-v1-6 cannot do 3 s" in told


def test_feature_of_no_model_has_no_hint() -> None:
    assert refusal_of(OMNI, "kling-video-o1", cfg_scale=0.5) == (
        "cfg_scale: kling-video-o1 cannot do this"
    )


def test_refusal_names_the_field_of_the_request() -> None:
    request = Image2Video(image_tail=PICTURE)

    with pytest.raises(RequestRefused) as caught:
        request.check(PROVIDERS["kling"].limits)

    assert caught.value.field == "image_tail"


async def warned(*requests: Request[Any], to: str = "kling") -> list[str]:
    """What one client warns of."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        async with Wire().client(PROVIDERS[to]) as kling:
            for request in requests:
                await kling.submit(request)
    assert all(warning.category is KlingWarning for warning in caught)
    return [str(warning.message) for warning in caught]


NEW = "model_name: 'kling-v9' is not in this version's table of models; sent unchecked"


async def test_unknown_model_is_sent_with_one_warning() -> None:
    request = Text2Video(prompt="A boat", model_name="kling-v9", mode="8k", duration=60, sound="on")

    assert await warned(request, request) == [NEW]


async def test_each_client_warns_for_itself() -> None:
    request = Text2Video(prompt="A boat", model_name="kling-v9")

    assert await warned(request) + await warned(request) == [NEW, NEW]


async def test_unknown_model_is_kept_short() -> None:
    [told] = await warned(Text2Video(prompt="A boat", model_name="v" * 10**6))

    assert len(told) < 200


async def test_empty_model_name_is_doubtful() -> None:
    assert await warned(Text2Video(prompt="A boat", model_name="")) == [NEW.replace("kling-v9", "")]


async def test_mode_of_a_model_without_modes_is_doubtful() -> None:
    request = Text2Video(prompt="A boat", model_name="kling-v2-master", mode="pro")

    assert await warned(request, request) == [
        "mode does not apply to kling-v2-master; sent as it is"
    ]


@pytest.mark.parametrize("fields", [{"cfg_scale": 0.5}, {"voice_list": [{"voice_id": "v"}]}])
async def test_what_the_sources_leave_open_is_sent(fields: dict[str, Any]) -> None:
    request = Text2Video(prompt="A boat", model_name="kling-v3", sound="on", **fields)

    assert await warned(request) == []


async def test_silence_is_no_sound() -> None:
    request = Text2Video(prompt="A boat", sound="off", multi_shot=False)

    assert (await accepted(request))["sound"] == "off"


async def test_table_is_off_without_validation() -> None:
    wire = Wire()
    async with wire.client(KlingAI("key-of-the-test"), validate=False) as kling:
        await kling.text2video.submit(prompt="A boat", model_name="kling-v1-5", duration=60)
        await kling.text2video.submit(prompt="A boat", model_name="kling-v9")

    assert len(wire.requests) == 2
