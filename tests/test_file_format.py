from __future__ import annotations

import pytest

from kling_async._file_format import file_format
from tests.media_samples import aac, jpeg, m4a, mp3, png, wav


def name(data: bytes) -> str | None:
    return file_format(memoryview(data))


def test_what_kling_accepts_is_recognised() -> None:
    assert [name(png(9, 9)), name(jpeg(9, 9))] == ["PNG", "JPEG"]
    assert [name(mp3(1)), name(wav(1)), name(m4a(1)), name(aac(1))] == ["MP3", "WAV", "M4A", "AAC"]


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        (b"GIF89a", "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"RF64\xff\xff\xff\xffWAVEds64", "WAV"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "HEIC"),
        (b"\0\0\0\x18ftypavif\0\0\0\0", "AVIF"),
        (b"\0\0\0\x18ftypqt  \0\0\0\0", "QuickTime"),
        (b"BM\0\0", "BMP"),
        (b"II*\0\x08", "TIFF"),
        (b"MM\0*\0", "TIFF"),
        (b"%PDF-1.7", "PDF"),
        (b'\xef\xbb\xbf <?xml version="1.0"?>\n<svg xmlns=', "SVG"),
        (b"<svg>", "SVG"),
        (b"\n<!DOCTYPE html><svg>", "HTML"),
        (b'{"error": 404}', "JSON"),
        (b"OggS", "Ogg"),
    ],
)
def test_other_formats_are_named(start: bytes, expected: str) -> None:
    assert name(start) == expected


def test_a_phone_recording_with_a_film_brand_is_audio() -> None:
    assert name(m4a(5, brand=b"mp42")) == "M4A"
    assert name(m4a(5, brand=b"mp42", kind=b"vide")) == "MP4"
    assert name(m4a(5, brand=b"mp42")[:20]) == "MP4"


def test_a_tag_belongs_to_the_sound_behind_it() -> None:
    tag = b"ID3\4\0\0\0\0\0\0"

    assert name(tag + aac(1)) == "AAC"
    assert name(tag + mp3(1)) == "MP3"
    assert name(tag + b"fLaC") == "FLAC"
    assert name(tag) == "MP3"


@pytest.mark.parametrize("data", [b"", b"\0", b"RIFF\0\0\0\0what", b"plain text", b"<xml>"])
def test_anything_else_has_no_name(data: bytes) -> None:
    assert name(data) is None
