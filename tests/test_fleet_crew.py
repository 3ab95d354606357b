"""The steps of a job, each by itself: what comes of them is JSON, whatever happens."""

from __future__ import annotations

import importlib
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from dbos import PortableWorkflowError

from kling_async import Kling, Polling, TaskError, TaskFailed, TaskTimeout, Text2Video
from kling_async.emulator import Emulator, Fault
from kling_async.engines import intend, pack
from kling_async.engines._crew import Crew
from kling_async.engines._failure import failed, raised, stored
from kling_async.engines._names import Names
from tests.harbour import official

BOAT = Text2Video(prompt="A paper boat")
HERE = "https://desk.example/secret"


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(duration=60)


@pytest.fixture
async def kling(emulator: Emulator) -> AsyncIterator[Kling]:
    async with official(emulator) as kling:
        yield kling


def crew(kling: Kling, url: str | None = None) -> Crew:
    return Crew(Names("main"), kling, url, 600.0)


def order(request: Text2Video = BOAT, to: str | None = None) -> dict[str, Any]:
    return {"account": "main", "key": "boat-1", "request": pack(request), "to": to}


@pytest.mark.parametrize(
    ("own", "ours", "is_called"),
    [(None, HERE, True), (None, None, False), ("https://other.example/", HERE, False)],
)
async def test_job_is_called_about_where_the_fleet_is(
    kling: Kling, own: str | None, ours: str | None, is_called: bool
) -> None:
    request = Text2Video(prompt="A paper boat", callback_url=own)

    answer = await crew(kling, ours).submit(order(request), await intend(kling))

    assert answer["is_called"] is is_called


async def test_question_is_answered_or_not(kling: Kling, emulator: Emulator) -> None:
    mates = crew(kling)
    token = (await mates.submit(order(), await intend(kling)))["token"]

    assert await mates.look(token) == {}
    emulator.faults.add(Fault.SERVER_ERROR, on="query")
    assert await mates.look(token) == {}
    emulator.faults.add(Fault.NOT_FOUND, on="query")
    assert (await mates.look(token))["error"]["name"] == "TaskNotFound"
    (task_id,) = emulator.tasks
    emulator.tasks[task_id].succeed()
    assert (await mates.look(token))["result"]["task_id"] == task_id


async def test_wait_outlives_a_key_that_is_refused(kling: Kling, emulator: Emulator) -> None:
    mates = crew(kling)
    token = (await mates.submit(order(), await intend(kling)))["token"]
    emulator.faults.add(Fault.UNAUTHORIZED, on="query", times=3)

    answer = await mates.wait(token)

    assert answer["result"]["videos"]


async def test_task_that_kling_failed_is_waited_for_no_longer(
    kling: Kling, emulator: Emulator
) -> None:
    mates = crew(kling)
    token = (await mates.submit(order(), await intend(kling)))["token"]
    (task_id,) = emulator.tasks
    emulator.tasks[task_id].fail("the boat sank")

    assert (await mates.wait(token))["error"]["name"] == "TaskFailed"


async def test_task_that_outlives_the_patience_of_polling_can_be_taken_up_again(
    emulator: Emulator,
) -> None:
    async with official(emulator, polling=Polling(timeout=30)) as kling:
        mates = crew(kling)
        token = (await mates.submit(order(), await intend(kling)))["token"]
        error = raised(failed((await mates.wait(token))["error"]), "boat-1")
    assert isinstance(error, TaskTimeout)
    assert error.token == token

    async with official(emulator) as kling:
        assert (await kling.task(token)).videos


async def test_files_that_cannot_be_saved_end_the_job(
    kling: Kling, emulator: Emulator, tmp_path: Path
) -> None:
    mates = crew(kling)
    token = (await mates.submit(order(), await intend(kling)))["token"]
    result = (await mates.wait(token))["result"]
    (tmp_path / "file").touch()

    answer = await mates.save(order(to=f"{tmp_path}/file/boat.mp4"), result)

    assert answer["error"]["name"] == "DownloadError"
    assert answer["error"]["data"]["token"] == token


def test_error_is_the_same_on_the_other_side() -> None:
    error = TaskFailed("the boat sank", task_id="7", token="klingai/text2video/7", code=1301)

    again = raised(failed(stored(error)), "boat-1")

    assert isinstance(again, TaskFailed)
    assert (str(again), again.token) == (str(error), error.token)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (PortableWorkflowError("no such key", "KeyError"), "broke off: KeyError: no such key"),
        (ValueError("not one of ours"), "broke off: ValueError"),
    ],
)
def test_defect_is_described(error: Exception, words: str) -> None:
    again = raised(error, "boat-1")

    assert type(again) is TaskError
    assert again.external_task_id == "boat-1"
    assert words in str(again)


def test_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "dbos", None)
    monkeypatch.delitem(sys.modules, "kling_async.engines.dbos", raising=False)

    with pytest.raises(ModuleNotFoundError, match=r"pip install .kling_async\[dbos\]"):
        importlib.import_module("kling_async.engines.dbos")


@pytest.mark.real_time
def test_package_is_imported_without_dbos() -> None:
    code = "import sys, kling_async.engines; assert not {'dbos', 'psycopg'} & sys.modules.keys()"

    subprocess.run([sys.executable, "-c", code], check=True)
