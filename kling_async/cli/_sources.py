"""Sources: what a text that stands for an image or a sound means."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from .._media import MediaSource
from ._requests import Malformed, Open

_AS_THEY_ARE = ("http://", "https://", "data:")


def beside(folder: Path) -> Open:
    """Paths are relative to *folder*, and must be files."""

    def source(text: str) -> MediaSource:
        if text.lower().startswith(_AS_THEY_ARE):
            return text
        path = folder / text
        try:
            there = path.is_file()
        except (OSError, ValueError):  # the name holds what no name can
            there = False
        if not there:
            raise Malformed(f"no such file: {str(path)[:200]}")
        return path

    return source


def typed(stdin: BinaryIO) -> Open:
    """As typed on a command line: `-` stands for standard input, which can be read once."""
    here, used = beside(Path()), list[str]()

    def source(text: str) -> MediaSource:
        if text != "-":
            return here(text)
        if used:
            raise Malformed("standard input can be read once only")
        used.append(text)
        return stdin.read()

    return source
