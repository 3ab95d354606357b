"""Lesson 4: many videos at once are an ordinary task group."""

from __future__ import annotations

import asyncio

import anyio
import pytest

from kling_async import Kling, Text2Video, VideoResult
from kling_async.emulator import Emulator

PROMPTS = [f"A paper boat, take {take}" for take in range(10)]


async def test_task_group_runs_them_side_by_side(kling: Kling) -> None:
    """Ten videos take as long as one, where the account allows ten."""
    videos: list[VideoResult] = []

    async def make(prompt: str) -> None:
        videos.append(await kling.text2video.run(prompt=prompt))

    async with anyio.create_task_group() as group:
        for prompt in PROMPTS:
            group.start_soon(make, prompt)

    assert len({video.url for video in videos}) == 10
    assert anyio.current_time() == pytest.approx(100, abs=5)


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_gather_works_too(kling: Kling) -> None:
    """Every `run` is a coroutine, so `asyncio.gather` takes them, and keeps their order."""
    videos = await asyncio.gather(*[kling.text2video.run(prompt=prompt) for prompt in PROMPTS])

    assert len(videos) == 10


async def test_submit_all_then_collect(kling: Kling) -> None:
    """Tasks live at Kling's: submit them one after the other, and collect when it suits you."""
    tasks = [await kling.text2video.submit(prompt=prompt) for prompt in PROMPTS]

    videos = [await task for task in tasks]

    assert [video.task_id for video in videos] == [task.id for task in tasks]


async def test_limiter_keeps_to_the_accounts_limit(kling: Kling, emulator: Emulator) -> None:
    """Kling counts tasks in progress, so hold the limiter until the result is there."""
    emulator.limits.parallel = 3
    limiter = anyio.CapacityLimiter(3)

    async def make(prompt: str) -> None:
        async with limiter:
            await kling.text2video.run(prompt=prompt)

    async with anyio.create_task_group() as group:
        for prompt in PROMPTS:
            group.start_soon(make, prompt)

    assert len([seen for seen in emulator.requests if seen.method == "POST"]) == 10


async def test_full_account_is_waited_out(kling: Kling, emulator: Emulator) -> None:
    """Without a limiter nothing breaks: a create that finds the account full tries again."""
    emulator.limits.parallel = 3

    async with anyio.create_task_group() as group:
        for prompt in PROMPTS:
            group.start_soon(kling.run, Text2Video(prompt=prompt))

    assert len(emulator.ledger) == 10
