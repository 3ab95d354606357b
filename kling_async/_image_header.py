"""Reads the width and height of a PNG or JPEG from its header."""

from __future__ import annotations

import re
import struct

_JPEG_MARKER = re.compile(rb"\xff+([\x01-\xfe])")
_JPEG_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_JPEG_ALONE = frozenset(range(0xD0, 0xD8)) | {0x01}
_JPEG_PIXELS = frozenset({0xD9, 0xDA})


def image_size(data: memoryview, file_format: str) -> tuple[int, int] | None:
    """Width and height in pixels, or None if the header is cut off or damaged."""
    return _png_size(data) if file_format == "PNG" else _jpeg_size(data)


def _png_size(data: memoryview) -> tuple[int, int] | None:
    if len(data) < 24 or bytes(data[12:16]) != b"IHDR":
        return None
    width, height = struct.unpack_from(">II", data, 16)
    return width, height


def _jpeg_size(data: memoryview) -> tuple[int, int] | None:
    position = 2
    while marker := _JPEG_MARKER.match(data, position):
        code, position = marker[1][0], marker.end()
        if code in _JPEG_ALONE:
            continue
        if code in _JPEG_PIXELS or position + 7 > len(data):
            return None
        length, _precision, height, width = struct.unpack_from(">HBHH", data, position)
        if code in _JPEG_FRAMES:
            return width, height
        # A length counts its own two bytes; zero would read this segment again and again.
        position += max(length, 2)
    return None
