"""Stopwatch: measures one HTTP request, and tells the hooks how it went."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from urllib.parse import urlsplit

import anyio

from ._events import ExchangeFinished, Hooks

_PORTS = {"http": 80, "https": 443}


class Stopwatch:
    """Runs inside of its `with`, which gives a function to call with the status of the answer."""

    __slots__ = ("_began", "_hooks", "_method", "_status", "_url")

    def __init__(self, hooks: Hooks, method: str, url: str) -> None:
        self._hooks = hooks
        self._method = method
        self._url = url
        self._status: int | None = None
        self._began = 0.0

    def __enter__(self) -> Callable[[int], None]:
        self._began = anyio.current_time()
        return self._answered

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        host, port = _server(self._url)
        seconds = anyio.current_time() - self._began
        self._hooks.tell(
            ExchangeFinished(self._method, host, port, self._status, seconds, _kind(error))
        )

    def _answered(self, status: int) -> None:
        self._status = status


def _server(url: str) -> tuple[str, int | None]:
    try:
        parts = urlsplit(url)
        return parts.hostname or "", parts.port or _PORTS.get(parts.scheme)
    except ValueError:  # malformed, of which the request itself has complained
        return "", None


def _kind(error: BaseException | None) -> str | None:
    if error is None:
        return None
    return type(error).__name__ if isinstance(error, Exception) else "cancelled"
