"""Fleet: workers in processes of their own, a server that bills, and what came of it all."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from random import Random
from typing import Any

import anyio
import anyio.abc
import psycopg

from kling_async import KlingError, Text2Video
from kling_async.emulator import Emulator
from kling_async.engines.dbos import Job, KlingDBOS

ROOT = Path(__file__).parent.parent
FAST = {"beat": 0.1, "silence": 2.0}


async def until(happens: Callable[[], bool]) -> None:
    """Wait for something that other processes bring about."""
    while True:
        if happens():
            return
        await anyio.sleep(0.02)


class Worker:
    """One process."""

    def __init__(self, process: anyio.abc.Process, log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def said(self) -> str:
        return self._log.read_text(encoding="utf-8")

    async def has_said(self, words: str) -> None:
        await until(lambda: words in self.said or self.process.returncode is not None)
        assert words in self.said, self.said

    @property
    def is_alive(self) -> bool:
        return self.process.returncode is None

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def leave(self) -> None:
        self.process.terminate()
        assert await self.process.wait() == 0, self.said


class Fleet:
    """What a test has of a fleet: `desk` submits and waits, the workers work."""

    def __init__(self, url: str, emulator: Emulator, origin: str, folder: Path) -> None:
        self.url = url
        self.emulator = emulator
        self.folder = folder
        self.desk = KlingDBOS(url, beat=0.1)
        self.workers: list[Worker] = []
        self.origin = origin
        self.cut = 0

    async def worker(self, *, limit: int | None = 20, **options: Any) -> Worker:
        """One more, which is up when this returns."""
        fleet = {"concurrency": limit, **FAST, **options.pop("fleet", {})}
        facts = {"url": self.url, "origin": self.origin, "fleet": fleet, **options}
        log = self.folder / f"worker-{len(self.workers)}.log"
        with log.open("w") as out:
            process = await anyio.open_process(
                [sys.executable, "-m", "tests.fleet_program", json.dumps(facts)],
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=ROOT,
            )
        worker = Worker(process, log)
        self.workers.append(worker)
        await worker.has_said("ready")
        return worker

    async def submit(self, count: int, **more: Any) -> list[Job]:
        """So many jobs, saved by their numbers."""
        jobs: list[Job] = []
        for number in range(count):
            target = self.folder / f"{number}.mp4"
            request = Text2Video(prompt=f"Boat {number}")
            jobs.append(await self.desk.submit(request, key=f"boat-{number}", to=target, **more))
        return jobs

    async def done(self, count: int) -> None:
        """Wait until so many files are there."""
        await until(lambda: len(self.files()) >= count)

    async def ended(self, number: int) -> Exception | None:
        """What a job has ended with."""
        try:
            await self.desk.job(f"boat-{number}").result()
        except KlingError as error:
            return error
        return None

    @property
    def said(self) -> str:
        """All that the workers have logged."""
        return "".join(worker.said for worker in self.workers)

    def files(self) -> list[Path]:
        return sorted(self.folder.glob("*.mp4"))

    async def journaled(self, count: int, step: str) -> None:
        """Wait until so many jobs have taken a step."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            while True:
                rows = await connection.execute(
                    "SELECT count(DISTINCT workflow_uuid) FROM dbos.operation_outputs"
                    " WHERE function_name = %s",
                    (step,),
                )
                if await rows.fetchone() == (count,):
                    return
                await anyio.sleep(0.02)

    async def begun(self, worker: Worker) -> set[str]:
        """The jobs whose task a worker has, or has had when it died."""
        async with await psycopg.AsyncConnection.connect(self.url) as connection:
            rows = await connection.execute(
                "SELECT workflow_uuid FROM dbos.workflow_status"
                " WHERE status = 'PENDING' AND name = 'kling_async.task' AND executor_id LIKE %s",
                (f"%-{worker.process.pid}-%",),
            )
            return {row[0] for row in await rows.fetchall()}

    async def done_while_cut_off(self, count: int, chance: Random) -> None:
        """Until so many files are there, break half of all connections at a time."""
        async with await psycopg.AsyncConnection.connect(self.url, autocommit=True) as connection:
            while len(self.files()) < count:
                rows = await connection.execute(
                    "SELECT pid FROM pg_stat_activity WHERE datname = current_database()"
                    " AND pid <> pg_backend_pid()"
                )
                found = [row[0] for row in await rows.fetchall()]
                for pid in chance.sample(found, len(found) // 2):
                    await connection.execute("SELECT pg_terminate_backend(%s)", (pid,))
                    self.cut += 1
                await anyio.sleep(chance.uniform(0.01, 0.1))

    @property
    def paid(self) -> int:
        return len(self.emulator.ledger)

    @property
    def paid_twice(self) -> dict[str, int]:
        return self.emulator.ledger.billed_twice

    @property
    def peak(self) -> int:
        """The most tasks that were in progress at once."""
        tasks = [self.emulator.tasks[task_id] for task_id in self.emulator.tasks]
        changes = [(task.created, 1) for task in tasks]
        changes += [(task.created + task.duration, -1) for task in tasks]
        running = most = 0
        for _, change in sorted(changes):
            running += change
            most = max(most, running)
        return most


def seconds(low: float, high: float) -> Any:
    """How long tasks take, by chance."""

    def duration(chance: Random, _: object) -> float:
        return chance.uniform(low, high)

    return duration


@asynccontextmanager
async def fleet(url: str, folder: Path, emulator: Emulator) -> AsyncGenerator[Fleet]:
    """A fleet without workers as yet; those that live at the end leave in peace."""
    async with emulator.serve() as origin:
        shown = Fleet(url, emulator, origin, folder)
        try:
            async with shown.desk.open():
                yield shown
                for worker in shown.workers:
                    if worker.is_alive:
                        await worker.leave()
        finally:
            for worker in shown.workers:
                if worker.is_alive:
                    with anyio.CancelScope(shield=True):
                        await worker.kill()
