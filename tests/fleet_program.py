"""A worker of a fleet, to be killed: ``python -m tests.fleet_program '{"url": ...}'``."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from typing import Any

import anyio
from dbos._sys_db_postgres import PostgresSystemDatabase

import kling_async._steps as steps
import kling_async._submit as submit
import kling_async.engines._recovery as recovery
from kling_async import Downloads, Kling, KlingAI, Polling, Text2Video, Timeouts
from kling_async._intent import Intent
from kling_async.engines.dbos import KlingDBOS


def client(origin: str, total: float = 10.0) -> Kling:
    """A client that asks often, as tasks take seconds here."""
    return Kling(
        KlingAI("a-secret-key-0123456789", base_url=f"{origin}/official"),
        downloads=Downloads(http=True, private=True),
        polling=Polling(interval=0.3, max_interval=1.0, sweep_interval=0.3, guards=(), jitter=0.0),
        timeouts=Timeouts(total=total),
    )


async def alone(origin: str, folder: str, count: int, limit: int) -> None:
    """The same work without an engine: what a fleet is compared with."""
    requests = (Text2Video(prompt=f"Boat {number}") for number in range(count))
    async with client(origin) as kling:
        async with anyio.create_task_group() as group:
            async for outcome in kling.map(requests, max_at_once=limit):
                target = f"{folder}/{outcome.index}.mp4"
                group.start_soon(kling.download, outcome.unwrap(), target)


def _deafen(queue: str) -> None:
    """Lose the answer to the first commit that takes jobs from a queue."""
    take, heard = PostgresSystemDatabase.start_queued_workflows, set[str]()

    def start_queued_workflows(self: Any, taken: Any, *more: Any, **options: Any) -> Any:
        workflow_ids, reason = take(self, taken, *more, **options)
        if workflow_ids and taken.name.endswith(queue) and queue not in heard:
            heard.add(queue)
            raise ConnectionError(f"{len(workflow_ids)} were taken, and nobody heard of it")
        return workflow_ids, reason

    PostgresSystemDatabase.start_queued_workflows = start_queued_workflows  # type: ignore[method-assign,assignment]  # as it may happen


async def main(options: dict[str, Any]) -> None:
    logging.basicConfig(level=options.get("log", "INFO"))
    steps.INTENT_LASTS = options.get("intent_lasts", 2.0)
    if options.get("without_look_ups"):
        submit.Rules.asks = property(lambda rules: False)  # type: ignore[method-assign,assignment]  # it breaks what it tests
        steps._taken = lambda intent, kling: Intent()

    recovery._SWEEP = options.get("sweep", recovery._SWEEP)
    if options.get("does_not_hear"):
        _deafen(options["does_not_hear"])

    def made() -> Kling:
        return client(options["origin"], options.get("total", 3.0))

    real = Kling.submit

    async def submit_or_not(self: Kling, request: Any, **more: Any) -> Any:
        if request.prompt == options.get("dies_of"):
            os.kill(os.getpid(), signal.SIGKILL)
        if request.prompt == options.get("hangs_at"):
            time.sleep(8)  # noqa: ASYNC251  # that is the point
        return await real(self, request, **more)

    Kling.submit = submit_or_not  # type: ignore[method-assign]  # one that may die

    fleet = KlingDBOS(options["url"], client=made, **options.get("fleet", {}))
    with anyio.open_signal_receiver(signal.SIGTERM) as signals:
        async with fleet.worker():
            sys.stdout.write("ready\n")
            sys.stdout.flush()
            async for _ in signals:
                break


if __name__ == "__main__":
    anyio.run(main, json.loads(sys.argv[1]))
