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
        "creation",
        "exchange",
        "external_task_id",
        "is_queued",
        "is_wanted",
        "late",
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
        late: float = 0.0,
        notes: Notes | None = None,
    ) -> None:
        self.external_task_id = external_task_id
        """The id it goes by, unless the request names one; None makes one up."""
        self.body = body
        """What is sent, where that was made already."""
        self.left_before = left_before
        """Seconds since an earlier process may have sent it; None: none has."""
        self.late = late
        """Seconds from now in which that process may still send it."""
        self.notes = notes or Notes()
        self.noted = False
        """It is written down that it may be sent."""
        self.creation = anyio.CancelScope()
        """What all of it is done in."""
        self.is_wanted = True
        self.is_queued = False
        """It waits to be sent, for the first time or once more."""
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

    def call_off(self, *, leaves_lost: bool) -> None:
        """Do not send it any more; what may have been made is found out all the same.

        Args:
            leaves_lost: Somebody else will find out what became of a create that was lost.
        """
        self.is_wanted = False
        is_open = self.may_exist and not self.is_queued and not leaves_lost
        if not (self.on_the_wire or is_open):
            self.creation.cancel()

    @property
    def may_exist(self) -> bool:
        """Whether there is, or may be, a task that is paid for."""
        return self.on_the_wire or self.lost or self.task_id is not None
