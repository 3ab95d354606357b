"""The web backend among the examples in a real browser: typed, watched, played."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, async_playwright

from kling_async.emulator import Emulator, Fault
from tests.fastapi_process import ServerProcess

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(60)]

FLAGS = (
    "--no-sandbox",  # there is none for root
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
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
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        give_up = pytest.fail if "CI" in os.environ else pytest.skip
        give_up("no chromium: run scripts/install-browser")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=FLAGS)
        yield browser
        await browser.close()


@asynccontextmanager
async def opened(browser: Browser, origin: str) -> AsyncIterator[Page]:
    """A tab; the page must have no complaints."""
    page = await browser.new_page(viewport={"width": 820, "height": 620}, color_scheme="dark")
    complaints: list[str] = []
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    await page.add_init_script(WATCH)
    await page.goto(origin)
    yield page
    assert complaints == []
    await page.close()


async def plays(page: Page) -> None:
    video = "document.querySelector('video')"
    await page.wait_for_function(f"{video}?.readyState >= 2 && {video}.currentTime > 0.5")


async def test_typed_prompt_is_watched_and_played(browser: Browser, tmp_path: Path) -> None:
    """As a reader starts it, without a key; the second prompt is a hostile one."""
    kept = Path(os.environ.get("SCREENSHOTS", tmp_path))
    command = "-m", "uvicorn", "examples.fastapi_app:app", "--port", "PORT"
    async with ServerProcess(tmp_path, *command) as server:
        async with opened(browser, server.origin) as page:
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
        async with opened(browser, server.origin) as page:
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
