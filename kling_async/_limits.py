"""Limits: the rules in which providers differ, as data."""

from __future__ import annotations

from dataclasses import dataclass

OFFICIAL_RATIOS = frozenset({"16:9", "9:16", "1:1"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one provider's pages allow; the defaults are Kling's own.

    Lengths count code points: no source says whether Kling counts those, UTF-16
    units or bytes. `None` for a set of choices means that the provider names none.
    """

    prompt: int = 2500
    negative_prompt: int = 2500
    avatar_prompt: int = 2500
    images: tuple[int, int] = (1, 4)
    """How many reference images multi-image2video takes."""
    audio_seconds: tuple[float, float] = (2.0, 300.0)
    aspect_ratios: frozenset[str] | None = OFFICIAL_RATIOS
    durations: frozenset[str] | None = None
    modes: frozenset[str] | None = None
    shot_types: frozenset[str] | None = frozenset({"customize", "intelligence"})
    masks_match_pixels: bool = False
    """Whether a static mask needs the image's very size, not only its aspect ratio."""
    whole_camera_moves: bool = False
    """Whether the camera's moves must be whole numbers."""
    required: frozenset[str] = frozenset()
    """Fields, as "endpoint.field", without which the provider takes no request."""
    unlisted: frozenset[str] = frozenset(
        {
            "multi-image2video.cfg_scale",
            "multi-image2video.static_mask",
            "multi-image2video.dynamic_masks",
        }
    )
    """Fields, as "endpoint.field", that the provider's page does not list: sent with a warning."""
