"""Runs work that belongs to the client and to no caller's cancel scope."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from contextvars import Context, copy_context
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import anyio

Work: TypeAlias = Callable[[], Coroutine[Any, Any, None]]
Function = TypeVar("Function", bound=Callable[..., object])

_SPARED: list[Callable[..., object]] = []


@dataclass(frozen=True, slots=True)
class Loop:
    """What anyio has no word for, of the event loop that runs."""

    time: Callable[[], float]
    """As `anyio.current_time`, which takes ten times as long to find its loop."""
    call_soon: Callable[[Callable[[], object]], object]
    """From any thread, and from the midst of anything."""
    raises_anywhere: bool
    """Ctrl-C is raised in whatever runs at the moment, so that it may hit our own tasks."""
    spawn: Callable[[Work, Context | None], object]
    """Begin a task that nobody waits for; keep what is returned until it is over."""


def spared(function: Function) -> Function:
    """For what runs in tasks of our own: there Ctrl-C is not raised, but in the caller's.

    trio raises it in whatever task runs, where it would tear down all that is in progress.
    """
    _SPARED.append(function)
    return function


@spared
async def sparing(work: Callable[[], Awaitable[None]]) -> None:
    """The same for a function within a function: begin its task by way of this."""
    await work()


def running_loop() -> Loop:
    """The loop that runs here."""
    trio: Any = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_run():
        low = trio.lowlevel
        while _SPARED:
            low.enable_ki_protection(_SPARED.pop())
        call_soon = low.current_trio_token().run_sync_soon

        def spawn_in_trio(work: Work, context: Context | None) -> object:
            return low.spawn_system_task(work, context=context)

        return Loop(trio.current_time, call_soon, False, spawn_in_trio)
    loop = asyncio.get_running_loop()

    def spawn(work: Work, context: Context | None) -> object:
        return loop.create_task(work(), context=context or Context())

    return Loop(loop.time, loop.call_soon_threadsafe, True, spawn)


class Background:
    """One piece of work at a time, started when there is any and over when it is done.

    A task group would tie it to the coroutine that opened the client, and so forbid to
    open and close a client in different tasks, as web frameworks and test fixtures do.

    Args:
        keeps_context: Run in the context of whoever starts it, for work that is his alone.
            Other work would show up among the spans and log fields of whoever was first.
    """

    def __init__(self, work: Work, *, keeps_context: bool = False) -> None:
        self._work = work
        self._keeps_context = keeps_context
        self._scope: anyio.CancelScope | None = None
        self._ended: anyio.Event | None = None
        self._loop: Loop | None = None
        self._task: object = None

    def start(self) -> None:
        """Begin, unless it is going on already."""
        if self._ended is not None:
            return
        self._ended = ended = anyio.Event()
        self._scope = scope = anyio.CancelScope()
        self._loop = running_loop()
        # asyncio itself keeps only weak references to its tasks.
        context = copy_context() if self._keeps_context else None
        self._task = self._loop.spawn(lambda: self._run(scope, ended), context)

    async def _run(self, scope: anyio.CancelScope, ended: anyio.Event) -> None:
        try:
            with scope:
                await self._work()
        finally:
            self._ended = self._scope = self._task = None
            ended.set()

    async def finished(self) -> None:
        """Wait until the work is over."""
        if self._ended is not None:
            await self._ended.wait()

    async def stop(self) -> None:
        """Cancel the work and wait until it is over."""
        if self._scope is not None:
            self._scope.cancel()
            with anyio.CancelScope(shield=True):
                await self.finished()

    def call_soon(self, call: Callable[[], object]) -> None:
        """Call it from the loop.

        This is for `__del__`, which runs in any thread, and in the midst of anything: of a
        walk through the very dict that it would change.
        """
        if self._loop is None:
            call()
            return
        with suppress(RuntimeError):  # that loop is closed, so nothing waits there any more
            self._loop.call_soon(call)


class Signal:
    """Wakes everybody who waits for something to change, again and again."""

    def __init__(self) -> None:
        self._event: anyio.Event | None = None

    def ring(self) -> None:
        """Something changed."""
        if self._event is not None:
            self._event.set()
            self._event = None

    async def wait(self) -> None:
        """Wait for the next ring."""
        if self._event is None:
            self._event = anyio.Event()
        await self._event.wait()
