"""`kling` as a process whose streams are closed, full or read no more, and that is told to end."""

from __future__ import annotations

import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from kling_async.emulator import Emulator
from tests.cli.test_process import ENVIRONMENT, KLING, ONE, asked, running

pytestmark = [pytest.mark.real_time, pytest.mark.timeout(120)]
NO_WAIT = ("text2video", "--prompt", "A boat", "--no-wait")


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Uvicorn knows asyncio alone, and so does the command line."""
    return request.param


def rarely(value: str) -> Any:
    """One of several that take long: not at a desk."""
    return pytest.param(value, marks=pytest.mark.long)


async def shell(script: str, folder: Path, *words: str) -> subprocess.CompletedProcess[bytes]:
    """A line of shell, in which $kling is the command with *words*."""
    line = shlex.join([*KLING, *words])
    shell = ["/bin/sh", "-c", script.replace("$kling", line)]

    def run() -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(shell, cwd=folder, env=ENVIRONMENT, capture_output=True, check=False)

    return await anyio.to_thread.run_sync(run)


@pytest.mark.parametrize("stdout", ["| true", "> /dev/full"])
@pytest.mark.parametrize("quiet", [(), ("--quiet",)])
async def test_token_that_could_not_be_printed_is_told_on_stderr(
    tmp_path: Path, stdout: str, quiet: tuple[str, ...]
) -> None:
    emulator = Emulator()
    async with emulator.serve() as origin:
        words = (*NO_WAIT, *quiet, "--base-url", f"{origin}/official")
        done = await shell(f"{{ sleep 0.2; $kling; echo code $? >&2; }} {stdout}", tmp_path, *words)

    (billed,) = emulator.ledger
    said = done.stderr.decode()
    assert (
        f"To go on: kling wait --base-url {origin}/official klingai/text2video/{billed.task_id}"
        in said
    )
    assert "code 0" not in said
    assert "Traceback" not in said


@pytest.mark.parametrize("stderr", ["2>&-", rarely("2>/dev/full"), rarely("2>&1 >file | true")])
async def test_wait_goes_on_though_nobody_hears_the_news(tmp_path: Path, stderr: str) -> None:
    emulator = Emulator(duration=1)
    async with emulator.serve() as origin:
        words = (*ONE, "-v", "--base-url", f"{origin}/official")
        done = await shell(f"$kling {stderr}; ls; cat file", tmp_path, *words)

    assert (tmp_path / "boat.mp4").is_file(), done
    assert b"submitted" not in done.stdout


async def test_closed_stdout_is_refused_before_anything_is_paid(tmp_path: Path) -> None:
    emulator = Emulator()
    async with emulator.serve() as origin:
        words = (*NO_WAIT, "--base-url", f"{origin}/official")
        done = await shell("$kling >&-; echo code $? >&2", tmp_path, *words)

    assert done.stderr == (
        b"kling: standard output is closed; give >/dev/null if nobody is to read it\ncode 2\n"
    )
    assert len(emulator.ledger) == 0


@pytest.mark.parametrize("name", ["SIGTERM", rarely("SIGHUP")])
async def test_order_to_end_is_an_interrupt(tmp_path: Path, name: str) -> None:
    emulator = Emulator(duration=6)
    async with emulator.serve() as origin:
        host = ("--quiet", "--base-url", f"{origin}/official")
        async with running(tmp_path, *ONE, *host) as program:
            await asked(emulator, "GET", 1)
            program.send(signal.Signals[name])
            assert await program.end() == 4

        assert program.advice[0] == "wait"
        async with running(tmp_path, *program.advice) as again:
            assert await again.end() == 0
    assert len(emulator.ledger) == 1


@pytest.mark.parametrize(
    "words", [["--help"], ["--version"], ["batch", "--help"], ["models"], ["nonsense"]]
)
async def test_nothing_said_to_nobody_is_a_traceback(tmp_path: Path, words: list[str]) -> None:
    done = await shell("{ sleep 0.1; $kling; } 2>err | true; cat err", tmp_path, *words)

    assert b"Traceback" not in done.stdout
    assert b"ignored" not in done.stdout
