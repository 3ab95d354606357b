"""Call, Reply and Place: a request, what came back, and where a file is, as plain values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request, without the key: the transport adds that at the last moment."""

    method: str
    url: str
    json: Mapping[str, Any] | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP response, read whole; header names are in lower case."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Place:
    """A file's address, as the HTTP library reads it."""

    scheme: str
    host: str
    port: int
    url: str = field(repr=False)

    def __str__(self) -> str:
        # The query may hold the signature that opens the file.
        return self.url.partition("#")[0].partition("?")[0]
