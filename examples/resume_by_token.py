"""Pay now, fetch later: a token is all that another process needs.

It needs a key. The first command pays for a video and prints the token; the second one, today
or tomorrow, here or on another machine, saves it:

    COMETAPI_KEY=... python examples/resume_by_token.py
    COMETAPI_KEY=... python examples/resume_by_token.py cometapi/text2video/2032273942220931072
"""

from __future__ import annotations

import sys

import anyio

from kling_async import Kling, TaskTimeout


async def main(token: str | None) -> None:
    async with Kling() as kling:
        if token is None:
            task = await kling.text2video.submit(prompt="A paper boat on a storm drain")
            print(task.token)
            return
        try:
            video = await kling.task(token).result(timeout=600)
        except TaskTimeout as error:  # the task goes on, and so can you
            sys.exit(str(error))
        await kling.download(video, "boat.mp4")


if __name__ == "__main__":
    anyio.run(main, sys.argv[1] if len(sys.argv) > 1 else None)
