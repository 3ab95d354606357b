"""Steps: the parts of a task's life as engines journal them, repeatable, with JSON in and out."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from typing import Any, Protocol, TypeVar, cast
from uuid import uuid4

import anyio
from pydantic import BaseModel

from ._errors import IntentExpired, KlingError, SubmissionUnknown
from ._intent import Intent, Notes
from ._results import FromState, VideoResult
from ._task import CLIENT_DEFAULT, Task, Timeout
from .endpoints import Request
from .providers import Provider

ResultT = TypeVar("ResultT", bound=FromState)

INTENT_LASTS = 30.0
"""Seconds after which an intent allows no create any more."""

_unused: dict[str, float] = {}
"""The intents that this process has made and not used, and when they expire."""


class Client(Protocol):
    """What the steps need of a client."""

    @property
    def provider(self) -> Provider:
        """Whose tokens they are."""
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


async def intend() -> dict[str, Any]:
    """An intent to create, for the engine to journal in a step of its own before it submits.

    It is good for one `submit_or_adopt`, in this process, within half a minute. Whoever is
    given it later, after a crash or a take-over, or twice, knows by that, and not by what the
    engine says of retries, that a create may have left already.
    """
    now = anyio.current_time()
    for intent_id in [each for each, end in _unused.items() if end < now]:
        del _unused[intent_id]
    intent_id = uuid4().hex
    _unused[intent_id] = now + INTENT_LASTS
    return {"id": intent_id, "at": time.time()}


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
    task = await kling.submit(named, intent=None if intent is None else _taken(intent))
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


class _Lease(Notes):
    """Lets a create leave only while the intent is good, however long this process slept."""

    lasting = True

    def __init__(self, end: float) -> None:
        self._end = end

    async def leaving(self) -> None:
        if anyio.current_time() >= self._end:
            raise IntentExpired("the intent is too old for a create to leave by it")


def _taken(intent: Mapping[str, Any]) -> Intent:
    """What is known of the create of an *intent*, which is good for one attempt."""
    end = _unused.pop(str(intent["id"]), None)
    if end is not None:
        return Intent(notes=_Lease(end))
    # Another process may have it, which may even be asleep: by its clock it gives up in time.
    return Intent(left_before=0.0, late=INTENT_LASTS, notes=_Lease(0.0))
