"""Checks sound files as Kling does: signature, size and, for WAV, length."""

from __future__ import annotations

import math
import struct

from kling_async.emulator._images import decode
from kling_async.emulator._refusals import Refusal

_MOST_BYTES = 5 * 1024 * 1024
_LEAST_SECONDS = 2


def check_audio(value: str, longest: int) -> int | None:
    """The length of a sound file in seconds, where it can be told."""
    data = decode(value)
    if data is None:
        return None
    if len(data) > _MOST_BYTES:
        raise Refusal(1201, "Audio file size exceeds 5MB")
    if not _is_audio(data):
        raise Refusal(1201, "Audio format is not supported, use mp3, wav, m4a or aac")
    seconds = _wav_seconds(data)
    if seconds is None:
        return None
    if not _LEAST_SECONDS <= seconds <= longest:
        raise Refusal(1201, f"Audio duration must be {_LEAST_SECONDS} to {longest} seconds")
    return math.ceil(seconds)


def _is_audio(data: bytes) -> bool:
    wav = data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    m4a = data[4:8] == b"ftyp"
    # An MPEG frame, layer III of MP3 or ADTS of AAC alike, begins with eleven set bits.
    frame = len(data) > 1 and data[0] == 0xFF and data[1] & 0xE0 == 0xE0
    return wav or m4a or frame or data[:3] == b"ID3"


def _wav_seconds(data: bytes) -> float | None:
    if data[:4] != b"RIFF":
        return None
    at, rate = 12, 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, at)
        if kind == b"fmt " and at + 20 <= len(data):
            rate = struct.unpack_from("<I", data, at + 16)[0]
        elif kind == b"data" and rate:
            return float(size / rate)
        at += 8 + size + size % 2
    return None
