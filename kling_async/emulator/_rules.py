"""Decides whether the body of a create is accepted, and what it then asks for."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from itertools import combinations

from kling_async.emulator._audio import check_audio
from kling_async.emulator._fields import Fields, invalid
from kling_async.emulator._images import Picture, check_image
from kling_async.emulator._models import Model, find_model, unsupported
from kling_async.emulator._mp4 import nearest_ratio
from kling_async.emulator._refusals import Refusal

_CAMERA_TYPES = ("simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward")
_CAMERA_AXES = ("horizontal", "vertical", "pan", "tilt", "roll", "zoom")
_MASKS_DIFFER = (
    "The resolution or aspect ratio of the input image is invalid. "
    "Please ensure it meets the required specifications."
)


@dataclass(frozen=True, slots=True)
class Bounds:
    """Where servers differ in what they take; the defaults are the official ones."""

    prompt: int = 2500
    negative_prompt: int = 2500
    ratios: Collection[str] = ("16:9", "9:16", "1:1")
    modes: Collection[str] = ("std", "pro", "4k")
    durations: Collection[int] = ()
    shot_types: Collection[str] = ("customize", "intelligence")
    least_images: int = 1
    longest_audio: int = 300
    required: Mapping[str, tuple[str, ...]] = field(default_factory=dict[str, tuple[str, ...]])
    whole_objects: bool = False
    open_models: bool = False


@dataclass(frozen=True, slots=True)
class Order:
    """What an accepted body asks for; `doom` is why its task will fail."""

    model: str
    mode: str
    seconds: int
    ratio: str = "16:9"
    doom: str | None = None


@dataclass(frozen=True, slots=True)
class _Clip:
    """The fields text2video and image2video share."""

    name: str
    # None for a model nobody has heard of: then the table has nothing to say.
    model: Model | None
    mode: str
    seconds: int
    shot_type: str | None


def accept(endpoint: str, body: Mapping[str, object], bounds: Bounds) -> Order:
    """What a create asks for.

    Raises:
        Refusal: Kling would not take this body.
    """
    fields = Fields(body)
    fields.require(*bounds.required.get(endpoint, ()))
    fields.text("callback_url")
    fields.text("external_task_id")
    watermark = fields.within("watermark_info")
    if watermark is not None:
        watermark.flag("enabled")
        if bounds.whole_objects:
            watermark.require("enabled")
    return _CHECKS[endpoint](fields, bounds)


def _text2video(fields: Fields, bounds: Bounds) -> Order:
    clip = _clip(fields, bounds, "text2video")
    if clip.shot_type != "customize":
        fields.require("prompt")
    _camera(fields, bounds, clip, "text2video")
    ratio = fields.choice("aspect_ratio", bounds.ratios, "16:9")
    return Order(clip.name, clip.mode, clip.seconds, ratio)


def _image2video(fields: Fields, bounds: Bounds) -> Order:
    clip = _clip(fields, bounds, "image2video")
    if clip.shot_type == "intelligence":
        fields.require("prompt")
    if not fields.has("image_tail"):
        fields.require("image")
    image = check_image(fields.text("image"))
    tail = check_image(fields.text("image_tail"))
    ways = [("image_tail",), ("static_mask", "dynamic_masks"), ("camera_control",)]
    for one, other in combinations(ways, 2):
        if fields.has(*one) and fields.has(*other):
            raise Refusal(1201, f"{one[-1]} can not be used together with {other[-1]}")
    _tail(fields, clip)
    _camera(fields, bounds, clip, "image2video")
    doom = _masks(fields, clip, image)
    _elements(fields, clip)
    # The clip follows the image; a URL is not fetched, so its shape is unknown.
    shown = image or tail
    ratio = nearest_ratio(shown.width, shown.height) if shown else "16:9"
    return Order(clip.name, clip.mode, clip.seconds, ratio, doom)


def _multi_image2video(fields: Fields, bounds: Bounds) -> Order:
    fields.require("image_list", "prompt")
    name = fields.text("model_name") or "kling-v1-6"
    model = find_model(name, "multi-image2video", open_ended=bounds.open_models)
    _prompts(fields, bounds)
    for item in fields.each("image_list", bounds.least_images, 4):
        item.require("image")
        check_image(item.text("image"))
    mode = fields.choice("mode", ("std", "pro"), "std")
    seconds = _seconds(fields, bounds, model)
    ratio = fields.choice("aspect_ratio", bounds.ratios, "16:9")
    return Order(name, mode, seconds, ratio)


def _avatar(fields: Fields, bounds: Bounds) -> Order:
    fields.require("image")
    image = check_image(fields.text("image"))
    audio_id, sound_file = fields.text("audio_id"), fields.text("sound_file")
    if (audio_id is None) == (sound_file is None):
        raise Refusal(1201, "exactly one of audio_id and sound_file must be given")
    # CometAPI states 2500 here too, unlike its 500 elsewhere.
    fields.text("prompt", 2500)
    mode = fields.choice("mode", ("std", "pro"), "std")
    # Only a WAV file tells its length; for the rest five seconds is a guess.
    seconds = check_audio(sound_file, bounds.longest_audio) if sound_file else None
    ratio = nearest_ratio(image.width, image.height) if image else "16:9"
    return Order("avatar", mode, seconds or 5, ratio)


_CHECKS: dict[str, Callable[[Fields, Bounds], Order]] = {
    "text2video": _text2video,
    "image2video": _image2video,
    "multi-image2video": _multi_image2video,
    "avatar/image2video": _avatar,
}


def _clip(fields: Fields, bounds: Bounds, endpoint: str) -> _Clip:
    name = fields.text("model_name") or "kling-v1"
    model = find_model(name, endpoint, open_ended=bounds.open_models)
    _prompts(fields, bounds)
    mode = fields.choice("mode", bounds.modes, "std")
    if model and mode not in model.modes:
        raise unsupported("mode", mode, name)
    seconds = _seconds(fields, bounds, model)
    sound = fields.choice("sound", ("on", "off"), "off")
    if model and sound == "on" and mode not in model.sound:
        raise unsupported("sound", sound, f"{name} in mode {mode}")
    _voices(fields, sound)
    shot_type = _shots(fields, bounds, seconds)
    if model and shot_type and not model.multi_shot:
        raise unsupported("multi_shot", "true", name)
    return _Clip(name, model, mode, seconds, shot_type)


def _prompts(fields: Fields, bounds: Bounds) -> None:
    fields.text("prompt", bounds.prompt)
    fields.text("negative_prompt", bounds.negative_prompt)
    # Kling v2 has no cfg_scale, yet gateways always send 0.5: it is ignored there.
    fields.number("cfg_scale", 0, 1)


def _seconds(fields: Fields, bounds: Bounds, model: Model | None) -> int:
    seconds = fields.seconds("duration", "5")
    if seconds not in (bounds.durations or (model.durations if model else (5, 10))):
        raise invalid("duration", seconds)
    return seconds


def _voices(fields: Fields, sound: str) -> None:
    voices = fields.each("voice_list", 1, 2)
    for voice in voices:
        voice.require("voice_id")
        voice.text("voice_id")
    if voices and sound != "on":
        raise Refusal(1201, "sound must be on when voice_list is given")


def _shots(fields: Fields, bounds: Bounds, seconds: int) -> str | None:
    """The shot type, or None for a single shot, whose other shot fields are ignored."""
    if not fields.flag("multi_shot"):
        return None
    fields.require("shot_type")
    shot_type = fields.choice("shot_type", bounds.shot_types, "")
    if shot_type != "customize":
        return shot_type
    fields.require("multi_prompt")
    lengths = [_shot(shot, seconds) for shot in fields.each("multi_prompt", 1, 6)]
    if sum(lengths) != seconds:
        raise Refusal(
            1201, f"multi_prompt durations add up to {sum(lengths)}, duration is {seconds}"
        )
    return shot_type


def _shot(shot: Fields, longest: int) -> int:
    shot.require("index", "prompt", "duration")
    shot.number("index", 0, 1000, whole=True)
    shot.text("prompt", 512)
    length = shot.seconds("duration", "")
    if not 1 <= length <= longest:
        raise invalid("multi_prompt.duration", length)
    return length


def _camera(fields: Fields, bounds: Bounds, clip: _Clip, endpoint: str) -> None:
    control = fields.within("camera_control")
    if control is None:
        return
    control.require("type")
    kind = control.choice("type", _CAMERA_TYPES, "")
    config = control.within("config")
    if (kind == "simple") != (config is not None):
        raise Refusal(1201, "camera_control.config is for type simple, which needs it")
    if config is not None:
        if bounds.whole_objects:
            config.require(*_CAMERA_AXES)
        moves = [config.number(axis, -10, 10, whole=bounds.whole_objects) for axis in _CAMERA_AXES]
        # J: "choose one of six" is met by six fields of which exactly one is not zero.
        if sum(move != 0 for move in moves) != 1:
            raise Refusal(1201, "camera_control.config must have exactly one non-zero value")
    if clip.model is None:
        return
    if (endpoint, clip.mode) not in clip.model.camera or clip.seconds != 5:
        raise unsupported("camera_control", kind, f"{clip.name} {clip.mode} {clip.seconds}s")
    if endpoint == "image2video" and kind != "simple":
        raise unsupported("camera_control.type", kind, clip.name)


def _tail(fields: Fields, clip: _Clip) -> None:
    if clip.model is None or not fields.has("image_tail"):
        return
    modes = clip.model.tail if fields.has("image") else clip.model.tail_alone
    only_short = clip.name == "kling-v1" and clip.seconds != 5
    # Kling v2-6 takes a last frame for silent video only.
    only_silent = clip.name == "kling-v2-6" and fields.get("sound") == "on"
    if clip.mode not in modes or only_short or only_silent:
        raise unsupported("image_tail", "", f"{clip.name} in mode {clip.mode}")


def _masks(fields: Fields, clip: _Clip, image: Picture | None) -> str | None:
    """Check the brush masks; the reason the task will fail, if it will."""
    masks = [check_image(fields.text("static_mask"))]
    for group in fields.each("dynamic_masks", 1, 6):
        group.require("mask", "trajectories")
        masks.append(check_image(group.text("mask")))
        for point in group.each("trajectories", 2, 77):
            point.require("x", "y")
            point.number("x", -100_000, 100_000, whole=True)
            point.number("y", -100_000, 100_000, whole=True)
    given = fields.has("static_mask", "dynamic_masks")
    if given and clip.model and (clip.mode not in clip.model.masks or clip.seconds != 5):
        raise unsupported("masks", "", f"{clip.name} {clip.mode} {clip.seconds}s")
    known = [mask for mask in masks if mask]
    if image and not all(mask.has_shape_of(image) for mask in known):
        raise Refusal(1201, "The aspect ratio of a mask differs from that of the image")
    return _MASKS_DIFFER if len(set(known)) > 1 else None


def _elements(fields: Fields, clip: _Clip) -> None:
    for element in fields.each("element_list", 1, 3):
        element.require("element_id")
        element.number("element_id", 0, 2**63 - 1, whole=True)
    if not fields.has("element_list"):
        return
    if fields.has("voice_list"):
        raise Refusal(1201, "element_list can not be used together with voice_list")
    if clip.model and not clip.model.elements:
        raise unsupported("element_list", "", clip.name)
