"""Pictures and recordings of any size or length, built from nothing."""

from __future__ import annotations

import struct
import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
MP3_FRAME_SECONDS = 0.024
AAC_FRAME_SECONDS = 0.064


def png(width: int, height: int, size: int | None = None) -> bytes:
    """A grey picture that decodes; `size` makes it that many bytes, with a chunk none reads."""
    rows = zlib.compress(b"".join([b"\0" + b"\x80" * width] * height), 9)
    start = PNG_SIGNATURE + png_chunk(
        b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    )
    end = png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")
    if size is None:
        return start + end
    room = size - len(start) - len(end) - 12
    if room < 0:
        raise ValueError(f"a PNG of {width} x {height} needs {size - room} bytes")
    return start + png_chunk(b"fiLl", bytes(room)) + end


def png_chunk(name: bytes, body: bytes) -> bytes:
    """Length, name, body, checksum."""
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def jpeg(width: int, height: int, *, segments: bytes = b"", progressive: bool = False) -> bytes:
    """A grey picture that decodes; `segments` stand before its size."""
    tables = jpeg_segment(0xDB, bytes([0]) + bytes([1] * 64))
    for table in (0x00, 0x10):
        tables += jpeg_segment(0xC4, bytes([table, 1, *[0] * 15, 0]))
    frame = struct.pack(">BHHB", 8, height, width, 1) + bytes([1, 0x11, 0])
    scan = bytes([1, 1, 0, 0, 0 if progressive else 63, 0])
    blocks = -(-width // 8) * -(-height // 8)
    bits = blocks if progressive else 2 * blocks
    return b"".join(
        (
            b"\xff\xd8" + segments + tables,
            jpeg_segment(0xC2 if progressive else 0xC0, frame),
            jpeg_segment(0xDA, scan),
            bytes(bits // 8) + bytes([0xFF >> bits % 8] if bits % 8 else []),
            b"\xff\xd9",
        )
    )


def jpeg_segment(code: int, body: bytes) -> bytes:
    """Marker, length, body."""
    return struct.pack(">BBH", 0xFF, code, len(body) + 2) + body


def wav(seconds: float, rate: int = 8000) -> bytes:
    """Silence: mono, 8 bits, `rate` bytes a second."""
    sound = b"\x80" * round(seconds * rate)
    sound += b"\0" * (len(sound) % 2)
    fmt = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, rate, rate, 1, 8)
    data = struct.pack("<4sI", b"data", round(seconds * rate)) + sound
    return struct.pack("<4sI4s", b"RIFF", 4 + len(fmt + data), b"WAVE") + fmt + data


def mp3(seconds: float) -> bytes:
    """Silence: 48 kHz, 32 kbit/s, mono, the nearest whole number of 24 ms frames."""
    return (b"\xff\xfb\x14\xc4" + bytes(92)) * round(seconds / MP3_FRAME_SECONDS)


def aac(seconds: float) -> bytes:
    """ADTS headers around nothing: 16 kHz, the nearest whole number of 64 ms frames."""
    return b"\xff\xf1\x60\x40\x01\x7f\xfc\x21\x10\x04\x60" * round(seconds / AAC_FRAME_SECONDS)


def m4a(seconds: float, *, brand: bytes = b"M4A ", kind: bytes = b"soun") -> bytes:
    """An MP4 header that claims one empty track of that kind and length."""
    header = mp4_box(b"mvhd", struct.pack(">12xII", 1000, round(seconds * 1000)) + bytes(80))
    track = mp4_box(b"hdlr", bytes(8) + kind + bytes(13))
    for name in (b"mdia", b"trak"):
        track = mp4_box(name, track)
    return mp4_box(b"ftyp", brand + bytes(4)) + mp4_box(b"moov", header + track)


def mp4_box(name: bytes, body: bytes) -> bytes:
    """Length, name, body."""
    return struct.pack(">I4s", len(body) + 8, name) + body
