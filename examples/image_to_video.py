"""A picture that moves: media are paths, and a task tells how it is getting on.

It needs a key and pays for one video:

    COMETAPI_KEY=... python examples/image_to_video.py cat.png "It yawns"
"""

from __future__ import annotations

import sys
from pathlib import Path

import anyio

from kling_async import Kling, MediaError


async def main(picture: Path, prompt: str) -> None:
    async with Kling() as kling:
        try:
            task = await kling.image2video.submit(image=picture, prompt=prompt)
        except MediaError as error:  # too small, too long, no image at all: nothing was sent
            sys.exit(str(error))
        async for state in task.updates():
            print(state.status)
        (path,) = await kling.download(await task, picture.with_suffix(".mp4"))
    print(path)


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1]), sys.argv[2])
