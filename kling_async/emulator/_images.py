"""Checks images as Kling does: encoding, signature, size, sides and shape."""

from __future__ import annotations

import base64
import binascii
import struct
from dataclasses import dataclass

from kling_async.emulator._refusals import Refusal

# Kling does not say whether 10 MB counts the file or its Base64 text; the file is taken.
_MOST_BYTES = 10 * 1024 * 1024
_LEAST_SIDE = 300
_WIDEST = 2.5
_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_FRAME_MARKERS = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_BARE_MARKERS = frozenset(range(0xD0, 0xD9)) | {0x01}


@dataclass(frozen=True, slots=True)
class Picture:
    """The sides of an image, in pixels."""

    width: int
    height: int

    def has_shape_of(self, other: Picture) -> bool:
        """Whether the aspect ratios agree, but for rounding."""
        ours = self.width * other.height
        return abs(ours - other.width * self.height) <= 0.01 * ours


def decode(value: str) -> bytes | None:
    """The bytes of a Base64 field; None for a URL, which is not fetched."""
    if value.startswith(("http://", "https://")):
        return None
    # Kling wants bare Base64: the colon of a data: prefix is what makes it invalid.
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, ValueError):
        raise Refusal(1201, "File is not in a valid base64 format") from None


def check_image(value: str | None) -> Picture | None:
    """The image of a field, refused where Kling would; None for a URL."""
    data = decode(value) if value is not None else None
    if data is None:
        return None
    if len(data) > _MOST_BYTES:
        raise Refusal(1201, "Image file size exceeds 10MB")
    picture = read_picture(data)
    if picture is None:
        raise Refusal(1201, "Image format is not supported, use jpg, jpeg or png")
    short, long = sorted((picture.width, picture.height))
    # The live server says these words in task_status_msg; here they come at once.
    if short < _LEAST_SIDE:
        raise Refusal(1201, "Image pixel is invalid")
    if long > short * _WIDEST:
        raise Refusal(1201, "The resolution or aspect ratio of the input image is invalid")
    return picture


def read_picture(data: bytes) -> Picture | None:
    """The sides of a PNG or JPEG file; None for anything else."""
    if data.startswith(_PNG) and data[12:16] == b"IHDR" and len(data) >= 24:
        return Picture(*struct.unpack_from(">2I", data, 16))
    if data.startswith(_JPEG):
        return _read_jpeg(data)
    return None


def _read_jpeg(data: bytes) -> Picture | None:
    at = 2
    while at + 9 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker in _FRAME_MARKERS:
            height, width = struct.unpack_from(">2H", data, at + 5)
            return Picture(width, height)
        # A marker may be preceded by fill bytes, and a few have no body.
        if marker == 0xFF:
            at += 1
        elif marker in _BARE_MARKERS:
            at += 2
        else:
            at += 2 + int.from_bytes(data[at + 2 : at + 4])
    return None
