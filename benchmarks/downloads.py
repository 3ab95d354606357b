"""(g) 200 downloads of 20 MB whose connections break every 3 MB: what is fetched twice, and memory.

Run: python benchmarks/downloads.py

The file host is a process of its own, on a port. It cuts by FIN, after which everything sent has
arrived, and by RST, which throws away what is still in the buffers on the way.
"""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from random import Random

import anyio
from anyio import to_thread

sys.path.insert(0, str(Path(__file__).parent.parent))

from kling_async import Downloads, Kling, KlingAI, Video, VideoResult
from tests.film_server import FilmServer

FILES, SIZE, BREAK, AT_ONCE = 200, 20_000_000, 3_000_000, 8
_BASE = Random(1).randbytes(SIZE)


@lru_cache(maxsize=2 * AT_ONCE)
def film(number: int) -> bytes:
    return b"".join(_parts(number))


def _parts(number: int) -> Iterator[memoryview]:
    turned, base = 12 + number * 97_001, memoryview(_BASE)
    yield memoryview(b"\0\0\0\x18ftypmp42")
    yield base[turned:]
    yield base[: turned - 12]


async def serve(reset: bool) -> None:
    """Tell the address, and at the end of the input what was asked for."""
    server = FilmServer(film, break_after=BREAK, reset=reset)
    async with anyio.create_task_group() as group:
        print(await group.start(server.serve), flush=True)
        await to_thread.run_sync(sys.stdin.read)
        group.cancel_scope.cancel()
    twice = sum(len(starts) - len(set(starts)) for starts in server.starts.values())
    back = sum(starts != sorted(starts) for starts in server.starts.values())
    lost = server.sent.total() - FILES * SIZE
    requests = sum(map(len, server.starts.values()))
    print(json.dumps([requests, twice + back, lost, server.authorized]))


async def save(origin: str, folder: Path) -> tuple[int, list[float]]:
    """How many files were right, and the highest memory after each tenth of them, in MB."""
    right, peaks, ended = 0, list[float](), 0
    downloads = Downloads(at_once=AT_ONCE, http=True, private=True)

    def check(path: Path, number: int) -> bool:
        expected = hashlib.sha256()
        for part in _parts(number):
            expected.update(part)
        with path.open("rb") as file:
            same = hashlib.file_digest(file, "sha256").digest() == expected.digest()
        path.unlink()
        return same

    async def one(number: int) -> None:
        nonlocal right, ended
        video = Video(url=f"{origin}/{number}.mp4")
        result = VideoResult(task_id=str(number), videos=(video,))
        (path,) = await kling.download(result, folder)
        same = await to_thread.run_sync(check, path, number)
        right += same
        ended += 1
        if ended % (FILES // 10) == 0:
            peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)

    kling = Kling(KlingAI("a-key-of-mine"), downloads=downloads)
    async with kling, anyio.create_task_group() as group:
        for number in range(FILES):
            group.start_soon(one, number)
    return right, peaks


def measure(how: str) -> None:
    command = [sys.executable, __file__, how]
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen(command, stdin=-1, stdout=-1, text=True) as server,
    ):
        assert server.stdin is not None
        assert server.stdout is not None
        origin = server.stdout.readline().strip()
        began, cpu = time.perf_counter(), time.process_time()
        right, peaks = anyio.run(save, origin, Path(name))
        seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
        left = len(list(Path(name).iterdir()))
        server.stdin.close()
        requests, again, lost, authorized = json.loads(server.stdout.readline())
    print(
        f"{how}: {right} of {FILES} files right, {requests} requests, {again} ranges asked for"
        f" twice, {lost / requests:,.0f} bytes a break lost on the way,\n"
        f"     {authorized} requests with a key, {left} files left behind,"
        f" {FILES * SIZE / seconds / 1e6:.0f} MB/s, {cpu:.0f} s CPU (with hashing),\n"
        f"     highest memory after each tenth: {', '.join(f'{peak:.0f}' for peak in peaks)} MB"
    )


def main() -> None:
    for how in ("FIN", "RST"):
        measure(how)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        anyio.run(serve, sys.argv[1] == "RST")
    else:
        main()
