"""Runs documented programs as their readers would, but on an emulator and on the test's clock."""

from __future__ import annotations

import ast
import inspect
import runpy
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from types import CodeType
from typing import Any

import anyio
import pytest

import kling_async
from kling_async import Kling
from kling_async.emulator import Emulator
from tests.media_samples import png


class Rehearsal:
    """A stage: a key in the environment, a folder with files to use in it, and no network."""

    def __init__(self, patch: pytest.MonkeyPatch, folder: Path) -> None:
        self.emulator = Emulator()
        self.client = partial(Kling, transport=self.emulator.transport())
        self.folder = folder
        self._patch = patch
        self._programs: list[Callable[[], Awaitable[object]]] = []
        (folder / "cat.png").write_bytes(png(640, 640))
        (folder / "prompts.txt").write_text("A paper boat\nA cork\n\nA leaf\n", encoding="utf-8")
        patch.chdir(folder)
        patch.setenv("COMETAPI_KEY", "the-key-of-a-reader")
        patch.setattr(kling_async, "Kling", self.client)
        patch.setattr(anyio, "run", self._take)

    async def run_file(self, path: Path, *arguments: str) -> None:
        """Run a program with arguments."""
        self._patch.setattr(sys, "argv", [str(path), *arguments])
        runpy.run_path(str(path), run_name="__main__")
        await self._run_programs()

    async def run_code(self, code: CodeType, names: dict[str, Any]) -> None:
        """Run a snippet, which sees and changes *names* and may `await`."""
        if inspect.isawaitable(waiting := eval(code, names)):
            await waiting
        await self._run_programs()

    def _take(self, main: Callable[..., Awaitable[object]], *arguments: object) -> None:
        # A loop runs already, and it keeps virtual time: `anyio.run` only leaves the program here.
        self._programs.append(partial(main, *arguments))

    async def _run_programs(self) -> None:
        while self._programs:
            await self._programs.pop(0)()


def compiled(source: str, path: Path, line: int) -> CodeType:
    """A snippet that may `await`; its tracebacks show the place in the document."""
    flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
    above = "\n" * (line - 1)
    code: CodeType = compile(above + source, str(path), "exec", flags=flags, dont_inherit=True)
    return code
