"""When to ask again about a task, and when to stop: decided here, performed by Task."""

from __future__ import annotations

from random import Random

from ._config import Polling
from ._errors import (
    AuthenticationError,
    ConfigurationError,
    KlingError,
    PermissionDenied,
    RateLimited,
    ServerError,
)
from ._retry import is_transient, next_delay
from ._state import TaskState, TaskStatus

_ENDS_A_WAIT = (AuthenticationError, PermissionDenied, ConfigurationError)


class Patience:
    """One wait's memory of failures; pure but for what it remembers.

    A healthy task is asked about at a fixed interval, however old it is. Errors stretch
    the pause, and none that may pass ends the wait: a paid task is never lost to one bad
    answer. "No such task" and other refusals end it once they have lasted.
    """

    def __init__(self, polling: Polling, random: Random) -> None:
        self._polling = polling
        self._random = random
        self._failures = 0
        self._refused_since: float | None = None
        self.trouble: KlingError | None = None
        """The error of the last question, if it had no good answer."""

    def after_answer(self) -> float:
        """Seconds until the next question, after a good answer."""
        self._failures, self._refused_since, self.trouble = 0, None, None
        return self._polling.interval

    def after_error(self, error: KlingError, now: float) -> float:
        """Seconds until the next question after *error*; raises it when it ends the wait."""
        self.trouble = error
        hint = error.retry_after if isinstance(error, RateLimited | ServerError) else None
        if is_transient(error):
            self._refused_since = None
        elif isinstance(error, _ENDS_A_WAIT) or hint is not None or self._has_lasted(now):
            raise error
        delay = next_delay(
            self._failures,
            random=self._random,
            hint=hint,
            base=self._polling.interval,
            limit=self._polling.max_interval,
        )
        self._failures += 1
        return delay

    def _has_lasted(self, now: float) -> bool:
        if self._refused_since is None:
            self._refused_since = now
        return now - self._refused_since >= self._polling.not_found_grace


def newer(held: TaskState, told: TaskState) -> TaskState:
    """The state to believe: an ended task stays ended, and an older answer is dropped."""
    if held.status.is_terminal and not (held.status is told.status and told.task_result):
        return held
    if held.updated_at is not None and told.updated_at is not None:
        return told if told.updated_at >= held.updated_at else held
    # Some gateways tell no times, but no task goes back into the queue.
    goes_back = held.status is TaskStatus.PROCESSING and told.status is TaskStatus.SUBMITTED
    return held if goes_back else told
