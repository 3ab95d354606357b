"""Serves the emulator on a port, where dropped connections are real."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from functools import partial

import anyio.to_thread
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send

from kling_async.emulator._answers import DROP, How

_NO_LINGER = struct.pack("ii", 1, 0)


class _Server(uvicorn.Server):
    """A uvicorn server that says when it is ready and can cut its connections."""

    def __init__(self, app: ASGIApp) -> None:
        config = uvicorn.Config(
            self._droppable,
            interface="asgi3",
            http="h11",
            ws="none",
            log_level="critical",
            # Stalled answers must not keep the server from stopping.
            timeout_graceful_shutdown=1,
        )
        super().__init__(config)
        self.ready = asyncio.Event()
        self._app = app

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Leave signals to the program this runs in."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then say so."""
        await super().startup(sockets)
        self.ready.set()

    async def _droppable(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            drop = partial(self._drop, scope["client"])
            scope["extensions"] = {**scope.get("extensions", {}), DROP: drop}
        await self._app(scope, receive, send)

    async def _drop(self, client: tuple[str, int], how: How) -> None:
        if how == "reset":
            # A reset discards what the other side has not read yet: let it read.
            await asyncio.sleep(0.02)
        for connection in list(self.server_state.connections):
            transport = connection.transport
            if transport.get_extra_info("peername")[:2] == client:
                if how == "reset":
                    # Closing without lingering is what sends RST in place of FIN.
                    link = transport.get_extra_info("socket")
                    link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _NO_LINGER)
                transport.abort()
        # The connection learns of its end on the loop's next turns.
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@asynccontextmanager
async def serve(app: ASGIApp, host: str, port: int) -> AsyncGenerator[str]:
    """Serve while the block runs; gives the origin, such as "http://127.0.0.1:8000"."""
    server, listener = await anyio.to_thread.run_sync(_prepare, app, host, port)
    running = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        await server.ready.wait()
        shown = f"[{host}]" if ":" in host else host
        yield f"http://{shown}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await running


def _prepare(app: ASGIApp, host: str, port: int) -> tuple[_Server, socket.socket]:
    """What may block: looking up the host and loading uvicorn's protocols."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.create_server((host, port), family=family)
    server = _Server(app)
    server.config.load()
    return server, listener
