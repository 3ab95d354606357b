"""The commands for tasks that exist: wait, status, download, list, settle."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from math import inf
from pathlib import Path
from typing import Annotated, Any

import anyio
import anyio.to_thread
from cyclopts import Parameter
from cyclopts.validators import Number

from .._client import Kling
from .._errors import ConfigurationError, KlingError, TaskFailed, TaskTimeout
from .._resource import LARGEST_PAGE
from .._state import TaskStatus
from .._task import Task
from .._token import Token
from ._exit import Exit, exit_of, worst
from ._making import Out, Overwrite, Timeout, check_target
from ._options import Options
from ._progress import Progress, shown
from ._requests import MODELS
from ._results import facts, hand_over
from ._shell import Shell

Tokens = Annotated[str, Parameter(help="Tokens of tasks, as the other commands print them.")]
World = Annotated[Shell, Parameter(parse=False)]


async def wait(
    *tokens: Tokens,
    shell: World,
    out: Out = None,
    timeout: Timeout = None,
    overwrite: Overwrite = False,
    options: Options | None = None,
) -> Exit:
    """Wait for tasks and show their videos, as they finish."""
    named = _named(tokens)
    overwrite = await _prepared(shell, out, overwrite, len(named))
    progress = Progress(lambda board: f"{board.ended} of {len(named)} ended")
    codes: list[Exit] = []
    async with shell.client(named, hooks=[progress.hook]) as kling:
        tasks = [kling.task(token) for token in named]
        for token in named:
            shell.debts.owe(token)
        async with shown(shell, progress):
            with anyio.move_on_after(inf if timeout is None else timeout) as limit:
                async for task in kling.as_completed(tasks):
                    codes.append(  # noqa: PERF401  # they count when it is left half-way
                        await _ended(shell, kling, task, out, overwrite)
                    )
    if limit.cancelled_caught:
        shell.warn(
            f"kling: {len(named) - len(codes)} of {len(named)} not ended after {timeout:g} s"
        )
    if shell.debts:
        shell.farewell()
        codes.append(Exit.PENDING)
    return worst(codes)


async def download(
    *tokens: Tokens,
    shell: World,
    out: Out = None,
    overwrite: Overwrite = False,
    options: Options | None = None,
) -> Exit:
    """Save the videos of tasks that have ended, without waiting for any."""
    named, out = _named(tokens), out or "./"
    overwrite = await _prepared(shell, out, overwrite, len(named))

    async def one(kling: Kling, token: str) -> Exit:
        task = kling.task(token)
        state = await task.refresh()
        if not state.status.is_terminal:
            raise TaskTimeout(f"task {task.id} is still {state.status.value}", token=token)
        return await _ended(shell, kling, task, out, overwrite)

    code = await _each(shell, named, one)
    if code is not Exit.FINE:
        shell.farewell()
    return code


async def status(*tokens: Tokens, shell: World, options: Options | None = None) -> Exit:
    """Ask once how tasks stand; 1 if one has failed."""

    async def one(kling: Kling, token: str) -> Exit:
        state = await kling.task(token).refresh()
        message = f"   {state.message}" if state.message else ""
        shell.show(f"{token}   {state.status.value}{message}", facts(token, state))
        return Exit.FAILED if state.status is TaskStatus.FAILED else Exit.FINE

    return await _each(shell, _named(tokens), one)


async def tasks(
    endpoint: Annotated[str, Parameter(choices=tuple(MODELS), help="Whose tasks.")],
    /,
    *,
    shell: World,
    limit: Annotated[int, Parameter(validator=Number(gte=1), help="How many at most.")] = 100,
    options: Options | None = None,
) -> Exit:
    """List the account's tasks of an endpoint, where the provider lists them."""
    model, size, number = MODELS[endpoint], min(limit, LARGEST_PAGE), 1
    async with shell.client() as kling:
        left = limit
        while left > 0:
            states = await kling.page(model, number, size)
            for state in [state for state in states if state.id][:left]:
                token = Token(kling.provider.name, endpoint, state.id).text()
                since = "" if state.created_at is None else _day(state.created_at)
                text = f"{token}   {state.status.value:<10}   {since}   {state.message}"
                shell.show(text.rstrip(), facts(token, state) | {"created_at": state.created_at})
                left -= 1
            if len(states) < size:
                break
            number += 1
    return Exit.FINE


async def settle(
    lost: Annotated[str, Parameter(help="The token or the external id that was told.")],
    /,
    *,
    shell: World,
    options: Options | None = None,
) -> Exit:
    """Look again for a task whose create was lost; free, as often as you like."""
    async with shell.client([lost]) as kling:
        task = await kling.settle(lost)
        shell.show(f"{task.token}   {task.state.status.value}", facts(task.token, task.state))
    return Exit.FINE


def _named(tokens: Sequence[str]) -> list[str]:
    """Each once; a token is read before anything is asked."""
    for token in tokens:
        Token.read(token)
    if not tokens:
        raise ConfigurationError("give one token or more")
    return list(dict.fromkeys(tokens))


async def _prepared(shell: Shell, out: str | None, overwrite: bool, number: int) -> bool:
    """See that something can be saved; whether a file that is there may be replaced."""
    if out is None:
        return False
    shell.tail = ("-o", out, *(["--overwrite"] if overwrite else []))
    target = out if number == 1 or out.endswith("/") else f"{out}/"
    await anyio.to_thread.run_sync(partial(check_target, target, overwrite=overwrite))
    # In a folder it has the task's own name, so it is the same video.
    return overwrite or await anyio.to_thread.run_sync(Path(out).is_dir)


async def _ended(
    shell: Shell, kling: Kling, task: Task[Any], out: str | None, overwrite: bool
) -> Exit:
    """Hand over what a task has come to."""
    try:
        result = task.result_now()
        files = [] if out is None else await kling.download(result, out, overwrite=overwrite)
    except KlingError as error:
        return _failed(shell, error, task)
    hand_over(shell, task, result, files)
    return Exit.FINE


def _failed(shell: Shell, error: KlingError, task: Task[Any]) -> Exit:
    shell.complain(error)
    if isinstance(error, TaskFailed):
        shell.show(None, facts(task.token, task.state))
    return exit_of(error)


async def _each(
    shell: Shell, tokens: Sequence[str], one: Callable[[Kling, str], Awaitable[Exit]]
) -> Exit:
    """Do one thing for each, in their order; what fails ends nothing else."""
    codes: list[Exit] = []
    async with shell.client(tokens) as kling:
        for token in tokens:
            try:
                codes.append(await one(kling, token))
            except KlingError as error:
                shell.complain(error)
                codes.append(exit_of(error))
    return worst(codes)


def _day(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S}Z"
