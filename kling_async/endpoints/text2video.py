"""Text2Video: a video from a prompt (POST /v1/videos/text2video)."""

from __future__ import annotations

from typing import ClassVar, Self

from pydantic import model_validator

from ._fields import refuse
from ._scene import Scene


class Text2Video(Scene):
    """Make a video from a prompt."""

    endpoint: ClassVar[str] = "text2video"
    path: ClassVar[str] = "/v1/videos/text2video"

    aspect_ratio: str | None = None
    """16:9, 9:16 or 1:1; CometAPI also takes 4:3, 3:4, 3:2 and 2:3."""

    @model_validator(mode="after")
    def _has_a_prompt(self) -> Self:
        if not self.prompt and not self.multi_shot:
            raise refuse("prompt is required unless multi_shot=True")
        return self
