"""Signals: whatever asks the process to end ends it as Ctrl-C does, and says how to go on."""

from __future__ import annotations

import signal
from collections.abc import Generator
from contextlib import contextmanager

_POLITE = ("SIGTERM", "SIGHUP")


@contextmanager
def as_interrupts() -> Generator[None]:
    """Take the signals of a system that shuts down, and of a closed terminal, for a Ctrl-C."""
    # In the background interrupts may be ignored, and these must not be.
    heard = signal.getsignal(signal.SIGINT) is signal.default_int_handler
    named = [getattr(signal, name, None) for name in _POLITE]  # Windows has but one of them
    taken = [
        number
        for number in named
        if heard and number is not None and signal.getsignal(number) is signal.SIG_DFL
    ]
    for number in taken:
        signal.signal(number, _interrupt)
    try:
        yield
    finally:
        for number in taken:
            signal.signal(number, signal.SIG_DFL)


def _interrupt(*_: object) -> None:
    signal.raise_signal(signal.SIGINT)
