"""Span: a length of time, as people read it, and the lengths that axes go in."""

from __future__ import annotations

import math

MINUTE, HOUR, DAY = 60, 3600, 86_400
_UNITS = ((DAY, "d", HOUR, "h"), (HOUR, "h", MINUTE, "m"), (MINUTE, "m", 1, "s"))
_STEPS = (
    *(number * 10.0**power for power in (-3, -2, -1) for number in (1, 2, 5)),
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(HOUR, 2 * HOUR, 3 * HOUR, 6 * HOUR, 12 * HOUR),
)


def spoken(seconds: float) -> str:
    """In two parts at most: 34 ms, 3.4 s, 1 m 58 s, 2 h 5 m."""
    if seconds < 0.9995:
        return f"{seconds * 1000:.0f} ms" if seconds else "0 s"
    if seconds < 9.95:
        return f"{seconds:.1f}".removesuffix(".0") + " s"
    whole = round(seconds)
    for size, unit, smaller, small_unit in _UNITS:
        if whole >= size:
            rest = whole % size // smaller
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return f"{whole} s"


def step_of(least: float) -> float:
    """The smallest length that people count in and that is no shorter than *least*."""
    return next((step for step in _STEPS if step >= least), math.ceil(least / DAY) * DAY)
