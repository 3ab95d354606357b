"""What a fleet asks of its database: statements, log, disk, connections and CPU, for each job.

Run: python benchmarks/fleet_database.py

On a PostgreSQL that is thrown away, with workers in processes of their own. What workers do while
nothing happens is measured first, and taken off.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import anyio
import psycopg

sys.path.insert(0, str(Path(__file__).parent.parent))

from kling_async.emulator import Emulator
from tests.fleet import fleet, seconds
from tests.postgres import newest, running

JOBS = 300
WORKERS = 2
IDLE = 15.0
BEATS = (1.0, 5.0)
TICKS = os.sysconf("SC_CLK_TCK")
COUNTS = """
    SELECT xact_commit + xact_rollback, tup_inserted + tup_updated + tup_deleted,
        pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint
    FROM pg_stat_database WHERE datname = current_database()
    """
DISK = """
    SELECT sum(pg_total_relation_size(c.oid))::bigint FROM pg_class c
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = 'dbos' AND c.relkind = 'r'
    """
SESSIONS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    """


@dataclass
class Reading:
    """All counters at one moment."""

    at: float
    transactions: int
    rows: int
    log: int
    database_cpu: float
    worker_cpu: float


class Meter:
    """Reads them."""

    def __init__(self, url: str) -> None:
        self._connection = psycopg.connect(url, autocommit=True)
        backend = self._connection.info.backend_pid
        self._server = int(Path(f"/proc/{backend}/stat").read_text().rpartition(")")[2].split()[1])
        self.workers: list[int] = []

    def one(self, statement: str) -> tuple[int, ...]:
        row = self._connection.execute(statement.encode()).fetchone()
        assert row is not None
        return tuple(map(int, row))

    def reading(self) -> Reading:
        self.one("SELECT pg_stat_clear_snapshot() IS NULL, 1")
        transactions, rows, log = self.one(COUNTS)
        database = cpu(self._server, ended=True) + sum(map(cpu, children(self._server)))
        return Reading(
            time.perf_counter(), transactions, rows, log, database, sum(map(cpu, self.workers))
        )


def cpu(process: int, *, ended: bool = False) -> float:
    """Seconds of CPU that a process has used; those of its ended children where asked."""
    fields = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11 : 15 if ended else 13])) / TICKS


def children(process: int) -> list[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return [int(word) for word in path.read_text().split()]


async def measure(folder: Path, url: str, beat: float) -> None:
    emulator = Emulator(duration=seconds(1, 2))
    async with fleet(url, folder, emulator) as ships:
        meter = Meter(url)
        for _ in range(WORKERS):
            worker = await ships.worker(limit=50, fleet={"beat": beat, "silence": 20.0})
            meter.workers.append(worker.process.pid)
        before = meter.reading()
        await anyio.sleep(IDLE)
        idle = meter.reading()
        disk = meter.one(DISK)[0]
        await ships.submit(JOBS)
        most = 0
        with anyio.fail_after(300):
            while len(ships.files()) < JOBS:
                most = max(most, meter.one(SESSIONS)[0])
                await anyio.sleep(0.5)
        await anyio.sleep(1)  # the statistics come late
        end = meter.reading()
        took = end.at - idle.at
        print(f"{JOBS} jobs with a file each, {WORKERS} workers, beat {beat:g} s, in {took:.0f} s")
        print(f"{'':38}{'a worker, idle':>16}{'a job':>10}")
        for name, unit, scale in (
            ("transactions", "/s", 1.0),
            ("rows written", "/s", 1.0),
            ("log", "B/s", 1.0),
            ("database_cpu", "ms/s", 1000.0),
            ("worker_cpu", "ms/s", 1000.0),
        ):
            first, second, last = (getattr(each, name.removesuffix(" written")) for each in
                                   (before, idle, end))  # fmt: skip
            still = (second - first) / (idle.at - before.at)
            job = (last - second - still * (end.at - idle.at)) / JOBS
            label = f"{name.replace('_', ' ')}, {unit} and each"
            print(f"{label:38}{still / WORKERS * scale:>16.1f}{job * scale:>10.1f}")
        print(f"disk, bytes a job{meter.one(DISK)[0] / JOBS - disk / JOBS:>47.0f}")
        print(f"sessions, {WORKERS} workers and who submits{most:>36}")


def main() -> None:
    programs = newest()
    assert programs is not None, "no PostgreSQL here: scripts/install-postgres"
    with running(programs) as postgres:
        for beat in BEATS:
            with tempfile.TemporaryDirectory() as folder:
                anyio.run(measure, Path(folder), postgres.new(), beat)


if __name__ == "__main__":
    main()
