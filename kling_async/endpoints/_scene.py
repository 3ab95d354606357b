"""Scene: the fields and rules that text2video and image2video share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, ClassVar, Literal, Self

from pydantic import model_validator

from .._errors import RequestRefused
from .._limits import Limits
from .._results import VideoResult
from ._base import Request, beyond_limits
from ._fields import CfgScale, Duration, refuse, several
from ._parts import CameraControl, MultiShot, Voice, WatermarkInfo


class Scene(Request[VideoResult]):
    """A video described by a prompt, in one shot or in several."""

    result_type: ClassVar[type[VideoResult]] = VideoResult
    default_model: ClassVar[str | None] = "kling-v1"

    prompt: str | None = None
    """What is seen; how long it may be is the provider's rule."""
    negative_prompt: str | None = None
    """What must not be seen."""
    model_name: str | None = None
    """kling-v1 … kling-v3; `kling_async.MODELS` is the table of what each can do."""
    mode: str | None = None
    """std, pro or, on the newest models, 4k."""
    duration: Duration | None = None
    """Whole seconds: 5 or 10, and 3 to 15 on kling-v3."""
    sound: Literal["on", "off"] | None = None
    """Whether the video gets a sound track."""
    voice_list: Annotated[Sequence[Voice], several(0, 2, "voices")] | None = None
    """The voices that the prompt names; they need `sound="on"`."""
    multi_shot: bool | None = None
    """A storyboard instead of one shot."""
    shot_type: str | None = None
    """customize (you write the shots) or intelligence (the model does)."""
    multi_prompt: Annotated[Sequence[MultiShot], several(1, 6, "shots")] | None = None
    """The shots of a customized storyboard; their lengths add up to `duration`."""
    cfg_scale: CfgScale | None = None
    """How closely the prompt is followed, from 0 to 1."""
    camera_control: CameraControl | None = None
    """How the camera moves."""
    watermark_info: WatermarkInfo | None = None
    """Whether a watermarked copy is made too."""

    @model_validator(mode="after")
    def _voices_are_heard(self) -> Self:
        if self.voice_list and self.sound != "on":
            raise refuse("voice_list needs sound='on'")
        return self

    @model_validator(mode="after")
    def _storyboard(self) -> Self:
        if not self.multi_shot:
            # Kling would ignore them without a word, and charge for something else.
            if self.shot_type is not None or self.multi_prompt is not None:
                raise refuse("shot_type and multi_prompt need multi_shot=True")
        elif self.shot_type is None:
            raise refuse("multi_shot needs a shot_type: customize or intelligence")
        elif self.shot_type == "customize":
            self._shots_fill_the_clip()
        elif self.multi_prompt is not None:
            raise refuse("multi_prompt goes with shot_type='customize' only")
        elif not self.prompt:
            raise refuse("prompt is required with shot_type='intelligence'")
        return self

    def problems(self, limits: Limits) -> Iterator[RequestRefused]:
        """What this provider would refuse."""
        yield from super().problems(limits)
        config = self.camera_control.config if self.camera_control else None
        for axis, moved in config or ():
            if limits.whole_camera_moves and moved != int(moved):
                yield beyond_limits(f"camera_control.config.{axis}", "whole numbers", f"{moved}")

    def _shots_fill_the_clip(self) -> None:
        if not self.multi_prompt:
            raise refuse("shot_type='customize' needs multi_prompt")
        total = int(self.duration or 5)
        lengths = [int(shot.duration) for shot in self.multi_prompt]
        if sum(lengths) != total:
            raise refuse(
                "the shots of multi_prompt last {sum} s, duration is {total} s",
                sum=sum(lengths),
                total=total,
            )
