"""A finished task's videos are read out of its state, and nothing odd beside them is fatal."""

from __future__ import annotations

import pickle
from decimal import Decimal
from typing import Any

import pytest
from pydantic import ValidationError

from kling_async import TaskState, TaskStatus, Video, VideoResult

URL = "https://v16-kling-fdl.klingai.com/boat.mp4"


def result_of(*videos: object) -> VideoResult:
    """The result read from a state with these videos."""
    task_result: dict[str, Any] = {"videos": list(videos)}
    return VideoResult.from_state(TaskState("7", TaskStatus.SUCCEEDED, task_result=task_result))


def test_videos_are_read_as_kling_sends_them() -> None:
    result = result_of({"id": "842", "url": URL, "watermark_url": URL + "?w", "duration": "5.1"})

    assert result.videos == (Video(id="842", url=URL, watermark_url=URL + "?w", duration=5.1),)


def test_url_is_the_first_videos() -> None:
    assert result_of({"url": URL}, {"url": "https://other.example"}).url == URL


def test_all_of_the_state_is_carried_over() -> None:
    state = TaskState(
        "7",
        TaskStatus.SUCCEEDED,
        external_task_id="ka-7",
        units=Decimal("3.5"),
        task_result={"videos": [{"url": URL}]},
        answer=b'{"code":0}',
    )
    result = VideoResult.from_state(state)

    assert (result.task_id, result.external_task_id) == ("7", "ka-7")
    assert (result.units, result.raw) == (Decimal("3.5"), {"code": 0})


@pytest.mark.parametrize(
    ("told", "seconds"),
    [("5", 5.0), ("5.1", 5.1), (10, 10.0), ("", None), (None, None), ("5s", None), ([], None)],
)
def test_duration_is_seconds_or_nothing(told: object, seconds: float | None) -> None:
    assert result_of({"url": URL, "duration": told}).videos[0].duration == seconds


@pytest.mark.parametrize("told", ["nan", "inf", "1e999", 10**400])
def test_endless_duration_is_nothing(told: object) -> None:
    assert result_of({"url": URL, "duration": told}).videos[0].duration is None


@pytest.mark.parametrize("told", [842250903708762200, "842250903708762200"], ids=["int", "str"])
def test_id_is_text(told: object) -> None:
    assert result_of({"url": URL, "id": told}).videos[0].id == "842250903708762200"


@pytest.mark.parametrize("odd", [None, True, 1.5, [], {}])
def test_oddity_beside_the_url_does_not_cost_the_video(odd: object) -> None:
    video = result_of({"url": URL, "id": odd, "watermark_url": odd, "new_field": odd}).videos[0]

    assert (video.url, video.id, video.watermark_url) == (URL, None, None)


@pytest.mark.parametrize("url", [None, "", 7, [], {}])
def test_video_without_an_address_is_refused(url: object) -> None:
    with pytest.raises(ValueError, match="url"):
        result_of({"url": url})


@pytest.mark.parametrize("videos", [[], None, {}, "x", 7, [None], ["x"], [[]]])
def test_junk_in_place_of_videos_is_refused(videos: object) -> None:
    state = TaskState("7", TaskStatus.SUCCEEDED, task_result={"videos": videos})

    with pytest.raises(ValueError, match="videos"):
        VideoResult.from_state(state)


def test_result_without_videos_is_refused() -> None:
    with pytest.raises(ValueError, match="videos"):
        VideoResult.from_state(TaskState("7", TaskStatus.SUCCEEDED))


def test_result_cannot_be_changed() -> None:
    result = result_of({"url": URL})

    with pytest.raises(ValidationError):
        result.task_id = "8"


def test_result_survives_pickling_and_json() -> None:
    result = result_of({"url": URL, "duration": "5.1"})

    assert pickle.loads(pickle.dumps(result)) == result
    assert VideoResult.model_validate_json(result.model_dump_json()) == result


def test_raw_answer_stays_out_of_the_repr() -> None:
    assert "raw" not in repr(result_of({"url": URL}))
