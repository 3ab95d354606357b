"""(c) Client CPU per request at 1 to 1,000 in flight: bare aiohttp, ours, httpx; and polls in full.

Run: python benchmarks/requests.py [number in flight...]

The server is a process of its own on loopback that answers at once, which is the worst case for a
pool; each measurement is a fresh client process that asks without a pause. A poll in full is all
that a task which is waited for costs at each question: schedule, send, decode, dispatch.
"""

from __future__ import annotations

import asyncio
import os
import resource
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from statistics import median
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.answering import answering

ROUNDS = 5
WARM_UP, SECONDS, FEWEST = 5.0, 1.0, 20
IN_FLIGHT = [1, 10, 100, 1000]
KEY = "a-key-as-long-as-a-token-is-" + "0123456789" * 12
PATH = "/v1/videos/text2video"
HEADERS = {"authorization": f"Bearer {KEY}", "accept-encoding": "gzip"}
BARE = "aiohttp, bare GET"

Counter = Callable[[], int]
Begin = Callable[[str, int], Awaitable[Counter]]


async def repeat(one: Callable[[int], Awaitable[object]], in_flight: int) -> Counter:
    """So many at a time, without end."""
    done = 0

    async def work(number: int) -> None:
        nonlocal done
        while True:
            await one(number)
            done += 1

    tasks = [asyncio.create_task(work(number)) for number in range(in_flight)]
    return lambda: done if tasks else 0


async def bare_aiohttp(origin: str, in_flight: int) -> Counter:
    import aiohttp

    session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=in_flight))

    async def one(number: int) -> None:
        async with session.get(f"{origin}{PATH}/{number}", headers=HEADERS) as answer:
            await answer.read()

    return await repeat(one, in_flight)


async def httpx_client(origin: str, in_flight: int) -> Counter:
    import httpx

    client = httpx.AsyncClient(timeout=60)

    async def one(number: int) -> None:
        await client.get(f"{origin}{PATH}/{number}", headers=HEADERS)

    return await repeat(one, in_flight)


def ours(transport: Literal["aiohttp"] | None) -> Begin:
    async def begin(origin: str, in_flight: int) -> Counter:
        from kling_async import Kling, KlingAI

        kling = Kling(KlingAI(KEY, base_url=origin), transport=transport, max_connections=in_flight)
        return await repeat(lambda number: kling.text2video.get(str(number)), in_flight)

    return begin


def polls(transport: Literal["aiohttp"] | None, connections: int | None = None) -> Begin:
    async def begin(origin: str, in_flight: int) -> Counter:
        from kling_async import Kling, KlingAI, Polling, TaskState

        class Counting(KlingAI):
            numbers = count(1)
            read = 0

            def read_task(self, reply: Any) -> TaskState:
                self.read = next(self.numbers)
                return super().read_task(reply)

        provider, at_once = Counting(KEY, base_url=origin), connections or in_flight
        kling = Kling(
            provider,
            transport=transport,
            max_connections=at_once,
            polling=Polling(interval=1e-6, sweeps=False, learn=False, max_polls_at_once=at_once),
        )
        tasks = [kling.task(f"klingai/text2video/{number}") for number in range(in_flight)]
        waits = [asyncio.ensure_future(task.result()) for task in tasks]
        return lambda: provider.read if waits else 0

    return begin


ROWS: dict[str, Begin] = {
    BARE: bare_aiohttp,
    "kling.get": ours(None),
    'kling.get, "aiohttp"': ours("aiohttp"),
    "httpx.AsyncClient": httpx_client,
    "poll in full": polls(None),
    'poll in full, "aiohttp"': polls("aiohttp"),
    "poll in full, 20 connections": polls(None, 20),
}


async def measure(name: str, in_flight: int, origin: str) -> None:
    """Print the microseconds of CPU that one request takes."""
    counted, began = await ROWS[name](origin, in_flight), time.perf_counter()

    def lasted(seconds: float) -> bool:
        return time.perf_counter() - began >= seconds

    # Every connection is open, and was used; httpx would take minutes to come to that.
    while counted() < 2 * in_flight and not lasted(WARM_UP):  # noqa: ASYNC110  # telling costs CPU
        await asyncio.sleep(0.1)
    before, spent, began = counted(), cpu(), time.perf_counter()
    while not lasted(SECONDS) or counted() - before < FEWEST:  # noqa: ASYNC110  # telling costs CPU
        await asyncio.sleep(0.1)
    print((cpu() - spent) / (counted() - before) * 1e6, flush=True)
    os._exit(0)  # with all of them under way


def cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    if sys.argv[1:2] == ["measure"]:
        raise_the_limit()
        asyncio.run(measure(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
    raise_the_limit()
    numbers = [int(each) for each in sys.argv[1:]] or IN_FLIGHT
    found: dict[tuple[str, int], list[float]] = {
        (name, in_flight): [] for name in ROWS for in_flight in numbers
    }
    with answering() as origin:
        for _ in range(ROUNDS):
            for (name, in_flight), times in found.items():
                command = [sys.executable, __file__, "measure", name, str(in_flight), origin]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                times.append(float(done.stdout))
    show({cell: median(times) for cell, times in found.items()}, numbers)


def raise_the_limit() -> None:
    """A thousand connections are more files than are allowed as a rule."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


def show(medians: dict[tuple[str, int], float], numbers: list[int]) -> None:
    print(f"median of {ROUNDS} processes: µs of CPU a request, and times bare aiohttp's")
    print(f"{'in flight':<29}" + "".join(f"{number:>10,}       " for number in numbers))
    for name in ROWS:
        cells = [
            (medians[name, each], medians[name, each] / medians[BARE, each]) for each in numbers
        ]
        print(f"{name:<29}" + "".join(f"{time:10.0f} {ratio:5.2f}×" for time, ratio in cells))
    if {10, 1000} <= set(numbers):
        for name in ROWS:
            print(f"{name}: {medians[name, 1000] / medians[name, 10]:.2f} at 1,000 to 1 at 10")


if __name__ == "__main__":
    main()
