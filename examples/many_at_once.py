"""A hundred videos, at most twenty in progress: outcomes come as they finish, failures among them.

Kling counts the tasks in progress, not the requests, so a slot is held until the result is there.
It runs on the emulator, which allows twenty, and needs no key:

    python examples/many_at_once.py
"""

from __future__ import annotations

import anyio

from kling_async import CometAPI, Kling, Text2Video
from kling_async.emulator import Emulator


async def main() -> None:
    emulator = Emulator(speed=60, parallel=20)
    prompts = (f"A paper boat on a storm drain, take {take}" for take in range(1, 101))
    requests = (Text2Video(prompt=prompt) for prompt in prompts)  # read as slots come free
    made = failed = 0
    async with Kling(CometAPI("no-key-needed"), transport=emulator.transport()) as kling:
        async for outcome in kling.map(requests, max_at_once=20):
            if outcome.result:
                made += 1
                print(f"{outcome.index}: {outcome.result.url}")
            else:  # one that fails does not stop the others
                failed += 1
                print(f"{outcome.index}: {outcome.error}")
    print(f"{made} videos, {failed} failures")


if __name__ == "__main__":
    anyio.run(main)
