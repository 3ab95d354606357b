"""What headers and first bytes say of a file, and what they do not prove."""

from __future__ import annotations

import pytest

from kling_async._file_head import FileHead, is_film, is_page, span
from tests.film_host import DATE, OLD, film

JUST_NOW = "Sat, 21 Nov 2026 11:59:30 GMT"


@pytest.mark.parametrize(
    ("headers", "validator"),
    [
        ({"etag": '"abc"'}, '"abc"'),
        ({"etag": '"abc"', "last-modified": OLD, "date": DATE}, '"abc"'),
        ({"etag": 'W/"abc"'}, None),
        ({"etag": "abc"}, None),
        ({"etag": 'W/"abc"', "last-modified": OLD, "date": DATE}, OLD),
        ({"last-modified": OLD, "date": DATE}, OLD),
        ({"last-modified": OLD}, None),
        ({"last-modified": JUST_NOW, "date": DATE}, None),
        ({"last-modified": "yesterday", "date": DATE}, None),
        ({"last-modified": OLD.replace("GMT", "-0000"), "date": DATE}, OLD.replace("GMT", "-0000")),
        ({"etag": '"abc"', "content-encoding": "gzip"}, None),
        ({}, None),
    ],
)
def test_validator_is_what_proves_sameness(headers: dict[str, str], validator: str | None) -> None:
    assert FileHead.of(headers).validator == validator


@pytest.mark.parametrize(
    ("length", "size"), [("12", 12), ("", None), ("-1", None), ("1, 1", None), ("9" * 30, None)]
)
def test_size_is_a_number_or_unknown(length: str, size: int | None) -> None:
    assert FileHead.of({"content-length": length}).size == size


@pytest.mark.parametrize(
    ("told", "end"),
    [
        ("bytes 5-9/10", 10),
        ("Bytes 5-7/10", 8),
        ("bytes 5-9/*", 10),
        ("bytes 4-9/10", None),
        ("bytes 5-9/11", None),
        ("bytes 5-10/10", None),
        ("bytes 5-4/10", None),
        ("bytes */10", None),
        ("", None),
    ],
)
def test_part_must_be_the_one_that_is_missing(told: str, end: int | None) -> None:
    assert span({"content-range": told}, 5, 10) == end


def test_part_of_nobody_knows_how_much_is_refused() -> None:
    assert span({"content-range": "bytes 5-9/*"}, 5, None) is None


@pytest.mark.parametrize(
    ("headers", "agrees"),
    [
        ({"etag": '"a"'}, True),
        ({}, False),
        ({"etag": '"b"'}, False),
        ({"etag": '"a"', "content-encoding": "gzip"}, False),
        ({"etag": '"a"', "content-type": "Multipart/ByteRanges; boundary=x"}, False),
    ],
)
def test_part_must_be_of_the_same_file(headers: dict[str, str], agrees: bool) -> None:
    assert FileHead(10, '"a"').agrees(headers) is agrees


def test_part_may_be_known_by_its_date() -> None:
    assert FileHead(10, OLD).agrees({"last-modified": OLD, "etag": 'W/"x"'})
    assert not FileHead(10, OLD).agrees({"last-modified": DATE})


@pytest.mark.parametrize(
    ("kind", "page"),
    [
        ("video/mp4", False),
        ("application/octet-stream", False),
        ("", False),
        ("TEXT/HTML; charset=utf-8", True),
        ("text/plain", True),
        ("application/problem+json", True),
        ("Application/XML", True),
    ],
)
def test_page_is_no_file(kind: str, page: bool) -> None:
    assert is_page({"content-type": kind}) is page


@pytest.mark.parametrize(
    ("start", "is_one"),
    [
        (film(16), True),
        (b"\0\0\0\x08wide\0\0\0\0mdat", True),
        (b"\x1a\x45\xdf\xa3" + bytes(12), True),
        (b"RIFF\0\0\0\0AVI LIST", True),
        (b"RIFF\0\0\0\0WAVEfmt ", False),
        (b"<!DOCTYPE html><", False),
        (b'{"code": 1000}  ', False),
        (b"<?xml version='1", False),
        (b"\xff\xd8\xff\xe0 JFIF", False),
        (b"", False),
    ],
)
def test_film_is_known_by_its_first_bytes(start: bytes, is_one: bool) -> None:
    assert is_film(start) is is_one
