"""Verdicts: which error ends a row, which ends a batch, and how one is written down."""

from __future__ import annotations

from typing import Any, TypeGuard

from ._attempt import Attempt, Stage
from ._errors import (
    AuthenticationError,
    BalanceExhausted,
    ContentRejected,
    DuplicateTaskId,
    InvalidRequest,
    KlingError,
    PermissionDenied,
    TaskFailed,
    TaskNotFound,
)

LOOK_AGAIN = (
    "Run the batch again: it is looked for each time. To send it once more and risk paying"
    " twice: batch(..., resend=True)."
)
PUT_RIGHT = (
    "Put that right before you run it again. The log names the tasks that could not be written"
    " down; a row that is not in the journal would be paid for anew."
)

_REFUSED = (ContentRejected, InvalidRequest, TaskNotFound)
_STOPS_ALL = (AuthenticationError, PermissionDenied, BalanceExhausted)


def is_final(error: Exception | None, stage: Stage | None) -> TypeGuard[KlingError]:
    """Whether nothing more can come of a row that has got to *stage*.

    To send again what the server refused would end the same; but a task that was made may yet
    be found, whatever the server says of it for a while.
    """
    if stage is None:
        return isinstance(error, _REFUSED) and not isinstance(error, DuplicateTaskId)
    return isinstance(error, TaskFailed)


def stops_all(error: BaseException | None) -> TypeGuard[KlingError]:
    """Whether no other request would fare better."""
    return isinstance(error, _STOPS_ALL)


def facts_of(error: KlingError) -> dict[str, Any]:
    """What a journal keeps of an error."""
    return {
        "type": type(error).__name__,
        "message": error.message,
        "code": error.code,
        "status": error.status,
        "request_id": error.request_id,
    }


def read_again(attempt: Attempt) -> KlingError:
    """The error of an earlier run, as far as it was written down."""
    facts = dict(attempt.error or {})
    kinds: dict[str, type[KlingError]] = {kind.__name__: kind for kind in (TaskFailed, *_REFUSED)}
    kind = kinds.get(facts.pop("type", ""), KlingError)
    error = kind(facts.pop("message", "failed"), **facts)
    if isinstance(error, TaskFailed):
        error.token, error.external_task_id = attempt.token, attempt.external_task_id
    return error
