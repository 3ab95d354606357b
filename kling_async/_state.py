"""TaskStatus and TaskState: one frozen snapshot of a task."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import Any

from pydantic_core import from_json


class TaskStatus(StrEnum):
    """Where a task stands, in Kling's words."""

    SUBMITTED = "submitted"
    PROCESSING = "processing"
    SUCCEEDED = "succeed"
    FAILED = "failed"
    UNKNOWN = "unknown"
    """A word we do not know; it counts as still running."""

    @property
    def is_terminal(self) -> bool:
        """Whether the task has ended, well or badly."""
        return self in (TaskStatus.SUCCEEDED, TaskStatus.FAILED)


# Seen on Kling, CometAPI and New-API gateways (KLING_API B.5), folded to lower case.
_SPELLINGS = {
    TaskStatus.SUBMITTED: (
        "submitted",
        "not_start",
        "queued",
        "pending",
        "wait",
        "initializing",
        "",
    ),
    TaskStatus.PROCESSING: ("processing", "in_progress", "run"),
    TaskStatus.SUCCEEDED: ("succeed", "succeeded", "success", "completed", "done"),
    TaskStatus.FAILED: ("failed", "failure", "fail", "cancelled"),
}
_STATUS = {word: status for status, words in _SPELLINGS.items() for word in words}


def read_status(word: object) -> TaskStatus:
    """Translate any server's status word; an unheard-of one is UNKNOWN."""
    if not isinstance(word, str):
        return TaskStatus.UNKNOWN
    return _STATUS.get(word.strip().lower(), TaskStatus.UNKNOWN)


@dataclass(frozen=True, slots=True)
class TaskState:
    """A task as the server described it at one moment.

    Times are Unix seconds. `task_result` is in Kling's own shape whatever the dialect.
    """

    id: str
    status: TaskStatus
    word: str = ""
    """The server's own word for the status."""
    message: str = ""
    """Why the task failed."""
    external_task_id: str | None = None
    created_at: float | None = None
    updated_at: float | None = None
    units: Decimal | None = None
    """What it cost in Kling's units, once it is known."""
    request_id: str | None = None
    task_result: Mapping[str, Any] = field(default_factory=dict[str, Any])
    answer: bytes = field(default=b"{}", repr=False)
    """What the server said, as JSON: as an object it would take three times the room."""

    @property
    def raw(self) -> dict[str, Any]:
        """The server's answer untouched."""
        answer: dict[str, Any] = from_json(self.answer)
        return answer
