"""A download that asyncio cancels, as by Ctrl-C or `asyncio.timeout`, can be gone on with."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import pytest

from kling_async import _part
from tests.film_host import RESULT, FilmHost, film

pytestmark = pytest.mark.real_time  # threads take part, and asyncio's own cancelling


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


async def cancelled_at(host: FilmHost, target: Path, moment: asyncio.Event) -> None:
    async with host.client() as kling:
        leaving = asyncio.create_task(kling.download(RESULT, target))
        await moment.wait()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving


def telling(moment: asyncio.Event, slowed: Callable[..., Any]) -> Callable[..., Any]:
    """Say that it has begun, and take so long that it is cancelled meanwhile."""
    loop = asyncio.get_running_loop()

    def call(*args: Any) -> Any:
        loop.call_soon_threadsafe(moment.set)
        time.sleep(0.1)  # in a worker thread
        return slowed(*args)

    return call


async def test_piece_that_is_being_written_is_there_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    host, target, moment = FilmHost(film(6_000_000)), tmp_path / "boat.mp4", asyncio.Event()
    plain, slow = _part._write, telling(moment, _part._write)

    def write(file: IO[bytes], data: bytes) -> None:
        (slow if len(data) > 100_000 else plain)(file, data)

    with monkeypatch.context() as patch:
        patch.setattr(_part, "_write", write)
        await cancelled_at(host, target, moment)
    async with host.client() as kling:
        await kling.download(RESULT, target)

    assert target.read_bytes() == host.content


@pytest.mark.parametrize(("owner", "function"), [(os, "fsync"), (_part, "_sync_folder")])
async def test_whole_file_is_not_fetched_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, owner: Any, function: str
) -> None:
    host, target, moment = FilmHost(film(300_000)), tmp_path / "boat.mp4", asyncio.Event()
    with monkeypatch.context() as patch:
        patch.setattr(owner, function, telling(moment, getattr(owner, function)))
        await cancelled_at(host, target, moment)
    async with host.client() as kling:
        await kling.download(RESULT, target)

    assert target.read_bytes() == host.content
    assert len(host.requests) == 1
