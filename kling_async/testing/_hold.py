"""Hold: work outside of the event loop, for which virtual clocks stand still."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_held: set[object] = set()


def hold(call: Callable[P, Awaitable[T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """The same, but virtual clocks stand still until it has returned.

    For what waits on something that they do not see: a thread of your own, a real server.
    """

    @wraps(call)
    async def held(*args: P.args, **kwargs: P.kwargs) -> T:
        one = object()
        _held.add(one)
        try:
            return await call(*args, **kwargs)
        finally:
            _held.discard(one)

    return held


def is_held() -> bool:
    """Whether anything is waited for that no clock sees."""
    return bool(_held)


def hold_journals() -> None:
    """A journal writes in a thread of its own: whoever waits for it holds the clocks.

    It stays so, for clocks that are not virtual take no notice.
    """
    from kling_async import _database

    job: Any = vars(_database)["_Job"]
    if not hasattr(job.answer, "__wrapped__"):
        job.answer = hold(job.answer)
