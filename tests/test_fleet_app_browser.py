"""The backend on many machines in a real browser: started by its one command, killed in part."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import Process
from playwright.async_api import Browser, Page

from tests.chromium import chromium, opened
from tests.fastapi_process import ROOT

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(240)]

FILMS = """[...document.querySelectorAll("video")]
    .filter(film => film.readyState >= 2 && film.currentTime > 0.3).length"""


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Playwright and DBOS know asyncio alone."""
    return request.param


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


class Program:
    """The one command, and what it and all that it started have said."""

    def __init__(self, port: int, log: Path, process: Process) -> None:
        self.port = port
        self._log = log
        self._process = process

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    def origin(self, number: int) -> str:
        return f"http://127.0.0.1:{self.port + number}"

    async def has_said(self, pattern: str, times: int) -> list[str]:
        while len(found := re.findall(pattern, self.said)) < times:  # noqa: ASYNC110  # nobody tells
            await anyio.sleep(0.05)
        return found

    async def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            self._process.terminate()
        await self._process.wait()

    async def billed(self) -> int:
        async with httpx.AsyncClient() as client:
            answer = await client.get(f"{self.origin(2)}/ledger")
            bills: int = answer.json()["ledger"]["creates"]
            return bills


def three_ports() -> int:
    """The first of three that nobody uses."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port: int = listener.getsockname()[1]
        try:
            for each in (port + 1, port + 2):
                socket.create_server(("127.0.0.1", each)).close()
        except OSError:
            continue
        return port


@pytest.fixture
async def program(postgres_url: str, tmp_path: Path) -> AsyncIterator[Program]:
    port = three_ports()
    environment = {
        **{name: value for name, value in os.environ.items() if "KLING" not in name},
        "DATABASE_URL": postgres_url,
        "FOLDER": str(tmp_path),
        "PORT": str(port),
        "PYTHONUNBUFFERED": "1",
    }
    with (tmp_path / "log").open("wb") as log:
        process = await anyio.open_process(
            [".venv/bin/python", "examples/fleet_app.py"],
            cwd=ROOT,
            env=environment,
            stdout=log,
            stderr=log,
        )
    program = Program(port, tmp_path / "log", process)
    try:
        await program.has_said("running on http|is running on", 4)
        yield program
    finally:
        with anyio.CancelScope(shield=True):
            await program.stop()


async def play(page: Page, films: int) -> None:
    await page.wait_for_function(f"{FILMS} === {films}", timeout=60_000)


async def test_videos_are_ordered_here_watched_there_and_play_after_kills(
    browser: Browser, program: Program, tmp_path: Path
) -> None:
    kept = Path(os.environ.get("SCREENSHOTS", tmp_path))
    workers = await program.has_said(r"worker (\d+) is running", 2)
    async with opened(browser, program.origin(0)) as page:
        await page.keyboard.type("A paper boat on a storm drain")
        await page.keyboard.press("Enter")
        await page.keyboard.type("A cork <script>hacked = 1</script>")
        await page.click("button")
        await page.wait_for_url("**/orders/*")
        elsewhere = page.url.replace(program.origin(0), program.origin(1))
        async with opened(browser, elsewhere) as other:
            await other.route("**/events", lambda route: route.fulfill(status=502), times=1)
            await other.reload()  # and its proxy is not at its best
            while await program.billed() < 2:  # noqa: ASYNC110  # its books ring no bell
                await anyio.sleep(0.05)
            server = re.findall(r"Server (\d+)", await page.inner_text("small"))
            for process in (workers[0], server[0]):
                os.kill(int(process), signal.SIGKILL)

            await play(other, films=2)
            await other.screenshot(path=kept / "fleet_app.png")
            await play(page, films=2)  # its server was started again, and it went on
            assert await program.billed() == 2
        assert await page.evaluate("typeof hacked") == "undefined"
    await program.has_said(r"worker (\d+) is running", 3)


async def test_process_that_hangs_does_not_hold_up_the_stop(program: Program) -> None:
    workers = await program.has_said(r"worker (\d+) is running", 2)
    os.kill(int(workers[0]), signal.SIGSTOP)
    await program.stop()

    with pytest.raises(ProcessLookupError):
        os.kill(int(workers[0]), 0)
