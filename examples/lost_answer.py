"""A create whose answer gets lost is looked up: one bill, not two.

It runs on the emulator, which charges for the task and then drops the connection:

    python examples/lost_answer.py
"""

from __future__ import annotations

import anyio

from kling_async import Kling, KlingAI
from kling_async.emulator import Emulator, Fault


async def main() -> None:
    emulator = Emulator(speed=60)
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    async with Kling(KlingAI("no-key-needed"), transport=emulator.transport()) as kling:
        task = await kling.text2video.submit(prompt="A paper boat")
        print(f"found again as {task.external_task_id}")
        print((await task).url)
    print(f"creates billed: {len(emulator.ledger)}")


if __name__ == "__main__":
    anyio.run(main)
