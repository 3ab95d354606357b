"""Tells the emulator's own time, which may run faster than the loop's."""

from __future__ import annotations

import time
from collections.abc import Callable

import anyio


class Clock:
    """Simulated time: the loop's clock since the first look, times `speed`."""

    def __init__(self, speed: float = 1.0, wall: Callable[[], float] = time.time) -> None:
        if speed <= 0:
            raise ValueError("speed is simulated seconds per second and must be above 0")
        self.speed = speed
        self.wall = wall
        self._loop_zero: float | None = None
        self._wall_zero = 0.0

    def now(self) -> float:
        """Simulated seconds since the clock was first looked at."""
        # A loop's clock has no zero of its own, and there is no loop before the first look.
        loop_now = anyio.current_time()
        if self._loop_zero is None:
            self._loop_zero = loop_now
            self._wall_zero = self.wall()
        return (loop_now - self._loop_zero) * self.speed

    def unix(self, at: float) -> float:
        """The Unix time, in seconds, of a simulated moment."""
        return self._wall_zero + at

    def unix_ms(self, at: float) -> int:
        """The Unix time of a simulated moment as Kling writes it."""
        return int(self.unix(at) * 1000)

    def loop_seconds(self, simulated: float) -> float:
        """How long the loop takes over so many simulated seconds."""
        return simulated / self.speed
