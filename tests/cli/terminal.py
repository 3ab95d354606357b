"""Terminal: `kling` in process, on an emulator and on the test's clock."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from io import BytesIO, StringIO
from typing import Any

from anyio import to_thread

from kling_async.cli._app import Command, perform, read
from kling_async.cli._exit import Exit
from kling_async.cli._shell import Shell
from kling_async.emulator import Emulator

KEY = "a-secret-key-0123456789"


class Screenlike(StringIO):
    """Takes itself for a terminal."""

    def isatty(self) -> bool:
        return True


class Terminal:
    """Types commands, and keeps what the last one said."""

    def __init__(self, emulator: Emulator, *, tty: bool = False) -> None:
        self.emulator = emulator
        self.environ: dict[str, str] = {"KLINGAI_API_KEY": KEY}
        self.stdin = b""
        self.tty = tty
        self.shell = Shell()

    def open(self) -> Shell:
        """A fresh one for the next command."""
        kind = Screenlike if self.tty else StringIO
        transport = self.emulator.transport()
        self.shell = Shell(kind(), kind(), BytesIO(self.stdin), self.environ, transport)
        return self.shell

    async def run(self, *words: str) -> int:
        """To the end; the exit code."""
        command = await self.typed(*words)
        return command if isinstance(command, Exit) else await perform(command, self.shell)

    async def typed(self, *words: str) -> Command | Exit:
        """The command, not run yet."""
        return await to_thread.run_sync(read, words, self.open())  # it comes before the loop

    @property
    def out(self) -> str:
        assert isinstance(self.shell.out, StringIO)
        return self.shell.out.getvalue()

    @property
    def err(self) -> str:
        assert isinstance(self.shell.err, StringIO)
        return self.shell.err.getvalue()

    @property
    def objects(self) -> list[Mapping[str, Any]]:
        """What `--json` printed: one object a line, and nothing else."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def advice(self) -> list[list[str]]:
        """The commands that go on, as they would be typed."""
        said = [line.removeprefix("To go on: ") for line in self.err.splitlines()]
        return [shlex.split(line)[1:] for line in said if line.startswith("kling ")]

    @property
    def paid(self) -> int:
        return len(self.emulator.ledger)

    @property
    def creates(self) -> int:
        return sum(seen.method == "POST" for seen in self.emulator.requests)
