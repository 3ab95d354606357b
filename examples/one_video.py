"""One video, from a prompt to a file: this is all of it.

It needs a key and pays for one video:

    COMETAPI_KEY=... python examples/one_video.py "A paper boat on a storm drain"
"""

from __future__ import annotations

import sys

import anyio

from kling_async import Kling


async def main(prompt: str) -> None:
    async with Kling() as kling:
        video = await kling.text2video.run(prompt=prompt, duration=5)
        (path,) = await kling.download(video, "boat.mp4", overwrite=True)
    print(f"{path}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1])
