"""Videos have the ratio and the length that was asked for, and tables that hold."""

from __future__ import annotations

import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from kling_async.emulator._mp4 import RATIOS, frame_count, nearest_ratio, write_mp4

CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}


def leaves(data: bytes) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        body = data[at + 8 : at + size]
        found |= leaves(body) if kind in CONTAINERS else {kind: body}
        at += size
    return found


@pytest.mark.parametrize("ratio", RATIOS)
def test_sides_have_the_ratio(ratio: str) -> None:
    head = leaves(write_mp4(ratio, 20, title="", comment=""))[b"tkhd"]
    width, height = (side >> 16 for side in struct.unpack_from(">2I", head, 76))

    across, down = (int(part) for part in ratio.split(":"))
    assert width / height == pytest.approx(across / down)


@pytest.mark.parametrize("seconds", [0.05, 0.1, 1, 5.1, 10.1, 59, 60])
def test_tables_agree_with_the_frames(seconds: float) -> None:
    frames = frame_count(seconds)
    data = write_mp4("16:9", frames, title="t", comment="c")
    boxes = leaves(data)

    sizes = struct.unpack_from(f">{frames}I", boxes[b"stsz"], 12)
    (offset,) = struct.unpack_from(">I", boxes[b"stco"], 8)
    assert data[offset - 4 : offset] == b"mdat"
    assert offset + sum(sizes) == len(data)
    assert sum(sizes) == len(boxes[b"mdat"])
    assert struct.unpack_from(">2I", boxes[b"mvhd"], 12) == (1000, round(seconds * 1000))
    assert struct.unpack_from(">I", boxes[b"stss"], 4)[0] == -(-frames // 20)


def test_at_least_one_frame() -> None:
    assert frame_count(0) == 1


def test_text_stands_in_the_metadata() -> None:
    data = write_mp4("1:1", 20, title="Schiff 🚣", comment="task 7")

    assert "Schiff 🚣".encode() in data
    assert b"task 7" in data


def test_padding_makes_the_file_as_long_as_wanted() -> None:
    assert len(write_mp4("1:1", 20, title="", comment="", size=50_000)) == 50_000
    assert len(write_mp4("1:1", 20, title="", comment="", size=10)) > 10


@pytest.mark.parametrize(
    ("width", "height", "ratio"),
    [(1920, 1080, "16:9"), (1000, 400, "16:9"), (640, 640, "1:1"), (300, 420, "3:4")],
)
def test_image_gets_the_nearest_ratio(width: int, height: int, ratio: str) -> None:
    assert nearest_ratio(width, height) == ratio


@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs ffmpeg")
@pytest.mark.parametrize("ratio", RATIOS)
def test_every_frame_decodes(ratio: str, tmp_path: Path) -> None:
    file = tmp_path / "video.mp4"
    file.write_bytes(write_mp4(ratio, 42, title="t", comment="c", size=30_000))
    command = ["ffmpeg", "-v", "error", "-i", str(file), "-f", "null", "-"]

    decoded = subprocess.run(command, capture_output=True, text=True, check=True)
    assert decoded.stderr == ""
