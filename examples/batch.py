"""A video for each line of a file: stop it at any moment, run it again, and it goes on.

It needs a key and pays for one video a line, once; what is done costs nothing in a second run:

    COMETAPI_KEY=... python examples/batch.py prompts.txt
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from kling_async import BatchStopped, Kling, Text2Video


async def main(lines: list[str]) -> None:
    prompts = [line.strip() for line in lines if line.strip()]
    requests = [Text2Video(prompt=prompt, duration=5) for prompt in prompts]
    failures = 0
    async with Kling() as kling:
        batch = kling.batch("boats.db", requests, out="videos/")
        try:
            async with batch:
                async for outcome in batch:
                    failures += not outcome.ok
                    said = outcome.files[0] if outcome.ok else outcome.error
                    print(f"{prompts[outcome.index]}: {said}")
        except BatchStopped as stopped:  # say a wrong key; what was paid for is saved
            sys.exit(f"{stopped.__cause__ or stopped}\n{stopped.advice}\n{batch.summary()}")
    print(batch.summary())
    if failures:
        sys.exit(1)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]).read_text(encoding="utf-8").splitlines())
