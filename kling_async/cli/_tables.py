"""The commands that show what is known without asking anybody: models and journals."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import anyio.to_thread
from cyclopts import Parameter

from .._capabilities import MODELS, Model
from .._errors import ConfigurationError
from .._export import check_format
from .._export import export as write
from .._report import check_name, write_report
from ._exit import Exit
from ._options import Options
from ._shell import Shell

World = Annotated[Shell, Parameter(parse=False)]


async def models(*, shell: World, options: Options | None = None) -> Exit:
    """Show what each model can do, as far as it is known."""
    rows = [("model", "seconds", "modes", "endpoints"), *map(_row, MODELS.values())]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    for model, line in zip([None, *MODELS.values()], lines, strict=True):
        if model is not None:
            shell.show(line, _facts(model))
        elif not shell.options.json:
            shell.show(line, {})
    return Exit.FINE


async def export(
    journal: Annotated[Path, Parameter(help="The file of a batch's journal.")],
    /,
    *,
    shell: World,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="A .csv or .jsonl file.")],
    overwrite: Annotated[bool, Parameter(negative="", help="Replace a file that exists.")] = False,
    options: Options | None = None,
) -> Exit:
    """Write all rows of a journal with what became of them; a batch may run meanwhile."""
    check_format(out)
    await _check_free(out, overwrite)
    await anyio.to_thread.run_sync(partial(write, journal, out))
    shell.show(str(out), {"file": str(out)})
    return Exit.FINE


async def report(
    journal: Annotated[Path, Parameter(help="The file of a batch's journal.")],
    /,
    *,
    shell: World,
    out: Annotated[Path, Parameter(name=["--out", "-o"], help="An .html file.")],
    overwrite: Annotated[bool, Parameter(negative="", help="Replace a file that exists.")] = False,
    options: Options | None = None,
) -> Exit:
    """Write a page that shows all rows of a journal, clips playing; a batch may run meanwhile."""
    check_name(out)
    await _check_free(out, overwrite)
    await write_report(journal, out)
    shell.show(str(out), {"file": str(out)})
    return Exit.FINE


async def _check_free(out: Path, overwrite: bool) -> None:
    if await anyio.to_thread.run_sync(out.exists) and not overwrite:
        raise ConfigurationError(f"{out} exists", advice="Give --overwrite to replace it.")


def _row(model: Model) -> tuple[str, ...]:
    seconds = [int(text) for text in model.durations]
    all_between = len(seconds) > 2
    told = f"{seconds[0]} to {seconds[-1]}" if all_between else " ".join(model.durations)
    return model.name, told, " ".join(model.modes) or "-", " ".join(sorted(model.endpoints))


def _facts(model: Model) -> dict[str, object]:
    return {
        "name": model.name,
        "endpoints": sorted(model.endpoints),
        "modes": list(model.modes),
        "durations": list(model.durations),
        "features": {name: where is not None for name, where in model.features.items()},
        "source": model.source,
        "date": model.date,
    }
