"""Polling: when a task that is waited for is asked about."""

from __future__ import annotations

from dataclasses import dataclass
from math import isfinite

from ._errors import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class Polling:
    """When to ask about the tasks that are waited for, in seconds.

    Example:
        Polling(interval=3)                                             # prompter, dearer
        Polling(learn=False, growth=2, interval=1, max_interval=30)     # plain exponential
    """

    interval: float = 5.0
    """Between two questions about a task that may end any moment."""
    max_interval: float = 60.0
    """The longest pause: of growing spacing, of late tasks, and of back-off after errors."""
    growth: float = 1.0
    """Factor from one pause to the next while nothing is learned; 1 keeps them equal.

    A task is the likelier to end the older it is, so growing pauses miss its end.
    """
    jitter: float = 0.2
    """A task's questions are put off by a random part of the interval, up to this one."""
    learn: bool = True
    """Spare a kind of task questions while its finished tasks say that it cannot be ready."""
    guards: tuple[float, ...] = (10.0, 25.0)
    """Ages at which a task is asked about even so, as it may have failed early."""
    sweeps: bool = True
    """Ask by pages of the server's list where one page costs less than single questions."""
    sweep_interval: float = 2.5
    """Between two readings of a list."""
    max_polls_at_once: int = 20
    """Questions and pages under way at most."""
    timeout: float | None = 7200.0
    """How long a wait lasts unless the caller says otherwise; None waits for ever.

    Kling's slow kinds take more than an hour in the wild.
    """
    not_found_grace: float = 60.0
    """How long "no such task" is taken for a server that lags behind its own create."""

    def __post_init__(self) -> None:
        _positive("interval", self.interval)
        _positive("sweep_interval", self.sweep_interval)
        _at_least("max_interval", self.max_interval, self.interval, "interval")
        _at_least("growth", self.growth, 1.0)
        _at_least("jitter", self.jitter, 0.0)
        _at_least("max_polls_at_once", self.max_polls_at_once, 1)
        _at_least("not_found_grace", self.not_found_grace, 0.0)
        for guard in self.guards:
            _positive("guards", guard)
        if self.timeout is not None:
            _at_least("timeout", self.timeout, 0.0, infinite=True)


def _positive(name: str, value: float) -> None:
    if not (isfinite(value) and value > 0):
        raise ConfigurationError(f"Polling({name}={value!r}): give a finite number above 0")


def _at_least(
    name: str, value: float, least: float, of: str | None = None, *, infinite: bool = False
) -> None:
    if not (value >= least and (infinite or isfinite(value))):
        source = f" ({of})" if of else ""
        raise ConfigurationError(
            f"Polling({name}={value!r}): give a number, {least:g}{source} or more"
        )
