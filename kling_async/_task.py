"""Task: the awaitable handle of one paid task."""

from __future__ import annotations

import math
from collections.abc import AsyncGenerator, Callable, Generator
from random import Random
from typing import Any, Generic, TypeVar, cast
from urllib.parse import quote, unquote

import anyio

from ._config import Polling
from ._errors import (
    ConfigurationError,
    KlingError,
    TaskError,
    TaskFailed,
    TaskTimeout,
)
from ._results import FromState
from ._server import Server
from ._state import TaskState, TaskStatus
from ._wait import Patience, newer

ResultT_co = TypeVar("ResultT_co", bound=FromState, covariant=True)

_LOOKS_FOR_A_RESULT = 3
# Seconds past its deadline in which a wait's last question may still be answered.
_LAST_LOOK = 10.0


class _ClientDefault:
    """Stands for the client's own setting, as None means "without end"."""


CLIENT_DEFAULT = _ClientDefault()
Timeout = float | None | _ClientDefault


class Task(Generic[ResultT_co]):
    """A task that was accepted, and paid for.

    `await task` gives the result. Leaving a wait, by a timeout or by cancelling, never
    stops the task: `task.token` takes it up again, in any process.

    Example:
        task = await kling.text2video.submit(prompt="A paper boat")
        async for state in task.updates():
            print(state.status)
        video = await task
    """

    def __init__(
        self,
        server: Server,
        *,
        endpoint: str,
        path: str,
        result_type: type[FromState],
        state: TaskState,
        told_at: float | None,
        external_task_id: str | None,
        polling: Polling,
        random: Random,
    ) -> None:
        self._server = server
        self._path = path
        self._result_type = result_type
        self._polling = polling
        self._random = random
        self.endpoint = endpoint
        self.external_task_id = external_task_id or state.external_task_id
        self.state = state
        """The last state the server told; reading it asks nobody."""
        self._told_at = told_at

    def __repr__(self) -> str:
        return f"Task({self.token!r}, {self.state.status.value})"

    @property
    def id(self) -> str:
        """The server's id of the task."""
        return self.state.id

    @property
    def token(self) -> str:
        """A str that `kling.task(token)` turns into this task again, in any process."""
        return Token(self._server.provider.name, self.endpoint, self.id).text()

    def __await__(self) -> Generator[Any, Any, ResultT_co]:
        return self.result().__await__()

    async def refresh(self) -> TaskState:
        """Ask once, now."""
        told = await self._server.ask(self._path, self.id)
        # Read only now: another waiter may have moved it on in the meantime.
        self.state = newer(self.state, told)
        self._told_at = anyio.current_time()
        return self.state

    async def result(self, *, timeout: Timeout = CLIENT_DEFAULT) -> ResultT_co:
        """Wait for the result.

        Args:
            timeout: Seconds to wait; None waits without end.

        Raises:
            TaskFailed: Kling ended the task without a result; the message says why.
            TaskTimeout: The wait ended, the task did not.
        """
        async for _ in self.updates(timeout=timeout):
            pass
        if self.state.status is TaskStatus.FAILED:
            raise self._error(TaskFailed, self.state.message or "the task failed, no reason given")
        for _ in range(_LOOKS_FOR_A_RESULT):
            try:
                return self._read()
            except ValueError:
                # A gateway can say "success" before it has the address of the file.
                await anyio.sleep(self._polling.interval)
                await self._try_refresh()
        try:
            return self._read()
        except ValueError as error:
            raise self._error(
                TaskError, "the task succeeded, but the server's answer holds no file"
            ) from error

    async def updates(
        self, *, timeout: Timeout = CLIENT_DEFAULT
    ) -> AsyncGenerator[TaskState, None]:
        """Every change of state, beginning with the last one told, up to the terminal one."""
        patience = Patience(self._polling, self._random)
        seconds = self._polling.timeout if isinstance(timeout, _ClientDefault) else timeout
        deadline = anyio.current_time() + seconds if seconds is not None else math.inf
        shown: TaskState | None = None
        delay = self._due(patience.after_answer())
        was_last = False
        while True:
            if self._told_at is not None and (shown is None or _differs(shown, self.state)):
                shown = self.state
                yield shown
            if self.state.status.is_terminal:
                return
            if was_last:
                raise self._error(
                    TaskTimeout, f"still {self.state.status.value} after {seconds:g} s"
                ) from patience.trouble
            left = max(0.0, deadline - anyio.current_time())
            # The last question is asked at the deadline itself.
            was_last = left <= delay
            await anyio.sleep(min(delay, left))
            with anyio.CancelScope(deadline=deadline + _LAST_LOOK) as span:
                delay = await self._ask(patience)
            was_last = was_last or span.cancelled_caught

    def _due(self, interval: float) -> float:
        """Seconds until the first question: none for a task that was never asked about."""
        if self._told_at is None:
            return 0.0
        return max(0.0, self._told_at + interval - anyio.current_time())

    async def _ask(self, patience: Patience) -> float:
        try:
            await self.refresh()
        except KlingError as error:
            try:
                return patience.after_error(error, anyio.current_time())
            except KlingError as final:
                final.add_note(f"The task goes on: kling.task({self.token!r}) takes it up again.")
                raise
        return patience.after_answer()

    async def _try_refresh(self) -> None:
        try:
            await self.refresh()
        except KlingError:
            return

    def _read(self) -> ResultT_co:
        return cast("ResultT_co", self._result_type.from_state(self.state))

    def _error(self, kind: Callable[..., TaskError], message: str) -> TaskError:
        return kind(
            f"task {self.id}: {message}",
            task_id=self.id,
            external_task_id=self.external_task_id,
            token=self.token,
            request_id=self.state.request_id,
            provider=self._server.provider.name,
        )


def _differs(shown: TaskState, state: TaskState) -> bool:
    return (shown.status, shown.updated_at, shown.word) != (
        state.status,
        state.updated_at,
        state.word,
    )


class Token:
    """What a task is found by again: provider, endpoint and id, as one line of text.

    A task can only be asked for below the path it was created on, so the id alone is not
    enough (KLING_API A.0).
    """

    def __init__(self, provider: str, endpoint: str, task_id: str) -> None:
        self.provider = provider
        self.endpoint = endpoint
        self.task_id = task_id

    def text(self) -> str:
        """The token as text, safe in URLs, files and shells."""
        return "/".join(
            quote(part, safe="") for part in (self.provider, self.endpoint, self.task_id)
        )

    @classmethod
    def read(cls, text: str) -> Token:
        """The token in *text*."""
        parts = [unquote(part) for part in text.strip().split("/")]
        if len(parts) != 3 or not all(parts):
            raise ConfigurationError(
                f"{text[:80]!r} is no token; one looks like cometapi/text2video/2032273942220931072"
            )
        return cls(*parts)
