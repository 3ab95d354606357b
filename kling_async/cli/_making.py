"""The commands that make one video each, made from the request models' own fields."""

from __future__ import annotations

import os
import sys
from collections.abc import Awaitable, Callable
from functools import partial
from inspect import Parameter as Slot
from inspect import Signature
from pathlib import Path
from typing import Annotated, Any, cast

import anyio.to_thread
from cyclopts import Parameter
from cyclopts.validators import Number

from .._download import check_folder
from .._errors import ConfigurationError, DownloadError
from .._results import VideoResult
from .._task import CLIENT_DEFAULT, Task
from ..endpoints import Avatar, Image2Video, MultiImage2Video, Request, Text2Video
from ._exit import Exit
from ._options import Options
from ._progress import Progress, shown
from ._requests import Kind, Malformed, Option, options
from ._results import hand_over
from ._shell import Shell
from ._sources import typed

Out = Annotated[
    str | None,
    Parameter(
        name=["--out", "-o"],
        help="A file, or a folder (an existing one, or with a slash at its end) to save to.",
    ),
]
Timeout = Annotated[
    float | None,
    Parameter(
        validator=Number(gte=0), help="Seconds to wait at most; the task goes on in any case."
    ),
]
Overwrite = Annotated[bool, Parameter(negative="", help="Replace a file that exists.")]
_OWN: dict[str, tuple[Any, Any]] = {
    "out": (Out, None),
    "no_wait": (
        Annotated[bool, Parameter(negative="", help="Print the token, and do not wait.")],
        False,
    ),
    "timeout": (Timeout, None),
    "overwrite": (Overwrite, False),
    "options": (Options | None, None),
    "shell": (Annotated[Shell, Parameter(parse=False)], Slot.empty),
}
Command = Callable[..., Awaitable[Exit]]


def command(model: type[Request[VideoResult]]) -> Command:
    """The command of a request: its fields are the options."""

    async def make(*, shell: Shell, out: str | None = None, **given: Any) -> Exit:
        own = {name: given.pop(name) for name in list(given) if name in _OWN and name != "options"}
        given.pop("options", None)
        return await _make(model, shell, given, out=out, **own)

    own = [
        Slot(name, Slot.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in _OWN.items()
    ]
    made = cast("Any", make)
    made.__signature__ = Signature([*map(_slot, options(model)), *own])
    made.__annotations__ = {}
    made.__doc__ = model.__doc__
    made.__name__ = model.endpoint.replace("-", "_")
    return make


def _slot(option: Option) -> Slot:
    kind: Any = {Kind.FLAG: bool, Kind.SEVERAL: list[str]}.get(option.kind, str)
    parameter = Parameter(
        name=option.flag,
        help=option.help,
        choices=option.choices or None,
        allow_leading_hyphen=kind is not bool,
        negative_iterable=(),
    )
    kind, default = (kind, Slot.empty) if option.required else (kind | None, None)
    return Slot(
        option.field, Slot.KEYWORD_ONLY, default=default, annotation=Annotated[kind, parameter]
    )


def read(model: type[Request[Any]], given: dict[str, Any], shell: Shell) -> Request[Any]:
    """The request that is meant; blocks, for it may read standard input."""
    source = typed(shell.stdin or sys.stdin.buffer)
    values: dict[str, Any] = {}
    for option in options(model):
        value = given.get(option.field)
        try:
            if isinstance(value, list):
                parts = [option.read(text, source) for text in cast("list[str]", value)]
                value = [item for part in parts for item in part]
            elif isinstance(value, str):
                value = option.read(value, source)
        except Malformed as error:
            raise ConfigurationError(f"{option.flag}: {error}") from None
        if value is not None:
            values[option.field] = value
    return model.model_validate(values)


async def _make(
    model: type[Request[VideoResult]],
    shell: Shell,
    given: dict[str, Any],
    *,
    out: str | None = None,
    no_wait: bool = False,
    timeout: float | None = None,
    overwrite: bool = False,
) -> Exit:
    request: Request[VideoResult] = await anyio.to_thread.run_sync(read, model, given, shell)
    if out is not None:
        await anyio.to_thread.run_sync(partial(check_target, out, overwrite=overwrite))
        shell.tail = ("-o", out, *(["--overwrite"] if overwrite else []))
    progress = Progress(lambda board: model.endpoint)
    async with shell.client(hooks=[progress.hook]) as kling:
        task = await kling.submit(request)
        if no_wait:
            shell.show(task.token, {"token": task.token, "task_id": task.id})
            shell.debts.settle(task.token)
            return Exit.FINE
        shell.say(f"submitted {task.token}")
        async with shown(shell, progress):
            return await finish(shell, kling.download, task, out, timeout, overwrite)


async def finish(
    shell: Shell,
    download: Callable[..., Awaitable[list[Path]]],
    task: Task[VideoResult],
    out: str | None,
    timeout: float | None,
    overwrite: bool,
) -> Exit:
    """Wait for a task and hand its videos over."""
    result = await task.result(timeout=CLIENT_DEFAULT if timeout is None else timeout)
    files = [] if out is None else await download(result, out, overwrite=overwrite)
    hand_over(shell, task, result, files)
    return Exit.FINE


def check_target(out: str, *, overwrite: bool) -> None:
    """See that something can be saved there, before anything is paid for; blocks."""
    path = Path(out)
    is_folder = out.endswith(("/", os.sep)) or path.is_dir()
    if not is_folder and path.exists() and not overwrite:
        raise ConfigurationError(f"{out} exists", advice="Give --overwrite to replace it.")
    try:
        check_folder(path if is_folder else path.parent)
    except DownloadError as error:  # none of a result that is paid for: there is none yet
        raise ConfigurationError(error.message) from error


text2video = command(Text2Video)
image2video = command(Image2Video)
multi_image2video = command(MultiImage2Video)
avatar = command(Avatar)
