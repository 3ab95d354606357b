"""A batch in a terminal of 80 columns: interrupted, gone on with, and looked at all the time."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from itertools import takewhile
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async.emulator import Emulator

ROOT = Path(__file__).parents[2]
WIDTH, HEIGHT, ROWS = 80, 24, 30
TASK = re.compile(r"boat-\d+ |and \d+ more")
UNNAMED = re.compile(r"\d{18} ")
pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(180)]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Uvicorn knows asyncio alone."""
    return request.param


@pytest.fixture(autouse=True)
def tmux_is_there() -> None:
    if shutil.which("tmux") is None and os.environ.get("CI"):
        pytest.fail("tmux is missing: install it, or the table is never looked at")
    if shutil.which("tmux") is None:
        pytest.skip("tmux is missing: scripts/test installs it where it can")


class Window:
    """A shell in a terminal, and every picture of it that was taken."""

    def __init__(self, socket: str) -> None:
        self._socket = socket
        self.pictures: list[list[str]] = []

    async def tmux(self, *words: str) -> str:
        done = await anyio.run_process(["tmux", "-S", self._socket, *words])
        return done.stdout.decode()

    async def type(self, *keys: str) -> None:
        await self.tmux("send-keys", *keys)

    async def until(self, pattern: str) -> re.Match[str]:
        """Take pictures until one shows it."""
        with anyio.move_on_after(60):
            return await self._found(pattern)
        raise AssertionError(f"{pattern} is not there:\n" + "\n".join(self.pictures[-1]))

    async def _found(self, pattern: str) -> re.Match[str]:
        while True:
            lines = (await self.tmux("capture-pane", "-p")).rstrip("\n").split("\n")
            if not self.pictures or self.pictures[-1] != lines:
                self.pictures.append(lines)
            # Long lines joined, as the shell would have them.
            whole = await self.tmux("capture-pane", "-p", "-J", "-S", "-200")
            if found := re.search(pattern, whole, re.M):
                return found
            await anyio.sleep(0.03)


@asynccontextmanager
async def window(folder: Path) -> AsyncGenerator[Window]:
    terminal = Window(str(folder / "tmux"))
    environment = {
        **os.environ,
        "KLINGAI_API_KEY": "a-secret-key-0123456789",
        "PYTHONPATH": str(ROOT),
        "PS1": "$ ",
    }
    size = ("-x", str(WIDTH), "-y", str(HEIGHT))
    start = ["tmux", "-S", str(folder / "tmux"), "-f", os.devnull, "new-session", "-d", *size]
    await anyio.run_process([*start, "-c", str(folder), "sh"], env=environment)
    try:
        kling = f"{shlex.quote(sys.executable)} -m kling_async"
        await terminal.type(f'kling() {{ {kling} "$@"; }}; clear', "Enter")
        yield terminal
    finally:
        await anyio.run_process(["tmux", "-S", str(folder / "tmux"), "kill-server"])


async def test_interrupted_batch_goes_on_and_its_table_stays_whole(tmp_path: Path) -> None:
    emulator = Emulator(duration=6)
    rows = "".join(f"boat-{n},Boat {n}\n" for n in range(ROWS))
    (tmp_path / "jobs.csv").write_text(f"key,prompt\n{rows}")
    words = "kling batch jobs.csv --endpoint text2video --out videos/ --max-at-once 15"
    async with emulator.serve() as origin, window(tmp_path) as terminal:
        await terminal.type(f"{words} --base-url {origin}/official; echo code $?", "Enter")
        await terminal.until(r"^boat-\d+: .*mp4 *$")
        await terminal.type("C-c")
        command = (await terminal.until(r"^To go on: (kling batch .*?) *$"))[1]
        await terminal.until(r"^code 4 *$")
        await terminal.type(f"clear; {command}; echo code $?", "Enter")
        await terminal.until(rf"^{ROWS} saved, 0 succeeded, 0 failed")
        await terminal.until(r"^code 0 *$")

    if target := os.environ.get("TERMINAL_RECORDING"):
        pictures = ["\n".join(lines) for lines in terminal.pictures]
        await anyio.Path(target).write_text(f"\n{'=' * WIDTH}\n".join(pictures))

    assert len(emulator.ledger) == ROWS
    assert emulator.ledger.billed_twice == {}
    tables = [table for lines in terminal.pictures if (table := drawn(lines)) is not None]
    assert len(tables) > 10
    assert sum(map(check, tables)) > 10


def drawn(lines: list[str]) -> list[str] | None:
    """The table on a picture, from its head on."""
    heads = [n for n, line in enumerate(lines) if re.match(r"jobs\.csv  \d+ of \d+ told", line)]
    assert len(heads) < 2, "drawn twice"
    return lines[heads[0] :] if heads else None


def check(table: list[str]) -> bool:
    """Whole: a head, columns, tasks without a gap, and no line that goes on in the next one.

    Says whether there were tasks in it.
    """
    head, *rest = table
    tasks = list(takewhile(TASK.match, rest[1:]))
    if tasks:
        assert rest[0].split() == ["task", "request", "state", "age", "expected"], table
    assert not [line for line in rest[len(tasks) + 1 :] if TASK.match(line)], table
    assert not [line for line in rest if UNNAMED.match(line)], table
    assert max(map(len, [head, *tasks])) < WIDTH
    return bool(tasks)
