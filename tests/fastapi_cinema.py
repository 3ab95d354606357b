"""Cinema: the web backend among the examples, which starts and stops on one folder."""

from __future__ import annotations

import importlib.util
import json
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from types import ModuleType
from uuid import uuid4

import httpx
import pytest

from kling_async import Kling, KlingAI, Provider, Timeouts
from kling_async.emulator import Emulator

PROGRAM = Path(__file__).parent.parent / "examples" / "fastapi_app.py"
KEY = "a-key-of-the-cinema-0123456789"


class Cinema:
    """Each `running` is a process's life; the emulator and the folder outlive it.

    Args:
        patch: Undoes what was changed when the test is over.
        provider: None is Kling's own.
    """

    def __init__(
        self,
        patch: pytest.MonkeyPatch,
        folder: Path,
        emulator: Emulator,
        provider: Provider | None = None,
    ) -> None:
        self.emulator = emulator
        self.folder = folder
        self.provider = provider or KlingAI(KEY)
        patch.setenv("FOLDER", str(folder))
        self.program = loaded(patch)
        patch.setattr(self.program, "REHEARSAL", False)
        patch.setattr(self.program, "client", self._client)

    def _client(self) -> Kling:
        return Kling(
            self.provider,
            transport=self.emulator.transport(),
            timeouts=Timeouts(farewell=1),
            callback_url=self.program.CALLBACK_URL,
        )

    @asynccontextmanager
    async def running(self) -> AsyncIterator[httpx.AsyncClient]:
        app = self.program.app
        async with app.router.lifespan_context(app):
            transport = httpx.ASGITransport(app)
            async with httpx.AsyncClient(transport=transport, base_url="http://cinema") as browser:
                yield browser

    @property
    def paid(self) -> int:
        return len(self.emulator.ledger)

    def write(self, task_id: str, prompt: str) -> None:
        """Leave the row that a process leaves which is killed before it knows of a task."""
        with closing(sqlite3.connect(self.program.FOLDER / "tasks.db")) as db, db:
            row = (task_id, prompt, None, "waiting", "")
            db.execute("INSERT INTO tasks VALUES (?, ?, ?, ?, ?)", row)


def loaded(patch: pytest.MonkeyPatch) -> ModuleType:
    """A fresh copy of the program, which has read the environment as it is now."""
    spec = importlib.util.spec_from_file_location("fastapi_app", PROGRAM)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)
    return module


async def post(browser: httpx.AsyncClient, prompt: str, form: str = "") -> str:
    """Send the form; gives the path of the task's page."""
    answer = await browser.post("/tasks", data={"form": form or str(uuid4()), "prompt": prompt})
    assert answer.status_code == 303, answer.text
    return answer.headers["location"]


async def steps(browser: httpx.AsyncClient, page: str) -> list[str]:
    """What a viewer is told, up to the end."""
    answer = await browser.get(f"{page}/events", timeout=None)
    assert answer.headers["content-type"].startswith("text/event-stream")
    return told(answer.text)


def told(stream: str) -> list[str]:
    lines = stream.splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


def video(page: str) -> str:
    return page.replace("/tasks/", "/videos/") + ".mp4"
