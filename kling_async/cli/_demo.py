"""The demo: a batch on the emulator where much goes wrong, and the books of it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from itertools import chain, count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import anyio
import anyio.to_thread
from cyclopts import Parameter

from .._batch import Batch
from .._client import Kling
from .._config import Timeouts
from .._errors import ConfigurationError, KlingError, ParallelLimit, TaskFailed
from .._events import Event, RetryScheduled
from .._outcome import BatchOutcome
from .._polling import Polling
from .._results import VideoResult
from .._token import Token
from ..endpoints import Request
from ..providers import KlingAI
from ._exit import Exit
from ._options import Options
from ._progress import Progress, shown
from ._reckoning import Witness, reckon
from ._scenes import scenes
from ._shell import Shell

if TYPE_CHECKING:  # it is an extra, and may be missing
    from ..emulator import Emulator

_FOLDER, _REPORT = Path("kling-demo"), "report.html"
_INTERVAL, _LONGEST, _TOTAL = 5.0, 60.0, 180.0
_GAP = 0.1
_NEWS = {
    "slot": "too many tasks at once (1303): waits for a slot",
    "create": "it never arrived: sent again, by the same id",
    "look-up": "an answer was lost: asks whether there is a task by its id",
    "look-up later": "there is none yet, but it may be on its way: asks once more",
    "question": "a question was lost: asks again",
    "download": "a download broke off: goes on where it was",
}


async def demo(
    folder: Annotated[
        Path | None, Parameter(help="For the videos and the report; by default kling-demo.")
    ] = None,
    /,
    *,
    shell: Annotated[Shell, Parameter(parse=False)],
    options: Options | None = None,
) -> Exit:
    """Make 24 videos on an emulator that fails in every way; without a key, a network or a bill.

    A folder that holds something already is not touched: the next free name is taken.

    The exit code is 1 if a video was paid for twice, or paid for and lost.
    """
    requests, emulator = await anyio.to_thread.run_sync(_set_up)
    place = await anyio.to_thread.run_sync(_free, folder or _FOLDER)
    run = _Run(shell, len(requests))
    shell.say(
        f"{len(requests)} requests to an emulator in this process, {emulator.clock.speed:g} times"
        f" faster than life;\nno key, no network, no bill. Videos and a report go to {place}/"
    )
    began = anyio.current_time()
    try:
        await run.play(requests, emulator, place)
    except anyio.get_cancelled_exc_class():
        shell.say("kling: the emulator is gone and its tasks with it; another demo begins anew")
        raise
    seconds = anyio.current_time() - began
    reckoning = reckon(
        emulator, run.witness, requests=len(requests), saved=run.saved, seconds=seconds
    )
    shell.show(reckoning.text(), {"demo": reckoning.facts()})
    shell.show(str(place / _REPORT), {"report": str(place / _REPORT)})
    return Exit.FINE if reckoning.kept else Exit.FAILED


class _Run:
    """One run: what is told of it, and what was saved."""

    def __init__(self, shell: Shell, number: int) -> None:
        self.witness = Witness()
        self.saved: set[str] = set()
        self._shell = shell
        self._number = number
        self._ended = 0
        self._batch: Batch[VideoResult] | None = None

    async def play(
        self, requests: Iterable[Request[VideoResult]], emulator: Emulator, place: Path
    ) -> None:
        """Make the videos, as anybody would."""
        speed = emulator.clock.speed
        progress = Progress(lambda _: f"demo  {self._ended} of {self._number} told", self._names)
        async with (
            Kling(
                KlingAI("no-key-needed"),
                transport=emulator.transport(),
                # Pages of the list are for more tasks than these.
                polling=Polling(
                    interval=_INTERVAL / speed, max_interval=_LONGEST / speed, sweeps=False
                ),
                timeouts=Timeouts(total=_TOTAL / speed),
                hooks=[progress.hook, self.witness.hook, self._news],
            ) as kling,
            shown(self._shell, progress),
            kling.batch(place / "demo.db", _one_by_one(requests), out=place) as batch,
        ):
            self._batch = batch
            async for outcome in batch:
                await self._tell(outcome, place)
            await batch.report(place / _REPORT)

    def _names(self) -> dict[str, str]:
        tasks = self._batch.under_way() if self._batch else {}
        return {
            Token.read(token).task_id: getattr(request, "prompt", "")
            for token, (_, request) in tasks.items()
        }

    def _news(self, event: Event) -> None:
        if not isinstance(event, RetryScheduled):
            return
        what = "slot" if isinstance(event.error, ParallelLimit) else event.what
        later = " later" if event.what == "look-up" and event.seconds else ""
        self._shell.say(f"  {_NEWS[what + later]}")

    async def _tell(self, outcome: BatchOutcome[VideoResult], place: Path) -> None:
        self._ended += 1
        prompt = getattr(outcome.request, "prompt", "")
        names = [path.name for path in outcome.files]
        there = [await anyio.Path(place / name).is_file() for name in names]
        if outcome.token and names and all(there):
            self.saved.add(Token.read(outcome.token).task_id)
        error = None if outcome.error is None else _reason(outcome.error)
        self._shell.show(
            f"{prompt}: {error or ' '.join(str(place / name) for name in names)}",
            {
                "endpoint": outcome.request.endpoint,
                "prompt": prompt,
                "ok": outcome.ok,
                "files": [str(place / name) for name in names],
                "error": error,
                "token": outcome.token,
            },
        )


async def _one_by_one(
    requests: Iterable[Request[VideoResult]],
) -> AsyncGenerator[Request[VideoResult]]:
    """Each is answered before the next is sent, so that whom a fault strikes is no chance."""
    for request in requests:
        yield request
        await anyio.sleep(_GAP)


def _set_up() -> tuple[list[Request[VideoResult]], Emulator]:
    """Draw the pictures, and load what is an extra; both block."""
    try:
        from ._stage import stage
    except ModuleNotFoundError as error:
        raise ConfigurationError(str(error)) from None
    return scenes(), stage()


def _free(wanted: Path) -> Path:
    """A folder for this run alone: clips of another one would stand among its own; blocks."""
    if wanted.name in ("", ".."):
        raise ConfigurationError(f"{wanted} has no name; name a folder that may be made")
    others = (wanted.with_name(f"{wanted.name}-{number}") for number in count(2))
    return next(folder for folder in chain([wanted], others) if _is_free(folder))


def _is_free(folder: Path) -> bool:
    try:
        folder.mkdir(parents=True)
    except FileExistsError:
        return folder.is_dir() and not any(folder.iterdir())
    return True


def _reason(error: Exception) -> str:
    """In a line: what is to be done about it, no reader of a demo will do."""
    if isinstance(error, TaskFailed):
        return f"failed: {error.message.partition(': ')[2]}"
    return error.message if isinstance(error, KlingError) else str(error)
