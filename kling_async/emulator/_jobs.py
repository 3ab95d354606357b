"""Lives a task's life, computed from the clock whenever somebody asks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

import anyio

from kling_async.emulator._clock import Clock
from kling_async.emulator._mp4 import FRAMES_PER_SECOND, frame_count
from kling_async.emulator._rules import Order

# Nobody documents how long tasks stay submitted.
_SUBMITTED_SHARE = 0.1
# Kling's clips run a little over the length that was asked for: "5.1".
_OVERRUN = 0.1


@dataclass(frozen=True, slots=True)
class State:
    """What a task looks like at one moment; `since` is simulated seconds."""

    status: str
    since: float
    message: str = ""

    @property
    def is_terminal(self) -> bool:
        """Whether nothing more will happen."""
        return self.status in ("succeed", "failed")


class Job:
    """One task; tests may hasten it with `begin`, `succeed` or `fail`, or `stick` it."""

    __slots__ = (
        "_begins",
        "_changed",
        "_clock",
        "_ends",
        "account",
        "body",
        "created",
        "duration",
        "endpoint",
        "external_task_id",
        "failure",
        "file_version",
        "order",
        "origin",
        "shown",
        "task_id",
        "units",
        "video_id",
    )

    def __init__(
        self,
        clock: Clock,
        *,
        task_id: str,
        video_id: str,
        external_task_id: str | None,
        account: str,
        endpoint: str,
        body: Mapping[str, object],
        order: Order,
        units: Decimal,
        duration: float,
        origin: str,
    ) -> None:
        self.task_id = task_id
        self.video_id = video_id
        self.external_task_id = external_task_id
        self.account = account
        self.endpoint = endpoint
        self.body = body
        self.order = order
        self.units = units
        self.duration = duration
        self.origin = origin
        self.failure = order.doom
        self.file_version = 0
        self.shown = "submitted"
        self.created = clock.now()
        self._clock = clock
        self._begins = self.created + duration * _SUBMITTED_SHARE
        self._ends = self.created + duration
        self._changed: anyio.Event | None = None

    def __repr__(self) -> str:
        return f"<Job {self.task_id} {self.endpoint}>"

    @property
    def state(self) -> State:
        """The state now."""
        return self._state_at(self._clock.now())

    @property
    def frames(self) -> int:
        """How many frames its video has."""
        return frame_count(self.order.seconds + _OVERRUN)

    @property
    def video_seconds(self) -> str:
        """The length of its video, as Kling writes it."""
        return f"{self.frames / FRAMES_PER_SECOND:g}"

    @property
    def watermarked(self) -> bool | None:
        """Whether a watermarked copy was asked for; None if it was not said."""
        info = cast("dict[str, object] | None", self.body.get("watermark_info") or None)
        return None if info is None else bool(info.get("enabled"))

    @property
    def begins(self) -> float:
        """When it is taken up, in simulated seconds."""
        return self._begins

    def begin(self) -> None:
        """Be taken up now."""
        self._begins = min(self._begins, self._clock.now())
        self._tell()

    def succeed(self) -> None:
        """End now, with a video."""
        self._end(self._clock.now(), None)

    def fail(self, message: str) -> None:
        """End now, failed for this reason."""
        self._end(self._clock.now(), message)

    def doom(self, message: str) -> None:
        """Fail for this reason when the time is up."""
        self._end(self._ends, message)

    def stick(self) -> None:
        """Never end."""
        self._end(math.inf, None)

    def file_url(self, name: str) -> str:
        """Where a file of this task is found; a new address after the old one expired."""
        version = f"?v={self.file_version}" if self.file_version else ""
        return f"{self.origin}/{self.task_id}/{name}{version}"

    def earlier(self) -> State | None:
        """A state older than the one last shown, if there is one."""
        if self.shown == "submitted":
            return None
        if self.shown == "processing":
            return State("submitted", self.created)
        return State("processing", self._begins)

    async def changed(self, known: State) -> State:
        """Wait for the state after this one."""
        while (state := self.state).status == known.status:
            if self._changed is None:
                self._changed = anyio.Event()
            moment = self._begins if state.status == "submitted" else self._ends
            wait = self._clock.loop_seconds(moment - self._clock.now())
            # A test may end the task earlier, so sleeping alone will not do. And what is left of
            # the time may be too little for a clock of floats to move at all.
            with anyio.move_on_after(max(1e-6, wait)):
                await self._changed.wait()
        return state

    def _state_at(self, moment: float) -> State:
        if moment >= self._ends:
            status = "succeed" if self.failure is None else "failed"
            return State(status, self._ends, self.failure or "")
        if moment >= self._begins:
            return State("processing", self._begins)
        return State("submitted", self.created)

    def _end(self, at: float, failure: str | None) -> None:
        self._ends = at
        self._begins = min(self._begins, at)
        self.failure = failure
        self._tell()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None
