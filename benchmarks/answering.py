"""A server in a process of its own that answers as Kling does, and costs next to nothing.

Run: python benchmarks/answering.py (it prints its port, and ends when its standard input does)
"""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from urllib.request import urlopen

HEADERS = (
    b"date: Sat, 21 Nov 2026 12:00:00 GMT\r\n"
    b"content-type: application/json; charset=utf-8\r\n"
    b"x-request-id: 5f6e2b8c-1d0a-4d53-9a43-7a2f6f8f4a11\r\n"
    b"x-envoy-upstream-service-time: 12\r\n"
    b"strict-transport-security: max-age=31536000; includeSubDomains\r\n"
    b"server: istio-envoy\r\n"
)
TASK = (
    b'{"task_id":"%s","task_status":"%s","task_status_msg":"","task_info":'
    b'{"external_task_id":"0f8fad5b-d9cb-469f-a165-70867728950e"},"task_result":{},'
    b'"final_unit_deduction":"","created_at":1795262400000,"updated_at":1795262405000}'
)
ENVELOPE = b'{"code":0,"message":"SUCCEED","request_id":"5f6e2b8c-1d0a","data":%s}'
PAGE = 500
"""Tasks on a page, whatever is asked for."""


class Answers(asyncio.Protocol):
    """One connection: POST creates a task, GET tells of one that runs, or of a page of them."""

    asked = 0
    numbers = count(1)

    def __init__(self) -> None:
        self._held = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._held += data
        while True:
            head, end, rest = self._held.partition(b"\r\n\r\n")
            if not end:
                return
            size = 0
            if head.startswith(b"POST"):
                size = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            if len(rest) < size:
                return
            self._held = rest[size:]
            self._transport.write(answer(head))


def answer(head: bytes) -> bytes:
    """The whole of one answer."""
    method, target, _ = head.split(b" ", 2)
    if target == b"/asked":
        return response(b"%d" % Answers.asked)
    Answers.asked += 1
    if method == b"POST":
        task = TASK % (b"%d" % next(Answers.numbers), b"submitted")
    elif b"?" in target:
        return LISTED
    else:
        task = TASK % (target.rpartition(b"/")[2], b"processing")
    return response(ENVELOPE % task)


def response(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\n%scontent-length: %d\r\n\r\n%s" % (HEADERS, len(body), body)


_LISTED = b",".join(TASK % (b"%d" % number, b"processing") for number in range(PAGE))
LISTED = response(ENVELOPE % (b"[%s]" % _LISTED))


async def serve() -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answers, "127.0.0.1", backlog=2048)
    print(server.sockets[0].getsockname()[1], flush=True)
    ended = asyncio.Event()
    threading.Thread(
        target=lambda: (sys.stdin.read(), loop.call_soon_threadsafe(ended.set)), daemon=True
    ).start()
    await ended.wait()


@contextmanager
def answering() -> Iterator[str]:
    """The origin of such a server, for as long as it is wanted."""
    command = [sys.executable, __file__]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.stdin.close()
        process.stdout.close()
        process.wait(10)


def asked(origin: str) -> int:
    """How many requests that server has had."""
    with urlopen(f"{origin}/asked") as reply:
        return int(reply.read())


def main() -> None:
    gc.disable()
    asyncio.run(serve())


if __name__ == "__main__":
    main()
