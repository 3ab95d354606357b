"""Names the format of a file by its first bytes."""

from __future__ import annotations

from ._audio_header import aac_frame, after_id3, has_only_sound, mp3_frame

_MAGIC = (
    (b"\x89PNG", "PNG"),
    (b"\xff\xd8", "JPEG"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"%PDF", "PDF"),
    (b"\xff\x0a", "JPEG XL"),
    (b"\0\0\0\x0cJXL ", "JPEG XL"),
    (b"\0\0\0\x0cjP  ", "JPEG 2000"),
    (b"\0\0\1\0", "ICO"),
    (b"8BPS", "PSD"),
    (b"PK\3\4", "ZIP"),
    (b"OggS", "Ogg"),
    (b"fLaC", "FLAC"),
    (b"FORM", "AIFF"),
    (b"ADIF", "AAC"),
    (b"\x1a\x45\xdf\xa3", "WebM"),
    (b"iVBORw0KGgo", "Base64"),
    (b"/9j/", "Base64"),
    (b"data:", "Base64"),
)
_RIFF = {b"WAVE": "WAV", b"WEBP": "WebP", b"AVI ": "AVI"}
_MP4 = {
    b"avif": "AVIF",
    b"avis": "AVIF",
    **dict.fromkeys((b"heic", b"heix", b"heim", b"hevc", b"mif1", b"msf1"), "HEIC"),
    **dict.fromkeys((b"M4A ", b"M4B ", b"M4P "), "M4A"),
    b"qt  ": "QuickTime",
}


def file_format(data: memoryview) -> str | None:
    """The usual name of the format, such as "PNG" or "M4A"; None if unknown."""
    head = bytes(data[:1024])
    for magic, name in _MAGIC:
        if head.startswith(magic):
            return name
    if head[:4] in (b"RIFF", b"RF64"):
        return _RIFF.get(head[8:12])
    if head[4:8] == b"ftyp":
        return _mp4_format(head[8:12], data)
    return _sound_format(data) or _markup_format(head)


def _mp4_format(brand: bytes, data: memoryview) -> str:
    # Phones give their .m4a recordings the brand of a film: only the tracks tell them apart.
    return _MP4.get(brand) or ("M4A" if has_only_sound(data) else "MP4")


def _sound_format(data: memoryview) -> str | None:
    start = after_id3(data)
    if aac_frame(data, start):
        return "AAC"
    if mp3_frame(data, start):
        return "MP3"
    if bytes(data[start : start + 4]) == b"fLaC":
        return "FLAC"
    return "MP3" if bytes(data[:3]) == b"ID3" else None


def _markup_format(head: bytes) -> str | None:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith((b"<!doctype html", b"<html")):
        return "HTML"
    if text.startswith(b"<") and b"<svg" in text:
        return "SVG"
    return "JSON" if text.startswith((b'{"', b'[{"')) else None
