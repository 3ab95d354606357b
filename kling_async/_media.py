"""Turns a path, bytes, an open file or a URL into what Kling accepts."""

from __future__ import annotations

import inspect
import io
import os
import re
import stat
from dataclasses import dataclass
from typing import BinaryIO, Literal, Protocol, runtime_checkable
from urllib.parse import urlsplit

from ._audio_header import audio_seconds
from ._base64 import NotBase64, decoded_size, from_base64, is_plain, to_base64
from ._errors import MediaError
from ._file_format import file_format
from ._image_header import image_size

MediaSource = str | os.PathLike[str] | bytes | BinaryIO
"""A path, bytes, a file opened in binary mode, or a str: http(s) URL, Base64 or data: URL."""


@dataclass(frozen=True, slots=True)
class MediaRules:
    """What a field accepts; `ratio` is the range of width divided by height."""

    kind: Literal["image", "audio"]
    formats: tuple[str, ...]
    max_bytes: int
    min_side: int | None = None
    ratio: tuple[float, float] | None = None


# Kling says "10 MB" and "5 MB", not which MB, nor whether of the file or of its Base64. The widest
# reading is taken: it never refuses a file that Kling would take, and Kling bills no refusal.
IMAGE = MediaRules("image", ("JPEG", "PNG"), 10 * 1024 * 1024, min_side=300, ratio=(0.4, 2.5))
MASK = IMAGE
AUDIO = MediaRules("audio", ("MP3", "WAV", "M4A", "AAC"), 5 * 1024 * 1024)

# Callers without a type checker pass more than they should.
_Anything = MediaSource | bytearray | memoryview | None
_PIECE = 192 * 1024
_SCHEME = re.compile(r"\s*([a-z][a-z0-9+.-]+)://|\s*(https?|file):", re.IGNORECASE)
_DATA_PREFIX = re.compile(r"\s*data:([^,]*),?", re.IGNORECASE)
_NOT_IN_URL = re.compile(r"[\s\x00-\x1f\x7f]")
# Shorter than the Base64 of any picture of 300 px, longer than most paths.
_PATH_LENGTH = 260
# Encoders fill up to whole frames: a minute of sound is an MP3 of 60.03 to 60.18 s.
_FRAME_SLACK = 0.2
_ADVICE = {
    "Base64": "Give Base64 as str, not as bytes or a file",
    "HTML": "It may be an error page saved under that name: fetch the file again",
}


@dataclass(frozen=True, slots=True)
class _Given:
    field: str
    name: str
    hint: str = ""

    def refused(self, problem: str, advice: str) -> MediaError:
        return MediaError(
            f"{self.field}: {self.name} {problem}", field=self.field, advice=f"{advice}{self.hint}."
        )


@runtime_checkable
class _Readable(Protocol):
    def read(self, size: int, /) -> object: ...


def needs_reading(source: MediaSource) -> bool:
    """Whether `encode` would read or convert: False for a URL, which stays as it is."""
    return not (isinstance(source, str) and source[:8].lower().startswith(("http://", "https://")))


def encode(
    source: MediaSource,
    rules: MediaRules,
    field: str,
    *,
    check: bool = True,
    seconds: tuple[float, float] | None = None,
) -> str:
    """A URL as it is, anything else as raw Base64.

    It reads and computes: call it in a worker thread unless `needs_reading` says no.

    Args:
        field: The name the caller knows the value by; every message begins with it.
        check: False encodes without judging.
        seconds: The shortest and the longest recording accepted.

    Raises:
        MediaError: The source cannot be read, or Kling would not accept it.
    """
    if isinstance(source, str):
        return _encode_text(source, rules, field, seconds) if check else _without_prefix(source)
    given = _Given(field, _name(source))
    if not check:
        return to_base64(_read(source, given, None))
    return to_base64(_checked(_read(source, given, rules.max_bytes), rules, given, seconds))


def _encode_text(
    text: str, rules: MediaRules, field: str, seconds: tuple[float, float] | None
) -> str:
    if _SCHEME.match(text):
        return _checked_url(text, field)
    payload, given = _payload(text, field)
    size = decoded_size(payload)
    if size > rules.max_bytes:
        raise _too_large(given, f"{size:,} bytes", rules.max_bytes)
    try:
        data = memoryview(from_base64(payload))
    except NotBase64 as error:
        raise given.refused(str(error), "Give a URL, Base64 or bytes") from error
    _checked(data, rules, given, seconds)
    return payload if is_plain(payload) else to_base64(data)


def _payload(text: str, field: str) -> tuple[str, _Given]:
    prefix = _DATA_PREFIX.match(text)
    if prefix is None:
        return text, _given_text(text, field)
    given = _Given(field, "the data: URL")
    if not prefix[1].rstrip().lower().endswith(";base64"):
        raise given.refused("has no ;base64 mark", "Write data:image/png;base64,...")
    return text[prefix.end() :], given


def _given_text(text: str, field: str) -> _Given:
    if len(text) > _PATH_LENGTH or not text.strip():
        return _Given(field, "the text")
    return _Given(field, f"the text {text!r}", f"; a file is given as Path({text!r})")


def _checked_url(text: str, field: str) -> str:
    # The query may hold a signature, what stands before @ a password.
    shown = re.sub("//[^/]*@", "//", re.split("[?#]", text)[0])[:100]
    given = _Given(field, f"the URL {shown!r}")
    if _NOT_IN_URL.search(text):
        raise given.refused("holds blanks or control characters", "Strip and quote it")
    try:
        parts = urlsplit(text)
        host, _port = parts.hostname, parts.port
    except ValueError:
        raise given.refused("has no valid host and port", "Write https://host/file") from None
    if parts.scheme not in ("http", "https"):
        raise given.refused("is not http(s), all that Kling fetches", "Give a file as Path(...)")
    if not host:
        raise given.refused("names no host", "Write https://host/file")
    return text


def _without_prefix(text: str) -> str:
    prefix = _DATA_PREFIX.match(text)
    return text[prefix.end() :] if prefix and prefix[0].endswith(",") else text


def _name(source: _Anything) -> str:
    if isinstance(source, os.PathLike):
        return repr(os.fsdecode(source))
    name = getattr(source, "name", None)
    if isinstance(source, _Readable):
        return f"the file object {name!r}" if isinstance(name, str) else "the file object"
    return f"the {type(source).__name__} object"


def _read(source: _Anything, given: _Given, limit: int | None) -> memoryview:
    if isinstance(source, (bytes, bytearray)):
        return memoryview(source)
    if isinstance(source, memoryview):
        return _flat(source, given)
    if isinstance(source, os.PathLike):
        return _read_path(os.fsdecode(source), given, limit)
    if isinstance(source, _Readable):
        return _read_file(source, given, limit)
    raise given.refused(
        "is nothing to read media from", "Give a Path, bytes, a binary file, a URL or Base64"
    )


def _flat(view: memoryview, given: _Given) -> memoryview:
    try:
        plain = view.c_contiguous and view.ndim == 1 and view.format == "B"
        return view if plain else memoryview(view.tobytes())
    except ValueError as error:
        raise given.refused("has been released", "Encode it before its release") from error


def _read_path(path: str, given: _Given, limit: int | None) -> memoryview:
    try:
        status = os.stat(path)
        _check_status(status, given, limit)
        with open(path, "rb") as file:
            return _read_file(file, given, limit)
    except MediaError:
        raise
    except (OSError, ValueError) as error:
        raise _unreadable(path, given, error) from error


def _check_status(status: os.stat_result, given: _Given, limit: int | None) -> None:
    if stat.S_ISDIR(status.st_mode):
        raise given.refused("is a directory", "Name a file in it")
    # Opening a pipe would wait for whoever writes to it, perhaps for ever.
    if not stat.S_ISREG(status.st_mode):
        raise given.refused("is a pipe or a device", "Give what it holds as bytes")
    if limit is not None and status.st_size > limit:
        raise _too_large(given, f"{status.st_size:,} bytes", limit)


def _unreadable(path: str, given: _Given, error: Exception) -> MediaError:
    if isinstance(error, PermissionError):
        return given.refused("may not be read by this user", "Change its permissions")
    if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
        return given.refused(f"cannot be read ({error})", "Check the path")
    if path.startswith(("http:", "https:")):
        return given.refused("is a URL made into a path", "Give a URL as str")
    if path.startswith("~"):
        return given.refused("does not exist", "Write Path(...).expanduser() for the home folder")
    whole = os.path.abspath(path)
    where = "" if whole == path else f" as {whole!r}"
    return given.refused(f"does not exist{where}", "Check the path")


def _read_file(file: _Readable, given: _Given, limit: int | None) -> memoryview:
    if isinstance(file, io.TextIOBase):
        raise given.refused("was opened in text mode", 'Open it in binary: open(path, "rb")')
    if getattr(file, "closed", False):
        raise given.refused("is closed", "Keep it open until the task is submitted")
    data = bytearray()
    while piece := _read_piece(file, given):
        data += piece
        if limit is not None and len(data) > limit:
            raise _too_large(given, "larger than allowed", limit)
    return memoryview(data)


def _read_piece(file: _Readable, given: _Given) -> bytes | bytearray:
    try:
        piece = file.read(_PIECE)
    except (OSError, ValueError) as error:
        raise given.refused(f"cannot be read ({error})", "Open it for reading") from error
    if isinstance(piece, (bytes, bytearray)):
        return piece
    if inspect.iscoroutine(piece):
        piece.close()
        raise given.refused("is asynchronous", "Give what its read() returns: await file.read()")
    raise given.refused(
        f"returns {type(piece).__name__} from read(), not bytes", 'Open it in binary mode, "rb"'
    )


def _too_large(given: _Given, size: str, limit: int) -> MediaError:
    return given.refused(
        f"is {size}; the limit is {limit:,} bytes ({limit / 2**20:g} MB)",
        "Compress it, or give a URL",
    )


def _checked(
    data: memoryview, rules: MediaRules, given: _Given, seconds: tuple[float, float] | None
) -> memoryview:
    if not data:
        raise given.refused(
            "is empty", "Give one with content; a file object is read from where it stands: seek(0)"
        )
    if len(data) > rules.max_bytes:
        raise _too_large(given, f"{len(data):,} bytes", rules.max_bytes)
    found = file_format(data)
    if found not in rules.formats:
        raise _wrong_format(found, rules, given)
    if rules.kind == "image":
        _check_picture(image_size(data, found), found, rules, given)
    elif seconds is not None:
        _check_seconds(audio_seconds(data, found), found, seconds, given)
    return data


def _wrong_format(found: str | None, rules: MediaRules, given: _Given) -> MediaError:
    *others, last = rules.formats
    wanted = f"{', '.join(others)} or {last}" if others else last
    if found is None:
        return given.refused(f"is no {rules.kind} by its first bytes", f"Give {wanted}")
    return given.refused(
        f"is {found} by its first bytes, whatever its name",
        _ADVICE.get(found, f"Convert it to {wanted}"),
    )


def _check_picture(
    size: tuple[int, int] | None, found: str, rules: MediaRules, given: _Given
) -> None:
    if size is None:
        raise given.refused(f"is {found} with a header cut off or damaged", "Export it again")
    width, height = size
    if not width or not height:
        raise given.refused(f"claims to be {width} x {height} px", "Export it again")
    if rules.min_side is not None and min(size) < rules.min_side:
        side = "width" if width <= height else "height"
        raise given.refused(
            f"is {width} x {height} px: its {side} {min(size)} is under {rules.min_side} px",
            "Enlarge it",
        )
    if rules.ratio is not None and not rules.ratio[0] <= width / height <= rules.ratio[1]:
        low, high = rules.ratio
        raise given.refused(
            f"is {width} x {height} px: its width must be {low:g} to {high:g} times its height",
            "Crop it",
        )


def _check_seconds(
    lasts: float | None, found: str, limits: tuple[float, float], given: _Given
) -> None:
    low, high = limits
    slack = 0.0 if found == "WAV" else _FRAME_SLACK
    if lasts is None or low - slack <= lasts <= high + slack:
        return
    advice = "Cut it" if lasts > high else "Add silence"
    raise given.refused(f"lasts {lasts:.7g} s; {low:g} to {high:g} s are accepted", advice)


def picture_size(encoded: str) -> tuple[int, int] | None:
    """Width and height of an image that `encode` gave as Base64; None for a URL."""
    if not needs_reading(encoded):
        return None
    # Nearly every header ends within the first piece: the rest is rarely decoded again.
    for text in (encoded[:_PIECE], encoded):
        try:
            data = memoryview(from_base64(text))
        except NotBase64:
            return None
        found = file_format(data)
        size = image_size(data, found) if found in IMAGE.formats else None
        if size is not None:
            return size
    return None
