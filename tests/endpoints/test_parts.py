"""What the small objects inside requests take, and what requests do with any value."""

from __future__ import annotations

import io
import json
import pickle
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from kling_async import (
    Avatar,
    CameraConfig,
    CameraControl,
    DynamicMask,
    Element,
    Image2Video,
    Limits,
    MultiImage2Video,
    MultiShot,
    ReferenceImage,
    RequestRefused,
    Text2Video,
    Trajectory,
    Voice,
    WatermarkInfo,
)
from tests.endpoints.wire import PICTURE, accepted, missing

AXES = ("horizontal", "vertical", "pan", "tilt", "roll", "zoom")
PRESETS = ("down_back", "forward_up", "right_turn_forward", "left_turn_forward")
POINTS = [{"x": 1, "y": 2}] * 2
STILL = dict.fromkeys(AXES, 0)
BIG = b"x" * 10_000_000


def error_of(model: type[BaseModel], fields: dict[str, Any]) -> str:
    """What a person reads."""
    with pytest.raises(ValidationError) as caught:
        model(**fields)
    return str(caught.value)


def sent(model: BaseModel) -> dict[str, Any]:
    return model.model_dump(exclude_none=True)


def row_name(row: tuple[Any, ...]) -> str:
    model, fields, *says = row
    return f"{model.__name__}-{str(fields)[:40]}-{says}"


VALID = [
    *((CameraConfig, {axis: limit}) for axis in AXES for limit in (-10, 10)),
    (CameraConfig, {"pan": 0.5}),
    (CameraControl, {"type": "simple", "config": {"zoom": 1}}),
    *((CameraControl, {"type": preset}) for preset in PRESETS),
    (Element, {"element_id": 2**63 - 1}),
    (MultiShot, {"index": 1, "prompt": "a" * 512, "duration": 1}),
    (Trajectory, {"x": -3, "y": 10_000}),
    (Voice, {"voice_id": "v"}),
    (WatermarkInfo, {"enabled": False}),
    (ReferenceImage, {"image": PICTURE}),
    (DynamicMask, {"mask": PICTURE, "trajectories": POINTS}),
]
INVALID = [
    *((CameraConfig, {axis: 11}, [axis, "-10 to 10", "11"]) for axis in AXES),
    *((CameraConfig, {axis: -10.1}, [axis, "-10 to 10", "-10.1"]) for axis in AXES),
    (CameraConfig, {}, ["exactly one axis", "got 0"]),
    (CameraConfig, {"pan": 1, "zoom": 1}, ["exactly one axis", "got 2"]),
    (CameraConfig, {"pan": 10**400}, ["pan", "-10 to 10", "1000"]),
    (CameraConfig, {"pan": float("nan")}, ["pan", "nan"]),
    (CameraConfig, {"pan": "left"}, ["pan", "number"]),
    (CameraControl, {"type": "simple"}, ["config goes with type 'simple'"]),
    *(
        (CameraControl, {"type": preset, "config": {"pan": 1}}, ["config goes with type 'simple'"])
        for preset in PRESETS
    ),
    (CameraControl, {"type": "sideways"}, ["type", *PRESETS]),
    (CameraControl, {}, ["type", "required"]),
    (Element, {"element_id": 2**63}, ["element_id", "9223372036854775807", "9223372036854775808"]),
    (Element, {"element_id": -1}, ["element_id", "-1"]),
    (Element, {"element_id": "first"}, ["element_id", "integer"]),
    (MultiShot, {"index": 1, "prompt": "a" * 513, "duration": 1}, ["prompt", "512", "513"]),
    (MultiShot, {"index": 1, "prompt": "a"}, ["duration", "required"]),
    (MultiShot, {"index": 1, "duration": 1}, ["prompt", "required"]),
    (MultiShot, {"prompt": "a", "duration": 1}, ["index", "required"]),
    (Trajectory, {"x": 1.5, "y": 1}, ["x", "integer"]),
    (Trajectory, {"x": 1}, ["y", "required"]),
    (Voice, {"voice_id": ""}, ["voice_id", "not empty"]),
    (WatermarkInfo, {}, ["enabled", "required"]),
    (WatermarkInfo, {"enabled": "perhaps"}, ["enabled", "boolean"]),
    (ReferenceImage, {"image": None}, ["image", "URL", "NoneType"]),
    (DynamicMask, {"mask": 5, "trajectories": POINTS}, ["mask", "URL", "int"]),
    (DynamicMask, {"mask": PICTURE, "trajectories": POINTS[:1]}, ["trajectories", "2 to 77", "1"]),
    (DynamicMask, {"mask": PICTURE, "trajectories": POINTS * 39}, ["trajectories", "77", "78"]),
    (DynamicMask, {"mask": PICTURE, "trajectories": {"x": 1}}, ["trajectories", "a list", "dict"]),
    (Voice, {"voice": "v"}, ["voice", "not permitted"]),
]


@pytest.mark.parametrize(("model", "fields"), VALID, ids=map(row_name, VALID))
def test_valid_part_is_made(model: type[BaseModel], fields: dict[str, Any]) -> None:
    assert isinstance(model(**fields), model)


@pytest.mark.parametrize(("model", "fields", "words"), INVALID, ids=map(row_name, INVALID))
def test_invalid_part_is_refused(
    model: type[BaseModel], fields: dict[str, Any], words: list[str]
) -> None:
    assert not missing(words, error_of(model, fields))


def test_six_axes_are_sent() -> None:
    """Kling wants one of them non-zero, some gateways want all of them named."""
    assert sent(CameraConfig(pan=-5)) == {**STILL, "pan": -5}


async def test_dicts_stand_for_parts() -> None:
    camera = {"type": "simple", "config": {"zoom": 5}}
    given: Any = {"watermark_info": {"enabled": True}, "camera_control": camera}
    body = await accepted(Text2Video(prompt="A boat", **given))

    assert body["watermark_info"] == {"enabled": True}
    assert body["camera_control"] == {"type": "simple", "config": {**STILL, "zoom": 5}}


async def test_parts_are_sent_as_dicts() -> None:
    path = [Trajectory(x=1, y=2), Trajectory(x=3, y=4)]
    request = Image2Video(
        image=PICTURE, dynamic_masks=[DynamicMask(mask=PICTURE, trajectories=path)]
    )

    assert (await accepted(request))["dynamic_masks"] == [
        {"mask": PICTURE, "trajectories": [{"x": 1, "y": 2}, {"x": 3, "y": 4}]}
    ]


@pytest.mark.parametrize("given", [5, "5", "05", "005"], ids=repr)
async def test_duration_is_sent_as_text(given: int | str) -> None:
    assert (await accepted(Text2Video(prompt="A boat", duration=given)))["duration"] == "5"


ODD = [True, False, 5.5, 5.0, "5.0", "", " 5", "5s", -5, "-5", 0, "0", "000", 1000]
FULL_WIDTH_FIVE, ARABIC_FIVE = "\uff15", "\u0665"


@pytest.mark.parametrize("given", [*ODD, FULL_WIDTH_FIVE, ARABIC_FIVE], ids=ascii)
def test_odd_duration_is_refused(given: Any) -> None:
    text = error_of(Text2Video, {"prompt": "A boat", "duration": given})

    assert f"duration\n  whole seconds, as 5 or '5', got {given!r}" in text


@pytest.mark.parametrize(
    "given", [[5], {"s": 5}, "5" * 10**6, 10**5000], ids=["list", "dict", "long", "huge"]
)
def test_absurd_duration_is_refused_briefly(given: Any) -> None:
    text = error_of(Text2Video, {"prompt": "A boat", "duration": given})

    assert "duration" in text
    assert len(text) < 500


def test_requests_cannot_be_changed() -> None:
    request = Text2Video(prompt="A boat")

    with pytest.raises(ValidationError, match=r"prompt\n  Instance is frozen"):
        request.prompt = "A ship"


def test_parts_cannot_be_changed() -> None:
    voice = Voice(voice_id="v")

    with pytest.raises(ValidationError, match=r"voice_id\n  Instance is frozen"):
        voice.voice_id = "w"


def test_requests_survive_pickling() -> None:
    request = Image2Video(image=PICTURE, camera_control=CameraControl(type="down_back"))

    assert pickle.loads(pickle.dumps(request)) == request


@pytest.mark.parametrize("model", [Text2Video, Image2Video, MultiImage2Video, Avatar])
def test_unknown_keyword_is_named(model: type[BaseModel]) -> None:
    text = error_of(model, {"promptt": "A boat"})

    assert "promptt\n  Extra inputs are not permitted" in text


async def test_extra_fields_are_sent_as_they_are() -> None:
    extra = {"seed": 7, "nested": {"list": [None, True, 0.5]}}
    body = await accepted(Text2Video(prompt="A boat", extra=extra))

    assert body == {"prompt": "A boat", **extra}


def test_extra_is_out_of_reach_of_its_giver() -> None:
    extra = {"seed": 7}
    request = Text2Video(prompt="A boat", extra=extra)
    extra["seed"] = 8

    assert request.extra == {"seed": 7}


@pytest.mark.parametrize("name", ["prompt", "duration", "external_task_id", "extra"])
def test_extra_cannot_stand_for_a_field(name: str) -> None:
    request = Text2Video(prompt="A boat", extra={name: "x"})

    with pytest.raises(RequestRefused, match=f"extra: {name} is a field"):
        request.check(Limits())


LOOP: dict[str, Any] = {}
LOOP["loop"] = LOOP
NOT_JSON = {"object": object(), "bytes": b"x", "nan": float("nan"), "loop": LOOP, "half": "\ud83d"}


@pytest.mark.parametrize("value", NOT_JSON.values(), ids=NOT_JSON)
def test_extra_must_be_json(value: object) -> None:
    text = error_of(Text2Video, {"prompt": "A boat", "extra": {"seed": value}})

    assert "extra\n  must be JSON: " in text


def test_extra_must_be_a_mapping() -> None:
    assert "extra\n" in error_of(Text2Video, {"prompt": "A boat", "extra": [1]})


@pytest.mark.parametrize("given", ["", " ", "a/b", "a b", "a\n", "\0", ".", ".."], ids=repr)
def test_impossible_external_id_is_refused(given: str) -> None:
    text = error_of(Text2Video, {"prompt": "A boat", "external_task_id": given})

    assert "external_task_id\n  no slash, no white space, not empty, got " in text


def test_long_external_id_is_refused_briefly() -> None:
    assert len(error_of(Text2Video, {"prompt": "A boat", "external_task_id": "/" * 10**6})) < 300


@pytest.mark.parametrize("given", ["job-1", "a.b", "ünïcode", "50%", "a?b#c", "x" * 100])
def test_possible_external_id_is_taken(given: str) -> None:
    assert Text2Video(prompt="A boat", external_task_id=given).external_task_id == given


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        (Text2Video(prompt="\ud83d"), "prompt"),
        (Image2Video(image="https://a.example/\udc80"), "image"),
        (
            Text2Video(
                multi_shot=True,
                shot_type="customize",
                multi_prompt=[MultiShot(index=1, prompt="a\udc80", duration=5)],
            ),
            "multi_prompt[0].prompt",
        ),
    ],
)
def test_half_a_character_is_refused(request_: Text2Video, field: str) -> None:
    with pytest.raises(RequestRefused, match="half of one") as caught:
        request_.body(Limits())

    assert caught.value.field == field


LARGE: dict[str, BaseModel] = {
    "bytes": Image2Video(image=BIG),
    "bytearray": Avatar(image=bytearray(BIG), sound_file=BIG),  # type: ignore[arg-type]  # it is let in
    "memoryview": Image2Video(image=memoryview(BIG)),  # type: ignore[arg-type]  # it is let in
    "text": Image2Video(image="x" * 10_000_000),
    "prompt": Text2Video(prompt="x" * 10_000_000),
    "images": MultiImage2Video(prompt="They meet", image_list=[BIG] * 4),
    "masks": Image2Video.model_validate(
        {"image": BIG, "dynamic_masks": [{"mask": BIG, "trajectories": POINTS * 38}] * 6}
    ),
    "extra": Text2Video(prompt="A boat", extra={"seed": "x" * 10_000_000}),
}


@pytest.mark.parametrize("request_", LARGE.values(), ids=LARGE)
def test_repr_is_short(request_: BaseModel) -> None:
    assert len(repr(request_)) < 700
    assert len(str(request_)) < 700


def test_repr_shows_what_is_set() -> None:
    request = Text2Video(prompt="A boat", duration=5, cfg_scale=0.5)

    assert repr(request) == "Text2Video(prompt='A boat', duration='5', cfg_scale=0.5)"


def test_repr_counts_what_it_cuts() -> None:
    start = "b'" + "x" * 60 + "'"

    assert repr(ReferenceImage(image=BIG)) == f"ReferenceImage(image={start}... (10000000 in all))"


def test_errors_do_not_show_the_input() -> None:
    assert len(error_of(Avatar, {"image": BIG, "sound_file": 5})) < 300


def test_address_is_sent_without_a_thread() -> None:
    assert not Image2Video(image=PICTURE, image_tail=PICTURE).reads_media()


@pytest.mark.parametrize("source", [b"x", io.BytesIO(b"x"), "eA=="], ids=["bytes", "file", "text"])
def test_content_is_read_in_a_thread(source: Any) -> None:
    assert Image2Video(image=PICTURE, image_tail=source).reads_media()


def test_unchecked_body_takes_anything() -> None:
    request = MultiImage2Video(prompt="p" * 9000, image_list=[b"no picture"], extra={"prompt": "q"})
    body = request.body(Limits(), check=False)

    assert json.loads(json.dumps(body)) == {
        "image_list": [{"image": "bm8gcGljdHVyZQ=="}],
        "prompt": "q",
    }
