"""Image2Video: a video from its first or last frame (POST /v1/videos/image2video)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Self

from pydantic import model_validator

from .._errors import RequestRefused
from .._limits import Limits
from ._base import refusal
from ._fields import OptionalImage, OptionalMask, refuse, several
from ._parts import DynamicMask, Element
from ._scene import Scene


class Image2Video(Scene):
    """Make a video that begins with an image, ends with one, or both."""

    endpoint: ClassVar[str] = "image2video"
    path: ClassVar[str] = "/v1/videos/image2video"

    image: OptionalImage = None
    """The first frame: JPEG or PNG, up to 10 MB, at least 300 px a side."""
    image_tail: OptionalImage = None
    """The last frame."""
    static_mask: OptionalMask = None
    """White areas stand still; the same aspect ratio as the image."""
    dynamic_masks: Annotated[Sequence[DynamicMask], several(0, 6, "masks")] | None = None
    """Areas that move along paths of their own."""
    element_list: Annotated[Sequence[Element], several(0, 3, "elements")] | None = None
    """Custom elements that appear in the video."""

    @model_validator(mode="after")
    def _has_a_frame(self) -> Self:
        if self.image is None and self.image_tail is None:
            raise refuse("image or image_tail is required")
        return self

    @model_validator(mode="after")
    def _one_kind_of_guidance(self) -> Self:
        kinds = {
            "image_tail": self.image_tail is not None,
            "static_mask / dynamic_masks": self.static_mask is not None or bool(self.dynamic_masks),
            "camera_control": self.camera_control is not None,
        }
        used = [kind for kind, is_used in kinds.items() if is_used]
        if len(used) > 1:
            raise refuse("choose one of {used}", used=" and ".join(used))
        if self.element_list and self.voice_list:
            raise refuse("element_list and voice_list exclude each other")
        return self

    def options(self) -> dict[str, Any]:
        """The set fields, and `end_only` where only the last frame is given."""
        options = super().options()
        if self.image is None:
            options["end_only"] = True
        return options

    def size_problems(
        self, sizes: Mapping[str, tuple[int, int]], limits: Limits
    ) -> Iterator[RequestRefused]:
        """Masks that do not fit the image: Kling accepts such a task, bills it and fails it."""
        image = sizes.get("image")
        masks = {name: size for name, size in sizes.items() if "mask" in name}
        for name, size in masks.items():
            exactly = limits.masks_match_pixels and name == "static_mask"
            if image and not _fits(image, size, exactly=exactly):
                what = "the very size" if exactly else "the aspect ratio"
                yield refusal(name, f"needs {what} of the image, {_px(image)}", _px(size))
            first = next(iter(masks.values()))
            if size != first:
                yield refusal(name, f"needs the size of the first mask, {_px(first)}", _px(size))


def _fits(image: tuple[int, int], mask: tuple[int, int], *, exactly: bool) -> bool:
    if exactly:
        return mask == image
    # Scaling rounds to whole pixels, so one pixel of the mask's height is tolerated.
    return abs(image[0] * mask[1] - image[1] * mask[0]) <= max(*image, *mask)


def _px(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} px"
