"""An asyncio loop that jumps to its next deadline, made so or taken over while it runs."""

from __future__ import annotations

import asyncio
import selectors
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

from anyio._backends._asyncio import WorkerThread  # no public way tells which of them are busy

from kling_async.testing._hold import is_held

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Executor

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

GRACE = 0.001  # real seconds to listen for a busy thread before looking at the threads again
_PLAIN = selectors.DefaultSelector


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that, with nothing to do before a deadline, is there at once."""

    def __init__(self) -> None:
        self._now = 0.0
        self._jobs: set[asyncio.Future[Any]] = set()
        super().__init__(JumpingSelector(self))

    def time(self) -> float:
        """Seconds, of which none passes by itself."""
        return self._now

    def jump(self, seconds: float) -> None:
        """Let so many seconds have passed."""
        self._now += seconds

    def has_busy_threads(self) -> bool:
        """Whether a thread is at work, of which nobody can know when it will be done."""
        return bool(self._jobs or is_held()) or any(
            isinstance(thread, WorkerThread)
            and thread.loop is self
            and not thread.stopping
            and thread not in thread.idle_workers
            for thread in threading.enumerate()
        )

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        """As ever, and time stands still until it is done."""
        job = super().run_in_executor(executor, func, *args)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait for the executor's threads, in real time."""
        # From 3.12 on the threads have 300 seconds to end. Virtual ones would be over in no time.
        await super().shutdown_default_executor()


class JumpingSelector(selectors.DefaultSelector):
    """A selector that moves the loop's clock where others wait."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """What is ready now; if nothing is, time passes instead."""
        if timeout is None:  # no deadline at all: only the outside can wake the loop
            return super().select()
        ready = super().select(0)
        if ready or timeout <= 0:
            return ready
        if self._loop.has_busy_threads():
            return super().select(GRACE)
        self._loop.jump(timeout)
        return []


@contextmanager
def taken_over(loop: asyncio.AbstractEventLoop) -> Generator[None]:
    """The running loop is a virtual one while the block runs.

    Afterwards time passes as it always did, from where it has come to: it never goes back.
    """
    kind, selector = type(loop), getattr(loop, "_selector", None)
    if not (issubclass(kind, asyncio.SelectorEventLoop) and type(selector) is _PLAIN):
        raise RuntimeError(f"virtual time needs asyncio's own selector loop, not {kind.__name__}")
    now = loop.time()
    vars(loop).pop("time", None)  # left by the last time
    vars(loop).update(_now=now, _jobs=set())
    vars(selector).update(_loop=loop)
    loop.__class__, selector.__class__ = VirtualTimeLoop, JumpingSelector
    try:
        yield
    finally:
        ahead = loop.time() - time.monotonic()
        loop.__class__, selector.__class__ = kind, _PLAIN
        vars(loop).update(time=lambda: time.monotonic() + ahead)
