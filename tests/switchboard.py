"""Switchboard: an emulator whose callbacks reach a client's app in process."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import httpx

from kling_async import Kling, KlingAI, Task, Text2Video
from kling_async.emulator import Emulator
from kling_async.webhooks import callback_app

KEY = "a-secret-key-0123456789"
PATH_TOKEN = "tYbMNbNwFBGNyBY9bmk0Ow"
BOAT = Text2Video(prompt="A boat")


class Switchboard(httpx.AsyncBaseTransport):
    """What the emulator calls over: every address leads to the app, unless it is down."""

    def __init__(self) -> None:
        self.down = False
        self.app: httpx.AsyncBaseTransport = httpx.MockTransport(lambda _: httpx.Response(404))

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.down:
            raise httpx.ConnectError("down")
        return await self.app.handle_async_request(request)


class Line:
    """A client with its callbacks, and whoever else may call it."""

    def __init__(self, kling: Kling, emulator: Emulator, switchboard: Switchboard) -> None:
        self.kling = kling
        self.emulator = emulator
        self.switchboard = switchboard
        self.path = f"/kling/{PATH_TOKEN}"
        self.http = httpx.AsyncClient(transport=switchboard.app, base_url="https://app.example")

    async def post(self, body: object, **headers: str) -> int:
        """Call with anything, and say what was answered."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        names = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await self.http.post(self.path, content=content, headers=names)).status_code

    async def call(self, task: Task[Any] | str, status: str = "succeed") -> int:
        """Call about a task, as Kling would."""
        task_id = task if isinstance(task, str) else task.id
        return await self.post({"task_id": task_id, "task_status": status})

    @property
    def asked(self) -> list[float]:
        """When the client has asked."""
        return [seen.at for seen in self.emulator.requests if seen.method == "GET"]


@asynccontextmanager
async def connected(
    *,
    provider: type[KlingAI] | Any = KlingAI,
    client: dict[str, Any] | None = None,
    app: dict[str, Any] | None = None,
    **emulator: Any,
) -> AsyncGenerator[Line]:
    """A client and an emulator that calls it back."""
    switchboard = Switchboard()
    async with (
        Emulator(callback_transport=switchboard, **emulator) as server,
        Kling(provider(KEY), transport=server.transport(), **(client or {})) as kling,
    ):
        kling.callback_url = f"https://app.example/kling/{PATH_TOKEN}"
        switchboard.app = httpx.ASGITransport(
            callback_app(kling, **{"path_token": PATH_TOKEN, **(app or {})})
        )
        yield Line(kling, server, switchboard)
