"""Encodes and decodes Base64 in pieces, so that other threads run in between."""

from __future__ import annotations

import binascii
import time
from collections.abc import Iterator

# One binascii call holds the GIL to its end. Multiples of 3 and 4 need no padding within.
_BYTES_A_PIECE = 192 * 1024
_TEXT_A_PIECE = 256 * 1024
_BLANKS = " \t\r\n\f\v"
_ALPHABET = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/="
_FROM_URLSAFE = bytes.maketrans(b"-_", b"+/")


class NotBase64(ValueError):
    """What is wrong with the text, never the text."""


def to_base64(data: memoryview) -> str:
    pieces = list(_encoded_pieces(data))
    del data  # often the last hold on it: ten megabytes less while the text is put together
    return "".join(pieces)


def from_base64(text: str) -> bytearray:
    """The bytes of standard or URL-safe Base64, blanks and line breaks allowed.

    Raises:
        NotBase64: Other characters, or not a multiple of four of them.
    """
    data = bytearray()
    rest = b""
    for piece in _letter_pieces(text):
        letters = rest + piece
        whole = len(letters) // 4 * 4
        rest = letters[whole:]
        data += binascii.a2b_base64(letters[:whole])
    if rest:
        raise NotBase64("is cut off, or lacks the = that fills its length up to a multiple of 4")
    return data


def decoded_size(text: str) -> int:
    """How many bytes `from_base64` would return."""
    # One at a time, and only those there are: to count takes ten times as long as to look.
    blanks = sum([text.count(blank) for blank in _BLANKS if blank in text])
    return (len(text) - blanks) * 3 // 4 - len(_from_padding(text))


def is_plain(text: str) -> bool:
    """Whether Base64 that could be decoded is standard and in one line."""
    return not any(letter in text for letter in _BLANKS + "-_")


def _from_padding(text: str) -> str:
    start = text.find("=")
    return text[start:].rstrip(_BLANKS) if start >= 0 else ""


def _encoded_pieces(data: memoryview) -> Iterator[str]:
    for start in range(0, len(data), _BYTES_A_PIECE):
        piece = data[start : start + _BYTES_A_PIECE]
        yield str(binascii.b2a_base64(piece, newline=False), "ascii")
        _let_others_run()


def _letter_pieces(text: str) -> Iterator[bytes]:
    is_padded = _from_padding(text) in ("", "=", "==")
    for start in range(0, len(text), _TEXT_A_PIECE):
        raw = text[start : start + _TEXT_A_PIECE].encode("ascii", "replace")
        letters = raw.translate(_FROM_URLSAFE, _BLANKS.encode())
        if strange := letters.translate(None, _ALPHABET):
            raise NotBase64("is percent-encoded" if b"%" in strange else "is not Base64")
        if not is_padded:
            raise NotBase64("has = elsewhere than once or twice at its end")
        yield letters
        _let_others_run()


def _let_others_run() -> None:
    # Asked to let go of the GIL, a thread may take 5 ms (sys.getswitchinterval); this does it now.
    time.sleep(0)
