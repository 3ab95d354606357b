"""Whatever values a request is given, it is made, or refused with a ValueError."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import (
    Avatar,
    CometAPI,
    Gateway,
    Image2Video,
    Limits,
    MultiImage2Video,
    Request,
    RequestRefused,
    Text2Video,
)
from tests.endpoints.wire import PICTURE

MODELS: list[type[Request[Any]]] = [Text2Video, Image2Video, MultiImage2Video, Avatar]
LIMITS = [Limits(), CometAPI("key-of-the-test").limits, Gateway("https://g", "key").limits]
NAMES = sorted({name for model in MODELS for name in model.model_fields})

# Half characters, too: JSON can hold them, UTF-8 cannot.
TEXT = st.text(st.characters(), max_size=20)
JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=10,
)
MEDIA = st.just(PICTURE)
POINT = st.fixed_dictionaries({"x": st.integers(), "y": st.integers()})
MASK = st.fixed_dictionaries(
    {"mask": MEDIA, "trajectories": st.lists(POINT, min_size=2, max_size=3)}
)
SHOT = st.fixed_dictionaries(
    {"index": st.integers(), "prompt": TEXT, "duration": st.integers(1, 5)}
)
MOVE = st.dictionaries(st.sampled_from(["pan", "zoom"]), st.floats(-10, 10), max_size=2)
# Values that a request has a good chance to take.
PLAUSIBLE: dict[str, st.SearchStrategy[Any]] = {
    "prompt": TEXT,
    "negative_prompt": TEXT,
    "model_name": st.sampled_from(["kling-v1", "kling-v1-6", "kling-v2-master", "kling-v3", "new"]),
    "mode": st.sampled_from(["std", "pro", "4k"]),
    "duration": st.integers(1, 15) | st.sampled_from(["5", "10"]),
    "aspect_ratio": st.sampled_from(["16:9", "4:3"]),
    "sound": st.sampled_from(["on", "off"]),
    "voice_list": st.lists(st.fixed_dictionaries({"voice_id": TEXT}), max_size=3),
    "multi_shot": st.booleans(),
    "shot_type": st.sampled_from(["customize", "intelligence"]),
    "multi_prompt": st.lists(SHOT, max_size=3),
    "cfg_scale": st.floats(0, 1),
    "camera_control": st.fixed_dictionaries(
        {"type": st.sampled_from(["simple", "down_back"])}, optional={"config": MOVE}
    ),
    "watermark_info": st.fixed_dictionaries({"enabled": st.booleans()}),
    "image": MEDIA,
    "image_tail": MEDIA,
    "static_mask": MEDIA,
    "dynamic_masks": st.lists(MASK, max_size=3),
    "element_list": st.lists(st.fixed_dictionaries({"element_id": st.integers()}), max_size=4),
    "image_list": st.lists(MEDIA | st.fixed_dictionaries({"image": MEDIA}), max_size=5),
    "audio_id": TEXT,
    "sound_file": MEDIA,
    "callback_url": TEXT,
    "external_task_id": TEXT,
    "extra": st.dictionaries(TEXT, JSON, max_size=3),
}


def made(model: type[Request[Any]], fields: dict[str, Any]) -> Request[Any] | None:
    """The request, or None where its values are refused."""
    try:
        return model(**fields)
    except ValueError:
        return None


@pytest.mark.parametrize("model", MODELS)
@given(fields=st.dictionaries(st.sampled_from(NAMES) | TEXT, JSON, max_size=6))
def test_any_json_is_taken_or_refused(model: type[Request[Any]], fields: dict[str, Any]) -> None:
    request = made(model, fields)

    assert request is None or isinstance(request, model)


@pytest.mark.parametrize("model", MODELS)
@given(data=st.data())
def test_what_is_made_can_be_sent(model: type[Request[Any]], data: st.DataObject) -> None:
    wanted = data.draw(st.sets(st.sampled_from(sorted(model.model_fields)), max_size=6))
    needed = {name for name, field in model.model_fields.items() if field.is_required()}
    request = made(model, {name: data.draw(PLAUSIBLE[name]) for name in sorted(wanted | needed)})
    if request is None:
        return

    for limits in LIMITS:
        assert sendable(request, limits)


def sendable(request: Request[Any], limits: Limits) -> bool:
    """Whether it becomes JSON, checked and unchecked, or is refused by name."""
    try:
        json.dumps(request.body(limits, check=False), allow_nan=False, ensure_ascii=False).encode()
        doubts = request.check(limits)
    except RequestRefused as refusal:
        return bool(refusal.field and refusal.field in str(refusal))
    return all(isinstance(doubt, str) for doubt in doubts)


def test_every_field_has_a_plausible_value() -> None:
    assert set(PLAUSIBLE) == set(NAMES)
