"""Intent: one task that is wanted, what is known of its create, and who writes that down."""

from __future__ import annotations

from typing import Any

import anyio

from ._state import TaskState


class Notes:
    """Writes down what becomes of a create; this one does not."""

    lasting = False
    """Whether a later run goes by them: then nobody need wait for a create that was lost."""

    async def leaving(self) -> None:
        """It is about to be sent."""

    async def withdrawn(self) -> None:
        """It was not sent, or refused: certainly there is no task."""

    async def created(self, state: TaskState, token: str) -> None:
        """There is a task."""

    async def announced(self, task: object) -> None:
        """Its handle is there, and nobody has asked about it yet."""


class Intent:
    """One task that is wanted, and what is known of its create so far."""

    __slots__ = (
        "body",
        "exchange",
        "external_task_id",
        "left_before",
        "lost",
        "noted",
        "notes",
        "on_the_wire",
        "task_id",
    )

    def __init__(
        self,
        external_task_id: str | None = None,
        *,
        body: dict[str, Any] | None = None,
        left_before: float | None = None,
        notes: Notes | None = None,
    ) -> None:
        self.external_task_id = external_task_id
        """The id it goes by, unless the request names one; None makes one up."""
        self.body = body
        """What is sent, where that was made already."""
        self.left_before = left_before
        """Seconds since an earlier process may have sent it; None: none has."""
        self.notes = notes or Notes()
        self.noted = False
        """It is written down that it may be sent."""
        self.exchange = anyio.CancelScope()
        """What its create is sent in; to cancel it leaves the create to its fate."""
        self.on_the_wire = False
        self.lost = left_before is not None
        """An answer is missing."""
        self.task_id: str | None = None

    def doubt(self, seconds: float) -> None:
        """An earlier submission with its id, that ended so long ago, may have made a task."""
        self.lost = True
        if self.left_before is None:
            self.left_before = seconds

    @property
    def may_exist(self) -> bool:
        """Whether there is, or may be, a task that is paid for."""
        return self.on_the_wire or self.lost or self.task_id is not None
