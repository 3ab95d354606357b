"""Is this failure worth repeating, and after how long: pure answers."""

from __future__ import annotations

from random import Random

from ._config import MAX_RETRY_AFTER
from ._errors import (
    APIError,
    BadEnvelope,
    ConfigurationError,
    ConnectFailed,
    DuplicateTaskId,
    IntentExpired,
    JournalError,
    KlingError,
    RateLimited,
    RequestRefused,
    ServerError,
    TransportError,
)

MAINTENANCE = 5001


def is_transient(error: KlingError) -> bool:
    """Whether the same call may succeed later."""
    if isinstance(error, RateLimited | ServerError):
        return (error.retry_after or 0.0) <= MAX_RETRY_AFTER
    return isinstance(error, TransportError)


def created_nothing(error: KlingError) -> bool:
    """Whether a create that failed like this certainly made no task (KLING_API D.1).

    Without certainty the answer is False, and the server is asked before anything is sent
    again.
    """
    if isinstance(error, BadEnvelope):
        # A redirect or an error page of the router's: the path is not served there, or the
        # body is too large for it.
        return error.status is not None and (
            300 <= error.status < 400 or error.status in (404, 405, 413)
        )
    if isinstance(error, DuplicateTaskId):
        return False  # there is a task, perhaps from this very create sent twice on its way
    if isinstance(error, ServerError):
        return error.code == MAINTENANCE
    if type(error) is APIError:
        return isinstance(error.code, int) and 1000 <= error.code < 2000
    # A journal that cannot take the intent, or an id it refuses: nothing was sent.
    return isinstance(
        error,
        ConnectFailed
        | ConfigurationError
        | IntentExpired
        | JournalError
        | RequestRefused
        | APIError,
    )


def next_delay(
    failures: int,
    *,
    random: Random,
    hint: float | None = None,
    base: float = 1.0,
    limit: float = 60.0,
) -> float:
    """Seconds to wait after so many failures in a row: exponential, with jitter.

    A server's *hint* beats the formula; jitter then only adds to it. A hint of 0 is none.
    """
    if hint:
        return hint + random.uniform(base / 2, base)
    ceiling = min(limit, base * 2.0 ** min(failures, 30))
    return random.uniform(ceiling / 2, ceiling)
