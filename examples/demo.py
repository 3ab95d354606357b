"""Four videos, one of each kind, without a key: on the emulator, sixty times faster than life.

Run it with ``scripts/demo [FOLDER]``; it leaves playable MP4 files in FOLDER.
"""

from __future__ import annotations

import io
import struct
import sys
import wave
import zlib
from pathlib import Path

import anyio

from kling_async import (
    Avatar,
    CometAPI,
    Image2Video,
    Kling,
    MultiImage2Video,
    Text2Video,
    VideoResult,
)
from kling_async.emulator import Emulator


def picture(width: int = 640, height: int = 360) -> bytes:
    """A small PNG: a sunset."""
    rows = b"".join(b"\0" + bytes((255 - y % 128, y % 200, 96)) * width for y in range(height))
    chunks = (
        (b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)),
        (b"IDAT", zlib.compress(rows)),
        (b"IEND", b""),
    )
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def speech(seconds: int = 4) -> bytes:
    """A WAV that says nothing."""
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setparams((1, 2, 8000, 0, "NONE", ""))
        file.writeframes(b"\0\0" * 8000 * seconds)
    return target.getvalue()


REQUESTS = (
    Text2Video(prompt="A paper boat on a storm drain", duration=5, aspect_ratio="9:16"),
    Image2Video(image=picture(), prompt="The sun goes down", duration=5),
    MultiImage2Video(image_list=[picture(), picture(360, 360)], prompt="They meet", duration=10),
    Avatar(image=picture(360, 480), sound_file=speech(), prompt="She nods"),
)


async def main(folder: Path) -> None:
    """Submit all four, watch them, save them."""
    emulator = Emulator(speed=60)
    async with Kling(CometAPI("no-key-needed"), transport=emulator.transport()) as kling:

        async def make(request: Text2Video | Image2Video | MultiImage2Video | Avatar) -> None:
            task = await kling.submit(request)
            async for state in task.updates():
                print(f"{request.endpoint:<18} {task.id}  {state.status.value}")
            video: VideoResult = await task
            for path in await kling.download(video, folder, overwrite=True):
                print(f"{request.endpoint:<18} {path}  {path.stat().st_size:,} bytes")

        await anyio.Path(folder).mkdir(parents=True, exist_ok=True)
        async with anyio.create_task_group() as group:
            for request in REQUESTS:
                group.start_soon(make, request)
    print(f"{len(emulator.ledger)} tasks billed {emulator.ledger.units} units, to nobody")


if __name__ == "__main__":
    anyio.run(main, Path(sys.argv[1] if len(sys.argv) > 1 else "kling-demo"))
