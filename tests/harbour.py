"""Harbour: a journal and a folder, on which runs of batches follow each other."""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from pathlib import Path
from typing import Any

from kling_async import (
    BatchOutcome,
    Kling,
    KlingAI,
    Request,
    Text2Video,
    VideoResult,
)
from kling_async.emulator import Emulator

KEY = "a-secret-key-0123456789"
Found = BatchOutcome[VideoResult]


def official(emulator: Emulator, **options: Any) -> Kling:
    return Kling(KlingAI(KEY), transport=emulator.transport(), **options)


def creates(emulator: Emulator) -> int:
    return sum(seen.method == "POST" for seen in emulator.requests)


def boats(*numbers: int) -> list[Text2Video]:
    return [Text2Video(prompt=f"Boat {number}") for number in numbers]


class Harbour:
    """A journal and a folder, on which runs follow each other, each with a client of its own."""

    def __init__(self, folder: Path) -> None:
        self.emulator = Emulator(duration=30)
        self.folder = folder
        self.out = folder / "videos"
        self.path = folder / "boats.db"
        self.summary = ""

    async def run(
        self,
        requests: Iterable[Request[VideoResult]] | AsyncIterable[Request[VideoResult]],
        client: Kling | None = None,
        **options: Any,
    ) -> list[Found]:
        """A whole run; what it came to is in `summary`, also when it raises."""
        async with client or official(self.emulator) as kling:
            batch = kling.batch(self.path, requests, **{"out": self.out, **options})
            try:
                async with batch:
                    return [outcome async for outcome in batch]
            finally:
                self.summary = str(batch.summary())

    @property
    def paid(self) -> int:
        return len(self.emulator.ledger)

    @property
    def files(self) -> list[Path]:
        return sorted(self.out.glob("*"))
