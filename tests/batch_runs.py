"""Runs of one batch after another, in processes that are killed, against a served emulator."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections import Counter
from contextlib import AsyncExitStack, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import anyio.abc
import anyio.to_thread
from anyio.streams.buffered import BufferedByteReceiveStream
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kling_async import Journal, Stage
from kling_async.emulator import Emulator, Entry
from tests.batch_program import Run

ROOT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-m", "tests.batch_program"]
Event = dict[str, Any]

Way = Literal["unheard", "committed late", "unanswered"]
"""What becomes of the request at which the sender is killed."""
WAYS: list[Way] = ["unheard", "committed late", "unanswered"]


class Watched:
    """An ASGI application that kills whoever sends the so-manieth request."""

    def __init__(self, app: ASGIApp, runs: Runs) -> None:
        self._app = app
        self._runs = runs

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        way = self._runs.request(scope) if scope["type"] == "http" else None
        if way is None:
            await self._app(scope, receive, send)
            return
        received = await receive()  # a create is so small that it comes in one piece
        if way != "unanswered":
            self._runs.kill()
        if way != "unheard":
            await self._app(scope, _given(received), _drop)
        self._runs.kill()
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body"})


def _given(message: Message) -> Receive:
    async def receive() -> Message:
        return message

    return receive


async def _drop(message: Message) -> None:
    """Nobody hears it."""


@dataclass(frozen=True)
class Kill:
    """When a run is killed: at one of these, if it lives that long."""

    lines: int | None = None
    """After so many lines of news."""
    requests: int | None = None
    method: str | None = None
    way: Way = "unanswered"
    seconds: float | None = None

    @classmethod
    def by_chance(cls, random: Random) -> Kill:
        match random.randrange(4):
            case 0:
                return cls(lines=random.randint(1, 20))
            case 1:
                way = random.choice(WAYS)
                return cls(requests=random.randint(1, 5), method="POST", way=way)
            case 2:
                return cls(requests=random.randint(1, 30))
            case _:
                return cls(seconds=random.uniform(0, 0.8))


NEVER = Kill()


class Runs:
    """Starts the program on one journal again and again, and may kill it."""

    def __init__(self, emulator: Emulator, folder: Path, **options: Any) -> None:
        self.emulator = emulator
        self.folder = folder
        self.kills = self.times = 0
        self._options = options
        self.start = folder
        folder.mkdir(exist_ok=True)
        self._errors = folder / "errors.txt"
        self._kill = NEVER
        self._pid: int | None = None
        self._stack = AsyncExitStack()
        emulator.app.add_middleware(Watched, runs=self)

    async def __aenter__(self) -> Self:
        self.origin = await self._stack.enter_async_context(self.emulator.serve())
        self.run = Run(self.origin, str(self.folder), **self._options)
        errors = await self._stack.enter_async_context(await anyio.open_file(self._errors, "wb"))
        process = await anyio.open_process(COMMAND, cwd=ROOT, stderr=errors.wrapped)
        await self._stack.enter_async_context(process)
        self._stack.callback(process.kill)
        self._stack.callback(self.kill)
        assert process.stdin is not None
        assert process.stdout is not None
        self._orders, self._news = process.stdin, BufferedByteReceiveStream(process.stdout)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await self._stack.aclose()

    def begin(self, folder: Path, name: str) -> None:
        """Another batch."""
        folder.mkdir()
        self.folder, self.kills, self.times = folder, 0, 0
        self.run = replace(self.run, folder=str(folder), name=name)

    @property
    def errors(self) -> str:
        """What the runs wrote on standard error."""
        return self._errors.read_text()

    def kill(self) -> None:
        if self._pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self._pid, signal.SIGKILL)

    def request(self, scope: Scope) -> Way | None:
        """A request has come; how it ends, if it is the last."""
        kill = self._kill
        if kill.requests is None or scope["method"] != (kill.method or scope["method"]):
            return None
        self._kill = replace(kill, requests=kill.requests - 1)
        return kill.way if kill.requests == 1 else None

    def order(self, **options: Any) -> str:
        """What the program is told."""
        return json.dumps(asdict(replace(self.run, **options)))

    async def once(self, kill: Kill = NEVER, **options: Any) -> list[Event]:
        """One run; its news."""
        self._kill, self.times = kill, self.times + 1
        await self._orders.send(f"{self.order(**options)}\n".encode())
        events: list[Event] = []
        event: Event = {}
        async with anyio.create_task_group() as group:
            while True:
                event = json.loads(await self._news.receive_until(b"\n", 100_000))
                if event["event"] == "ended":
                    break
                if event["event"] == "started":
                    self._pid = event["pid"]
                    if kill.seconds is not None:
                        group.start_soon(self._kill_after, kill.seconds)
                events.append(event)
                news = sum(event["event"] != "repeated" for event in events)
                if kill.lines is not None and news > kill.lines:
                    self.kill()
            self._pid = None
            group.cancel_scope.cancel()
        assert event["killed"] or events[-1]["event"] == "done", self.errors
        self.kills += event["killed"]
        return events

    async def _kill_after(self, seconds: float) -> None:
        await anyio.sleep(seconds)
        self.kill()

    async def to_the_end(self, times: int = 30) -> list[Event]:
        """Runs that nobody kills, until all rows are done; the last one's news."""
        events: list[Event] = []
        for _ in range(times):
            events = await self.once()
            if events[-1]["saved"] == self.run.rows:
                return events
        raise AssertionError(f"not done after {times} runs: {events[-1]} {self.errors}")

    async def check(self, events: list[Event]) -> None:
        """All rows are done, each was paid for once, and each has its file."""
        rows, paid = self.run.rows, self.paid()
        prompts = {f"{self.run.name} {number}" for number in range(rows)}
        assert Counter(entry.body["prompt"] for entry in paid) == Counter(prompts)
        assert self.emulator.ledger.billed_twice == {}
        units = int(self.emulator.ledger.units) * rows // len(self.emulator.ledger)
        expected = {"event": "done", "saved": rows, "units": units}
        assert {name: fact for name, fact in events[-1].items() if fact} == expected
        outcomes = {event["prompt"]: event for event in events if "files" in event}
        assert outcomes.keys() == prompts
        assert not [event["error"] for event in outcomes.values() if event["error"]]
        files = {event["files"][0] for event in outcomes.values()}
        for entry in paid:
            path = self.folder / "videos" / f"{entry.task_id}-0.mp4"
            assert boxes(await anyio.Path(path).read_bytes()) == ["ftyp", "moov", "mdat"]
            files.remove(str(path))
        assert not files
        assert await self.stages() == {Stage.SAVED: rows}

    def paid(self) -> list[Entry]:
        """The creates of this batch."""
        name = f"{self.run.name} "
        return [
            entry for entry in self.emulator.ledger if str(entry.body["prompt"]).startswith(name)
        ]

    async def stages(self) -> Counter[Stage | None]:
        """How many rows are how far."""
        rows = await anyio.to_thread.run_sync(lambda: list(Journal.read(f"{self.folder}/boats.db")))
        return Counter(row.attempt.stage if row.attempt else None for row in rows)


def boxes(video: bytes) -> list[str]:
    """The parts of an MP4; one that is cut short has no whole ones."""
    names, place = list[str](), 0
    while place < len(video):
        names.append(video[place + 4 : place + 8].decode())
        place += int.from_bytes(video[place : place + 4])
    assert place == len(video), "cut short"
    return names
