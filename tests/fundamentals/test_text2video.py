"""Lesson 1: a prompt goes in, a video comes out."""

from __future__ import annotations

import pytest

from kling_async import Kling, RequestRefused, Text2Video
from kling_async.emulator import Emulator


async def test_run_makes_a_video(kling: Kling) -> None:
    """`run` pays for a task, waits for it, and returns where the video is."""
    video = await kling.text2video.run(prompt="A paper boat on a storm drain")

    assert video.url.endswith(".mp4")


async def test_result_knows_its_length_and_its_price(kling: Kling) -> None:
    """A clip runs a little over the length asked for; `units` is what it cost."""
    video = await kling.text2video.run(prompt="A paper boat", duration=5)

    assert video.videos[0].duration == pytest.approx(5.1)
    assert video.units == 1


async def test_keywords_are_klings_field_names(kling: Kling, emulator: Emulator) -> None:
    """What is in Kling's reference can be typed as it stands there."""
    await kling.text2video.submit(
        prompt="A paper boat",
        negative_prompt="people",
        model_name="kling-v1-6",
        mode="pro",
        aspect_ratio="9:16",
        cfg_scale=0.7,
    )

    body = emulator.ledger[0].body
    assert body["negative_prompt"] == "people"
    assert body["cfg_scale"] == 0.7


async def test_fields_left_out_are_not_sent(kling: Kling, emulator: Emulator) -> None:
    """Kling's own defaults hold; the package adds nothing but an id of the task."""
    await kling.text2video.submit(prompt="A paper boat")

    assert set(emulator.ledger[0].body) == {"prompt", "external_task_id"}


async def test_request_is_a_value(kling: Kling) -> None:
    """A request can be made first, kept, and submitted later."""
    request = Text2Video(prompt="A paper boat", duration=10)

    video = await kling.run(request)

    assert video.videos[0].duration == pytest.approx(10.1)


async def test_unknown_fields_go_in_extra(kling: Kling, emulator: Emulator) -> None:
    """A field that Kling added last week needs no new version of the package."""
    await kling.text2video.submit(prompt="A paper boat", extra={"season": "autumn"})

    assert emulator.ledger[0].body["season"] == "autumn"


async def test_mistake_is_found_before_it_costs(kling: Kling, emulator: Emulator) -> None:
    """What Kling would refuse is refused here, with the field, the limit and the size."""
    with pytest.raises(RequestRefused, match=r"prompt: .* 2500 .* 2501"):
        await kling.text2video.run(prompt="x" * 2501)

    assert not emulator.requests


async def test_misspelt_keyword_is_found_before_it_costs(kling: Kling, emulator: Emulator) -> None:
    """Wrong arguments are a `ValueError` (pydantic's); a type checker sees them earlier still."""
    with pytest.raises(ValueError, match="negative_promt"):
        await kling.run(Text2Video.model_validate({"prompt": "A boat", "negative_promt": "people"}))

    assert not emulator.requests
