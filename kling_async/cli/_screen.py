"""Screen: a few lines at the end of a terminal, each redrawn in its place without a flicker."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TextIO

Size = Callable[[], tuple[int, int]]
_CLEAR_LINE, _CLEAR_BELOW = "\x1b[K", "\x1b[J"
_HIDE_CURSOR, _SHOW_CURSOR = "\x1b[?25l", "\x1b[?25h"


def terminal_size() -> tuple[int, int]:
    """Columns and lines."""
    return shutil.get_terminal_size()


class Screen:
    """The lines that were drawn last, with the cursor below them."""

    def __init__(self, stream: TextIO, size: Size = terminal_size) -> None:
        self._stream = stream
        self._size = size
        self._drawn: list[str] = []
        self._width = size()[0]
        self._write(_HIDE_CURSOR)

    @property
    def room(self) -> tuple[int, int]:
        """Columns and lines that may be used: the last of each would make the terminal move on."""
        width, height = self._size()
        return width - 1, height - 1

    def draw(self, lines: Sequence[str]) -> None:
        """Show *lines*, which fit, in place of those before."""
        width, wanted = self._size()[0], list(lines)
        if wanted == self._drawn and width == self._width:
            return
        self._width = width
        # Overwritten and not cleared first: an empty line in between would be seen.
        text = "".join(f"{line}{_CLEAR_LINE}\n" for line in wanted)
        self._write(f"{self._up()}{text}{_CLEAR_BELOW}")
        self._drawn = wanted

    def above(self, text: str) -> None:
        """Print *text* where it stays, above the lines."""
        told = "".join(f"{line}{_CLEAR_LINE}\n" for line in text.split("\n"))
        drawn = "".join(f"{line}{_CLEAR_LINE}\n" for line in self._drawn)
        self._write(f"{self._up()}{told}{drawn}{_CLEAR_BELOW}")

    def close(self) -> None:
        """Leave the last lines where they are."""
        self._write(_SHOW_CURSOR)

    def _up(self) -> str:
        return f"\r\x1b[{len(self._drawn)}A" if self._drawn else "\r"

    def _write(self, text: str) -> None:
        with suppress(OSError):  # the window was closed; what is paid for goes on
            self._stream.write(text)
            self._stream.flush()
