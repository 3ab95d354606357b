"""What text2video takes and refuses, by provider."""

from __future__ import annotations

from typing import Any

import pytest

from kling_async import Text2Video
from tests.endpoints.wire import Cases, accepted, missing, refused

REQUIRED = {"model_name": "kling-v1", "mode": "std", "duration": "5", "multi_shot": False}
V3 = {"model_name": "kling-v3"}
STORY = {**V3, "multi_shot": True}
VOICE = {"voice_id": "v"}
COMET_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3")
ROW = Cases({"prompt": "A boat"}, gateway=REQUIRED)


def shots(*lengths: int, prompt: str = "A pier") -> dict[str, Any]:
    """A storyboard's fields."""
    each = [
        {"index": index, "prompt": prompt, "duration": str(length)}
        for index, length in enumerate(lengths, 1)
    ]
    return {**STORY, "shot_type": "customize", "multi_prompt": each}


VALID = [
    ROW.valid("prompt", "kling", prompt="あ" * 2500),
    ROW.valid("prompt", "comet", prompt="あ" * 500),
    ROW.valid("prompt", "gateway", prompt="あ" * 2500),
    ROW.valid("negative", "kling", negative_prompt="a" * 2500),
    ROW.valid("negative", "comet", negative_prompt="a" * 200),
    ROW.valid("negative", "gateway", negative_prompt="a" * 2500),
    *(ROW.valid(ratio, "kling", aspect_ratio=ratio) for ratio in COMET_RATIOS[:3]),
    *(ROW.valid(ratio, "comet", aspect_ratio=ratio) for ratio in COMET_RATIOS),
    *(ROW.valid(ratio, "gateway", aspect_ratio=ratio) for ratio in COMET_RATIOS[:3]),
    *(ROW.valid(f"{n}-s", "comet", duration=n) for n in ("5", "10")),
    *(ROW.valid(f"{n}-s", "gateway", duration=n) for n in ("5", "10")),
    *(ROW.valid(f"v3-{n}-s", "kling", duration=n, **V3) for n in ("3", "15")),
    *(ROW.valid(mode, "comet", mode=mode) for mode in ("std", "pro")),
    *(ROW.valid(mode, "gateway", mode=mode) for mode in ("std", "pro")),
    *(ROW.valid(mode, "kling", mode=mode, **V3) for mode in ("std", "pro", "4k")),
    *(ROW.valid(f"cfg-{value}", cfg_scale=value) for value in (0.0, 1.0)),
    ROW.valid("one-shot", **shots(5)),
    ROW.valid("one-shot", "gateway", **shots(5)),
    ROW.valid("six-shots", **shots(1, 1, 1, 1, 1, 10), duration="15"),
    ROW.valid("shots-of-default-length", **shots(2, 3)),
    ROW.valid("shot-prompt", **shots(5, prompt="a" * 512)),
    ROW.valid("storyboard-alone", **shots(5), prompt=None),
    ROW.valid("intelligence", shot_type="intelligence", **STORY),
    ROW.valid("single-shot", multi_shot=False),
    ROW.valid("two-voices", voice_list=[VOICE] * 2, sound="on", **V3),
    ROW.valid("silence", sound="off"),
    ROW.valid("camera", camera_control={"type": "down_back"}),
    ROW.valid("watermark", watermark_info={"enabled": True}),
]
INVALID = [
    ROW.invalid("prompt", "kling", "prompt~2500~2501", prompt="あ" * 2501),
    ROW.invalid("prompt", "comet", "prompt~500~501", prompt="あ" * 501),
    ROW.invalid("prompt", "gateway", "prompt~2500~2501", prompt="あ" * 2501),
    ROW.invalid("negative", "kling", "negative_prompt~2500~2501", negative_prompt="a" * 2501),
    ROW.invalid("negative", "comet", "negative_prompt~200~201", negative_prompt="a" * 201),
    ROW.invalid("negative", "gateway", "negative_prompt~2500~2501", negative_prompt="a" * 2501),
    *(
        ROW.invalid(ratio, to, f"aspect_ratio~1:1, 16:9, 9:16~'{ratio}'", aspect_ratio=ratio)
        for ratio in COMET_RATIOS[3:]
        for to in ("kling", "gateway")
    ),
    ROW.invalid("21:9", "comet", "aspect_ratio~2:3, 3:2~'21:9'", aspect_ratio="21:9"),
    *(ROW.invalid(n, "comet", f"duration~5, 10~'{n}'", duration=n) for n in ("4", "6", "11")),
    ROW.invalid("15-s", "gateway", "duration~5, 10~'15'", duration="15", model_name="kling-v3"),
    *(ROW.invalid(n, "kling", f"duration~5, 10~{n} s", duration=n) for n in ("4", "6", "11")),
    *(ROW.invalid(f"v3-{n}", "kling", f"duration~3, ~, 15~{n}", duration=n, **V3) for n in (2, 16)),
    ROW.invalid("4k", "comet", "mode~pro, std~'4k'", mode="4k", **V3),
    ROW.invalid("4k", "gateway", "mode~pro, std~'4k'", mode="4k", model_name="kling-v3"),
    ROW.invalid("v1-4k", "kling", "mode~std, pro~'4k'", mode="4k"),
    ROW.invalid("standard", "kling", "mode~std, pro~'standard'", mode="standard"),
    ROW.invalid("empty-mode", "kling", "mode~std, pro~''", mode=""),
    *(
        ROW.invalid(f"cfg-{n}", "kling", f"cfg_scale~0 to 1~{n}", cfg_scale=n)
        for n in (-0.01, 1.01)
    ),
    ROW.invalid("cfg-nan", "kling", "cfg_scale~0 to 1~nan", cfg_scale=float("nan")),
    ROW.invalid("no-prompt", "kling", "prompt is required", prompt=None),
    ROW.invalid("empty-prompt", "kling", "prompt is required", prompt=""),
    ROW.invalid("loud", "kling", "sound~'on' or 'off'", sound="loud"),
    ROW.invalid("no-shots", "kling", "multi_prompt~1 to 6 shots~got 0", **shots()),
    ROW.invalid("7-shots", "kling", "multi_prompt~6 shots~got 7", **shots(*[1] * 7), duration=7),
    ROW.invalid("sum-short", "kling", "multi_prompt~last 4 s~duration is 5 s", **shots(2, 2)),
    ROW.invalid("sum-long", "kling", "multi_prompt~last 6 s~duration is 5 s", **shots(3, 3)),
    ROW.invalid("0-s-shot", "kling", "multi_prompt.0.duration~whole~'0'", **shots(0, 5)),
    ROW.invalid("shot-513", "kling", "multi_prompt.0.prompt~512~513", **shots(5, prompt="a" * 513)),
    ROW.invalid("no-shot-type", "kling", "multi_shot needs a shot_type", **STORY),
    ROW.invalid("type-alone", "kling", "shot_type~need multi_shot=True", shot_type="customize"),
    ROW.invalid(
        "shots-alone",
        "kling",
        "multi_prompt need multi_shot",
        multi_prompt=shots(5)["multi_prompt"],
    ),
    ROW.invalid("no-list", "kling", "needs multi_prompt", shot_type="customize", **STORY),
    ROW.invalid(
        "list-by-intelligence",
        "kling",
        "multi_prompt goes with shot_type='customize'",
        **{**shots(5), "shot_type": "intelligence"},
    ),
    ROW.invalid(
        "intelligence-without-prompt",
        "kling",
        "prompt is required",
        **STORY,
        shot_type="intelligence",
        prompt=None,
    ),
    ROW.invalid(
        "intelligence",
        "gateway",
        "shot_type~customize~'intelligence'",
        **STORY,
        shot_type="intelligence",
    ),
    ROW.invalid(
        "auto", "kling", "shot_type~customize, intelligence~'auto'", **STORY, shot_type="auto"
    ),
    ROW.invalid("3-voices", "kling", "voice_list~2 voices~3", voice_list=[VOICE] * 3, sound="on"),
    ROW.invalid("voice-without-sound", "kling", "voice_list needs sound='on'", voice_list=[VOICE]),
    ROW.invalid(
        "muted-voice", "kling", "voice_list needs sound='on'", voice_list=[VOICE], sound="off"
    ),
]


@pytest.mark.parametrize(("fields", "to"), VALID)
@pytest.mark.filterwarnings("ignore:.*does not list:kling_async.KlingWarning")
async def test_valid_request_is_sent(fields: dict[str, Any], to: str) -> None:
    body = await accepted(Text2Video(**fields), to)

    assert body == {name: value for name, value in fields.items() if value is not None}


@pytest.mark.parametrize(("fields", "to", "words"), INVALID)
async def test_invalid_request_is_refused(
    fields: dict[str, Any], to: str, words: list[str]
) -> None:
    text = await refused(Text2Video, fields, to)

    assert not missing(words, text)


async def test_length_is_counted_in_code_points() -> None:
    body = await accepted(Text2Video(prompt="👍" * 2500))

    assert len(body["prompt"]) == 2500
