"""VideoResult and the videos in it: what a finished task gives."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Annotated, Any, Protocol, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from ._state import TaskState


class FromState(Protocol):
    """A result type: made from the state of a task that succeeded."""

    @classmethod
    def from_state(cls, state: TaskState, token: str | None = None) -> Self:
        """Read the result out of *state*; raise ValueError when it holds none."""
        ...


def _text(value: object) -> str | None:
    """Gateways send ids as numbers now and then; no oddity beside the url costs the video."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else None


def _seconds(value: object) -> float | None:
    try:
        seconds = float(value)  # type: ignore[arg-type]  # any JSON value may stand here
    except (TypeError, ValueError, OverflowError):
        return None
    return seconds if math.isfinite(seconds) else None


class Video(BaseModel):
    """One video file of a result."""

    model_config = ConfigDict(frozen=True, extra="ignore", defer_build=True)

    url: str = Field(min_length=1)
    """Where the file is; Kling clears it after 30 days."""
    id: Annotated[str | None, BeforeValidator(_text)] = None
    """The id of the *video*, which extending and lip-sync ask for."""
    watermark_url: Annotated[str | None, BeforeValidator(_text)] = None
    """The same with a watermark, if `watermark_info` asked for one."""
    duration: Annotated[float | None, BeforeValidator(_seconds)] = None
    """Its real length in seconds, which need not be the one asked for."""


class VideoResult(BaseModel):
    """The videos of a task that succeeded."""

    model_config = ConfigDict(frozen=True, defer_build=True)

    task_id: str
    videos: tuple[Video, ...] = Field(min_length=1)
    external_task_id: str | None = None
    token: str | None = None
    """What `kling.task(token)` gets the result by again, for as long as Kling keeps it."""
    units: Decimal | None = None
    """What the task cost in Kling's units, where the server says so."""
    raw: Mapping[str, Any] = Field(default_factory=dict[str, Any], repr=False)

    @property
    def url(self) -> str:
        """The first video's address; most tasks have one video."""
        return self.videos[0].url

    @classmethod
    def from_state(cls, state: TaskState, token: str | None = None) -> Self:
        """Read the videos out of *state*; raise ValueError when it holds none."""
        return cls.model_validate(
            {
                "task_id": state.id,
                "videos": state.task_result.get("videos", ()),
                "external_task_id": state.external_task_id,
                "token": token,
                "units": state.units,
                "raw": state.raw,
            }
        )
