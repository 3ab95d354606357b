"""Durable engines: the steps of a task, for any engine that journals them, with JSON in and out.

Whatever runs them, a task is paid for once: `submit_or_adopt` looks it up by its external id
before it pays, always, and never goes by what an engine says of retries.

Example:
    from kling_async import Kling
    from kling_async.engines import download, intend, pack, submit_or_adopt, unpack, wait

    parcel = pack(Text2Video(prompt="A paper boat"))  # JSON, as all that follows; journal each
    async with Kling() as kling:
        intent = await intend()
        token = await submit_or_adopt(kling, unpack(parcel), "order17-3", intent=intent)
        result = await wait(kling, token)
        files = await download(kling, result, "videos/", overwrite=True)

`kling_async.engines.dbos` does this on DBOS and PostgreSQL.
"""

from __future__ import annotations

from kling_async._callback import parse_callback
from kling_async._parcel import pack, unpack
from kling_async._steps import download, intend, settle, submit_or_adopt, wait

__all__ = [
    "download",
    "intend",
    "pack",
    "parse_callback",
    "settle",
    "submit_or_adopt",
    "unpack",
    "wait",
]
