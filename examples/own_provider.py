"""A gateway of your own, in a class: its address, its key and what its server can do.

It runs on the emulator and needs no key: python examples/own_provider.py
"""

from __future__ import annotations

import anyio

from kling_async import Kling, Limits, Provider
from kling_async.emulator import Emulator


class Acme(Provider):
    """Kling behind acme.example, with a key for each team."""

    name = "acme"  # in tokens and errors
    prefix = "/kling"  # before /v1 in every path
    finds_external_id = False  # so a create whose answer is lost is SubmissionUnknown

    def __init__(self, team: str, key: str) -> None:
        super().__init__("https://acme.example", Limits(prompt=1000))
        self._key = f"{team}:{key}"

    def authorization(self, now: float) -> str:
        return f"Bearer {self._key}"

    def secrets(self) -> tuple[str, ...]:
        return (self._key,)


async def main() -> None:
    emulator = Emulator(speed=60)
    async with Kling(Acme("film", "no-key-needed"), transport=emulator.transport()) as kling:
        task = await kling.text2video.submit(prompt="A paper boat")
        print(task.token, (await task).url)


if __name__ == "__main__":
    anyio.run(main)
