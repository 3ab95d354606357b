"""Source: the items of any iterable or async iterable, and its proper end."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, Iterable
from typing import TypeVar

import anyio

T = TypeVar("T")

_FAREWELL = 10.0


async def each(source: Iterable[T] | AsyncIterable[T]) -> AsyncGenerator[T]:
    """The items of any iterable; an async generator is closed at the end."""
    if not isinstance(source, AsyncIterable):
        for item in source:
            yield item
        return
    items = aiter(source)
    try:
        async for item in items:
            yield item
    finally:
        if isinstance(items, AsyncGenerator):
            # Whoever made it may have no other name for it; trio warns of one left open.
            with anyio.move_on_after(_FAREWELL, shield=True):
                await items.aclose()
