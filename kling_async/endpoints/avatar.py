"""Avatar: a portrait that speaks (POST /v1/videos/avatar/image2video)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar, Self

from pydantic import model_validator

from .._errors import RequestRefused
from .._limits import Limits
from .._results import VideoResult
from ._base import Request, one_of, refusal
from ._fields import Image, OptionalAudio, Text, cut, refuse
from ._parts import WatermarkInfo


class Avatar(Request[VideoResult]):
    """Make a portrait speak, from an audio file or from the id of Kling's own speech."""

    endpoint: ClassVar[str] = "avatar"
    path: ClassVar[str] = "/v1/videos/avatar/image2video"
    result_type: ClassVar[type[VideoResult]] = VideoResult
    prompt_limit: ClassVar[str] = "avatar_prompt"

    image: Image
    """The portrait: JPEG or PNG, up to 10 MB, at least 300 px a side."""
    audio_id: Text | None = None
    """Speech made by Kling in the last 30 days."""
    sound_file: OptionalAudio = None
    """MP3, WAV, M4A or AAC, up to 5 MB, from 2 s to 300 s (CometAPI: 60 s)."""
    prompt: str | None = None
    """What the avatar does and how the camera moves."""
    mode: str | None = None
    """std or pro."""
    watermark_info: WatermarkInfo | None = None
    """Whether a watermarked copy is made too."""

    @model_validator(mode="after")
    def _one_voice(self) -> Self:
        if (self.audio_id is None) == (self.sound_file is None):
            raise refuse("exactly one of audio_id and sound_file is required")
        return self

    def problems(self, limits: Limits) -> Iterator[RequestRefused]:
        """What this provider would refuse, and the modes that Kling has here."""
        yield from super().problems(limits)
        if self.mode not in (None, "std", "pro"):
            yield refusal("mode", one_of(("std", "pro")), cut(self.mode))
