"""A batch in a process of its own, which the tests stop in every way.

Run: python -m tests.batch_program '{"origin": "http://127.0.0.1:8000", "folder": "/tmp/boats"}'

Without an argument it reads such lines from standard input and forks a process for each, one
after the other: that saves the second that the imports take.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import anyio

from kling_async import (
    BatchOutcome,
    Gateway,
    Hook,
    Kling,
    KlingAI,
    Polling,
    Provider,
    SubmissionUnknown,
    Task,
    Text2Video,
    Timeouts,
    VideoResult,
)
from kling_async._database import Database
from kling_async._pool import Pool

KEY = "one-key-one-account-0123456789"


@dataclass(frozen=True)
class Run:
    """What the program is told."""

    origin: str
    folder: str
    name: str = "Boat"
    """Of the batch: its prompts begin with it."""
    rows: int = 6
    dialect: str = "official"
    backend: str = "asyncio"
    at_once: int | None = None
    total: float = 1.0
    """The time-out of an exchange, so how long a lost create may still be on the wire."""
    interrupts: str | None = None
    """Press Ctrl-C, once, where this happens: an event's name, or "Source"."""
    dies: tuple[str, int] | None = None
    """Kill yourself at the so-manieth moment of this name; see `MOMENTS`."""


def request(name: str, number: int) -> Text2Video:
    return Text2Video(
        model_name="kling-v2-6",
        prompt=f"{name} {number}",
        mode="pro",
        duration=5,
        multi_shot=False,
    )


def client(run: Run, hook: Hook) -> Kling:
    provider: Provider
    if run.dialect == "official":
        provider = KlingAI(KEY, base_url=run.origin)
    else:
        provider = Gateway(f"{run.origin}/gateway/{run.dialect}", KEY)
    polling = Polling(interval=0.2, sweep_interval=0.2, learn=False, guards=())
    return Kling(provider, timeouts=Timeouts(total=run.total), polling=polling, hooks=[hook])


def tell(event: str, **facts: object) -> None:
    os.write(1, f"{json.dumps({'event': event, **facts})}\n".encode())  # in one piece


async def submitted(task: Task[VideoResult]) -> None:
    tell("submitted", id=task.id)


async def go(run: Run) -> None:
    to_interrupt = run.interrupts

    def happens(what: str) -> None:
        nonlocal to_interrupt
        if what == to_interrupt:
            to_interrupt = None
            signal.raise_signal(signal.SIGINT)

    def source() -> Iterator[Text2Video]:
        for number in range(run.rows):
            if number == run.rows // 2 and run.interrupts == "Source":
                raise KeyboardInterrupt
            yield request(run.name, number)

    async with client(run, lambda event: happens(type(event).__name__)) as kling:
        batch = kling.batch(
            f"{run.folder}/boats.db",
            source(),
            out=f"{run.folder}/videos",
            max_at_once=run.at_once,
            on_submitted=submitted,
        )
        async with batch:
            saved = batch.summary().saved
            tell("opened", saved=saved)
            async for outcome in batch:
                is_new, saved = batch.summary().saved > saved, batch.summary().saved
                _report(outcome, is_new)
            summary = asdict(batch.summary())
            tell("done", **{name: int(number) for name, number in summary.items()})


def _report(outcome: BatchOutcome[VideoResult], is_new: bool) -> None:
    error = outcome.error
    tell(
        "outcome" if is_new else "repeated",
        prompt=getattr(outcome.request, "prompt", None),
        files=list(map(str, outcome.files)),
        error=error and f"{type(error).__name__}: {error}",
        unknown=error.external_task_id if isinstance(error, SubmissionUnknown) else None,
    )


# Dying.


@dataclass(frozen=True)
class Moment:
    owner: Any
    function: str
    is_before: bool
    counts: Callable[..., bool] = lambda *_: True


MOMENTS = {
    "before commit": Moment(Database, "_commit", True),
    "after commit": Moment(Database, "_commit", False),
    "before rename": Moment(os, "replace", True),
    "after rename": Moment(os, "replace", False),
    "before create": Moment(
        Pool,
        "handle_async_request",
        True,
        lambda _, request: request.method == "POST",
    ),
}


def arm(moment: Moment, number: int) -> None:
    """Let the process die at the so-manieth call."""
    function, left = getattr(moment.owner, moment.function), number

    def call(*args: Any) -> Any:
        nonlocal left
        left -= moment.counts(*args)
        is_last = left == 0
        if is_last and moment.is_before:
            _die()
        result = function(*args)
        if is_last:
            _die()
        return result

    setattr(moment.owner, moment.function, call)


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def start(run: Run) -> None:
    if run.dies is not None:
        name, number = run.dies
        arm(MOMENTS[name], number)
    tell("started", pid=os.getpid())
    if run.backend == "asyncio":
        asyncio.run(go(run))
    else:
        anyio.run(go, run, backend=run.backend)


def start_each() -> None:
    for line in sys.stdin:
        child = os.fork()
        if not child:
            try:
                start(Run(**json.loads(line)))
            except BaseException:
                traceback.print_exc()
            os._exit(0)
        _, status = os.waitpid(child, 0)
        tell("ended", killed=os.WIFSIGNALED(status))


if __name__ == "__main__":
    # Where tests run in the background, it is ignored, and so it would be here.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if len(sys.argv) > 1:
        start(Run(**json.loads(sys.argv[1])))
    else:
        start_each()
