"""The web backend among the examples in a real browser: typed, watched, played."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from kling_async.emulator import Emulator, Fault
from tests.chromium import chromium, opened
from tests.fastapi_process import ServerProcess

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(60)]

HOSTILE = """<script>hacked = 1</script><img src=x onerror="hacked = 2">"""
# The page is loaded anew at the end, so what it said is kept beside it.
WATCH = """new MutationObserver(() => {
    const said = document.querySelector("[aria-current]")?.textContent
    const all = JSON.parse(sessionStorage.said ?? "[]")
    if (said && said !== all.at(-1)) sessionStorage.said = JSON.stringify([...all, said])
}).observe(document, {subtree: true, childList: true, attributes: true})"""


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Playwright knows asyncio alone."""
    return request.param


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with chromium() as browser:
        yield browser


async def plays(page: Page) -> None:
    video = "document.querySelector('video')"
    await page.wait_for_function(f"{video}?.readyState >= 2 && {video}.currentTime > 0.5")


async def test_typed_prompt_is_watched_and_played(browser: Browser, tmp_path: Path) -> None:
    """As a reader starts it, without a key; the second prompt is a hostile one."""
    kept = Path(os.environ.get("SCREENSHOTS", tmp_path))
    command = "-m", "uvicorn", "examples.fastapi_app:app", "--port", "PORT"
    async with ServerProcess(tmp_path, *command) as server:
        async with opened(browser, server.origin, WATCH) as page:
            await page.keyboard.type("A paper boat on a storm drain")
            await page.keyboard.press("Tab")
            await page.keyboard.press("Enter")
            await page.wait_for_url("**/tasks/*")
            await page.screenshot(path=kept / "fastapi_app_live.png")
            await plays(page)
            await page.mouse.move(0, 0)
            await page.screenshot(path=kept / "fastapi_app.png")
            said = await page.evaluate("sessionStorage.said")
            source = await page.evaluate("document.querySelector('video').currentSrc")

            await page.click("text=Another one")
            await page.fill("textarea", HOSTILE)
            await page.click("button")
            await plays(page)
            assert await page.inner_text("h1") == await page.title() == HOSTILE
            assert await page.evaluate("typeof hacked") == "undefined"

    assert '"In the making"' in said
    assert len(said.split(",")) >= 3, said
    assert source.startswith(f"{server.origin}/videos/")


async def test_open_page_goes_on_when_the_server_is_back(browser: Browser, tmp_path: Path) -> None:
    emulator = Emulator(duration=1)
    emulator.faults.add(Fault.STUCK, on="create")
    async with program(tmp_path, emulator) as server:
        async with opened(browser, server.origin, WATCH) as page:
            await page.fill("textarea", "A paper boat")
            await page.dblclick("button")
            await page.wait_for_selector("#processing[aria-current]")
            await server.end(by="kill")
            await server.start()
            emulator.tasks[emulator.ledger[0].task_id].succeed()
            await plays(page)

    assert len(emulator.ledger) == 1


@asynccontextmanager
async def program(folder: Path, emulator: Emulator) -> AsyncIterator[ServerProcess]:
    command = "-m", "tests.fastapi_program"
    async with emulator.serve() as origin:
        async with ServerProcess(folder, *command, origin, "PORT") as server:
            yield server
