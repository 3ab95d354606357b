"""FileHead: what the head of a file host's answer, and the file's first bytes, say of a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Self

SIGNATURE = 16
"""Bytes that tell a film from what is none."""

_RANGE = re.compile(r"bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)", re.IGNORECASE)
_STRONG_TAG = re.compile(r'"[\x21\x23-\x7e\x80-\xff]*"')
_BOXES = frozenset({b"ftyp", b"styp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"})
_MAGIC = (
    b"\x1a\x45\xdf\xa3",  # WebM, Matroska
    b"\0\0\1\xba",  # MPEG
    b"FLV\1",
    b"OggS",
    b"\x30\x26\xb2\x75",  # Windows Media
)


@dataclass(frozen=True, slots=True)
class FileHead:
    """What is known of a file before its last byte has come."""

    size: int | None = None
    validator: str | None = None
    """A strong entity tag or a trustworthy date: where it is the same, so is every byte."""
    media_type: str = ""

    @classmethod
    def of(cls, headers: Mapping[str, str]) -> Self:
        """Read the headers of a whole file."""
        media_type = _media_type(headers)
        if is_encoded(headers):  # then all numbers are those of the packed bytes
            return cls(media_type=media_type)
        length = headers.get("content-length", "")
        size = int(length) if re.fullmatch(r"[0-9]{1,18}", length) else None
        return cls(size, _validator(headers), media_type)

    @property
    def can_resume(self) -> bool:
        """Whether a part of it is worth keeping."""
        return self.size is not None and self.validator is not None

    def agrees(self, headers: Mapping[str, str]) -> bool:
        """Whether the headers of a part may belong to this file."""
        if is_encoded(headers) or _media_type(headers).startswith("multipart/"):
            return False
        name = "etag" if (self.validator or "").startswith('"') else "last-modified"
        return headers.get(name) == self.validator


def span(headers: Mapping[str, str], at: int, size: int | None) -> int | None:
    """The end of the part that was sent, if it begins *at* and belongs to a file of *size*."""
    found = _RANGE.fullmatch(headers.get("content-range", "").strip())
    if found is None or int(found[1]) != at:
        return None
    end, total = int(found[2]) + 1, size if found[3] == "*" else int(found[3])
    return end if total == size and total is not None and at < end <= total else None


def is_encoded(headers: Mapping[str, str]) -> bool:
    """Whether the bytes sent are not those of the file."""
    return headers.get("content-encoding", "").strip().lower() not in ("", "identity")


def is_page(headers: Mapping[str, str]) -> bool:
    """Whether the answer says of itself that it is text, for people or for programs."""
    kind = _media_type(headers)
    return kind.startswith(("text/", "multipart/")) or kind.endswith(("json", "xml"))


def is_film(start: bytes) -> bool:
    """Whether a file that begins like this is a film: MP4, QuickTime, WebM or an older kind."""
    return (
        is_mp4(start)
        or start.startswith(_MAGIC)
        or (start[:4] == b"RIFF" and start[8:12] == b"AVI ")
    )


def is_mp4(start: bytes) -> bool:
    """Whether it is made of boxes, as MP4 and QuickTime are."""
    return start[4:8] in _BOXES


def _media_type(headers: Mapping[str, str]) -> str:
    return headers.get("content-type", "").partition(";")[0].strip().lower()


def _validator(headers: Mapping[str, str]) -> str | None:
    tag = headers.get("etag", "").strip()
    if _STRONG_TAG.fullmatch(tag):
        return tag
    # A file that was changed within the minute may change again within the same second.
    modified, now = _date(headers, "last-modified"), _date(headers, "date")
    if modified is None or now is None or (now - modified).total_seconds() < 60:
        return None
    return headers["last-modified"]


def _date(headers: Mapping[str, str], name: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(headers[name])
    except (KeyError, ValueError):
        return None
    return date if date.tzinfo else date.replace(tzinfo=UTC)
