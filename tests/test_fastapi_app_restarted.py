"""The web backend among the examples is stopped anywhere and started again, and goes on."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from functools import partial
from pathlib import Path
from uuid import uuid4

import anyio
import pytest

from kling_async import CometAPI, Kling, Provider
from kling_async.emulator import Emulator, Fault
from tests.fastapi_cinema import KEY, Cinema, post, steps, video

Open = Callable[..., Cinema]


@pytest.fixture
def open_cinema(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Open:
    return partial(Cinema, monkeypatch, tmp_path)


@pytest.fixture
def cinema(open_cinema: Open) -> Cinema:
    return open_cinema(Emulator(duration=100))


@pytest.mark.parametrize("finds", [True, False], ids=["found by its id", "by token alone"])
async def test_restarted_in_the_middle_it_goes_on(open_cinema: Open, finds: bool) -> None:
    cinema = open_cinema(Emulator(duration=100, finds_external_id=finds), CometAPI(KEY))
    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")
        await anyio.sleep(50)

    async with cinema.running() as browser:
        with anyio.fail_after(200):
            assert await steps(browser, page) == ["waiting", "processing", "succeed", "over"]
        assert (await browser.get(video(page))).status_code == 200

    assert cinema.paid == 1


async def test_stopped_between_the_saving_and_the_writing_down_it_goes_on(cinema: Cinema) -> None:
    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")
        await steps(browser, page)
    with closing(sqlite3.connect(cinema.program.FOLDER / "tasks.db")) as db, db:
        db.execute("UPDATE tasks SET step = 'waiting'")

    async with cinema.running() as browser:
        assert "trouble" not in await steps(browser, page)
        assert (await browser.get(video(page))).status_code == 200

    assert cinema.paid == 1


async def test_finished_videos_outlive_a_restart_and_ask_nothing(cinema: Cinema) -> None:
    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")
        await steps(browser, page)
        film, asked = (await browser.get(video(page))).content, len(cinema.emulator.requests)

    async with cinema.running() as browser:
        assert await steps(browser, page) == ["over"]
        assert (await browser.get(video(page))).content == film

    assert len(cinema.emulator.requests) == asked


async def test_stopped_while_the_create_is_on_its_way_it_pays_once(cinema: Cinema) -> None:
    cinema.emulator.faults.add(Fault.STALL, on="create", seconds=60)
    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")
        await anyio.sleep(1)

    async with cinema.running() as browser:
        assert (await steps(browser, page))[-1] == "over"
        assert "<video" in (await browser.get(page)).text

    assert cinema.paid == 1


async def test_row_that_was_never_sent_is_sent_once(cinema: Cinema) -> None:
    async with cinema.running():
        pass
    task_id = str(uuid4())
    cinema.write(task_id, "A paper boat")

    for _ in range(2):
        async with cinema.running() as browser:
            assert (await steps(browser, f"/tasks/{task_id}"))[-1] == "over"

    assert cinema.paid == 1


async def test_row_of_an_uncertain_server_is_looked_for_and_never_sent_again(
    open_cinema: Open,
) -> None:
    comet = CometAPI(KEY)
    cinema = open_cinema(Emulator(duration=100), comet)
    async with cinema.running():
        pass
    task_id = str(uuid4())
    cinema.write(task_id, "A paper boat")

    async with cinema.running() as browser:
        with anyio.move_on_after(1000):
            await steps(browser, f"/tasks/{task_id}")
        assert "POST" not in {seen.method for seen in cinema.emulator.requests}
        await turn_up(cinema, comet, task_id)
        assert (await steps(browser, f"/tasks/{task_id}"))[0] == "trouble"
        assert "<video" in (await browser.get(f"/tasks/{task_id}")).text

    assert cinema.paid == 1


async def turn_up(cinema: Cinema, provider: Provider, task_id: str) -> None:
    async with Kling(provider, transport=cinema.emulator.transport()) as other:
        await other.text2video.submit(prompt="A paper boat", external_task_id=task_id)
