"""The web backend among the examples in a process of its own, on an emulator elsewhere.

Run: FOLDER=/tmp/cinema python -m tests.fastapi_program http://127.0.0.1:8000 PORT
"""

from __future__ import annotations

import sys

import uvicorn

from examples import fastapi_app
from kling_async import Downloads, Kling, KlingAI, Polling, Timeouts


def client() -> Kling:
    return Kling(
        KlingAI("a-key-of-the-cinema-0123456789", base_url=sys.argv[1]),
        timeouts=Timeouts(total=2),  # so long a create that was lost may still be on its way
        polling=Polling(interval=0.2, sweep_interval=0.2, learn=False, guards=()),
        downloads=Downloads(http=True, private=True),
    )


if __name__ == "__main__":
    fastapi_app.REHEARSAL = False
    fastapi_app.client = client
    uvicorn.run(fastapi_app.app, port=int(sys.argv[2]), timeout_graceful_shutdown=1)
