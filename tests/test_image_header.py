from __future__ import annotations

import pytest

from kling_async._image_header import image_size
from tests.media_samples import PNG_SIGNATURE, jpeg, jpeg_segment, png, png_chunk

EXIF_TURNED = b"Exif\0\0MM\0*\0\0\0\x08\0\1\1\x12\0\3\0\0\0\1\0\6\0\0" + bytes(4)


def jpeg_size(picture: bytes) -> tuple[int, int] | None:
    return image_size(memoryview(picture), "JPEG")


def test_a_png_tells_its_size() -> None:
    assert image_size(memoryview(png(321, 456)), "PNG") == (321, 456)
    assert image_size(memoryview(png(0, 456)), "PNG") == (0, 456)


@pytest.mark.parametrize("progressive", [False, True])
def test_a_jpeg_tells_its_size(progressive: bool) -> None:
    assert jpeg_size(jpeg(321, 456, progressive=progressive)) == (321, 456)


@pytest.mark.parametrize(
    "segments",
    [
        jpeg_segment(0xE1, bytes(65000)) * 9,
        jpeg_segment(0xE1, EXIF_TURNED),
        b"\xff\xff\xff" + jpeg_segment(0xFE, b"fill bytes before a marker"),
        b"\xff\x01\xff\xd0" + jpeg_segment(0xFE, b"markers without a body"),
    ],
)
def test_a_jpeg_is_sized_behind_other_segments(segments: bytes) -> None:
    assert jpeg_size(jpeg(321, 456, segments=segments)) == (321, 456)


@pytest.mark.parametrize(
    "picture", [PNG_SIGNATURE, png(9, 9)[:23], PNG_SIGNATURE + png_chunk(b"CgBI", bytes(20))]
)
def test_a_damaged_png_has_no_size(picture: bytes) -> None:
    assert image_size(memoryview(picture), "PNG") is None


@pytest.mark.parametrize(
    "picture",
    [
        jpeg(9, 9)[:2],
        jpeg(9, 9)[:100],
        b"\xff\xd8" + jpeg_segment(0xDA, bytes(20)),
        b"\xff\xd8\0\0" + jpeg(9, 9)[2:],
    ],
)
def test_a_damaged_jpeg_has_no_size(picture: bytes) -> None:
    assert jpeg_size(picture) is None


@pytest.mark.parametrize("filler", [b"\xff", b"\xff\xe0\0\2", b"\xff\xe0\0\0", b"\xff\xd0"])
def test_a_megabyte_of_filler_ends(filler: bytes) -> None:
    assert jpeg_size(b"\xff\xd8" + filler * (1_000_000 // len(filler))) is None
