"""The web backend among the examples is killed and stopped, and goes on, on real sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async.emulator import Emulator, Fault
from tests.fastapi_cinema import post, steps, video
from tests.fastapi_process import ServerProcess

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(60)]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Uvicorn knows asyncio alone."""
    return request.param


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(duration=1)


@pytest.fixture
async def server(emulator: Emulator, tmp_path: Path) -> AsyncIterator[ServerProcess]:
    async with emulator.serve() as origin:
        async with ServerProcess(tmp_path, "-m", "tests.fastapi_program", origin, "PORT") as server:
            yield server
            await server.end(by="terminate")
            assert "Traceback" not in server.said, server.said


async def test_killed_while_the_create_is_on_its_way_it_pays_once(
    server: ServerProcess, emulator: Emulator
) -> None:
    emulator.faults.add(Fault.STALL, on="create", seconds=60)
    async with server.browser() as browser:
        page = await post(browser, "A paper boat")
        with anyio.fail_after(10):
            while not emulator.ledger:  # noqa: ASYNC110  # it sets no event
                await anyio.sleep(0.01)
        await server.end(by="kill")
        await server.start()

        assert (await steps(browser, page))[-1] == "over"
        assert (await browser.get(video(page))).content[4:8] == b"ftyp"

    assert len(emulator.ledger) == 1


async def test_killed_while_a_task_runs_it_goes_on(
    server: ServerProcess, emulator: Emulator
) -> None:
    emulator.faults.add(Fault.STUCK, on="create")
    async with server.browser() as browser:
        page = await post(browser, "A paper boat")
        async with browser.stream("GET", f"{page}/events") as events:
            async for line in events.aiter_lines():
                if "submitted" in line:
                    break
        await server.end(by="kill")
        await server.start()
        emulator.tasks[emulator.ledger[0].task_id].succeed()

        assert (await steps(browser, page))[-2:] == ["succeed", "over"]

    assert len(emulator.ledger) == 1


async def test_open_page_does_not_hold_up_a_stop(server: ServerProcess, emulator: Emulator) -> None:
    emulator.faults.add(Fault.STUCK, on="create")
    async with server.browser() as browser:
        page = await post(browser, "A paper boat")
        async with browser.stream("GET", f"{page}/events") as events:
            assert events.status_code == 200
            with anyio.fail_after(20):
                await server.end(by="terminate")
    server.said = ""  # uvicorn is loud about the stream that it broke off
