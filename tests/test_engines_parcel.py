"""Requests as JSON: what goes in comes out, and no picture goes in whole."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from kling_async import (
    Avatar,
    CameraConfig,
    CameraControl,
    ConfigurationError,
    DynamicMask,
    Image2Video,
    MediaError,
    MultiImage2Video,
    Request,
    Text2Video,
    Trajectory,
)
from kling_async.engines import pack, unpack
from tests.media_samples import png


@pytest.mark.parametrize(
    "request_",
    [
        Text2Video(prompt="A boat", duration=10, cfg_scale=0.3, external_task_id="boat-1"),
        Text2Video(prompt="A boat", extra={"path": "kept", "deep": {"path": "kept, too"}}),
        Text2Video(
            prompt="A boat",
            camera_control=CameraControl(type="simple", config=CameraConfig(zoom=3)),
        ),
        Image2Video(image="https://host.example/cat.png", image_tail=Path("/pictures/cat.png")),
        Image2Video(
            image=Path("/pictures/cat.png"),
            dynamic_masks=[
                DynamicMask(
                    mask=Path("/m.png"), trajectories=[Trajectory(x=1, y=2), Trajectory(x=3, y=4)]
                )
            ],
        ),
        MultiImage2Video(
            image_list=[Path("/pictures/1.png"), "https://host.example/2.png"], prompt="Both"
        ),
        Avatar(image=Path("/pictures/face.png"), sound_file=Path("/sounds/hello.mp3")),
    ],
)
def test_request_comes_out_as_it_went_in(request_: Request[Any]) -> None:
    parcel = json.loads(json.dumps(pack(request_)))

    assert unpack(parcel) == request_


def test_relative_path_means_the_folder_it_was_packed_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    request = unpack(pack(Image2Video(image=Path("cat.png"))))

    assert isinstance(request, Image2Video)
    assert request.image == tmp_path / "cat.png"


@pytest.mark.parametrize(
    "image", [png(300, 300), io.BytesIO(png(300, 300)), "data:image/png;base64,AAAA", "AAAA" * 99]
)
def test_content_is_refused(image: Any) -> None:
    with pytest.raises(MediaError, match="image: its content .* a path that every worker can read"):
        pack(Image2Video(image=image))


def test_endpoint_of_a_later_version_is_named() -> None:
    with pytest.raises(ConfigurationError, match="endpoint hologram"):
        unpack({"endpoint": "hologram", "fields": {}})
