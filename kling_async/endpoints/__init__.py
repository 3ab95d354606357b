"""The request models, one file per endpoint of Kling's reference."""

from __future__ import annotations

from ._base import Request
from ._parts import (
    CameraConfig,
    CameraControl,
    DynamicMask,
    Element,
    MultiShot,
    ReferenceImage,
    Trajectory,
    Voice,
    WatermarkInfo,
)
from .avatar import Avatar
from .image2video import Image2Video
from .multi_image2video import MultiImage2Video
from .text2video import Text2Video

__all__ = [
    "Avatar",
    "CameraConfig",
    "CameraControl",
    "DynamicMask",
    "Element",
    "Image2Video",
    "MultiImage2Video",
    "MultiShot",
    "ReferenceImage",
    "Request",
    "Text2Video",
    "Trajectory",
    "Voice",
    "WatermarkInfo",
]
