"""The recipes for other engines are programs that run, and pay once when a worker is lost."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import os
import re
import shutil
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import kling_async
from kling_async import Downloads, Image2Video, Kling, KlingAI, Polling, Text2Video
from kling_async.emulator import Emulator, Fault
from kling_async.engines import pack, submit_or_adopt
from tests.fastapi_process import ServerProcess
from tests.media_samples import png

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.long,
    pytest.mark.timeout(60),
    # They are others' programs.
    pytest.mark.filterwarnings("default"),
]

PAGE = Path(__file__).parent.parent / "docs" / "engines.md"
KEYS = ["boat-0", "boat-1", "boat-2"]


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """None of them knows trio."""
    return request.param


@pytest.fixture
async def emulator(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Emulator]:
    emulator = Emulator(duration=1)
    async with emulator.serve() as origin:
        monkeypatch.setattr(kling_async, "Kling", client_of(origin))
        monkeypatch.setenv("EMULATOR", origin)
        yield emulator
    sys.modules.pop("fleet", None)


def client_of(origin: str) -> Any:
    return partial(
        Kling,
        KlingAI("a-secret-key-0123456789", base_url=f"{origin}/official"),
        polling=Polling(interval=0.2, sweep_interval=0.2, guards=()),
        downloads=Downloads(http=True, private=True),
    )


def engine(module: str) -> Any:
    """Skip where an engine is not installed; where all is to be tested, fail."""
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        reason = f"no {module}: run scripts/install-engines"
        (pytest.fail if {"CI", "WHOLE"} & os.environ.keys() else pytest.skip)(reason)
    return importlib.import_module(module)


def recipe(heading: str, folder: Path) -> Path:
    """The program under a heading of the page, as its reader copies it."""
    section = PAGE.read_text(encoding="utf-8").split(f"\n## {heading}\n")[1]
    program = re.search(r"^```python\n(.*?)^```$", section, re.S | re.M)
    assert program is not None
    path = folder / "fleet.py"
    path.write_text(program[1], encoding="utf-8")
    return path


def loaded(heading: str, folder: Path, patch: pytest.MonkeyPatch) -> ModuleType:
    recipe(heading, folder)
    patch.syspath_prepend(folder)
    return importlib.import_module("fleet")


def orders(folder: Path) -> list[dict[str, Any]]:
    return [
        {"key": key, "request": pack(Text2Video(prompt=f"The {key}")), "to": f"{folder}/{key}.mp4"}
        for key in KEYS
    ]


def paid(emulator: Emulator) -> list[str]:
    return sorted(str(emulator.tasks[bill.task_id].external_task_id) for bill in emulator.ledger)


async def until(condition: Any) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110  # nobody rings a bell
            await asyncio.sleep(0.02)


def release(emulator: Emulator) -> None:
    for task in list(emulator.tasks.values()):
        task.succeed()


def videos(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("*.mp4"))


async def test_pydocket(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Without a server, so within this process: each task starts anew, as after a lost worker."""
    docket = engine("docket")
    fleet = loaded("pydocket", tmp_path, monkeypatch)
    attempts: list[str] = []

    def submit(kling: Any, request: Any, key: str) -> Any:
        attempts.append(key)
        return submit_or_adopt(kling, request, key)

    monkeypatch.setattr(fleet, "submit_or_adopt", submit)
    emulator.faults.add(Fault.STUCK, on="create", times=len(KEYS))
    async with docket.Docket(name="kling", url=f"memory://{tmp_path.name}") as desk:
        desk.register_collection("fleet:tasks")
        for order in [*orders(tmp_path), *orders(tmp_path)]:
            await desk.add(fleet.make, key=order["key"])(order)
        async with docket.Worker(desk) as worker:
            work = asyncio.create_task(worker.run_until_finished())
            await until(lambda: len(emulator.ledger) == len(KEYS))
            emulator.faults.add(Fault.UNAUTHORIZED, on="query", times=len(KEYS))
            emulator.faults.add(Fault.UNAUTHORIZED, on="list")
            await until(lambda: len(attempts) > len(KEYS))
            release(emulator)
            await work

    assert videos(tmp_path) == paid(emulator) == KEYS


async def test_temporal(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On the real server, in its version for development."""
    testing = engine("temporalio.testing")
    server = shutil.which("temporal", path=Path(sys.executable).parent)
    fleet = loaded("Temporal", tmp_path, monkeypatch)
    emulator.faults.add(Fault.STUCK, on="create", times=len(KEYS))
    environment = await testing.WorkflowEnvironment.start_local(dev_server_existing_path=server)
    async with environment:
        client = environment.client
        lost = asyncio.create_task(fleet.work(client))
        made = asyncio.create_task(fleet.make(client, orders(tmp_path)))
        await until(lambda: len(emulator.ledger) == len(KEYS))
        lost.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await lost
        heir = asyncio.create_task(fleet.work(client))
        release(emulator)
        files = await made
        heir.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await heir

    assert [Path(*each).stem for each in files] == KEYS
    assert videos(tmp_path) == paid(emulator) == KEYS


async def test_saq(
    emulator: Emulator, postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """On PostgreSQL, each worker a process, and one of them is killed."""
    engine("saq")
    monkeypatch.setenv("QUEUE_URL", postgres_url)
    fleet = loaded("saq, arq, streaq", tmp_path, monkeypatch)
    fleet.JOB["heartbeat"] = 2
    emulator.faults.add(Fault.STUCK, on="create", times=len(KEYS))
    command = "-m", "tests.saq_program"
    await fleet.queue.connect()
    async with ServerProcess(tmp_path, *command, "videos") as doomed:
        for order in [*orders(tmp_path), *orders(tmp_path)]:
            await fleet.order(**order)
        await until(lambda: len(emulator.ledger) == len(KEYS))
        await doomed.end(by="kill")
        async with (
            ServerProcess(tmp_path, *command, "videos"),
            ServerProcess(tmp_path, *command, "saving"),
        ):
            release(emulator)
            await until(lambda: videos(tmp_path) == KEYS)
    await fleet.queue.disconnect()

    assert paid(emulator) == KEYS


async def test_temporal_gives_up_what_no_attempt_can_change(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A type of error is a name to it, and so none of those below it."""
    testing = engine("temporalio.testing")
    client_module = engine("temporalio.client")
    server = shutil.which("temporal", path=Path(sys.executable).parent)
    fleet = loaded("Temporal", tmp_path, monkeypatch)
    (tmp_path / "dot.png").write_bytes(png(1, 1))
    request = pack(Image2Video(image=tmp_path / "dot.png"))
    order = {"key": "dot", "request": request, "to": f"{tmp_path}/"}
    environment = await testing.WorkflowEnvironment.start_local(dev_server_existing_path=server)
    async with environment:
        worker = asyncio.create_task(fleet.work(environment.client))
        with pytest.raises(client_module.WorkflowFailureError):
            await fleet.make(environment.client, [order])
        worker.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await worker

    assert not paid(emulator)
