"""Callbacks: what the app's answer costs, what a storm of them does, what a fleet asks with them.

Run: python benchmarks/callbacks.py [answers storm fleet]

The answers are measured in real time, by turns with an empty route of Starlette, both called in
process; the rest is counted in virtual time.
"""

from __future__ import annotations

import gc
import json
import sys
import time
import tracemalloc
from collections.abc import Callable
from functools import partial
from pathlib import Path
from random import Random
from statistics import quantiles
from typing import Any

import anyio
import anyio.lowlevel
import httpx
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

sys.path.insert(0, str(Path(__file__).parent.parent))

import kling_async.testing._virtual_time as virtual_time
from kling_async import CometAPI, Kling, KlingAI, Task, Text2Video
from kling_async.emulator import Emulator
from kling_async.emulator._callbacks import sign
from kling_async.webhooks import callback_app

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A paper boat")
PATH = "/tYbMNbNwFBGNyBY9bmk0Ow"
SECRET = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
OTHER = "whsec_b3RoZXJzZWNyZXRvdGhlcnNlY3JldG90aGVyc2VjcmU="
CALLS = 10_000
LIVE = 100
FLEET = 1_000
PIECE = 65_536


def task_body(task_id: str, status: str = "succeed") -> bytes:
    """As long as Kling's own."""
    video = {"id": "1", "url": "https://evil.test/forged.mp4?" + "x" * 400, "duration": "5.1"}
    fields = {
        "task_id": task_id,
        "task_status": status,
        "task_status_msg": "",
        "task_info": {"external_task_id": f"ka-{task_id}"},
        "created_at": 1722769557708,
        "updated_at": 1722769557708,
        "task_result": {"videos": [video]},
    }
    return json.dumps(fields).encode()


def signed(body: bytes, secret: str = SECRET, ago: float = 0) -> dict[str, str]:
    stamp = str(int(time.time() - ago))
    return {
        "webhook-id": "m",
        "webhook-timestamp": stamp,
        "webhook-signature": sign(secret, "m", stamp, body),
    }


def hostile(live: str) -> dict[str, tuple[list[dict[str, Any]], dict[str, str]]]:
    """One callback of each kind."""
    true, early, stranger = task_body(live), task_body(live, "processing"), task_body("9" * 18)
    deep = b"[" * 20_000
    kinds = {
        "forged, of a live task": (true, signed(true)),
        "doubled": (true, signed(true)),
        "out of order": (early, signed(early)),
        "of a stranger's task": (stranger, signed(stranger)),
        "replayed, too late": (true, signed(true, ago=3_600)),
        "wrong signature": (true, signed(true, OTHER)),
        "no signature": (true, {}),
        "nonsense": (b"{" + true, signed(b"{" + true)),
        "deep JSON": (deep, signed(deep)),
        "10 MB": (LARGE, {"content-length": str(len(LARGE))}),
        "10 MB, length not told": (LARGE, {}),
    }
    return {
        name: (LARGE_PIECES if body is LARGE else pieces(body), headers)
        for name, (body, headers) in kinds.items()
    }


def pieces(body: bytes) -> list[dict[str, Any]]:
    return [
        {
            "type": "http.request",
            "body": body[start : start + PIECE],
            "more_body": start + PIECE < len(body),
        }
        for start in range(0, len(body), PIECE)
    ]


LARGE = b" " * 10_000_000
LARGE_PIECES = pieces(LARGE)


async def called(
    app: Any, path: str, messages: list[dict[str, Any]], headers: dict[str, str]
) -> tuple[float, int]:
    """Seconds of CPU until the answer, and its status.

    Nothing is waited for, so on an idle machine that is how long it takes; others' work does
    not count.
    """
    told: list[dict[str, Any]] = []
    coming = iter(messages)

    async def receive() -> dict[str, Any]:
        return next(coming)

    async def send(message: dict[str, Any]) -> None:
        told.append(message)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    start = time.thread_time()
    await app(scope, receive, send)
    return time.thread_time() - start, told[0]["status"]


async def nothing(request: Request) -> Response:
    return Response()


async def answers() -> None:
    """(a) The app's answer over that of an empty route, in one run, by turns."""
    empty = Starlette(routes=[Route("/empty", nothing, methods=["POST"])])
    emulator = Emulator(duration=100_000)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        task = await kling.submit(BOAT)
        app = callback_app(kling, secrets=[SECRET], path_token=PATH[1:])
        kinds = hostile(task.id)
        took: dict[str, list[float]] = {name: [] for name in kinds}
        route: list[float] = []
        statuses: dict[str, int] = {}
        gc.collect()
        for number in range(CALLS):
            name = list(kinds)[number % len(kinds)]
            seconds, statuses[name] = await called(app, PATH, *kinds[name])
            took[name].append(seconds)
            seconds, _ = await called(empty, "/empty", [], {})
            route.append(seconds)
            if number % 10 == 0:
                await anyio.lowlevel.checkpoint()
    together = [seconds for each in took.values() for seconds in each]
    base = _p(route, 99)
    print(f"(a) {CALLS:,} and as many of the route       us: p50      p99   p99 over the route's")
    print(f"{'empty Starlette route':34}  200 {_p(route, 50):8.0f} {base:8.0f}")
    for name, each in (*took.items(), ("all of them", together)):
        p50, p99 = _p(each, 50), _p(each, 99)
        print(f"{name:34}  {statuses.get(name, '   ')} {p50:8.0f} {p99:8.0f} {p99 / base:8.2f}")


def _p(seconds: list[float], percent: int) -> float:
    return quantiles(seconds, n=100)[percent - 1] * 1e6


async def storm() -> None:
    """(b) Ten thousand hostile callbacks within a minute, about tasks that run."""
    random = Random(7)
    emulator = Emulator(duration=100_000)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        kling.callback_url = "https://app.example" + PATH
        tasks: list[Task[Any]] = [await kling.submit(BOAT) for _ in range(LIVE)]
        app = callback_app(kling, secrets=[SECRET], path_token=PATH[1:])
        emulator.requests.clear()
        asked = 0
        tracemalloc.start()
        held = []
        for number in range(CALLS):
            kinds = list(hostile(random.choice(tasks).id).values())
            await called(app, PATH, *random.choice(kinds))
            if number % 100 == 99:
                await anyio.sleep(0.6)
                asked += len(emulator.requests)
                emulator.requests.clear()
            if number in (CALLS // 2, CALLS - 1):
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
        tracemalloc.stop()
        ended = sum(task.state.status.is_terminal for task in tasks)
    print(
        f"(b) {CALLS:,} calls in 60 s about {LIVE} tasks: {asked} questions"
        f" ({asked / LIVE:.1f} a task; one each 5 s would be 12), {ended} ended,"
        f" {held[1] - held[0]:+,} bytes from the middle to the end"
    )


class Wire(httpx.AsyncBaseTransport):
    """From the emulator to the app, if it is not cut."""

    def __init__(self, *, cut: bool) -> None:
        self.cut = cut
        self.app: httpx.AsyncBaseTransport | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.cut or self.app is None:
            raise httpx.ConnectError("cut")
        return await self.app.handle_async_request(request)


def fleet() -> None:
    """(c) Requests a finished task, after its create, and how late its end is noticed."""
    print(f"(c) {FLEET:,} tasks at once            requests a task   mean lag s    p99")
    for make in (KlingAI, CometAPI):
        for name, url, cut in (
            ("with callbacks", "https://app.example" + PATH, False),
            ("every callback lost", "https://app.example" + PATH, True),
            ("without", None, False),
        ):
            lives = partial(_fleet, make(KEY), url, cut)
            requests, lag = anyio.run(lives, backend_options=virtual_time.asyncio_options())
            row = f"{requests:15.2f} {sum(lag) / len(lag):12.1f} {quantiles(lag, n=100)[98]:6.1f}"
            print(f"{make.__name__ + ', ' + name:34} {row}")


async def _fleet(provider: Any, url: str | None, cut: bool) -> tuple[float, list[float]]:
    wire, lag = Wire(cut=cut), list[float]()
    async with (
        Emulator(seed=3, callback_transport=wire) as emulator,
        Kling(provider, transport=emulator.transport(), max_at_once=FLEET) as kling,
    ):
        kling.callback_url = url
        wire.app = httpx.ASGITransport(callback_app(kling, path_token=PATH[1:]))

        async def run() -> None:
            task = await kling.submit(BOAT)
            await task
            assert task.state.updated_at is not None
            now = emulator.clock.unix(anyio.current_time())
            lag.append(max(0.0, now - task.state.updated_at))

        async with anyio.create_task_group() as group:
            for _ in range(FLEET):
                group.start_soon(run)
        return (len(emulator.requests) - FLEET) / FLEET, lag


PARTS: dict[str, Callable[[], object]] = {
    "answers": lambda: anyio.run(answers),
    "storm": lambda: anyio.run(storm, backend_options=virtual_time.asyncio_options()),
    "fleet": fleet,
}


def main() -> None:
    for name in sys.argv[1:] or PARTS:
        PARTS[name]()


if __name__ == "__main__":
    main()
