"""Many machines: a worker killed at 300 of 1,000, what the engine costs, and 1,000 that wait.

Run: python benchmarks/many_machines.py [kill cost waiting]

Workers are processes of their own, on a PostgreSQL that is thrown away; the emulator bills and
counts in this one. It accepts a second task of the same id, and bills it. CPU is what the system
counts for the workers' processes.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx

sys.path.insert(0, str(Path(__file__).parent.parent))

from kling_async.emulator import Emulator
from tests.fleet import Fleet, Worker, fleet, seconds, until
from tests.postgres import newest, running

TASKS = 1_000
LIMIT = 50
KILL_AT = 300
COSTED = 500
WAITING = 1_000
WATCHED = 20.0
BEAT = 1.0
TOKEN = "a-path-that-nobody-can-guess"


def cpu(process: int) -> float:
    """Seconds of CPU time that a process has taken."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def stage(emulator: Emulator) -> AsyncGenerator[Fleet]:
    """A fleet with a database of its own."""
    programs = newest()
    assert programs is not None, "no PostgreSQL here: scripts/install-postgres"
    with tempfile.TemporaryDirectory() as folder, running(programs) as postgres:
        async with fleet(postgres.new(), Path(folder), emulator) as ships:
            yield ships


async def worker(ships: Fleet, **options: Any) -> Worker:
    """One with the intervals of use, not those of the tests."""
    speed = {"beat": BEAT, "silence": 10.0, **options.pop("fleet", {})}
    return await ships.worker(fleet=speed, total=10.0, intent_lasts=30.0, log="WARNING", **options)


async def undisturbed(folder: Path, tasks: int) -> float:
    """Seconds that one process takes without an engine, from its start."""
    emulator = Emulator(duration=seconds(4, 6), seed=7)
    async with emulator.serve() as origin:
        began = time.perf_counter()
        code = (
            "import anyio, tests.fleet_program as program\n"
            f"anyio.run(program.alone, {origin!r}, {str(folder)!r}, {tasks}, {LIMIT})"
        )
        root = Path(__file__).parent.parent
        await anyio.run_process([sys.executable, "-c", code], cwd=root, stderr=None)
        return time.perf_counter() - began


async def kill() -> None:
    with tempfile.TemporaryDirectory() as folder:
        alone = await undisturbed(Path(folder), TASKS)
    print(f"{TASKS} tasks of 4 to 6 s, at most {LIMIT} in progress")
    print(f"one process, no engine, undisturbed       {alone:7.1f} s")
    emulator = Emulator(duration=seconds(4, 6), seed=7, strict_ids=False)
    async with stage(emulator) as ships:
        await ships.submit(TASKS)
        began = time.perf_counter()
        first, second = await worker(ships, limit=LIMIT), await worker(ships, limit=LIMIT)
        await ships.done(KILL_AT)
        await first.kill()
        killed = time.perf_counter()
        orphans = await ships.begun(first)
        while not orphans & await ships.begun(second):  # noqa: ASYNC110  # nobody tells
            await anyio.sleep(0.05)
        touched = time.perf_counter() - killed
        await ships.done(TASKS)
        took = time.perf_counter() - began
        whole = sum(path.stat().st_size > 1000 for path in ships.files())
        times = took / alone
        print(f"two workers, one killed at {KILL_AT} done        {took:7.1f} s, {times:.2f} times")
        print(f"files complete {whole}, paid for {ships.paid}, twice {len(ships.paid_twice)},")
        print(
            f"most in progress {ships.peak}, orphans {len(orphans)}, first touched {touched:.1f} s"
        )
        print(f"after the kill; the survivor took {cpu(second.process.pid):.1f} s of CPU\n")


async def cost() -> None:
    """CPU time a task, with the engine and without; tasks take no time, so all of it is work."""
    with tempfile.TemporaryDirectory() as folder:
        emulator = Emulator(duration=0.05, seed=7)
        async with emulator.serve() as origin:
            before = os.times()
            code = (
                "import anyio, tests.fleet_program as program\n"
                f"anyio.run(program.alone, {origin!r}, {folder!r}, {COSTED}, {LIMIT})"
            )
            root = Path(__file__).parent.parent
            await anyio.run_process([sys.executable, "-c", code], cwd=root, stderr=None)
            after = os.times()
    floor = after.children_user + after.children_system
    floor -= before.children_user + before.children_system
    async with stage(Emulator(duration=0.05, seed=7)) as ships:
        ship = await worker(ships, limit=LIMIT)
        started = cpu(ship.process.pid)
        await ships.submit(COSTED)
        await ships.done(COSTED)
        engine = cpu(ship.process.pid) - started
    a, b = floor / COSTED * 1000, engine / COSTED * 1000
    print(f"{COSTED} tasks that take no time          CPU ms a task")
    print(f"one process, no engine, its start too  {a:7.1f}")
    print(f"a worker of the fleet                  {b:7.1f}")
    print(f"the engine                             {b - a:7.1f}\n")


class Post(httpx.AsyncBaseTransport):
    """Brings callbacks to the desk."""

    app: Any = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        content = await request.aread()
        fresh = httpx.Request("POST", request.url, headers=request.headers, content=content)
        return await httpx.ASGITransport(self.app).handle_async_request(fresh)


async def waiting() -> None:
    """What a worker takes while its tasks are waited for by callbacks, and how they end."""
    post = Post()
    emulator = Emulator(duration=3600.0, seed=7, callback_transport=post)
    async with stage(emulator) as ships:
        post.app = ships.desk.callback_app(path_token=TOKEN)
        called = {"callback_url": f"https://desk.example/{TOKEN}"}
        ship = await worker(ships, limit=None, fleet=called)
        await ships.submit(WAITING)
        await until(lambda: len(emulator.tasks) == WAITING)
        await anyio.sleep(5)  # what its start has left
        began, before = time.perf_counter(), cpu(ship.process.pid)
        await anyio.sleep(WATCHED)
        share = (cpu(ship.process.pid) - before) / (time.perf_counter() - began)
        print(f"{WAITING} tasks that wait for callbacks: {100 * share:.1f} % of a core")
        ended = time.perf_counter()
        for task_id in list(emulator.tasks):
            emulator.tasks[task_id].succeed()
        await ships.done(WAITING)
        print(f"all of them ended at once: saved {time.perf_counter() - ended:.1f} s later\n")


async def run(parts: list[str]) -> None:
    for part in parts:
        await {"kill": kill, "cost": cost, "waiting": waiting}[part]()


def main() -> None:
    """Run the parts that are named, or all."""
    anyio.run(run, sys.argv[1:] or ["kill", "cost", "waiting"])


if __name__ == "__main__":
    main()
