"""FilmEnd: whether an MP4 has come to its end, told by the lengths of its boxes."""

from __future__ import annotations

_SHORT, _LONG = 8, 16  # bytes of a box's header


class FilmEnd:
    """Follows the outermost boxes of a film as its bytes come."""

    def __init__(self) -> None:
        self._header = b""
        self._left = 0
        self._tells = True

    @property
    def is_missing(self) -> bool:
        """Whether a box has begun and is not over; a film that does not tell is taken as it is."""
        return self._tells and bool(self._left or self._header)

    def feed(self, data: bytes) -> None:
        """The next bytes."""
        at = min(self._left, len(data))
        self._left -= at
        while self._tells and at < len(data):
            more = data[at : at + self._length() - len(self._header)]
            self._header, at = self._header + more, at + len(more)
            if len(self._header) == self._length():
                self._begin()
                step = min(self._left, len(data) - at)
                self._left, at = self._left - step, at + step

    def _length(self) -> int:
        return _LONG if self._header[:4] == b"\0\0\0\1" else _SHORT

    def _begin(self) -> None:
        size = self._header[8:] or self._header[:4]
        self._left = int.from_bytes(size, "big") - len(self._header)
        self._tells = self._left >= 0  # a box of no length goes on to the end of the file
        self._header = b""
