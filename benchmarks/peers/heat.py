"""One contender's run, in a process of its own and its own environment.

Run by the benchmarks: python -m benchmarks.peers.heat JSON
"""

from __future__ import annotations

import asyncio
import gc
import json
import resource
import sys
import time
from collections.abc import Coroutine
from importlib import import_module
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

from benchmarks.peers.clock import SharedTime, VirtualLoop
from benchmarks.peers.contenders import OURS, PEERS, At, Contender, Make, kling

HANGS_AFTER = 90.0
CONTENDERS: dict[str, Contender] = {**OURS, **PEERS}


async def intents(wish: dict[str, Any]) -> dict[str, str]:
    """One create under each fault, all at once: how each of them ended."""
    contender = CONTENDERS[wish["contender"]]

    async with contender(At("http://127.0.0.1:9")):
        pass  # what it imports must not take the time in which connections are refused

    async def one(fault: str) -> str:
        origin = wish["origin"]
        if fault == "refused":
            origin = await asyncio.to_thread(shut, origin)
        async with contender(At(origin, f"/{fault}", wish["timeout"])) as make:
            patience = asyncio.timeout(HANGS_AFTER)
            try:
                async with patience:
                    await make(f"intent-{wish['tag']}-{fault}")
            except Exception as error:
                return "hung" if patience.expired() else type(error).__name__
            return "result"

    faults: list[str] = wish["faults"]
    # Where an address is set for the whole process, that fault has a process of its own.
    ended = await asyncio.gather(*map(one, faults))
    return dict(zip(faults, ended, strict=True))


def shut(origin: str) -> str:
    """An address that refuses connections for a while."""
    with urlopen(Request(f"{origin}/-/shut", b"{}")) as answer:
        return f"http://127.0.0.1:{int(answer.read())}"


async def tasks(wish: dict[str, Any]) -> dict[str, Any]:
    """Many tasks from submit to result, all in flight together, and what they cost."""
    name, at = wish["contender"], At(wish["origin"])
    number, rounds = wish["tasks"], wish["rounds"]
    async with CONTENDERS[name](at):
        pass  # nothing is imported later
    gc.collect()
    before = resident()
    if name in OURS:
        cost = await _ours(name.rpartition(" ")[2], at, number, rounds, wish["options"])
    else:
        async with CONTENDERS[name](at) as make:
            cost = await _spent(_theirs(make, number, rounds))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"cpu": cost, "before": before, "peak": peak}


async def _theirs(make: Make, number: int, rounds: int) -> None:
    for _ in range(rounds):
        await asyncio.gather(*[make(f"Boat {index}") for index in range(number)])


async def _ours(provider: str, at: At, number: int, rounds: int, options: dict[str, Any]) -> float:
    package: Any = import_module("kling_async")
    options["polling"] = package.Polling(**options.get("polling", {}))
    async with kling(provider, at, **options) as client:

        async def every() -> None:
            for _ in range(rounds):
                requests = (package.Text2Video(prompt=f"Boat {at}") for at in range(number))
                async for outcome in client.map(requests, max_at_once=number):
                    outcome.unwrap()

        return await _spent(every())


async def _spent(work: Coroutine[Any, Any, None]) -> float:
    began = time.process_time()
    await work
    return time.process_time() - began


def resident() -> int:
    """Kilobytes in memory now."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0])


def main() -> None:
    wish = json.loads(sys.argv[1])
    if wish["clock"] is None:
        figures = asyncio.run(intents(wish))
    else:
        with asyncio.Runner(
            loop_factory=lambda: VirtualLoop(SharedTime(Path(wish["clock"])))
        ) as runner:
            figures = runner.run(tasks(wish))
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
