"""Executor: the DBOS of this process, its own or that of an app it is a guest in."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import AsyncGenerator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass
from uuid import uuid4

import anyio
import anyio.to_thread
from dbos import DBOS, DBOSPortableJSONSerializer
from dbos import error as dbos_error

from kling_async._errors import ConfigurationError
from kling_async.engines._crew import dismiss
from kling_async.engines._names import Names

_LOG = logging.getLogger("kling_async")

_CONNECTIONS = 10


@dataclass(frozen=True, slots=True)
class Executor:
    """Who carries workflows out here."""

    id: str
    version: str


_running: list[str] = []


def started(version: str) -> Executor:
    """An id that no other process has, nor this one when it is started again."""
    return Executor(f"{socket.gethostname()}-{os.getpid()}-{uuid4().hex[:8]}", version)


@asynccontextmanager
async def launched(
    url: str, application: str, executor: Executor, names: Names
) -> AsyncGenerator[None]:
    """DBOS for this account alone, as long as the block lasts."""
    if _running:
        raise ConfigurationError(
            f"account {_running[0]!r} has a worker in this process, and DBOS is one a process",
            advice="Start a process for each, or run DBOS yourself and attach to it.",
        )
    _running.append(names.account)
    try:
        DBOS(
            config={
                "name": application,
                "system_database_url": url,
                "application_version": executor.version,
                "executor_id": executor.id,
                "serializer": DBOSPortableJSONSerializer(),
                "sys_db_pool_size": _CONNECTIONS,
                "log_level": logging.getLevelName(_LOG.getEffectiveLevel()),
            }
        )
        if DBOS.executor_id != executor.id:  # it is made already, and is whoever's it was
            raise ConfigurationError(
                "this process has a DBOS already", advice="KlingDBOS(..., attach=True) joins it."
            )
        try:
            DBOS.listen_queues(names.queues)
            # Here and not in a thread: workflows run in the loop that it is called in.
            DBOS.launch()
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(DBOS.destroy)
                # It has made its own threads the loop's, and they are gone.
                asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
                await dismiss()
    finally:
        _running.clear()


async def attached(names: Names) -> Executor:
    """The DBOS that an app has launched in this process."""
    try:
        await DBOS.retrieve_queue_async(names.tasks)
    except dbos_error.DBOSException as error:
        raise ConfigurationError(
            "DBOS is not launched", advice="Call DBOS.launch() before fleet.worker()."
        ) from error
    executor = str(DBOS.executor_id)
    if executor == "local":
        raise ConfigurationError(
            "DBOS has no executor_id of its own here, so that its work cannot be told from others'",
            advice="DBOS(config={..., 'executor_id': uuid4().hex}): a new one at every start.",
        )
    return Executor(executor, str(DBOS.application_version))
