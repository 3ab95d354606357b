"""The backend on many machines among the examples: killed in part, it makes all that it was to."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx
import pytest

from kling_async import DownloadError, Text2Video
from kling_async.emulator import Emulator, Fault
from kling_async.engines.dbos import JobState, JobStatus
from tests.fastapi_process import ROOT, ServerProcess

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
            ordered = (await post(browser, form, prompts)).headers["location"]
        with anyio.fail_after(60):
            while len(emulator.ledger) < SLOTS:  # noqa: ASYNC110  # it sets no event
                await anyio.sleep(0.01)
        async with worker(tmp_path) as heir, second.browser() as browser:
            async with browser.stream("GET", f"{ordered}/events") as told:
                lines = told.aiter_lines()
                assert '"running"' in await anext(lines)
                await doomed.end(by="kill")
                await first.end(by="kill")
                again = await post(browser, form, prompts)
                assert again.headers["location"] == ordered
                for task in list(emulator.tasks.values()):
                    task.succeed()
                said = "".join([line async for line in lines])

            keys = [f"{ordered.removeprefix('/orders/')}-{number}" for number in range(JOBS)]
            for key in keys:
                piece = {"Range": "bytes=4-11"}
                video = await browser.get(f"/videos/{key}.mp4", headers=piece)
                assert (video.status_code, video.content[:4]) == (206, b"ftyp")
            await heir.end(by="terminate")

    assert said.count('"succeeded"') == JOBS
    assert f"has died: {SLOTS} jobs go on elsewhere" in heir.said
    ids = [str(emulator.tasks[bill.task_id].external_task_id) for bill in emulator.ledger]
    assert sorted(ids) == sorted(keys)


async def test_video_that_cannot_be_made_says_why_and_costs_nothing(
    emulator: Emulator, tmp_path: Path
) -> None:
    form, prompts = str(uuid4()), "A <b>boat</b>\n" + 2501 * "x"
    async with web(tmp_path) as server, worker(tmp_path), server.browser() as browser:
        for nothing in (f"/orders/{form}", f"/orders/{form}/events"):
            assert (await browser.get(nothing)).status_code == 404
        page = (await post(browser, form, prompts)).headers["location"]
        said = (await browser.get(f"{page}/events")).text
        too_many = await post(browser, form, "A cork\n" * 1001)
        shown = (await browser.get(page)).text
        start = (await browser.get("/")).text

    assert said.count('"failed"') == said.count("2500") == said.count('"succeeded"') == 1
    assert len(emulator.ledger) == 1
    assert (too_many.status_code, "1001 prompts are too many" in too_many.text) == (422, True)
    assert "A &lt;b&gt;boat" in shown
    assert f'<a href="{page}">A &lt;b&gt;boat' in start


async def test_form_that_is_changed_and_sent_again_is_another_order(
    emulator: Emulator, tmp_path: Path
) -> None:
    form = str(uuid4())
    async with web(tmp_path) as server, server.browser() as browser:
        before = await post(browser, form, "A boat\nA cork")
        after = await post(browser, form, "A boat\nA raft")  # by way of the browser's Back
        shown = [(await browser.get(each.headers["location"])).text for each in (before, after)]

    assert ["A cork" in page for page in shown] == [True, False]
    assert ["A raft" in page for page in shown] == [False, True]


async def test_without_a_database_it_says_what_it_lacks() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    for command in ("examples/fleet_app.py",), ("-m", "uvicorn", "examples.fleet_app:app"):
        ended = await anyio.run_process(
            [sys.executable, *command], cwd=ROOT, env=environment, check=False
        )
        assert ended.returncode == 1
        assert ended.stderr.startswith(b"DATABASE_URL: give the address")


def test_visitors_are_not_told_of_the_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://db.example/kling")
    reason = runpy.run_path(str(ROOT / "examples" / "fleet_app.py"))["reason"]
    state = JobState(
        key="boat-1",
        status=JobStatus.FAILED,
        request=Text2Video(prompt="A boat"),
        submitted_at=datetime.now(UTC),
        error=DownloadError("cannot save /srv/videos/boat-1.mp4"),
    )

    assert reason(state) == ""
