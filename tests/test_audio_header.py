from __future__ import annotations

import struct

import pytest

from kling_async._audio_header import aac_frame, audio_seconds, mp3_frame
from tests.media_samples import aac, m4a, mp3, mp4_box, wav

FTYP = mp4_box(b"ftyp", b"M4A ")


def seconds(recording: bytes, file_format: str) -> float | None:
    lasts = audio_seconds(memoryview(recording), file_format)
    return None if lasts is None else round(lasts, 6)


def test_every_format_tells_its_length() -> None:
    assert seconds(wav(5.5), "WAV") == 5.5
    assert seconds(m4a(5.5), "M4A") == 5.5
    assert seconds(mp3(4.8), "MP3") == 4.8
    assert seconds(aac(6.4), "AAC") == 6.4


@pytest.mark.parametrize("size", [0, 0xFFFFFFFF])
def test_a_wav_from_a_pipe_lasts_to_its_end(size: int) -> None:
    streamed = wav(5)[:40] + struct.pack("<I", size) + wav(5)[44:]

    assert seconds(streamed, "WAV") == 5


def test_a_wav_cut_off_lasts_as_long_as_it_is() -> None:
    assert seconds(wav(5)[:-8000], "WAV") == 4


@pytest.mark.parametrize("tail", [b"", b"TAG" + bytes(125), b"APETAGEX" + bytes(99)])
def test_tags_do_not_count_as_sound(tail: bytes) -> None:
    tag = b"ID3\4\0\0\0\0\1\0" + bytes(128)
    tag_with_footer = b"ID3\4\0\x10\0\0\0\0" + bytes(10)

    assert seconds(tag + mp3(4.8) + tail, "MP3") == 4.8
    assert seconds(tag_with_footer + mp3(4.8) + tail, "MP3") == 4.8


@pytest.mark.parametrize("mark", [b"Xing", b"Info", b"VBRI"])
def test_the_index_frame_does_not_count_as_sound(mark: bytes) -> None:
    frame = mp3(0.024)

    assert seconds(frame[:21] + mark + frame[25:] + mp3(4.8), "MP3") == 4.8


def test_a_variable_bit_rate_is_measured_frame_by_frame() -> None:
    slow = b"\xff\xf3\x14\xc4" + bytes(20)  # 8 kbit/s at 24 kHz, 24 ms

    assert seconds((mp3(0.024) + slow) * 100, "MP3") == 4.8


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">BxxxQQIQ", 1, 0, 0, 1000, 5000) + bytes(80),
        struct.pack(">BxxxIIII", 0, 0, 0, 48000, 240000) + bytes(80),
    ],
)
def test_an_m4a_header_of_either_version_is_read(header: bytes) -> None:
    film = struct.pack(">I4sQ", 1, b"free", 20) + bytes(4)
    film += struct.pack(">I4s", 0, b"moov") + mp4_box(b"mvhd", header)

    assert seconds(FTYP + film, "M4A") == 5


@pytest.mark.parametrize(
    "recording",
    [
        wav(0)[:40],
        wav(5)[:12] + wav(5)[36:],
        wav(5)[:28] + bytes(4) + wav(5)[32:],
        wav(5)[:16] + struct.pack("<I", 4) + bytes(4) + wav(5)[36:],
    ],
)
def test_a_wav_without_a_rate_or_sound_tells_no_length(recording: bytes) -> None:
    assert seconds(recording, "WAV") is None


@pytest.mark.parametrize(
    "recording",
    [
        FTYP,
        FTYP + struct.pack(">I4s", 1, b"moov"),
        FTYP + struct.pack(">I4s", 7, b"moov") + mp4_box(b"mvhd", bytes(100)),
        FTYP + mp4_box(b"moov", mp4_box(b"mvhd", bytes(4))),
        FTYP + mp4_box(b"moov", mp4_box(b"mvhd", bytes(100))),
        m4a(0),
        m4a((2**32 - 1) / 1000),
    ],
)
def test_an_m4a_without_a_length_tells_none(recording: bytes) -> None:
    assert seconds(recording, "M4A") is None


@pytest.mark.parametrize("recording", [mp3(5) + b"junk", b"ID3\4\0\0\0\0\0\0" + bytes(50), b""])
def test_frames_that_break_off_tell_no_length(recording: bytes) -> None:
    assert seconds(recording, "MP3") is None
    assert seconds(recording, "AAC") is None


@pytest.mark.parametrize(
    "head",
    [
        b"\xff\xfb\x14",  # cut off
        b"\xff\xfd\x14\xc4",  # layer II
        b"\xff\xeb\x14\xc4",  # reserved version
        b"\xff\xfb\x04\xc4",  # free bit rate
        b"\xff\xfb\xf4\xc4",  # no bit rate
        b"\xff\xfb\x1c\xc4",  # no sample rate
        b"\xff\xf1\x7c\x40\x01\x7f\xfc",  # no sample rate
        b"\xff\xf1\x60\x40\x00\xdf\xfc",  # shorter than its header
    ],
)
def test_what_only_begins_like_a_frame_is_none(head: bytes) -> None:
    assert mp3_frame(memoryview(head), 0) is None
    assert aac_frame(memoryview(head), 0) is None


@pytest.mark.parametrize(
    ("filler", "file_format"),
    [
        (b"\xff\xf3\x14\xc4" + bytes(20), "MP3"),
        (b"\xff\xf1\x60\x40\x00\xff\xfc", "AAC"),
        (b"\0\0\0\x08free", "M4A"),
        (b"free\0\0\0\0", "WAV"),
    ],
)
def test_a_megabyte_of_filler_ends(filler: bytes, file_format: str) -> None:
    lasts = seconds(filler * (1_000_000 // len(filler)), file_format)

    assert lasts is None or lasts > 900
