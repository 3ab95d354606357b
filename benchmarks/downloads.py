"""(g) Downloads of 20 MB, 8 at once: against curl, and when connections break every 3 MB.

Run: python benchmarks/downloads.py [curl] [FIN] [RST]

The file host is a process of its own, on a port. Against curl nothing breaks, and both are timed
in processes of their own. Otherwise it cuts by FIN, after which everything sent has arrived, or by
RST, which throws away what is still in the buffers on the way: what is then fetched twice?
"""

from __future__ import annotations

import hashlib
import json
import resource
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from functools import lru_cache
from math import inf
from pathlib import Path
from random import Random
from statistics import median
from threading import Thread

import anyio
from anyio import to_thread

sys.path.insert(0, str(Path(__file__).parent.parent))

from kling_async import Downloads, Kling, KlingAI, Video, VideoResult
from tests.film_server import FilmServer

FILES, SIZE, BREAK, AT_ONCE = 200, 20_000_000, 3_000_000, 8
WHOLE, ROUNDS, PIECE = 40, 5, 262_144
LINES = {"a line of 1 Gbit/s": 125e6, "no line, loopback": inf}
"""Bytes a second, of all connections together."""
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
    command = [sys.executable, __file__, "serve", how]
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


def serve_whole(folder: Path, pace: float) -> None:
    """Tell the port, and send the same file to whoever asks, so many bytes a second each."""
    path = folder / "film.mp4"
    path.write_bytes(film(0))
    listener = socket.create_server(("127.0.0.1", 0), backlog=100)
    print(listener.getsockname()[1], flush=True)
    while True:
        link, _ = listener.accept()
        Thread(target=send_whole, args=(link, path, pace), daemon=True).start()


def send_whole(link: socket.socket, path: Path, pace: float) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: video/mp4\r\nContent-Length: {SIZE}\r\n\r\n"
    with link, path.open("rb") as file:
        while link.recv(65536):
            link.sendall(head.encode())
            began = time.monotonic()
            for at in range(0, SIZE, PIECE):
                time.sleep(max(0.0, began + at / pace - time.monotonic()))
                link.sendfile(file, at, PIECE)


async def save_whole(origin: str, folder: Path) -> None:
    """Print the seconds that it took, and the seconds of CPU."""
    downloads = Downloads(at_once=AT_ONCE, http=True, private=True)
    async with Kling(KlingAI("a-key-of-mine"), downloads=downloads) as kling:
        began, cpu = time.perf_counter(), time.process_time()
        async with anyio.create_task_group() as group:
            for number in range(WHOLE):
                video = Video(url=f"{origin}/{number}.mp4")
                result = VideoResult(task_id=str(number), videos=(video,))
                group.start_soon(kling.download, result, folder)
        print(json.dumps([time.perf_counter() - began, time.process_time() - cpu]))


def ours(origin: str, folder: Path) -> tuple[float, float]:
    command = [sys.executable, __file__, "save", origin, str(folder)]
    seconds, cpu = json.loads(subprocess.run(command, check=True, stdout=-1).stdout)
    return seconds, cpu


def curl(origin: str, folder: Path) -> tuple[float, float]:
    command = [
        "curl",
        "--silent",
        "--no-progress-meter",
        "--parallel",
        "--parallel-immediate",
        "--parallel-max",
    ]
    command += [str(AT_ONCE), f"{origin}/[0-{WHOLE - 1}].mp4"]
    command += ["--output", f"{folder}/#1.mp4"]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, check=True)
    seconds, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return seconds, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def against_curl(line: str, pace: float) -> None:
    command = [sys.executable, __file__, "whole", str(pace)]
    contenders = {"curl": curl, "kling_async": ours}
    runs: dict[str, list[tuple[float, float]]] = {name: [] for name in contenders}
    with (
        tempfile.TemporaryDirectory() as name,
        subprocess.Popen([*command, name], stdout=-1, text=True) as server,
    ):
        assert server.stdout is not None
        origin = f"http://127.0.0.1:{int(server.stdout.readline())}"
        try:
            for number in range(ROUNDS):
                for contender, run in contenders.items():
                    folder = Path(name) / f"{contender}-{number}"
                    folder.mkdir()
                    runs[contender].append(run(origin, folder))
                    shutil.rmtree(folder)
        finally:
            server.terminate()
    print(f"{line:<24}{'MB/s':>8}{'of curl':>10}{'CPU ms a file':>16}")
    speeds = {
        name: WHOLE * SIZE / 1e6 / median(seconds for seconds, _ in each)
        for name, each in runs.items()
    }
    for name, each in runs.items():
        cost = median(cpu for _, cpu in each) / WHOLE * 1000
        print(f"{name:<24}{speeds[name]:>8.0f}{speeds[name] / speeds['curl']:>10.2f}{cost:>16.0f}")


def main() -> None:
    for how in sys.argv[1:] or ("curl", "FIN", "RST"):
        if how == "curl":
            print(f"{WHOLE} files of 20 MB, {AT_ONCE} at once, medians of {ROUNDS} rounds by turns")
            for line, pace in LINES.items():
                against_curl(line, pace / AT_ONCE)
        else:
            measure(how)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", how]:
            anyio.run(serve, how == "RST")
        case ["whole", pace, name]:
            serve_whole(Path(name), float(pace))
        case ["save", origin, name]:
            anyio.run(save_whole, origin, Path(name))
        case _:
            main()
