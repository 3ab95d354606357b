"""MultiImage2Video: a video from several images (POST /v1/videos/multi-image2video)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, ClassVar

from pydantic import BeforeValidator, PlainValidator

from .._errors import RequestRefused
from .._limits import Limits
from .._media import MediaSource
from .._results import VideoResult
from ._base import Request, beyond_limits
from ._fields import CfgScale, Duration, OptionalMask, Text, listed, several
from ._parts import DynamicMask, ReferenceImage, WatermarkInfo


def _as_reference(value: object) -> ReferenceImage:
    given = isinstance(value, ReferenceImage | Mapping)
    return ReferenceImage.model_validate(value if given else {"image": value})


_Reference = Annotated[ReferenceImage | MediaSource, PlainValidator(_as_reference)]


class MultiImage2Video(Request[VideoResult]):
    """Make a video in which the subjects of several images meet."""

    endpoint: ClassVar[str] = "multi-image2video"
    path: ClassVar[str] = "/v1/videos/multi-image2video"
    result_type: ClassVar[type[VideoResult]] = VideoResult
    default_model: ClassVar[str | None] = "kling-v1-6"

    # In the order of CometAPI's page, so that its sample goes out as it is printed there.
    model_name: str | None = None
    """kling-v1-6 is the only one that Kling documents."""
    duration: Duration | None = None
    """5 or 10 seconds."""
    image_list: Annotated[Sequence[_Reference], BeforeValidator(listed)]
    """1 to 4 images (CometAPI: 2 to 4), each as `ReferenceImage(image=…)` or by itself."""
    prompt: Text
    """What happens."""
    negative_prompt: str | None = None
    """What must not be seen."""
    mode: str | None = None
    """std or pro."""
    aspect_ratio: str | None = None
    """16:9, 9:16 or 1:1."""
    cfg_scale: CfgScale | None = None
    """On CometAPI's page only."""
    static_mask: OptionalMask = None
    """On CometAPI's page only."""
    dynamic_masks: Annotated[Sequence[DynamicMask], several(0, 6, "masks")] | None = None
    """On CometAPI's page only."""
    watermark_info: WatermarkInfo | None = None
    """Whether a watermarked copy is made too."""

    def problems(self, limits: Limits) -> Iterator[RequestRefused]:
        """What this provider would refuse."""
        yield from super().problems(limits)
        low, high = limits.images
        if not low <= len(self.image_list) <= high:
            yield beyond_limits("image_list", f"{low} to {high} images", str(len(self.image_list)))
