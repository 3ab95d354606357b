"""Accounts are held to parallel tasks per model and to creates per second."""

from __future__ import annotations

import anyio
import httpx

from kling_async.emulator import Emulator
from tests.emulator.conftest import client

T2V = "/v1/videos/text2video"


async def code(http: httpx.AsyncClient, model: str = "kling-v1", key: str = "key") -> int:
    answer = await http.post(
        T2V,
        json={"prompt": "a boat", "model_name": model},
        headers={"Authorization": f"Bearer {key}"},
    )
    return int(answer.json()["code"])


async def test_parallel_tasks_are_limited_per_account_and_model() -> None:
    emulator = Emulator(parallel=2, duration=10.0)
    async with client(emulator, "https://api.klingai.com") as http:
        codes = [await code(http) for _ in range(3)]
        others = [await code(http, "kling-v1-6"), await code(http, key="other")]

    assert codes == [0, 0, 1303]
    assert others == [0, 0]


async def test_slot_is_free_when_its_task_ends() -> None:
    emulator = Emulator(parallel=1, duration=10.0)
    async with client(emulator, "https://api.klingai.com") as http:
        codes: list[int] = []
        for pause in (0, 9.9, 0.2, 0):
            await anyio.sleep(pause)
            codes.append(await code(http))

    assert codes == [0, 1303, 0, 1303]


async def test_limit_may_change_at_any_time() -> None:
    emulator = Emulator()
    async with client(emulator, "https://api.klingai.com") as http:
        await code(http)
        emulator.limits.parallel = 1

        assert await code(http) == 1303


async def test_rate_is_counted_per_second_and_account() -> None:
    emulator = Emulator(rate=2)
    async with client(emulator, "https://api.klingai.com") as http:
        codes = [await code(http) for _ in range(3)]
        codes.append(await code(http, key="other"))
        await anyio.sleep(0.5)
        codes += [await code(http), await code(http)]

    assert codes == [0, 0, 1302, 0, 0, 1302]
