"""Lines: a text file piece by piece, with the place of whatever is wrong in it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from .._errors import ConfigurationError

_LONGEST = 16 * 1024 * 1024
_CELL = 16 * 1024 * 1024
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


class JobsError(ConfigurationError):
    """A file of jobs that cannot be read; nothing was sent."""


def wrong(path: Path, line: int | None, column: str | None, what: str) -> JobsError:
    """What is wrong, and where."""
    places = (str(path), f"line {line}" if line else "", f"column {column}" if column else "")
    return JobsError(f"{', '.join(place for place in places if place)}: {what}")


def lines(path: Path) -> Iterator[tuple[int, str]]:
    """The lines of a UTF-8 file with their numbers, each with its end, whatever that is."""
    try:
        with path.open("rb") as file:
            yield from _decoded(path, file)
    except OSError as error:
        raise wrong(path, None, None, error.strerror or str(error)) from None


def _decoded(path: Path, file: BinaryIO) -> Iterator[tuple[int, str]]:
    number = 0
    while raw := file.readline(_LONGEST):
        number += 1
        if number == 1 and raw.startswith(_UTF_16):
            raise wrong(path, 1, None, "UTF-16; save the file as UTF-8")
        if len(raw) == _LONGEST:
            raise wrong(path, number, None, f"longer than {_LONGEST} bytes")
        try:
            # Excel marks UTF-8 with what is a character of its own anywhere else.
            text = raw.decode("utf-8-sig" if number == 1 else "utf-8")
        except UnicodeDecodeError as error:
            where = f"byte {error.start + 1} is {raw[error.start : error.start + 1]!r}"
            raise wrong(path, number, None, f"not UTF-8: {where}; save the file as UTF-8") from None
        yield number, text


def records(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The records of a CSV file, each with the number of its first line; empty ones are none."""
    at, start = 0, 1

    def texts() -> Iterator[str]:
        nonlocal at
        for number, text in lines(path):
            at = number
            yield text

    csv.field_size_limit(_CELL)
    reader = csv.reader(texts(), strict=True)
    while True:
        start = at + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            raise wrong(path, start, None, _said(error, at - start)) from None
        if any(cell.strip() for cell in cells):
            yield start, cells


def _said(error: csv.Error, further: int) -> str:
    text = str(error)
    if "unexpected end" in text or "field larger" in text:
        return "a quote is opened here and never closed"
    if "expected after" in text:
        place = f", {further} lines further down" if further else ""
        return f"text follows a closing quote{place}; inside of quotes, write each quote twice"
    return "a line ends with a CR alone; end lines with LF or CRLF"
