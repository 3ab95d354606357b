"""Scenes: the requests of the demo, with pictures and speech made from nothing."""

from __future__ import annotations

import io
import struct
import wave
import zlib
from collections.abc import Iterator
from itertools import zip_longest

from .._results import VideoResult
from ..endpoints import Avatar, Image2Video, MultiImage2Video, Request, Text2Video

_MODEL = "kling-v2-6"

_TOLD = (
    # prompt, seconds, shape
    ("A paper boat on a storm drain", 5, "9:16"),
    ("Rain begins on a tin roof", 5, "16:9"),
    ("A lighthouse counts the ships", 10, "16:9"),
    ("Fog walks down the harbour stairs", 5, "1:1"),
    ("A gull steals a sandwich", 5, "16:9"),
    ("The boat turns into the canal", 5, "9:16"),
    ("Lamps go on along the quay", 5, "16:9"),
    ("A cat listens to the tide", 5, "1:1"),
    ("The storm has forgotten us", 10, "16:9"),
)
_SHOWN = (
    # prompt, width, height
    ("The sun goes down", 640, 360),
    ("The tide comes in", 480, 480),
    ("A door opens by itself", 360, 640),
    ("Snow on the same street", 640, 360),
    ("The postcard waves back", 640, 480),
    ("Someone lights a match", 360, 480),
    ("The sea looks up", 640, 360),
)
_MET = ("They meet", "They dance", "They share an umbrella", "They say goodbye")
_SPOKEN = ("She nods", "He clears his throat", "She laughs at the end", "He looks away")


def scenes() -> list[Request[VideoResult]]:
    """The requests, of all four kinds, no two of them alike; to draw them blocks."""
    # By turns: creates of one model that wait for a slot hold up those behind them.
    rows = zip_longest(_told(), _shown(), _met(), _spoken())
    return [scene for row in rows for scene in row if scene is not None]


def picture(width: int, height: int, hue: int) -> bytes:
    """A small PNG: a sky that fades."""
    rows = b"".join(
        b"\0" + bytes((255 - y % 128, (y + hue) % 200, 64 + hue % 128)) * width
        for y in range(height)
    )
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def speech(seconds: int) -> bytes:
    """A WAV that says nothing."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 8000 * seconds)
    return target.getvalue()


def _told() -> Iterator[Text2Video]:
    for prompt, seconds, shape in _TOLD:
        yield Text2Video(prompt=prompt, model_name=_MODEL, duration=seconds, aspect_ratio=shape)


def _shown() -> Iterator[Image2Video]:
    for number, (prompt, width, height) in enumerate(_SHOWN):
        image = picture(width, height, 27 * number)
        yield Image2Video(prompt=prompt, model_name=_MODEL, image=image, duration=5)


def _met() -> Iterator[MultiImage2Video]:
    for number, prompt in enumerate(_MET):
        images = [picture(480, 360, 40 * number), picture(360, 360, 40 * number + 90)]
        yield MultiImage2Video(prompt=prompt, image_list=images, duration=5)


def _spoken() -> Iterator[Avatar]:
    for number, prompt in enumerate(_SPOKEN):
        image = picture(360, 480, 50 * number)
        yield Avatar(prompt=prompt, image=image, sound_file=speech(3 + number))
