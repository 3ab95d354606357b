"""Clocks that jump to the next deadline instead of waiting for it, for asyncio and for trio.

Both start at zero and stand still while anything can run. They also hold still while a worker
thread is busy (anyio's, trio's, or an executor's), since nobody can know when it will be done.
Three limits:

- Other processes, real servers and threads started by hand are not seen: the clock jumps past them.
  Mark such a test `real_time`, or let `hold` wrap what waits for them.
- A worker thread that itself waits for virtual time, as by `from_thread.run(anyio.sleep, 5)`, is
  busy and so stops the clock: the test hangs until its time-out.
- `time.time()` and `time.monotonic()` are as real as ever.
"""

from __future__ import annotations

import asyncio
import selectors
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, TypeVarTuple

import trio
from anyio._backends._asyncio import WorkerThread  # no public way tells which of them are busy
from trio.testing import MockClock, active_thread_count

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from concurrent.futures import Executor

P = ParamSpec("P")
T = TypeVar("T")
Ts = TypeVarTuple("Ts")

GRACE = 0.001  # real seconds to listen for a busy thread before looking at the threads again


_held: set[object] = set()


def hold(call: Callable[P, Awaitable[T]]) -> Callable[P, Awaitable[T]]:
    """The same, but both clocks stand still until it has returned."""

    async def held(*args: P.args, **kwargs: P.kwargs) -> T:
        one = object()
        _held.add(one)
        try:
            return await call(*args, **kwargs)
        finally:
            _held.discard(one)

    return held


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """An event loop that, with nothing to do before a deadline, is there at once."""

    def __init__(self) -> None:
        self._now = 0.0
        self._jobs: set[asyncio.Future[Any]] = set()
        super().__init__(JumpingSelector(self))

    def time(self) -> float:
        return self._now

    def jump(self, seconds: float) -> None:
        self._now += seconds

    def has_busy_threads(self) -> bool:
        return bool(self._jobs or _held) or any(
            isinstance(thread, WorkerThread)
            and thread.loop is self
            and not thread.stopping
            and thread not in thread.idle_workers
            for thread in threading.enumerate()
        )

    def run_in_executor(
        self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts
    ) -> asyncio.Future[T]:
        job = super().run_in_executor(executor, func, *args)
        self._jobs.add(job)
        job.add_done_callback(self._jobs.discard)
        return job

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        # From 3.12 on the threads have 300 seconds to end. Virtual ones would be over in no time.
        await super().shutdown_default_executor()


class JumpingSelector(selectors.DefaultSelector):
    """A selector that moves the loop's clock where others wait."""

    def __init__(self, loop: VirtualTimeLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None:  # no deadline at all: only the outside can wake the loop
            return super().select()
        ready = super().select(0)
        if ready or timeout <= 0:
            return ready
        if self._loop.has_busy_threads():
            return super().select(GRACE)
        self._loop.jump(timeout)
        return []


class HoldForThreads(trio.abc.Instrument):
    """Stops a jumping trio clock for as long as a worker thread is busy."""

    def __init__(self, clock: MockClock) -> None:
        self._clock = clock

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        # Threads begin and are joined in a step of some task, so no idle moment goes unseen.
        threshold = float("inf") if active_thread_count() or _held else 0.0
        if self._clock.autojump_threshold != threshold:
            self._clock.autojump_threshold = threshold


def asyncio_options() -> dict[str, Any]:
    """What anyio needs to run asyncio in virtual time."""
    return {"loop_factory": VirtualTimeLoop}


def trio_options() -> dict[str, Any]:
    """What anyio needs to run trio in virtual time."""
    clock = MockClock(autojump_threshold=0)
    return {"clock": clock, "instruments": [HoldForThreads(clock)]}
