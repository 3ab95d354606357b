"""Spoils answers: drops, delays or replaces them as a fault demands."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Literal

import anyio
from starlette.responses import HTMLResponse, Response
from starlette.types import Receive, Scope, Send

from kling_async.emulator._faults import Fault, Strike
from kling_async.emulator._refusals import Refusal

DROP = "kling_async.drop"
"""The ASGI extension by which a server lets the application cut a connection."""

How = Literal["close", "reset"]
Drop = Callable[[How], Awaitable[None]]

_BAD_GATEWAY = (
    "<html><head><title>502 Bad Gateway</title></head>"
    "<body><center><h1>502 Bad Gateway</h1></center><hr></body></html>"
)


class Broken(Response):
    """An answer of which half is sent, or nothing, before the connection dies."""

    def __init__(self, answer: Response | None, how: How) -> None:
        super().__init__()
        self._answer = answer
        self._how: How = how

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send what is sent, then cut the connection."""
        drop: Drop | None = scope.get("extensions", {}).get(DROP)
        # Mounted in somebody's own server, an exception is the nearest thing to a cut.
        if drop is None:
            raise ConnectionAbortedError("this server cannot cut connections on purpose")
        if self._answer is not None:
            body = bytes(self._answer.body)
            await send(
                {
                    "type": "http.response.start",
                    "status": self._answer.status_code,
                    "headers": self._answer.raw_headers,
                }
            )
            half = body[: len(body) // 2]
            await send({"type": "http.response.body", "body": half, "more_body": True})
        await drop(self._how)


async def spoil(
    strike: Strike, answer: Response | None, refuse: Callable[[Refusal], Response]
) -> Response:
    """The answer after a fault has struck; None stands for one never worked out."""
    refusal = strike.refusal
    if refusal is not None:
        refused = refuse(refusal)
        if strike.retry_after is not None:
            refused.headers["Retry-After"] = f"{strike.retry_after:g}"
        return refused
    match strike.fault:
        case Fault.LOST_BEFORE | Fault.LOST_ANSWER:
            return Broken(None, "close")
        case Fault.RESET:
            return Broken(answer, "reset")
        case Fault.TRUNCATED:
            return Broken(answer, "close")
        case Fault.HTML:
            return HTMLResponse(_BAD_GATEWAY, 502)
        case Fault.EMPTY:
            return Response(b"", media_type="application/json")
        case Fault.GARBAGE:
            return Response(b"\x00\xff{]", media_type="application/json")
        case Fault.STALL:
            await anyio.sleep(strike.seconds)
        case _:
            pass
    return answer or Response()
