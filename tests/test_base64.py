from __future__ import annotations

import base64
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async._base64 import NotBase64, decoded_size, from_base64, is_plain, to_base64

SOME = bytes(range(256)) * 5
TEXT = base64.b64encode(SOME).decode()
LINES = base64.encodebytes(os.urandom(300_000)).decode()


def fault(text: str) -> str:
    with pytest.raises(NotBase64) as caught:
        from_base64(text)
    return str(caught.value)


@pytest.mark.parametrize("length", [0, 1, 2, 3, 196607, 196608, 196609, 393217])
def test_pieces_join_without_padding_between(length: int) -> None:
    data = os.urandom(length)

    text = to_base64(memoryview(data))

    assert text == base64.b64encode(data).decode()
    assert from_base64(text) == data


def test_blanks_and_line_breaks_are_passed_over() -> None:
    text = LINES.replace("\n", "\r\n \t")

    assert from_base64(text) == base64.b64decode(LINES)
    assert decoded_size(text) == 300_000


def test_the_urlsafe_alphabet_is_understood() -> None:
    assert from_base64(TEXT.replace("+", "-").replace("/", "_")) == SOME


@pytest.mark.parametrize(
    ("text", "plain"), [(TEXT, True), (LINES, False), ("_w==", False), ("-w==", False)]
)
def test_only_one_standard_line_is_plain(text: str, plain: bool) -> None:
    assert is_plain(text) is plain


@pytest.mark.parametrize("text", ["QUJ", "QU", "Q", "QUJDQ", "="])
def test_a_text_cut_off_is_refused(text: str) -> None:
    assert fault(text).startswith("is cut off, or lacks the =")


@pytest.mark.parametrize("text", ["AA==AAAA", "A===", "====", "AAA=A", "==AA", "AA=\n="])
def test_misplaced_padding_is_refused(text: str) -> None:
    assert fault(text) == "has = elsewhere than once or twice at its end"


@pytest.mark.parametrize("text", ["QU*w==", "ä" * 300, "AAA=\0", "\ud800" * 4, "AAAA\xa0"])
def test_other_characters_are_refused(text: str) -> None:
    assert fault(text) == "is not Base64"


def test_percent_encoding_is_named() -> None:
    assert fault("QUJDRA%3D%3D") == fault("QUJDRA=%3D") == "is percent-encoded"


@given(st.text() | st.text("Aa0+/-_= \n%", max_size=40))
def test_any_text_is_decoded_or_refused(text: str) -> None:
    try:
        size = len(from_base64(text))
    except NotBase64:
        return

    assert size == decoded_size(text)
