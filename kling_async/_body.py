"""Body: what a create sends, as JSON, made and sent so that nobody else has to wait."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, cast

import anyio.to_thread
from pydantic_core import to_json

LARGE = 64 * 1024
"""Bytes that are no trouble in one go."""


async def encoded(json: Mapping[str, Any]) -> bytes:
    """As JSON; what is large in a thread."""
    if _is_large(json):
        return await anyio.to_thread.run_sync(b"".join, _pieces(json))
    return to_json(json)


def _is_large(value: object) -> bool:
    if isinstance(value, str):
        return len(value) > LARGE
    return any(map(_is_large, _parts(value)))


def _parts(value: object) -> Iterable[object]:
    if isinstance(value, Mapping):
        return cast("Mapping[str, object]", value).values()
    return cast("list[object]", value) if isinstance(value, list) else ()


def _pieces(value: object) -> Iterator[bytes]:
    """JSON in pieces: one call for ten megabytes would hold the GIL to its end."""
    if not _is_large(value):
        yield to_json(value)
    elif isinstance(value, str):
        yield b'"'
        for start in range(0, len(value), LARGE):
            yield to_json(value[start : start + LARGE])[1:-1]
            time.sleep(0)  # lets other threads run
        yield b'"'
    elif isinstance(value, Mapping):
        separator = b"{"
        for name, item in cast("Mapping[str, object]", value).items():
            yield separator + to_json(name) + b":"
            yield from _pieces(item)
            separator = b","
        yield b"}"
    else:
        separator = b"["
        for item in _parts(value):
            yield separator
            yield from _pieces(item)
            separator = b","
        yield b"]"
