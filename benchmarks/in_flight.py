"""Many tasks in flight: what waiting costs, in requests, in seconds and in bytes.

Run: python benchmarks/in_flight.py [faults memory work lag]

All but the real times is measured in virtual time. A server that answers at once stands in
where the cost of HTTP is to be left out.
"""

from __future__ import annotations

import gc
import sys
import time
import tracemalloc
from collections.abc import Awaitable, Callable
from pathlib import Path
from random import Random
from typing import Any, cast

import anyio

sys.path.insert(0, str(Path(__file__).parent.parent))

from kling_async import CometAPI, Kling, KlingAI, Polling, Task, Text2Video, VideoResult
from kling_async._config import Slotting
from kling_async._ending import Ending
from kling_async._events import Hooks
from kling_async._job import Job
from kling_async._poller import Poller
from kling_async._server import Server
from kling_async._slots import Slots
from kling_async._state import TaskState, TaskStatus
from kling_async._task import Waiting
from kling_async.emulator import Emulator
from kling_async.testing import _virtual_time as virtual_time

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A paper boat")
FAULTY = 1_000
WAITED = 100_000
FLEET, AT_ONCE = 4_000, 1_000


class InstantServer:
    """Every task runs on; the answer is there at once."""

    def __init__(self, provider: CometAPI | KlingAI) -> None:
        self.provider = provider
        self.asked = 0
        self.state = TaskState("7", TaskStatus.PROCESSING, updated_at=1.0)

    async def ask(self, path: str, task_id: str) -> TaskState:
        self.asked += 1
        return self.state


class Fleet:
    """A poller and many tasks that are waited for, as `as_completed` does."""

    def __init__(self, number: int) -> None:
        self.server = InstantServer(CometAPI(KEY))
        server, polling, random, hooks = cast("Server", self.server), Polling(), Random(0), Hooks()
        slots = Slots(None, Slotting(), random, hooks, lambda ticket: None)
        self.poller = Poller(server, polling, random, hooks, slots)
        waiting = Waiting(server, self.poller, polling, hooks)
        states = [TaskState(str(index), TaskStatus.PROCESSING) for index in range(number)]
        gc.collect()
        before, _ = tracemalloc.get_traced_memory()
        self.ended: Any = Ending(self.poller, (_task(waiting, slots, state) for state in states))
        self.bytes_at = before
        self.states = states

    async def wait(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await anext(self.ended)


def _task(waiting: Waiting, slots: Slots, state: TaskState) -> Task[VideoResult]:
    job = Job(state.id, Text2Video.path, BOAT.kind, born=anyio.current_time())
    ticket = slots.ticket("kling-v1")
    record = waiting.record(Text2Video, state, None, job, ticket)
    slots.adopt(ticket)
    return Task(record, waiting)


async def faults() -> None:
    """(a) All results arrive, though 30 % of the polls meet a fault."""
    for make in (KlingAI, CometAPI):
        emulator = Emulator(seed=3)
        async with Kling(make(KEY), transport=emulator.transport(), max_at_once=FAULTY) as kling:
            tasks = [await kling.submit(BOAT) for _ in range(FAULTY)]
            emulator.faults.chaos = 0.3
            results = [await task async for task in kling.as_completed(tasks)]
        kinds = len({fault for fault, _ in emulator.faults.struck})
        print(
            f"(a) {make.__name__}: {len(results):,} of {FAULTY:,} results,"
            f" {len(emulator.faults.struck):,} faults of {kinds} kinds,"
            f" {anyio.current_time():,.0f} s"
        )


async def memory() -> None:
    """(c) Bytes a waited task, over its state."""
    tracemalloc.start()
    fleet = Fleet(WAITED)
    await fleet.wait(60)
    gc.collect()
    now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    print(f"(c) {WAITED:,} waited tasks: {(now - fleet.bytes_at) / WAITED:,.0f} bytes each")


async def work() -> None:
    """(c) The loop's own work."""
    fleet = Fleet(WAITED)
    gc.collect()
    gc.freeze()
    await fleet.wait(20)
    asked, started, begun = fleet.server.asked, time.process_time(), anyio.current_time()
    await fleet.wait(30)
    seconds = time.process_time() - started
    asked = fleet.server.asked - asked
    span = anyio.current_time() - begun
    print(
        f"(c) {asked / span:,.0f} questions a second, {seconds / asked * 1e6:.1f} us each:"
        f" {seconds / span:.1%} of a core"
    )
    gc.unfreeze()


async def lag() -> None:
    """(d) Questions a finished task, and how late its end is noticed."""
    emulator, lags = Emulator(seed=1), list[float]()
    started = time.perf_counter()
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        async for outcome in kling.map((BOAT for _ in range(FLEET)), max_at_once=AT_ONCE):
            job = emulator.tasks[outcome.unwrap().task_id]
            lags.append(anyio.current_time() - job.created - job.duration)
    questions = sum(1 for seen in emulator.requests if seen.method == "GET")
    lags.sort()
    print(
        f"(d) {FLEET:,} tasks, {AT_ONCE:,} at once: {questions / FLEET:.2f} requests a task,"
        f" lag {sum(lags) / FLEET:.2f} s (p50 {lags[FLEET // 2]:.2f}, p95"
        f" {lags[FLEET * 95 // 100]:.2f}, most {lags[-1]:.1f});"
        f" {time.perf_counter() - started:.0f} s real"
    )


BENCHMARKS: dict[str, Callable[[], Awaitable[None]]] = {
    "faults": faults,
    "memory": memory,
    "work": work,
    "lag": lag,
}


def main() -> None:
    for name in sys.argv[1:] or BENCHMARKS:
        anyio.run(BENCHMARKS[name], backend_options=virtual_time.asyncio_options())


if __name__ == "__main__":
    main()
