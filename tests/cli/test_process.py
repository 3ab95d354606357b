"""`kling` as a process: what it loads, how it is interrupted, and what it leaves behind."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import pytest
from anyio.streams.text import TextReceiveStream

from kling_async.cli import main
from kling_async.cli._complaint import lines
from kling_async.emulator import Emulator, Fault

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(120)]
ROOT = Path(__file__).parents[2]
KLING = [sys.executable, "-m", "kling_async"]
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": str(ROOT),
    "KLINGAI_API_KEY": "a-secret-key-0123456789",
}
HEAVY = ["anyio", "asyncio", "cyclopts", "dataclasses", "httpx", "inspect", "pydantic", "rich"]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Uvicorn knows asyncio alone, and so does the command line."""
    return request.param


def python(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True, text=True, check=False
    )


def test_help_loads_nothing_that_takes_long() -> None:
    done = python(
        "import sys; before = {*sys.modules}\n"
        "from kling_async.cli import main; main(['--help'])\n"
        f"print([name for name in {HEAVY} if name in {{*sys.modules}} - before])"
    )

    assert done.stdout.splitlines()[0] == "Usage: kling COMMAND [OPTIONS]"
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", ["cyclopts", "rich"])
def test_missing_extra_is_one_line(name: str) -> None:
    done = python(
        f"import sys; sys.modules[{name!r}] = None; from kling_async.cli import main;"
        " sys.exit(main(['models']))"
    )

    assert done.returncode == 2
    assert done.stderr == f'kling: {name} is missing: pip install "kling_async[cli]"\n'
    assert done.stdout == ""


def test_module_is_the_command() -> None:
    done = subprocess.run([*KLING, "--version"], env=ENVIRONMENT, capture_output=True, check=True)

    assert done.stdout.startswith(b"kling_async ")


def test_reader_that_leaves_is_no_traceback() -> None:
    read, write = os.pipe()
    os.close(read)
    command = [*KLING, "models"]
    done = subprocess.run(
        command, env=ENVIRONMENT, stdout=write, stderr=subprocess.PIPE, check=False
    )
    os.close(write)

    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"], ["help", "models"]])
def test_help_is_said_however_it_is_asked_for(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 0

    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80


def test_importing_the_module_runs_nothing() -> None:
    assert vars(import_module("kling_async.__main__"))["main"] is main


def test_system_errors_are_said_in_their_own_words() -> None:
    assert lines(OSError("the disk is full")) == ["the disk is full"]
    assert lines(OSError()) == ["OSError"]


def test_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert re.match(r"kling_async \d", capsys.readouterr().out)


def test_bad_usage_and_good(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["kling", "models2"])
    assert main() == 2
    assert main(["models"]) == 0
    assert "kling-v1" in capsys.readouterr().out


def test_interrupt_is_four(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(anyio, "run", interrupted)

    assert main(["models"]) == 4
    assert capsys.readouterr().err == "kling: interrupted\n"


def test_interrupt_while_loading_is_four(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("kling_async.cli._app.start", interrupted)
    monkeypatch.setattr(sys, "stdout", StringIO())

    assert main(["models"]) == 4


def test_any_text_can_be_told_on_any_terminal() -> None:
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii"}
    command = [*KLING, "text2video", "--help"]

    done = subprocess.run(command, env=environment, capture_output=True, check=False)

    assert (done.returncode, done.stderr) == (0, b"")


def test_emulator_has_its_own_options(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="0"):
        main(["emulator", "--help"])
    assert "usage: kling emulator" in capsys.readouterr().out

    monkeypatch.setitem(sys.modules, "kling_async.emulator.__main__", None)
    assert main(["emulator"]) == 2
    assert capsys.readouterr().err.startswith("kling: ")


class Running:
    """A command in a process of its own."""

    def __init__(self, process: anyio.abc.Process) -> None:
        self._process = process
        assert process.stderr is not None
        self._stderr = TextReceiveStream(process.stderr)
        self.said = ""

    async def end(self) -> int:
        async for text in self._stderr:
            self.said += text
        return await self._process.wait()

    async def until(self, words: str) -> None:
        while words not in self.said:
            self.said += await self._stderr.receive()

    def interrupt(self) -> None:
        self.send(signal.SIGINT)

    def send(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    @property
    def advice(self) -> list[str]:
        """The command that goes on."""
        (line,) = [line for line in self.said.splitlines() if line.startswith("To go on: ")]
        return shlex.split(line.removeprefix("To go on: kling "))


@asynccontextmanager
async def running(folder: Path, *words: str) -> AsyncGenerator[Running]:
    # Where tests run in the background, or by nohup, signals are ignored; so they would be here.
    code = (
        "import os, signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler);"
        " signal.signal(signal.SIGHUP, signal.SIG_DFL);"
        " from kling_async.cli import main; os.chdir(sys.argv[1]); sys.exit(main(sys.argv[2:]))"
    )
    process = await anyio.open_process(
        [sys.executable, "-c", code, str(folder), *words],
        cwd=ROOT,  # where coverage keeps what it has seen
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
    )
    async with process:
        try:
            yield Running(process)
        finally:
            if process.returncode is None:
                process.kill()


async def asked(emulator: Emulator, method: str, number: int) -> None:
    while sum(seen.method == method for seen in emulator.requests) < number:  # noqa: ASYNC110  # nobody tells
        await anyio.sleep(0.01)


ONE = ("text2video", "--prompt", "A boat", "-o", "boat.mp4")


@pytest.mark.long  # at a desk, test_order_to_end_is_an_interrupt is much the same
async def test_interrupted_wait_is_gone_on_with(tmp_path: Path) -> None:
    emulator = Emulator(duration=2)
    async with emulator.serve() as origin:
        host = ("--base-url", f"{origin}/official")
        async with running(tmp_path, *ONE, *host) as program:
            await asked(emulator, "POST", 1)
            await program.until("submitted")
            program.interrupt()
            assert await program.end() == 4

        assert "Traceback" not in program.said
        async with running(tmp_path, *program.advice) as again:
            assert await again.end() == 0
    assert (tmp_path / "boat.mp4").is_file()
    assert len(emulator.ledger) == 1


@pytest.mark.long
async def test_second_interrupt_leaves_at_once_and_names_the_create(tmp_path: Path) -> None:
    emulator = Emulator(duration=2)
    emulator.faults.add(Fault.STALL, on="create", seconds=60)
    async with emulator.serve() as origin:
        host = ("--base-url", f"{origin}/official")
        async with running(tmp_path, *ONE, *host) as program:
            await asked(emulator, "POST", 1)
            await anyio.sleep(0.3)
            program.interrupt()
            await anyio.sleep(0.5)
            program.interrupt()
            with anyio.fail_after(5):
                assert await program.end() == 4

        assert "Traceback" not in program.said
        assert program.advice[0] == "settle"
        async with running(tmp_path, *program.advice) as again:
            assert await again.end() == 0
    assert len(emulator.ledger) == 1


@pytest.mark.long
@pytest.mark.parametrize("times", [1, 2])
async def test_interrupted_batch_is_gone_on_with(tmp_path: Path, times: int) -> None:
    emulator = Emulator(duration=1)
    emulator.faults.add(Fault.STALL, on="create", times=3, seconds=3 if times == 1 else 60)
    (tmp_path / "jobs.csv").write_text("prompt\n" + "".join(f"Boat {n}\n" for n in range(6)))
    words = ("batch", "jobs.csv", "--endpoint", "text2video", "-o", "videos", "--max-at-once", "3")
    async with emulator.serve() as origin:
        async with running(tmp_path, *words, "--base-url", f"{origin}/official") as program:
            await asked(emulator, "POST", 3)
            program.interrupt()
            if times == 2:
                await program.until("once more leaves at once")
                await anyio.sleep(0.3)
                program.interrupt()
            with anyio.fail_after(10):
                assert await program.end() == 4

        assert "Traceback" not in program.said
        assert len(emulator.ledger) == 3
        async with running(tmp_path, *program.advice) as again:
            assert await again.end() == 0, again.said
    assert len(emulator.ledger) == 6
    assert emulator.ledger.billed_twice == {}
    assert len(list((tmp_path / "videos").iterdir())) == 6
