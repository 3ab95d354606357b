"""CometAPI: Kling's paths below /kling, Kling's envelope, its own errors."""

from __future__ import annotations

from typing import ClassVar

from .._limits import OFFICIAL_RATIOS, Limits
from ._base import Provider, checked_key

_SCENES = ("text2video", "image2video")
_NEWER = ("sound", "voice_list", "multi_shot", "shot_type", "multi_prompt", "watermark_info")

# What CometAPI's own pages print (March 2026). Kling raised most of these since, and
# whether CometAPI enforces them is not known; `limits=` lifts them.
COMETAPI_LIMITS = Limits(
    prompt=500,
    negative_prompt=200,
    avatar_prompt=2500,
    images=(2, 4),
    audio_seconds=(2.0, 60.0),
    aspect_ratios=OFFICIAL_RATIOS | {"4:3", "3:4", "3:2", "2:3"},
    durations=frozenset({"5", "10"}),
    modes=frozenset({"std", "pro"}),
    masks_match_pixels=True,
    required=frozenset({"image2video.image"}),
    unlisted=frozenset(
        {
            *(f"{endpoint}.{field}" for endpoint in _SCENES for field in _NEWER),
            "image2video.camera_control",
            "image2video.element_list",
            "multi-image2video.aspect_ratio",
            "multi-image2video.watermark_info",
            "avatar.watermark_info",
        }
    ),
)


class CometAPI(Provider):
    """Kling through CometAPI; the key stands in COMETAPI_KEY.

    Whether it finds tasks by external_task_id or refuses a second one is documented
    nowhere, so nothing is built on either until the server has shown it.
    """

    name: ClassVar[str] = "cometapi"
    prefix: ClassVar[str] = "/kling"
    key_variable: ClassVar[str] = "COMETAPI_KEY"

    def __init__(
        self,
        key: str,
        *,
        base_url: str = "https://api.cometapi.com",
        limits: Limits = COMETAPI_LIMITS,
    ) -> None:
        super().__init__(base_url, limits)
        self._key = checked_key(key, "the CometAPI key")

    def authorization(self, now: float) -> str:
        """The key as a bearer token."""
        return f"Bearer {self._key}"

    def secrets(self) -> tuple[str, ...]:
        """The key."""
        return (self._key,)
