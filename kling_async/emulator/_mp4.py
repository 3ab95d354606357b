"""Writes playable MP4 files of any length by repeating a one-second sample."""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import accumulate

RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "3:2", "2:3")
"""The aspect ratios there is a sample for."""

FRAMES_PER_SECOND = 20
"""The frame rate of every sample, and so of every file."""

_MOVIE_TICKS = 1000
_CONTAINERS = frozenset({b"moov", b"trak", b"mdia", b"minf", b"stbl"})
# An edit list would hold the old length; tags are written anew.
_DROPPED = frozenset({b"edts", b"udta"})


@dataclass(frozen=True, slots=True)
class _Sample:
    """One second of video, taken apart."""

    ftyp: bytes
    moov: bytes
    frames: tuple[bytes, ...]
    ticks_per_frame: int


def nearest_ratio(width: int, height: int) -> str:
    """The ratio with a sample that is closest to an image's."""

    def distance(ratio: str) -> float:
        across, down = ratio.split(":")
        return abs(math.log(width / height) - math.log(int(across) / int(down)))

    return min(RATIOS, key=distance)


def frame_count(seconds: float) -> int:
    """How many frames make a file of about so many seconds, at least one."""
    return max(1, round(seconds * FRAMES_PER_SECOND))


def write_mp4(ratio: str, frames: int, *, title: str, comment: str, size: int = 0) -> bytes:
    """An MP4 of exactly `frames` frames, padded to about `size` bytes.

    `title` and `comment` stand in its metadata, which makes the file unique.
    """
    sample = _load(ratio)
    repeats = -(-frames // len(sample.frames))
    pictures = (sample.frames * repeats)[:frames]
    media = _box(b"mdat", *pictures)
    tags = _box(b"udta", _tags({b"\xa9nam": title, b"\xa9cmt": comment}))

    def head(offset: int) -> bytes:
        tables = _tables(sample, pictures, offset)
        moov = b"".join(_rewritten(sample.moov, tables))
        return sample.ftyp + _box(b"moov", moov, tags)

    # The offset has a fixed width, so a first draft tells the length of the last.
    before = len(head(0))
    gap = max(0, size - before - len(media) - 8)
    padding = _box(b"free", bytes(gap)) if gap else b""
    return head(before + len(padding) + 8) + padding + media


@cache
def _load(ratio: str) -> _Sample:
    name = ratio.replace(":", "x") + ".mp4"
    data = (files("kling_async.emulator") / "samples" / name).read_bytes()
    top = {kind: data[start:end] for kind, start, end in _boxes(data)}
    leaves = dict(_leaves(top[b"moov"]))
    count = struct.unpack_from(">I", leaves[b"stsz"], 8)[0]
    sizes: tuple[int, ...] = struct.unpack_from(f">{count}I", leaves[b"stsz"], 12)
    start: int = struct.unpack_from(">I", leaves[b"stco"], 8)[0]
    ends = list(accumulate(sizes, initial=start))
    return _Sample(
        ftyp=_box(b"ftyp", top[b"ftyp"]),
        moov=top[b"moov"],
        frames=tuple(data[a:b] for a, b in zip(ends, ends[1:], strict=False)),
        ticks_per_frame=struct.unpack_from(">I", leaves[b"stts"], 12)[0],
    )


def _tables(
    sample: _Sample, pictures: tuple[bytes, ...], offset: int
) -> dict[bytes, Callable[[bytes], bytes]]:
    """The boxes that depend on length, each as a function of its old body."""
    total = len(pictures)
    ticks = total * sample.ticks_per_frame
    shown = total * _MOVIE_TICKS // FRAMES_PER_SECOND
    # Every second begins with a key frame and refers to no other second.
    keys = range(1, total + 1, len(sample.frames))
    sizes = [len(picture) for picture in pictures]
    # Offsets are those of version 0 boxes, which is what ffmpeg writes for short files.
    return {
        b"mvhd": lambda old: old[:16] + struct.pack(">I", shown) + old[20:],
        b"tkhd": lambda old: old[:20] + struct.pack(">I", shown) + old[24:],
        b"mdhd": lambda old: old[:16] + struct.pack(">I", ticks) + old[20:],
        b"stts": lambda _: struct.pack(">4I", 0, 1, total, sample.ticks_per_frame),
        b"stss": lambda _: struct.pack(f">2I{len(keys)}I", 0, len(keys), *keys),
        b"stsc": lambda _: struct.pack(">5I", 0, 1, 1, total, 1),
        b"stsz": lambda _: struct.pack(f">3I{total}I", 0, 0, total, *sizes),
        b"stco": lambda _: struct.pack(">3I", 0, 1, offset),
    }


def _rewritten(body: bytes, tables: dict[bytes, Callable[[bytes], bytes]]) -> Iterator[bytes]:
    for kind, start, end in _boxes(body):
        if kind in _CONTAINERS:
            yield _box(kind, *_rewritten(body[start:end], tables))
        elif kind not in _DROPPED:
            keep = tables.get(kind, bytes)
            yield _box(kind, keep(body[start:end]))


def _tags(tags: dict[bytes, str]) -> bytes:
    """iTunes-style metadata, which every player and ffprobe read."""
    # The handler is the fixed one of such lists: kind mdir, maker appl.
    handler = _box(b"hdlr", struct.pack(">2I4s4s9x", 0, 0, b"mdir", b"appl"))
    text = [
        _box(kind, _box(b"data", struct.pack(">2I", 1, 0), value.encode()))
        for kind, value in tags.items()
    ]
    return _box(b"meta", bytes(4), handler, _box(b"ilst", *text))


def _box(kind: bytes, *parts: bytes) -> bytes:
    body = b"".join(parts)
    return struct.pack(">I4s", len(body) + 8, kind) + body


def _boxes(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Each box as (kind, start and end of its body)."""
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, at + 8, at + size
        at += size


def _leaves(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    for kind, start, end in _boxes(data):
        if kind in _CONTAINERS:
            yield from _leaves(data[start:end])
        else:
            yield kind, data[start:end]
