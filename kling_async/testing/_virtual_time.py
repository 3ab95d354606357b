"""Virtual time: clocks that jump to the next deadline instead of waiting for it.

They stand still while anything can run. They also hold still while a worker thread is busy
(anyio's, trio's, an executor's or a journal's), since nobody can know when it will be done.
Three limits:

- Other processes, real servers and threads started by hand are not seen: the clock jumps past them.
  Keep such a test in real time, or let `hold` wrap what waits for them.
- A worker thread that itself waits for virtual time, as by `from_thread.run(anyio.sleep, 5)`, is
  busy and so stops the clock: the test hangs until its time-out.
- `time.time()` and `time.monotonic()` are as real as ever.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import AbstractContextManager, nullcontext
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, cast

import anyio

from kling_async.testing._hold import hold, hold_journals
from kling_async.testing._virtual_loop import VirtualTimeLoop, taken_over

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "VirtualTime",
    "VirtualTimeLoop",
    "asyncio_options",
    "hold",
    "is_virtual",
    "trio_options",
    "virtual_backend",
]


class VirtualTime:
    """A stretch of a program in which an hour's sleep is instant, on asyncio and on trio.

    It belongs to the whole event loop, not only to the task that begins it.

    Example:
        import anyio

        with VirtualTime() as clock:
            await anyio.sleep(3600)
            print(clock.elapsed)
    """

    def __init__(self) -> None:
        self._began = 0.0
        self._span: AbstractContextManager[None] | None = None

    @property
    def elapsed(self) -> float:
        """The seconds that have passed since it began."""
        return anyio.current_time() - self._began

    def __enter__(self) -> Self:
        hold_journals()
        self._span = _span()
        self._span.__enter__()
        self._began = anyio.current_time()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        span, self._span = self._span, None
        assert span is not None
        span.__exit__(None, None, None)


def _span() -> AbstractContextManager[None]:
    """What makes the running loop virtual; nothing where it is."""
    if _runs_on_trio():
        from trio.lowlevel import current_clock
        from trio.testing import MockClock

        from kling_async.testing import _virtual_trio

        is_one = isinstance(current_clock(), MockClock)
        return nullcontext() if is_one else _virtual_trio.taken_over()
    loop = asyncio.get_running_loop()
    return nullcontext() if isinstance(loop, VirtualTimeLoop) else taken_over(loop)


def _runs_on_trio() -> bool:
    trio: Any = sys.modules.get("trio")
    return trio is not None and bool(trio.lowlevel.in_trio_run())


def virtual_backend(name: str) -> tuple[str, dict[str, Any]]:
    """A backend in virtual time, which starts at zero, for anyio's fixture `anyio_backend`.

    Each test needs one of its own; all the fixtures of the test then share its time.
    """
    options: dict[str, Callable[[], dict[str, Any]]] = {
        "asyncio": asyncio_options,
        "trio": trio_options,
    }
    if name not in options:
        raise ValueError(f"backend {name!r}: give asyncio or trio")
    return name, options[name]()


def asyncio_options() -> dict[str, Any]:
    """What anyio needs to run asyncio in virtual time."""
    hold_journals()
    return {"loop_factory": VirtualTimeLoop}


def trio_options() -> dict[str, Any]:
    """What anyio needs to run trio in virtual time."""
    from kling_async.testing._virtual_trio import clock_and_instrument

    hold_journals()
    clock, watch = clock_and_instrument()
    return {"clock": clock, "instruments": [watch]}


def is_virtual(backend: object) -> bool:
    """Whether a value of the fixture `anyio_backend` runs in virtual time."""
    if not isinstance(backend, tuple):
        return False
    options = cast("tuple[str, dict[str, Any]]", backend)[1]
    return options.get("loop_factory") is VirtualTimeLoop or "clock" in options
