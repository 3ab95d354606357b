"""Shell: what a command has of the world: streams, keys, clients, and what is left to do."""

from __future__ import annotations

import json
import logging
import os
import re
import shlex
import sys
import warnings
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO, TextIO

from .._carrier import HTTPTransport
from .._client import Kling
from .._events import Event, Hook, TaskSubmitted
from .._token import Token
from ..providers import Provider
from ._complaint import lines
from ._debts import Debts
from ._options import Options, chosen
from ._screen import Screen

_LOG = logging.getLogger("kling_async")


@dataclass(slots=True)
class Shell:
    """One run of `kling`; tests give it streams and a transport of their own."""

    out: TextIO = field(default_factory=lambda: sys.stdout)
    err: TextIO = field(default_factory=lambda: sys.stderr)
    stdin: BinaryIO | None = None
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ)
    transport: HTTPTransport | None = None
    words: Sequence[str] = ()
    """The arguments, as they were typed."""
    options: Options = field(default_factory=Options)
    screen: Screen | None = None
    """Where progress is drawn just now."""
    debts: Debts = field(default_factory=Debts)
    tail: tuple[str, ...] = ()
    """What the command to go on ends with, such as `-o boat.mp4`."""
    again: bool = False
    """Whether the same command goes on where it stopped."""

    def client(
        self,
        tokens: Sequence[str] = (),
        *,
        hooks: Iterable[Hook] = (),
        journaled: bool = False,
    ) -> Kling:
        """A client for the provider that is meant, by the options or by *tokens*.

        What it pays for is remembered here, unless that is *journaled* elsewhere.
        """
        provider, _ = chosen(self.options, self.environ, tokens)

        def paid(event: Event) -> None:
            if isinstance(event, TaskSubmitted):
                name = (provider.name, event.endpoint, event.task_id, event.model_name)
                self.debts.owe(Token(*name).text())

        watch = () if journaled else (paid,)
        return Kling(provider, transport=self.transport, hooks=[*watch, *hooks])

    def provider(self) -> tuple[Provider, tuple[str, ...]]:
        """The provider that is meant, and where its key was found."""
        return chosen(self.options, self.environ)

    # Talking.

    def show(self, text: str | None, facts: Mapping[str, Any]) -> None:
        """A result: *text* for people, if it is not said otherwise, *facts* for programs."""
        if self.options.json:
            text = json.dumps(facts, default=str)
        text = None if text is None else harmless(text)
        if text is not None and self.screen is not None and self.out.isatty():
            self.screen.above(text)
        elif text is not None:
            print(text, file=self.out, flush=True)

    def say(self, text: str) -> None:
        """News for people."""
        if not self.options.quiet:
            self.warn(text)

    def warn(self, text: str) -> None:
        """What nobody must miss."""
        text = harmless(text)
        if self.screen is not None:
            self.screen.above(text)
            return
        with suppress(OSError):  # that nobody listens must not end what is paid for
            print(text, file=self.err, flush=True)

    def complain(self, error: Exception) -> None:
        """Say what went wrong and, if something is paid for, what goes on."""
        self.debts.note(error)
        for line in lines(error):
            self.warn(f"kling: {line}")

    def farewell(self) -> None:
        """The commands that go on with what is left, so that nothing paid for is lost."""
        commands = self.debts.commands(self._provider(), self.tail)
        # What was sent once more by somebody's choice is not sent a third time by ours.
        again = ["kling", *(word for word in self.words if word != "--resend")]
        for command in [again] if self.again else commands:
            self.warn(f"To go on: {shlex.join(command)}")

    def _provider(self) -> list[str]:
        given = {"--provider": self.options.provider, "--base-url": self.options.base_url}
        return [word for name, value in given.items() if value for word in (name, value)]

    # Listening.

    @contextmanager
    def listening(self) -> Generator[None]:
        """Say what the package logs and warns of, and remember what is paid for."""
        handler, level = _Handler(self), _LOG.level
        _LOG.setLevel(logging.INFO if self.options.verbose else logging.WARNING)
        _LOG.addHandler(handler)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("always")
                warnings.showwarning = self._doubt
                yield
        finally:
            _LOG.removeHandler(handler)
            _LOG.setLevel(level)

    def _doubt(self, message: Warning | str, *_: object, **__: object) -> None:
        self.say(f"kling: {message}")


_COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def harmless(text: str) -> str:
    """Without what a terminal would obey: much of it was written by a server, or by strangers."""
    return _COMMANDS.sub("\ufffd", text)


class _Handler(logging.Handler):
    def __init__(self, shell: Shell) -> None:
        super().__init__()
        self._shell = shell

    def emit(self, record: logging.LogRecord) -> None:
        """Say it; creates that were broken off are told with what they are come by again."""
        token = getattr(record, "token", None)
        lost = getattr(record, "external_task_id", None)
        if token is not None:
            self._shell.debts.owe(token)
        if lost is not None:
            self._shell.debts.lose(lost)
        said = f"kling: {record.getMessage()}"
        (self._shell.warn if record.levelno >= logging.ERROR else self._shell.say)(said)
