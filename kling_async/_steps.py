"""Steps: the parts of a task's life as engines journal them, repeatable, with JSON in and out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, cast
from uuid import uuid4

import anyio
from pydantic import BaseModel

from ._config import Timeouts
from ._errors import IntentExpired, KlingError, SubmissionUnknown
from ._intent import Intent, Notes
from ._results import FromState, VideoResult
from ._task import CLIENT_DEFAULT, Task, Timeout
from .endpoints import Request
from .providers import Provider

ResultT = TypeVar("ResultT", bound=FromState)

INTENT_LASTS = 30.0
"""Seconds after which an intent allows no create any more."""


class Client(Protocol):
    """What the steps need of a client."""

    @property
    def provider(self) -> Provider:
        """Whose tokens they are."""
        ...

    @property
    def timeouts(self) -> Timeouts:
        """How long one exchange of it may take."""
        ...

    def task(self, token: str) -> Task[Any]:
        """The task of a token."""
        ...

    async def settle(self, token: str) -> Task[Any]:
        """The task of a create whose answer was lost, if it can be found."""
        ...


class Buyer(Client, Protocol):
    """The same, and it creates and saves."""

    async def submit(
        self, request: Request[ResultT], *, intent: Intent | None = None
    ) -> Task[ResultT]:
        """Create a task, exactly once."""
        ...

    async def download(
        self, result: VideoResult, target: str, *, overwrite: bool = False
    ) -> list[Any]:
        """Save the videos of a result."""
        ...


class _Lease(Notes):
    """Lets a create leave only while the intent is good, however long this process slept."""

    lasting = True

    def __init__(self, seconds: float) -> None:
        # The loop's clock stands still while the machine sleeps; the other one may be set back.
        self._end = anyio.current_time() + seconds
        self._end_by_date = time.time() + seconds

    @property
    def is_over(self) -> bool:
        return anyio.current_time() >= self._end or time.time() >= self._end_by_date

    async def leaving(self) -> None:
        if self.is_over:
            raise IntentExpired("the intent is too old for a create to leave by it")


_unused: dict[str, _Lease] = {}
"""The intents that this process has made and not used."""


async def intend(kling: Client | None = None) -> dict[str, Any]:
    """An intent to create, for the engine to journal in a step of its own before it submits.

    It is good for one `submit_or_adopt`, in this process, within half a minute. Whoever is
    given it later, after a crash or a take-over, or twice, knows by that, and not by what the
    engine says of retries, that a create may have left already.

    Args:
        kling: The client that will submit by it. Needed where others' have other time-outs:
            they are to know how long a create of this one may be on its way.
    """
    for intent_id in [each for each, lease in _unused.items() if lease.is_over]:
        del _unused[intent_id]
    intent_id = uuid4().hex
    _unused[intent_id] = _Lease(INTENT_LASTS)
    intent: dict[str, Any] = {"id": intent_id, "at": time.time()}
    if kling is not None:
        intent["arrives_within"] = INTENT_LASTS + kling.timeouts.total
    return intent


async def submit_or_adopt(
    kling: Buyer,
    request: Request[Any],
    external_task_id: str,
    *,
    intent: Mapping[str, Any] | None = None,
) -> str:
    """Look the task up by its *external_task_id*; create it only if there is none.

    Args:
        external_task_id: Fixed before the first attempt, and the same in all of them.
        intent: What `intend` gave and the engine has journaled. Where a create may have left
            by it already, nothing is sent before the time has passed in which it may arrive.
            Without one, two attempts within that time can both pay, unless the server
            refuses a second task of that id.

    Returns:
        The token of the task.

    Raises:
        IntentExpired: Nothing was sent. Journal another intent and call again.
        SubmissionUnknown: A task may exist, and the server cannot be asked or trusted: to
            send again might pay twice. `settle` looks for it.
    """
    named = request.named(external_task_id)
    task = await kling.submit(named, intent=None if intent is None else _taken(intent, kling))
    return task.token


async def settle(kling: Client, token: str, external_task_id: str) -> Task[Any]:
    """Look for the task of a create whose answer was lost.

    Raises:
        SubmissionUnknown: It is not found, or cannot be looked for now.
    """
    try:
        return await kling.settle(token)
    except SubmissionUnknown:
        raise
    except KlingError as error:
        raise SubmissionUnknown(
            f"what became of its create cannot be found out now: {error.message}",
            external_task_id=external_task_id,
            token=token,
            provider=kling.provider.name,
        ) from error


async def wait(kling: Client, token: str, *, timeout: Timeout = CLIENT_DEFAULT) -> dict[str, Any]:
    """Wait for the result of a task, which the client's one poller asks about.

    Call it in one step, however long it takes: an engine's journal is no place for each poll.

    Args:
        timeout: Seconds to wait; 0 asks once, None waits without end.

    Returns:
        The result as JSON; `download` takes it.

    Raises:
        TaskFailed: Kling ended the task without a result.
        TaskTimeout: The wait ended, the task did not: the same call takes it up again.
    """
    task = kling.task(token)
    if timeout != 0:
        return written(await task.result(timeout=timeout))
    if not (await task.refresh()).status.is_terminal:
        raise task.timed_out(0.0)
    return written(task.result_now())


async def download(
    kling: Buyer,
    result: Mapping[str, Any],
    target: str | os.PathLike[str],
    *,
    overwrite: bool = False,
) -> list[str]:
    """Save the videos of a *result*, as `wait` gave it; what is there already is not fetched.

    Args:
        target: A file, or a folder that ends in a slash; the task's id is the name there.

    Returns:
        The paths of the files.
    """
    files = await kling.download(
        VideoResult.model_validate(result), os.fspath(target), overwrite=overwrite
    )
    return list(map(str, files))


def written(result: FromState) -> dict[str, Any]:
    """A result as JSON, for a journal."""
    return cast("BaseModel", result).model_dump(mode="json")


def _taken(intent: Mapping[str, Any], kling: Client) -> Intent:
    """What is known of the create of an *intent*, which is good for one attempt."""
    lease = _unused.pop(str(intent["id"]), None)
    if lease is not None:
        return Intent(notes=lease)
    # Another process may have it, which may even be asleep: by its clocks it gives up in time.
    late = max(INTENT_LASTS, intent.get("arrives_within", 0.0) - kling.timeouts.total)
    return Intent(left_before=0.0, late=late, notes=_Lease(0.0))
