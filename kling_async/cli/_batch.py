"""The batch: the requests of a file, through a journal, so that any stop is only a pause."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import asdict
from decimal import Decimal
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Annotated, Any, Literal

import anyio
import anyio.to_thread
from cyclopts import Parameter
from cyclopts.validators import Number

from .._batch import Batch
from .._budget import Budget
from .._errors import BatchStopped
from .._outcome import BatchOutcome
from .._report import check_name
from .._results import VideoResult
from .._token import Token
from ..endpoints import Request
from ._complaint import lines
from ._exit import Exit, exit_of, worst
from ._jobs import Job, Jobs
from ._making import check_target
from ._options import Options
from ._progress import Progress, shown
from ._requests import MODELS
from ._shell import Shell

_AT_A_TIME = 200
_LONGEST, _SHORT = 60, 20
_No = Parameter(negative="")


async def batch(
    jobs: Annotated[Path, Parameter(help="A .csv or .jsonl file, a request a line.")],
    /,
    *,
    shell: Annotated[Shell, Parameter(parse=False)],
    out: Annotated[
        str | None, Parameter(name=["--out", "-o"], help="The folder to save the videos to.")
    ] = None,
    journal: Annotated[
        Path | None, Parameter(help="What has been done; by default beside the jobs, as .db.")
    ] = None,
    endpoint: Annotated[
        str | None,
        Parameter(choices=tuple(MODELS), help="Of the jobs that have no column endpoint."),
    ] = None,
    max_at_once: Annotated[
        int | None,
        Parameter(validator=Number(gte=1), help="Tasks in progress at most; by default learned."),
    ] = None,
    budget: Annotated[
        str | None, Parameter(help="Kling's units that all runs on the journal may cost.")
    ] = None,
    price: Annotated[
        str | None, Parameter(help="Units of each request, in place of the price list.")
    ] = None,
    retry_failed: Annotated[bool, _No, Parameter(help="Pay again for jobs that failed.")] = False,
    resend: Annotated[
        bool, _No, Parameter(help="Send lost creates again, at the risk of paying twice.")
    ] = False,
    on_failure: Annotated[
        Literal["continue", "stop"], Parameter(help="What to do when a job fails.")
    ] = "continue",
    report: Annotated[
        Path | None, Parameter(help="An .html page about all jobs, written at the end.")
    ] = None,
    options: Options | None = None,
) -> Exit:
    """Make the videos of a file. Stopped in any way, the same command goes on where it was.

    The whole file is checked before anything is sent.
    """
    if report is not None:
        check_name(report)
    journal = journal or jobs.with_suffix(".db")
    bounds = Budget(budget, price)
    provider, _ = shell.provider()

    def checked(request: Request[Any]) -> Decimal | None:
        request.check(provider.limits)
        return bounds.estimate(request)

    run = _Run(shell, Jobs(jobs, checked, endpoint))
    await run.count(bounds.limit)
    for target in (out and f"{out}/", report and str(report)):
        if target:
            await anyio.to_thread.run_sync(partial(check_target, target, overwrite=True))
    progress = Progress(run.head, run.names)
    async with shell.client(hooks=[progress.hook], journaled=True) as kling, shown(shell, progress):
        batch: Batch[VideoResult] = kling.batch(
            journal,
            run.requests(),
            out=out,
            key=run.key if run.keyed else None,
            max_at_once=max_at_once,
            on_failure=on_failure,
            retry_failed=retry_failed,
            resend=resend,
            budget=budget,
            price=price,
        )
        try:
            async with batch:
                run.batch, shell.again = batch, True
                try:
                    async for outcome in batch:
                        run.tell(outcome)
                except anyio.get_cancelled_exc_class():
                    shell.say("kling: stopping; Ctrl-C once more leaves at once")
                    raise
        except BatchStopped as error:
            run.codes.append(exit_of(error))
            shell.complain(error)
    if report is not None:
        await batch.report(report)
    return run.end(batch)


class _Run:
    """One run: what is read of the file, and what is told of the outcomes."""

    def __init__(self, shell: Shell, jobs: Jobs) -> None:
        self.batch: Batch[VideoResult] | None = None
        self.keyed = False
        self.codes: list[Exit] = []
        self._shell = shell
        self._jobs = jobs
        self._here = Path()
        self._number = 0
        self._ended = 0
        self._keys: dict[int, str] = {}
        """By the identity of requests, which live until they are asked for."""

    async def count(self, limit: Decimal | None) -> None:
        """Check the whole file, and say what it may cost."""
        self._here = await anyio.to_thread.run_sync(Path.cwd)
        units, unpriced = Decimal(0), 0
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                self._number += len(piece)
                self.keyed = piece[0].key is not None
                units += sum(job.units or 0 for job in piece)
                unpriced += sum(job.units is None for job in piece)
        jobs, prices = counted(self._number, "job"), counted(units, "unit")
        text = f"{jobs}, {prices} by the price list, less what is done already"
        if unpriced:
            text += f"; the list has no price for {unpriced}"
        if limit is not None and units > limit:
            text += f"; the budget of {counted(limit, 'unit')} ends it before that"
        self._shell.say(text)

    async def requests(self) -> AsyncGenerator[Request[VideoResult]]:
        """The requests, read again while the batch runs."""
        async with aclosing(self._pieces()) as pieces:
            async for piece in pieces:
                for job in piece:
                    if job.key is not None:
                        self._keys[id(job.request)] = job.key
                    yield job.request

    async def _pieces(self) -> AsyncGenerator[list[Job]]:
        """The file in pieces: it need not fit into memory, and reading it blocks."""
        jobs = iter(self._jobs)
        while piece := await anyio.to_thread.run_sync(lambda: list(islice(jobs, _AT_A_TIME))):
            yield piece

    def key(self, request: Request[Any]) -> str:
        """The name of a request's row."""
        return self._keys.pop(id(request))

    def head(self, _: object) -> str:
        """How far it is."""
        name = self._jobs.path.name
        name = name if len(name) <= _SHORT else f"{name[: _SHORT - 1]}…"
        if self.batch is None:
            return name
        units = self.batch.summary().units
        return f"{name}  {self._ended} of {self._number} told  {units:f} units"

    def names(self) -> dict[str, str]:
        """What people know the jobs by whose tasks run, by the ids of these."""
        tasks = self.batch.under_way() if self.batch is not None else {}
        return {
            Token.read(token).task_id: key if self.keyed else _shown(request)
            for token, (key, request) in tasks.items()
        }

    def tell(self, outcome: BatchOutcome[VideoResult]) -> None:
        """A row has come to its end, in this run or in one before."""
        self._ended += 1
        error, result = outcome.error, outcome.result
        urls = [video.url for video in result.videos] if result else []
        label = outcome.key if self.keyed else _shown(outcome.request) or f"job {outcome.index + 1}"
        if error is not None:
            self.codes.append(exit_of(error))
        files = [str(path) for path in outcome.files]
        near = [self._near(path) for path in outcome.files]
        said = " ".join(lines(error) if error else near or urls)
        self._shell.show(
            f"{label}: {said}",
            {
                "key": outcome.key,
                "index": outcome.index,
                "ok": outcome.ok,
                "files": files,
                "urls": urls,
                "units": None if result is None or result.units is None else str(result.units),
                "error": None if error is None else said,
                "token": outcome.token,
            },
        )

    def _near(self, path: Path) -> str:
        """A path as people would type it."""
        return str(path.relative_to(self._here) if path.is_relative_to(self._here) else path)

    def end(self, batch: Batch[VideoResult]) -> Exit:
        """What it has come to; what is left is told of with the command that goes on."""
        summary = batch.summary()
        self._shell.show(str(summary), {"summary": asdict(summary)})
        if summary.running or summary.unknown:
            self.codes.append(Exit.PENDING)
        code = worst(self.codes)
        if code is not Exit.FINE:
            self._shell.farewell()
        return code


def counted(number: int | Decimal, noun: str) -> str:
    """One or more of something, in words."""
    return f"{Decimal(number):f} {noun}{'' if number == 1 else 's'}"


def _shown(request: Request[Any] | None) -> str:
    """What people know a job by that has no key."""
    text = " ".join((getattr(request, "prompt", None) or "").split())
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
