"""Debts: what is paid for and not handed over yet, and the commands that go on with it."""

from __future__ import annotations

from collections.abc import Sequence

from .._errors import SubmissionUnknown, TaskFailed
from .._token import Token


class Debts:
    """Tasks by their tokens, and lost creates by what they are looked for by."""

    def __init__(self) -> None:
        self._tasks: dict[tuple[str, str, str], str] = {}
        self._lost: dict[str, None] = {}

    def __bool__(self) -> bool:
        return bool(self._tasks or self._lost)

    def owe(self, token: str) -> None:
        """A task is paid for."""
        self._tasks.setdefault(_identity(token), token)

    def lose(self, name: str) -> None:
        """A create is lost that may be paid for."""
        self._lost[name] = None

    def settle(self, token: str) -> None:
        """All that can come of a task was handed over."""
        self._tasks.pop(_identity(token), None)

    def note(self, error: BaseException) -> None:
        """Take in what *error* leaves behind."""
        token: str | None = getattr(error, "token", None)
        name: str | None = getattr(error, "external_task_id", None)
        if isinstance(error, SubmissionUnknown):
            self.lose(token or name or "")
        elif token is not None:
            (self.settle if isinstance(error, TaskFailed) else self.owe)(token)

    def commands(self, provider: Sequence[str], tail: Sequence[str]) -> list[list[str]]:
        """What to type to go on; *tail* says where results are to go."""
        commands = [["kling", "settle", *provider, name] for name in self._lost]
        if self._tasks:
            commands.append(["kling", "wait", *provider, *self._tasks.values(), *tail])
        return commands


def _identity(token: str) -> tuple[str, str, str]:
    """The same with or without the model in it."""
    parts = Token.read(token)
    return parts.provider, parts.endpoint, parts.task_id
