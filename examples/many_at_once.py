"""Ten videos, three at a time: a task group starts them, a limiter holds them back.

Kling counts the tasks in progress, not the requests, so the limiter is held until the result
is there. It runs on the emulator, which allows three, and needs no key:

    python examples/many_at_once.py
"""

from __future__ import annotations

import anyio

from kling_async import CometAPI, Kling, KlingError, Polling
from kling_async.emulator import Emulator

PROMPTS = [f"A paper boat on a storm drain, take {take}" for take in range(1, 11)]


async def main() -> None:
    emulator = Emulator(speed=60, parallel=3)
    provider, polling = CometAPI("no-key-needed"), Polling(interval=0.2)
    limiter = anyio.CapacityLimiter(3)
    async with Kling(provider, polling=polling, transport=emulator.transport()) as kling:

        async def make(prompt: str) -> None:
            async with limiter:
                try:
                    video = await kling.text2video.run(prompt=prompt)
                except KlingError as error:  # one that fails does not stop the others
                    print(f"{prompt}: {error}")
                else:
                    print(f"{prompt}: {video.url}")

        async with anyio.create_task_group() as group:
            for prompt in PROMPTS:
                group.start_soon(make, prompt)


if __name__ == "__main__":
    anyio.run(main)
