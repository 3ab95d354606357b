"""Ctrl-C in a running batch: the first waits for what is on the wire, the second for nothing."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.text import TextReceiveStream

from kling_async import Stage
from kling_async.emulator import Emulator, Fault
from tests.batch_runs import COMMAND, ROOT, Runs

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(120)]
ROWS, AT_ONCE = 9, 4
KINDS = ["asyncio", "trio"]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Uvicorn knows asyncio alone; the program that is interrupted runs on both."""
    return request.param


class Interrupted:
    """The program in a process of its own, as from a shell."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process
        assert process.stderr is not None
        self._stderr = TextReceiveStream(process.stderr)
        self.said = ""

    async def until(self, words: str) -> None:
        """Read on until it has said so."""
        while words not in self.said:
            self.said += await self._stderr.receive()

    async def end(self) -> int:
        async for text in self._stderr:
            self.said += text
        return await self._process.wait()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)


@asynccontextmanager
async def started(runs: Runs, **options: Any) -> AsyncGenerator[Interrupted]:
    command = [*COMMAND, runs.order(**options)]
    async with await anyio.open_process(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        try:
            yield Interrupted(process)
        finally:
            if process.returncode is None:
                process.kill()


async def asked(emulator: Emulator, method: str, number: int) -> None:
    """Wait until so many requests have come."""
    while sum(seen.method == method for seen in emulator.requests) < number:  # noqa: ASYNC110  # nobody tells
        await anyio.sleep(0.01)


@pytest.mark.parametrize("backend", KINDS)
async def test_first_waits_for_the_creates_on_the_wire(backend: str, tmp_path: Path) -> None:
    emulator = Emulator(duration=0.2)
    emulator.faults.add(Fault.STALL, on="create", times=AT_ONCE, seconds=2)
    async with Runs(
        emulator, tmp_path, rows=ROWS, at_once=AT_ONCE, backend=backend, total=60
    ) as runs:
        async with started(runs) as program:
            await asked(emulator, "POST", AT_ONCE)
            program.interrupt()
            code = await program.end()

        assert code == -signal.SIGINT, program.said
        assert len(emulator.ledger) == AT_ONCE
        assert await runs.stages() == {Stage.RUNNING: AT_ONCE}
        assert f"{AT_ONCE} unknown" in program.said
        assert "stopping, once the creates on the wire are answered" in program.said
        assert f"run the same batch on {tmp_path}/boats.db again to go on" in program.said
        assert "left at once" not in program.said
        check_noise(program.said)
        await runs.check(await runs.to_the_end())


@pytest.mark.parametrize("backend", KINDS)
async def test_second_leaves_at_once(backend: str, tmp_path: Path) -> None:
    emulator = Emulator(duration=0.2)
    emulator.faults.add(Fault.STALL, on="create", times=AT_ONCE)
    async with Runs(
        emulator, tmp_path, rows=ROWS, at_once=AT_ONCE, backend=backend, total=600
    ) as runs:
        async with started(runs) as program:
            await asked(emulator, "POST", AT_ONCE)
            program.interrupt()
            await program.until("go on")
            await anyio.sleep(0.3)  # at once it may hit whatever runs under asyncio
            program.interrupt()
            code = await program.end()

        assert code == -signal.SIGINT, program.said
        assert await runs.stages() == {Stage.INTENDED: AT_ONCE}
        assert "left at once" in program.said
        check_noise(program.said)
        await runs.check(await runs.to_the_end())


@pytest.mark.parametrize("backend", KINDS)
async def test_creates_of_an_earlier_run_are_left_to_the_next(backend: str, tmp_path: Path) -> None:
    emulator = Emulator(duration=0.2)
    async with Runs(emulator, tmp_path, rows=2, backend=backend) as runs:
        await runs.once(dies=("before create", 1))
        async with started(runs, total=600) as program:
            await asked(emulator, "GET", 1)  # not found, so it may be on the wire for ten minutes
            program.interrupt()
            code = await program.end()

        assert code == -signal.SIGINT, program.said
        assert "left at once" not in program.said
        assert "external_task_id" not in program.said
        check_noise(program.said)
        await runs.check(await runs.to_the_end())


@pytest.mark.parametrize("where", ["Source", "TaskSubmitted", "TaskPolled", "TaskFinished"])
@pytest.mark.parametrize("backend", KINDS)
async def test_ends_well_wherever_it_hits(backend: str, where: str, tmp_path: Path) -> None:
    emulator = Emulator(duration=0.2)
    async with Runs(emulator, tmp_path, rows=ROWS, at_once=AT_ONCE, backend=backend) as runs:
        async with started(runs, interrupts=where) as program:
            code = await program.end()

        assert code == -signal.SIGINT, program.said
        # Where it comes as the batch is about to end, there is nothing left to stop.
        assert "stopping" in program.said or "left at once" in program.said, program.said
        check_noise(program.said)
        await runs.check(await runs.to_the_end())


def check_noise(said: str) -> None:
    """One traceback, that of the interrupt; asyncio shows where it cancelled as its context."""
    assert said.rstrip().endswith("\nKeyboardInterrupt")
    assert said.count("Traceback") == said.count("During handling") + 1
    for noise in ("never retrieved", "was destroyed", "never awaited", "ExceptionGroup"):
        assert noise not in said
