"""Reads how long a WAV, M4A, MP3 or AAC recording lasts."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import NamedTuple

_MPEG1_KBPS = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_MPEG2_KBPS = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_MPEG_RATES = {3: (44100, 48000, 32000), 2: (22050, 24000, 16000), 0: (11025, 12000, 8000)}
_AAC_RATES = (
    *(96000, 88200, 64000, 48000, 44100, 32000),
    *(24000, 22050, 16000, 12000, 11025, 8000, 7350),
)
_LENGTH_UNKNOWN = frozenset({0, 2**32 - 1, 2**64 - 1})
_TRAILERS = (b"TAG", b"APETAGEX", b"LYRICSBEGIN")


class Frame(NamedTuple):
    """One MP3 or AAC frame: bytes until the next one, samples, samples a second."""

    size: int
    samples: int
    rate: int


def audio_seconds(data: memoryview, file_format: str) -> float | None:
    """How long the recording lasts, or None where its bytes do not tell."""
    match file_format:
        case "WAV":
            return _wav_seconds(data)
        case "M4A":
            return _m4a_seconds(data)
        case "MP3":
            return _framed_seconds(data, mp3_frame)
        case _:
            return _framed_seconds(data, aac_frame)


def after_id3(data: memoryview) -> int:
    """Where the sound begins behind an ID3v2 tag; 0 without a tag."""
    if len(data) < 10 or bytes(data[:3]) != b"ID3":
        return 0
    size = 0
    for digit in data[6:10]:
        size = size << 7 | digit & 0x7F
    has_footer = data[5] & 0x10
    return 10 + size + (10 if has_footer else 0)


def mp3_frame(data: memoryview, position: int) -> Frame | None:
    """The MPEG layer III frame that begins at `position`, if one does."""
    head = bytes(data[position : position + 4])
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE6 != 0xE2:
        return None
    version, kbps, rate = head[1] >> 3 & 3, head[2] >> 4, head[2] >> 2 & 3
    if version not in _MPEG_RATES or kbps in (0, 15) or rate == 3:
        return None
    samples = 1152 if version == 3 else 576
    hertz = _MPEG_RATES[version][rate]
    bits = (_MPEG1_KBPS if version == 3 else _MPEG2_KBPS)[kbps] * 1000
    return Frame(samples // 8 * bits // hertz + (head[2] >> 1 & 1), samples, hertz)


def aac_frame(data: memoryview, position: int) -> Frame | None:
    """The ADTS frame that begins at `position`, if one does."""
    head = bytes(data[position : position + 7])
    if len(head) < 7 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:
        return None
    rate = head[2] >> 2 & 15
    size = (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5
    if rate >= len(_AAC_RATES) or size < 7:
        return None
    return Frame(size, 1024 * ((head[6] & 3) + 1), _AAC_RATES[rate])


def has_only_sound(data: memoryview) -> bool:
    """Whether an MP4 container has a sound track and no picture track."""
    tracks = _boxes_at(data, b"moov", b"trak", b"mdia", b"hdlr")
    kinds = {bytes(track[8:12]) for track in tracks}
    return b"soun" in kinds and b"vide" not in kinds


def _framed_seconds(
    data: memoryview, frame_at: Callable[[memoryview, int], Frame | None]
) -> float | None:
    # Every frame is counted: at a variable bit rate the size says nothing, and Xing is optional.
    position = after_id3(data)
    seconds = 0.0
    while frame := frame_at(data, position):
        if not _is_index(data, position):
            seconds += frame.samples / frame.rate
        position += frame.size
    rest = bytes(data[position : position + 11])
    return seconds if seconds and (not rest or rest.startswith(_TRAILERS)) else None


def _is_index(data: memoryview, position: int) -> bool:
    head = bytes(data[position : position + 40])
    return any(mark in head for mark in (b"Xing", b"Info", b"VBRI"))


def _wav_seconds(data: memoryview) -> float | None:
    bytes_a_second = 0
    for name, body in _wav_chunks(data):
        if name == b"fmt " and len(body) >= 12:
            (bytes_a_second,) = struct.unpack_from("<I", body, 8)
        if name == b"data":
            return len(body) / bytes_a_second if bytes_a_second else None
    return None


def _wav_chunks(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position = 12
    while position + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, position)
        position += 8
        # A WAV written to a pipe never learns its length: 0 or all ones mean "to the end".
        if name == b"data" and size in _LENGTH_UNKNOWN:
            size = len(data)
        yield name, data[position : position + size]
        position += size + size % 2


def _m4a_seconds(data: memoryview) -> float | None:
    header = next(_boxes_at(data, b"moov", b"mvhd"), memoryview(b""))
    if len(header) < 32:
        return None
    ticks_a_second, ticks = struct.unpack_from(
        ">IQ" if header[0] else ">II", header, 20 if header[0] else 12
    )
    return ticks / ticks_a_second if ticks_a_second and ticks not in _LENGTH_UNKNOWN else None


def _boxes_at(data: memoryview, name: bytes, *inner: bytes) -> Iterator[memoryview]:
    for found, body in _boxes(data):
        if found == name and inner:
            yield from _boxes_at(body, *inner)
        elif found == name:
            yield body


def _boxes(data: memoryview) -> Iterator[tuple[bytes, memoryview]]:
    position = 0
    while position + 8 <= len(data):
        header = 8
        size, name = struct.unpack_from(">I4s", data, position)
        if size == 1 and position + 16 <= len(data):
            header = 16
            (size,) = struct.unpack_from(">Q", data, position + 8)
        elif size == 0:
            size = len(data) - position
        if size < header:
            return
        yield name, data[position + header : position + size]
        position += size
