"""An emulator in process, and HTTP clients that speak to it as each of its servers."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import pytest

from kling_async.emulator import Emulator

KEY = {"Authorization": "Bearer key"}


@pytest.fixture
async def emulator() -> AsyncIterator[Emulator]:
    """One that takes 100 s for each task, with callbacks running."""
    async with Emulator(duration=100.0, wall=lambda: 1_800_000_000.0) as emulator:
        yield emulator


@pytest.fixture
async def official(emulator: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    """The official server, with a key."""
    async with client(emulator, "https://api-singapore.klingai.com") as http:
        yield http


@pytest.fixture
async def comet(emulator: Emulator) -> AsyncIterator[httpx.AsyncClient]:
    """CometAPI, with a key."""
    async with client(emulator, "https://api.cometapi.com/kling") as http:
        yield http


def client(emulator: Emulator, base_url: str) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=emulator.transport(), base_url=base_url, headers=KEY)
