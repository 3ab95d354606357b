"""The small objects inside requests: camera, masks, shots, voices, elements."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Annotated, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, model_validator

from ._fields import Duration, Image, Mask, Text, at_most, between, refuse, several, shown


class Part(BaseModel):
    """Base of every object that stands inside a request."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        defer_build=True,
        hide_input_in_errors=True,
    )

    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        return shown(super().__repr_args__())


_Move = Annotated[int | float, AfterValidator(between(-10, 10))]


class CameraConfig(Part):
    """How far the camera moves along one of its six axes, from -10 to 10.

    Kling wants exactly one axis non-zero and some gateways want all six named, so all
    six are sent, five of them as zero.
    """

    horizontal: _Move = 0
    vertical: _Move = 0
    pan: _Move = 0
    tilt: _Move = 0
    roll: _Move = 0
    zoom: _Move = 0

    @model_validator(mode="after")
    def _one_axis(self) -> Self:
        moved = sum(1 for name in type(self).model_fields if getattr(self, name))
        if moved != 1:
            raise refuse("exactly one axis must be non-zero, got {moved}", moved=moved)
        return self


class CameraControl(Part):
    """A camera movement; only `simple` takes a `config`, and it needs one."""

    type: Literal["simple", "down_back", "forward_up", "right_turn_forward", "left_turn_forward"]
    config: CameraConfig | None = None

    @model_validator(mode="after")
    def _config_with_simple(self) -> Self:
        if (self.type == "simple") != (self.config is not None):
            raise refuse("config goes with type 'simple', and only with it")
        return self


class Trajectory(Part):
    """One point of a path, in pixels from the image's bottom left corner."""

    x: int
    y: int


class DynamicMask(Part):
    """An area of the image and the path it moves along."""

    mask: Mask
    trajectories: Annotated[Sequence[Trajectory], several(2, 77, "points")]


class MultiShot(Part):
    """One shot of a storyboard."""

    index: int
    prompt: Annotated[str, AfterValidator(at_most(512, "characters"))]
    duration: Duration


class Voice(Part):
    """A voice the prompt names as ``<<<voice_1>>>``, by its place in the list."""

    voice_id: Text


class Element(Part):
    """A custom element, by its id."""

    element_id: Annotated[int, AfterValidator(between(0, 2**63 - 1))]


class ReferenceImage(Part):
    """One image of a multi-image request."""

    image: Image


class WatermarkInfo(Part):
    """Whether a watermarked copy is made too."""

    enabled: bool
