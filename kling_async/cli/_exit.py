"""Exit codes: how a command ends, in a number for scripts."""

from __future__ import annotations

from enum import IntEnum

from .._errors import (
    AuthenticationError,
    BalanceExhausted,
    BatchStopped,
    ClientClosed,
    ConfigurationError,
    NotServed,
    PermissionDenied,
    RequestChanged,
    RequestRefused,
    SubmissionUnknown,
    TaskTimeout,
)


class Exit(IntEnum):
    """What `kling` ends with."""

    FINE = 0
    FAILED = 1
    USAGE = 2
    REFUSED = 3
    PENDING = 4


class NoKey(ConfigurationError):
    """The environment holds no key of the provider that is asked for."""


_KINDS: tuple[tuple[tuple[type[BaseException], ...], Exit], ...] = (
    ((NoKey, AuthenticationError, PermissionDenied, BalanceExhausted), Exit.REFUSED),
    ((ConfigurationError, RequestRefused, RequestChanged, NotServed), Exit.USAGE),
    ((SubmissionUnknown, TaskTimeout, ClientClosed), Exit.PENDING),
)


def exit_of(error: BaseException) -> Exit:
    """The code of an error that ends a command."""
    if isinstance(error, BatchStopped) and error.__cause__ is not None:
        return exit_of(error.__cause__)
    return next((code for kinds, code in _KINDS if isinstance(error, kinds)), Exit.FAILED)


def worst(codes: list[Exit]) -> Exit:
    """The code of several ends: what is not allowed, else what is pending, else what failed."""
    return max(codes, key=_ORDER.index, default=Exit.FINE)


_ORDER = (Exit.FINE, Exit.FAILED, Exit.PENDING, Exit.USAGE, Exit.REFUSED)
