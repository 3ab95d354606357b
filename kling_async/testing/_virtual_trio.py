"""A trio clock that jumps to its next deadline, given to a run or taken up while it runs."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from math import inf
from typing import Any

import trio
from trio._core._run import GLOBAL_RUN_CONTEXT  # no public way changes the clock of a run
from trio.testing import MockClock, active_thread_count

from kling_async.testing._hold import is_held


class HoldForThreads(trio.abc.Instrument):
    """Stops a jumping trio clock for as long as a worker thread is busy."""

    def __init__(self, clock: MockClock) -> None:
        self._clock = clock

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        """Look at the threads."""
        # Threads begin and are joined in a step of some task, so no idle moment goes unseen.
        threshold = inf if active_thread_count() or is_held() else 0.0
        if self._clock.autojump_threshold != threshold:
            self._clock.autojump_threshold = threshold


class Ahead(trio.abc.Clock):
    """Another clock, put forward."""

    def __init__(self, clock: trio.abc.Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds

    def start_clock(self) -> None:
        """Nothing: the other one runs."""

    def current_time(self) -> float:
        """Its time, and so many seconds more."""
        return self._clock.current_time() + self._seconds

    def deadline_to_sleep_time(self, deadline: float) -> float:
        """Its pace."""
        return self._clock.deadline_to_sleep_time(deadline - self._seconds)


def clock_and_instrument() -> tuple[MockClock, HoldForThreads]:
    """A clock at zero that jumps, and what must watch the run for it."""
    clock = MockClock(autojump_threshold=0)
    return clock, HoldForThreads(clock)


@contextmanager
def taken_over() -> Generator[None]:
    """The run's clock is a virtual one while the block runs.

    Afterwards time passes as it always did, from where it has come to: it never goes back.
    """
    runner: Any = GLOBAL_RUN_CONTEXT.runner
    real = runner.clock
    clock, watch = clock_and_instrument()
    clock.jump(real.current_time())
    runner.clock = clock
    clock.start_clock()
    trio.lowlevel.add_instrument(watch)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(watch)
        clock.autojump_threshold = inf
        runner.clock = Ahead(real, clock.current_time() - real.current_time())
