"""(i) Time and memory of `map` over requests from a generator.

Run: python benchmarks/endless.py [requests]

Virtual time, and a server that answers at once, in the same process. The claim is about a million
of them, which take some minutes; without a number it is a tenth of that.
"""

from __future__ import annotations

import gc
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import anyio
import httpx

sys.path.insert(0, str(Path(__file__).parent.parent))

from kling_async import CometAPI, Kling, Text2Video
from kling_async.testing import _virtual_time as virtual_time

KEY = "a-secret-key-0123456789"
REQUESTS, SAMPLES = 100_000, 10


def at_once() -> httpx.MockTransport:
    """A server whose tasks have ended when they are created."""
    ids = count()

    def answer(request: httpx.Request) -> httpx.Response:
        task = (
            b'{"code":0,"data":{"task_id":"%d","task_status":"succeed","task_result":'
            b'{"videos":[{"url":"https://files.test/0"}]}}}' % next(ids)
        )
        return httpx.Response(200, content=task)

    return httpx.MockTransport(answer)


def requests(number: int) -> Iterator[Text2Video]:
    return (Text2Video(prompt=f"Boat {index}") for index in range(number))


async def endless(number: int) -> None:
    started, done, seen = time.perf_counter(), 0, list[tuple[int, int]]()
    async with Kling(CometAPI(KEY), transport=at_once(), max_at_once=100) as kling:
        async for _ in kling.map(requests(number), max_at_once=100):
            done += 1
            if done % (number // SAMPLES) == 0:
                gc.collect()
                seen.append((done, resident()))
                print(f"    {done:>9,} {seen[-1][1] / 1024:,.1f} MB", flush=True)
    (first, low), (last, high) = seen[0], seen[-1]
    slope = (high - low) * 1024 / (last - first)
    print(
        f"map over {number:,} requests: {high / 1024:.0f} MB, {slope:+.1f} bytes a request from"
        f" the first {first:,} on, so {slope * 1_000_000 / 2**20:+.0f} MB over a million;"
        f" {time.perf_counter() - started:.0f} s"
    )


def resident() -> int:
    """Kilobytes in memory now."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def main() -> None:
    number = int(sys.argv[1]) if len(sys.argv) > 1 else REQUESTS
    anyio.run(endless, number, backend_options=virtual_time.asyncio_options())


if __name__ == "__main__":
    main()
