"""ServerProcess: a web server in a process of its own, which can be killed and come back."""

from __future__ import annotations

import os
import socket
import sys
from pathlib import Path
from subprocess import STDOUT

import anyio
import httpx
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

ROOT = Path(__file__).parent.parent


class ServerProcess:
    """Every start serves on the same port.

    Args:
        command: What Python is to run; "PORT" stands for the port.
    """

    def __init__(self, folder: Path, *command: str) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = listener.getsockname()[1]
        self.origin = f"http://127.0.0.1:{port}"
        self.said = ""
        """What it has printed until it ended."""
        self._command = [sys.executable, *(word.replace("PORT", str(port)) for word in command)]
        self._environment = {**os.environ, "FOLDER": str(folder), "PYTHONUNBUFFERED": "1"}
        self._process: Process | None = None

    async def __aenter__(self) -> ServerProcess:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        with anyio.CancelScope(shield=True):
            await self.end(by="kill")

    async def start(self) -> None:
        """Start, and wait until it serves."""
        self._process = await anyio.open_process(
            self._command, env=self._environment, cwd=ROOT, stderr=STDOUT
        )
        assert self._process.stdout is not None
        async for text in TextReceiveStream(self._process.stdout):
            self.said += text
            if "running on" in self.said:
                self.said = ""
                return
        raise AssertionError(f"it ended before it served: {self.said}")

    async def end(self, *, by: str) -> None:
        """End it, by "kill", which leaves it no time, or by "terminate"."""
        if (process := self._process) is None:
            return
        self._process = None
        getattr(process, by)()
        assert process.stdout is not None
        async for text in TextReceiveStream(process.stdout):
            self.said += text
        await process.aclose()

    def browser(self) -> httpx.AsyncClient:
        """A client that keeps no connection from before a restart."""
        limits = httpx.Limits(max_keepalive_connections=0)
        return httpx.AsyncClient(base_url=self.origin, limits=limits, timeout=20)
