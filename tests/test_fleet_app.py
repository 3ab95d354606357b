"""The backend on many machines among the examples: killed in part, it makes all that it was to."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx
import pytest

from kling_async.emulator import Emulator, Fault
from tests.fastapi_process import ServerProcess

pytestmark = [pytest.mark.real_time, pytest.mark.long, pytest.mark.timeout(240)]

SLOTS = 4
JOBS = 12


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """DBOS knows asyncio alone."""
    return request.param


@pytest.fixture
async def emulator(
    postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> AsyncIterator[Emulator]:
    emulator = Emulator(duration=1, parallel=SLOTS)
    async with emulator.serve() as origin:
        monkeypatch.setenv("DATABASE_URL", postgres_url)
        monkeypatch.setenv("EMULATOR", origin)
        monkeypatch.setenv("SLOTS", str(SLOTS))
        yield emulator


def web(folder: Path) -> ServerProcess:
    return ServerProcess(folder, "-m", "uvicorn", "examples.fleet_app:app", "--port", "PORT")


def worker(folder: Path) -> ServerProcess:
    return ServerProcess(folder, "examples/fleet_app.py", "work")


async def post(browser: httpx.AsyncClient, form: str, prompts: str) -> httpx.Response:
    return await browser.post("/orders", data={"form": form, "prompts": prompts})


async def test_killed_worker_and_server_cost_no_video_and_no_second_bill(
    emulator: Emulator, tmp_path: Path
) -> None:
    emulator.faults.add(Fault.STUCK, on="create", times=SLOTS)
    form, prompts = str(uuid4()), "\n".join(f"Boat {number}" for number in range(JOBS))
    async with web(tmp_path) as first, web(tmp_path) as second, worker(tmp_path) as doomed:
        async with first.browser() as browser:
            ordered = await post(browser, form, prompts)
        with anyio.fail_after(60):
            while len(emulator.ledger) < SLOTS:  # noqa: ASYNC110  # it sets no event
                await anyio.sleep(0.01)
        async with worker(tmp_path) as heir, second.browser() as browser:
            async with browser.stream("GET", f"{ordered.headers['location']}/events") as told:
                lines = told.aiter_lines()
                assert '"running"' in await anext(lines)
                await doomed.end(by="kill")
                await first.end(by="kill")
                again = await post(browser, form, prompts)
                assert again.headers["location"] == ordered.headers["location"]
                for task in list(emulator.tasks.values()):
                    task.succeed()
                said = "".join([line async for line in lines])

            for number in range(JOBS):
                piece = {"Range": "bytes=4-11"}
                video = await browser.get(f"/videos/{form}-{number}.mp4", headers=piece)
                assert (video.status_code, video.content[:4]) == (206, b"ftyp")
            await heir.end(by="terminate")

    assert said.count('"succeeded"') == JOBS
    assert f"has died: {SLOTS} jobs go on elsewhere" in heir.said
    ids = [str(emulator.tasks[bill.task_id].external_task_id) for bill in emulator.ledger]
    assert sorted(ids) == sorted(f"{form}-{number}" for number in range(JOBS))


async def test_video_that_cannot_be_made_says_why_and_costs_nothing(
    emulator: Emulator, tmp_path: Path
) -> None:
    form, prompts = str(uuid4()), "A <b>boat</b>\n" + 2501 * "x"
    async with web(tmp_path) as server, worker(tmp_path), server.browser() as browser:
        for nothing in (f"/orders/{form}", f"/orders/{form}/events"):
            assert (await browser.get(nothing)).status_code == 404
        page = (await post(browser, form, prompts)).headers["location"]
        said = (await browser.get(f"{page}/events")).text
        changed = await post(browser, form, "A cork")
        shown = (await browser.get(page)).text
        start = (await browser.get("/")).text

    assert said.count('"failed"') == said.count("2500") == said.count('"succeeded"') == 1
    assert len(emulator.ledger) == 1
    assert (changed.status_code, "was another request" in changed.text) == (422, True)
    assert "A &lt;b&gt;boat" in shown
    assert f'<a href="{page}">A &lt;b&gt;boat' in start
