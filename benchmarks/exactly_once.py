"""Whether every submit comes to one task, or to an error that names it, when creates go wrong.

Run: python benchmarks/exactly_once.py

Thirty of a hundred creates meet a fault. Everything runs against the emulator in virtual time,
up to the results. Gateways, and CometAPI where it finds nothing, do not refuse a second create
with the same id, so whatever the client sends twice is billed twice.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from random import Random

import anyio
import httpx
from trio.testing import MockClock

from kling_async import CometAPI, Gateway, Kling, KlingAI, Provider, SubmissionUnknown, Text2Video
from kling_async.emulator import Emulator, Fault

SUBMITS = 2000
PROBABILITY = 0.3
KEY = "one-key-one-account-0123456789"
Struck = tuple[Fault, bool]
"""A fault, and whether the create is carried out all the same, where that is open."""

LOST: list[Struck] = [
    (fault, False)
    for fault in (
        Fault.LOST_BEFORE,
        Fault.LOST_ANSWER,
        Fault.RESET,
        Fault.TRUNCATED,
        Fault.STALL,
        Fault.EMPTY,
        Fault.GARBAGE,
    )
]
ERRORS: list[Struck] = [
    (fault, commit)
    for fault in (Fault.HTML, Fault.SERVER_ERROR, Fault.GATEWAY_TIMEOUT)
    for commit in (False, True)
]
REFUSALS: list[Struck] = [(fault, False) for fault in (Fault.BUSY, Fault.RATE, Fault.PARALLEL)]
MIXES = {
    "answers lost": LOST,
    "5xx": ERRORS,
    "refusals": REFUSALS,
    "all": LOST + ERRORS + REFUSALS,
}


@dataclass(frozen=True)
class Dialect:
    name: str
    provider: Callable[[], Provider]
    strict_ids: bool = False
    finds: bool | None = None


def _gateway(name: str) -> Dialect:
    return Dialect(name, lambda: Gateway(f"https://gate.test/gateway/{name}", KEY))


DIALECTS = [
    Dialect("official", lambda: KlingAI(KEY), strict_ids=True),
    Dialect("cometapi, finds", lambda: CometAPI(KEY), finds=True),
    Dialect("cometapi, does not", lambda: CometAPI(KEY), finds=False),
    _gateway("newapi"),
    _gateway("passthrough"),
    _gateway("crazyrouter"),
]


class Unlucky(httpx.AsyncBaseTransport):
    """Lets a fault strike some of the creates that pass."""

    def __init__(self, emulator: Emulator, faults: Sequence[Struck], seed: int) -> None:
        self._emulator, self._faults = emulator, faults
        self._random = Random(seed)
        self._transport = emulator.transport()

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if request.method == "POST" and self._random.random() < PROBABILITY:
            fault, commit = self._random.choice(self._faults)
            external_id = json.loads(await request.aread())["external_task_id"]
            self._emulator.faults.add(fault, on="create", commit=commit, task=external_id)
        return await self._transport.handle_async_request(request)


@dataclass(frozen=True)
class Figures:
    sent: int
    """Creates that arrived at the server or were lost on their way."""
    billed: int
    billed_twice: int
    results: int
    unknown: int
    """Submits that ended as SubmissionUnknown, with the id."""
    others: int
    """Submits that ended otherwise."""
    hidden: int
    """Tasks that are paid for, and that no result and no error names."""


async def run(dialect: Dialect, faults: Sequence[Struck], submits: int, seed: int) -> Figures:
    emulator = Emulator(
        seed=seed,
        strict_ids=dialect.strict_ids,
        finds_external_id=dialect.finds,
        duration=30,
        latency=0.2,
    )
    sent, results, unknown, others = 0, 0, 0, 0
    named: set[str | None] = set()
    requests = (
        Text2Video(
            model_name="kling-v2-6", prompt=f"Boat {number}", mode="pro", duration=5,
            multi_shot=False,
        )
        for number in range(submits)
    )  # fmt: skip
    transport = Unlucky(emulator, faults, seed)
    async with Kling(dialect.provider(), transport=transport, validate=False) as kling:
        async for outcome in kling.map(requests):
            if outcome.result is not None:
                results += 1
                named.add(outcome.result.task_id)
            elif isinstance(outcome.error, SubmissionUnknown):
                unknown += 1
                named.add(outcome.error.external_task_id)
            else:
                others += 1
    sent = sum(seen.method == "POST" for seen in emulator.requests)
    hidden = [e for e in emulator.ledger if not {e.task_id, e.external_task_id} & named]
    twice = len(emulator.ledger.billed_twice)
    return Figures(sent, len(emulator.ledger), twice, results, unknown, others, len(hidden))


def figures(dialect: Dialect, faults: Sequence[Struck], submits: int, seed: int = 0) -> Figures:
    """One run, on a clock that jumps."""
    clock = MockClock(autojump_threshold=0)
    options = {"clock": clock}
    return anyio.run(run, dialect, faults, submits, seed, backend="trio", backend_options=options)


def main() -> None:
    print(f"{SUBMITS:,} submits each, of whose creates {PROBABILITY:.0%} meet a fault")
    print(
        f"{'':<20}{'faults':<14}{'creates sent':>12}{'billed':>8}{'twice':>7}"
        f"{'results':>9}{'unknown':>9}{'others':>8}{'hidden':>8}"
    )
    for dialect in DIALECTS:
        for name, faults in MIXES.items():
            one = figures(dialect, faults, SUBMITS)
            print(
                f"{dialect.name:<20}{name:<14}{one.sent:>12,}{one.billed:>8,}{one.billed_twice:>7,}"
                f"{one.results:>9,}{one.unknown:>9,}{one.others:>8,}{one.hidden:>8,}",
                flush=True,
            )


if __name__ == "__main__":
    main()
