"""A worker of the recipe for saq, to be killed: FOLDER has the recipe, EMULATOR the server.

Run: FOLDER=/tmp/saq EMULATOR=http://127.0.0.1:8000 python -m tests.saq_program videos
"""

from __future__ import annotations

import asyncio
import importlib
import os
import sys
from typing import Any

import kling_async
from tests.test_docs_engines import client_of


async def main(settings: str) -> None:
    kling_async.Kling = client_of(os.environ["EMULATOR"])  # type: ignore[misc]  # for code that is copied
    sys.path.insert(0, os.environ["FOLDER"])
    fleet = importlib.import_module("fleet")
    worker: Any = importlib.import_module("saq").Worker(
        **getattr(fleet, settings), timers={"sweep": 1}
    )
    await worker.queue.connect()
    print("running on", settings, flush=True)  # noqa: T201  # for whoever has started it
    await worker.start()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
