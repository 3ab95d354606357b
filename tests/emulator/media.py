"""Draws the smallest files that look like images and sounds."""

from __future__ import annotations

import base64
import struct


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4s2I", 13, b"IHDR", width, height) + bytes(5)


def jpeg(width: int, height: int) -> bytes:
    app0 = b"\xff\xe0" + struct.pack(">H", 16) + bytes(14)
    fill_and_restart = b"\xff\xff\xd0"
    frame = b"\xff\xc0" + struct.pack(">HB2H", 17, 8, height, width) + bytes(10)
    return b"\xff\xd8" + app0 + fill_and_restart + frame


def wav(seconds: float, rate: int = 8000) -> bytes:
    form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
    odd_chunk = struct.pack("<4sI", b"LIST", 3) + bytes(4)
    data = struct.pack("<4sI", b"data", int(seconds * rate))
    return b"RIFF" + bytes(4) + b"WAVE" + odd_chunk + form + data


def text(data: bytes) -> str:
    return base64.b64encode(data).decode()


IMAGE = text(png(640, 640))
"""An image every rule likes."""
