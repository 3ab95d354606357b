"""Announcer: tells a hook of the caller's of each task, and awaits it until the batch is left."""

from __future__ import annotations

import logging
from collections.abc import Callable
from inspect import isawaitable
from typing import Any, Generic, TypeVar

import anyio

from ._results import FromState
from ._task import Task

ResultT = TypeVar("ResultT", bound=FromState)

_LOG = logging.getLogger("kling_async")


class Announcer(Generic[ResultT]):
    """Whatever the hook does, the task is paid for and goes on."""

    def __init__(self, hook: Callable[[Task[ResultT]], object] | None) -> None:
        self._hook = hook
        self._awaiting: set[anyio.CancelScope] = set()
        self._left = False

    async def tell(self, task: Task[Any]) -> None:
        """Call the hook and await what it gives."""
        if self._hook is None:
            return
        scope = anyio.CancelScope()
        self._awaiting.add(scope)
        if self._left:  # it is told, and not waited for
            scope.cancel()
        try:
            with scope:
                told = self._hook(task)
                if isawaitable(told):
                    await told
        except Exception:
            _LOG.exception("on_submitted failed for %s", task.token)
        finally:
            self._awaiting.discard(scope)

    def leave(self) -> None:
        """Wait for no hook any more."""
        self._left = True
        for scope in self._awaiting:
            scope.cancel()
