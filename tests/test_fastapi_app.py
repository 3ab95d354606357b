"""The web backend among the examples: each task is paid for once, shown live, and kept."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Callable
from functools import partial
from html import unescape
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import httpx
import pytest

from kling_async import CometAPI
from kling_async.emulator import Emulator, Fault
from tests.fastapi_cinema import KEY, Cinema, loaded, post, steps, told, video

ALL_STEPS = ["waiting", "submitted", "processing", "succeed", "over"]
Open = Callable[..., Cinema]


@pytest.fixture
def open_cinema(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Open:
    return partial(Cinema, monkeypatch, tmp_path)


@pytest.fixture
def cinema(open_cinema: Open) -> Cinema:
    return open_cinema(Emulator(duration=100))


async def test_prompt_becomes_a_video_served_from_here(cinema: Cinema) -> None:
    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")
        assert await steps(browser, page) == ALL_STEPS
        shown = (await browser.get(page)).text
        film = await browser.get(video(page))

    assert f'src="{video(page)}"' in shown
    assert film.headers["content-type"] == "video/mp4"
    assert film.content[4:8] == b"ftyp"
    assert not re.search(r"https?://", shown)


async def test_part_of_a_video_is_served(cinema: Cinema) -> None:
    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")
        await steps(browser, page)
        whole = (await browser.get(video(page))).content
        part = await browser.get(video(page), headers={"Range": "bytes=100-199"})

    assert part.status_code == 206
    assert part.content == whole[100:200]


async def test_every_viewer_is_told_and_a_late_one_begins_with_the_present(cinema: Cinema) -> None:
    seen: list[list[str]] = []

    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")

        async def view(after: float) -> None:
            await anyio.sleep(after)
            seen.append(await steps(browser, page))

        async with anyio.create_task_group() as group:
            for after in (0, 0, 50, 500):
                group.start_soon(view, after)

    assert sorted(seen) == sorted([ALL_STEPS, ALL_STEPS, ALL_STEPS[2:], ALL_STEPS[4:]])


async def test_closed_tab_hurts_neither_the_task_nor_the_others(cinema: Cinema) -> None:
    seen: list[list[str]] = []

    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")

        async def stay() -> None:
            seen.append(await steps(browser, page))

        async with anyio.create_task_group() as group:
            group.start_soon(stay)
            with anyio.move_on_after(50):
                await steps(browser, page)

    assert seen == [ALL_STEPS]


async def test_form_sent_twice_is_paid_for_once(cinema: Cinema) -> None:
    pages: list[str] = []

    async with cinema.running() as browser:
        form = re.findall(r'name="form" value="(.*?)"', (await browser.get("/")).text)[0]

        async def click() -> None:
            pages.append(await post(browser, "A paper boat", form))

        async with anyio.create_task_group() as group:
            group.start_soon(click)
            group.start_soon(click)
        await steps(browser, pages[0])
        await click()

    async with cinema.running() as browser:
        await click()
        await anyio.sleep(1000)

    assert len(set(pages)) == 1
    assert cinema.paid == 1


async def test_other_prompt_in_a_form_that_was_sent_is_another_task(cinema: Cinema) -> None:
    form = str(uuid4())

    async with cinema.running() as browser:
        boat, ship = await post(browser, "A boat", form), await post(browser, "A ship", form)
        await steps(browser, boat)
        await steps(browser, ship)

    assert cinema.paid == 2


async def test_every_form_is_another(cinema: Cinema) -> None:
    async with cinema.running() as browser:
        assert (await browser.get("/")).text != (await browser.get("/")).text


HOSTILE = """</h1><script>alert("$x")</script><img src=x onerror='alert(1)'> $reason ${id} &amp;"""


async def test_prompt_is_shown_and_never_run(cinema: Cinema) -> None:
    async with cinema.running() as browser:
        page = await post(browser, HOSTILE)
        live = (await browser.get(page)).text
        await steps(browser, page)
        saved = (await browser.get(page)).text

    for shown in (live, saved):
        assert HOSTILE in unescape(shown)
        assert '<script>alert("' not in shown
        assert "<img" not in shown


async def test_failed_task_shows_its_reason(cinema: Cinema) -> None:
    cinema.emulator.faults.add(Fault.FAIL, message="too <b>dark</b>")

    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")
        assert await steps(browser, page) == [
            "waiting",
            "submitted",
            "processing",
            "failed",
            "over",
        ]
        shown = (await browser.get(page)).text

    async with cinema.running() as browser:
        assert (await browser.get(page)).text == shown
    assert "too &lt;b&gt;dark&lt;/b&gt;" in shown
    assert "<video" not in shown
    assert cinema.paid == 1


async def test_refused_prompt_shows_why_and_costs_nothing(cinema: Cinema) -> None:
    cinema.emulator.faults.add(Fault.CONTENT, on="create", message="no weapons")

    async with cinema.running() as browser:
        page = await post(browser, "A gun boat")
        assert await steps(browser, page) == ["waiting", "over"]
        assert "no weapons" in (await browser.get(page)).text

    assert cinema.paid == 0


@pytest.mark.parametrize(
    "data",
    [
        {"form": str(uuid4()), "prompt": " \n"},
        {"form": str(uuid4()), "prompt": "x" * 2501},
        {"form": "7", "prompt": "A boat"},
        {"prompt": "A boat"},
    ],
    ids=["empty", "too long", "no id of ours", "no id"],
)
async def test_malformed_form_is_refused(cinema: Cinema, data: dict[str, str]) -> None:
    async with cinema.running() as browser:
        assert (await browser.post("/tasks", data=data)).status_code == 422
        await anyio.sleep(100)

    assert not cinema.emulator.requests


@pytest.mark.parametrize("path", ["", "/events"], ids=["page", "events"])
async def test_unknown_task_is_not_found(cinema: Cinema, path: str) -> None:
    async with cinema.running() as browser:
        assert (await browser.get(f"/tasks/{uuid4()}{path}")).status_code == 404


async def test_database_and_unfinished_videos_are_not_served(cinema: Cinema) -> None:
    async with cinema.running() as browser:
        for path in ("../tasks.db", "..%2ftasks.db", "%2e%2e/tasks.db"):
            assert (await browser.get(f"/videos/{path}")).status_code == 404


async def test_lost_answer_is_paid_for_once(cinema: Cinema) -> None:
    cinema.emulator.faults.add(Fault.LOST_ANSWER, on="create")
    async with cinema.running() as browser:
        assert await steps(browser, await post(browser, "A paper boat")) == ALL_STEPS

    assert cinema.paid == 1


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.PACK_EXHAUSTED])
async def test_create_that_is_refused_for_our_sake_is_tried_again(
    cinema: Cinema, fault: Fault
) -> None:
    cinema.emulator.faults.add(fault, on="create", times=3)
    async with cinema.running() as browser:
        seen = await steps(browser, await post(browser, "A paper boat"))

    assert seen == ["waiting", *["trouble"] * 3, "submitted", "processing", "succeed", "over"]
    assert cinema.paid == 1


async def test_wait_and_download_that_break_are_taken_up_again(open_cinema: Open) -> None:
    """By the token, even where a second create would be paid for."""
    cinema = open_cinema(Emulator(duration=100, finds_external_id=False), CometAPI(KEY))
    cinema.emulator.faults.add(Fault.UNAUTHORIZED, on="query", after=5)
    cinema.emulator.faults.add(Fault.SERVER_ERROR, on="file", times=20)
    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")
        seen = await steps(browser, page)
        assert "<video" in (await browser.get(page)).text

    assert seen.count("trouble") >= 2
    assert cinema.paid == 1
    assert not cinema.emulator.faults.pending


async def test_second_process_is_refused(cinema: Cinema) -> None:
    async with cinema.running():
        with pytest.raises(sqlite3.OperationalError, match="locked"):
            async with cinema.running():
                pass


async def test_without_a_key_it_plays_on_an_emulator_that_forgets(
    cinema: Cinema, monkeypatch: pytest.MonkeyPatch
) -> None:
    for free in (True, False):
        monkeypatch.setattr(cinema.program, "REHEARSAL", free)
        async with cinema.running() as browser:
            assert ("for free" in (await browser.get("/")).text) is free
    monkeypatch.setattr(cinema.program, "REHEARSAL", True)

    async with cinema.running() as browser:
        page = await post(browser, "A paper boat")
        await anyio.sleep(50)
    cinema.emulator = Emulator(duration=100)
    async with cinema.running() as browser:
        assert (await steps(browser, page))[-1] == "over"
        assert "<video" in (await browser.get(page)).text


@pytest.mark.parametrize("name", ["COMETAPI_KEY", "KLINGAI_API_KEY", "KLINGAI_ACCESS_KEY"])
def test_rows_of_a_rehearsal_are_never_paid_for(
    cinema: Cinema, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """They are kept apart from those of a process with a key."""
    rehearsed = cinema.program.FOLDER
    monkeypatch.setenv(name, KEY)
    paid = loaded(monkeypatch)

    assert not paid.REHEARSAL
    assert rehearsed != paid.FOLDER
    assert paid.VIDEOS.is_relative_to(paid.FOLDER)


async def test_kling_calls_back_where_the_world_reaches_the_server(
    open_cinema: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PUBLIC_URL", "https://cinema.example/")
    world = Doorway()
    cinema = open_cinema(Emulator(duration=100, callback_transport=world))
    world.app = cinema.program.app
    async with cinema.emulator, cinema.running() as browser:
        found = await steps(browser, await post(browser, "A paper boat"))
        stranger = await browser.post("/kling/a-guess", json={})

    # Who is called at the end asks seldom before, so "processing" may have come and gone.
    assert [step for step in ALL_STEPS if step != "processing" or step in found] == found
    told = cinema.emulator.callbacks
    assert {each.url for each in told} == {cinema.program.CALLBACK_URL}
    assert {each.status for each in told if each.answer in (200, 202, 204)} >= {"processing"}
    assert stranger.status_code in (401, 403, 404)


class Doorway(httpx.AsyncBaseTransport):
    """Leads to an app that is there only later."""

    app: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        return await httpx.ASGITransport(self.app).handle_async_request(request)


def test_only_data_lines_are_read() -> None:
    assert told(': ping\n\ndata: "over"\n\n') == ["over"]
