"""The application: finds the command, runs it, and turns every end into an exit code."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Awaitable, Callable, Sequence
from difflib import get_close_matches
from functools import partial
from importlib import import_module
from typing import Any, TypeAlias

import anyio
from cyclopts import App, CycloptsError, Parameter, UnusedCliTokensError
from pydantic import ValidationError
from rich.console import Console

from .._errors import KlingError
from .._version import __version__
from ._exit import Exit, exit_of
from ._guide import COMMANDS
from ._options import Options
from ._shell import Shell
from ._signals import as_interrupts
from ._streams import prepare, silence

Command: TypeAlias = Callable[[], Awaitable[Exit]]


def start(words: Sequence[str]) -> int:
    """Run the command in *words* to its end; returns the exit code."""
    if words[0] == "emulator":  # it runs a loop of its own, and has its own options
        return _emulate(words[1:])
    trouble, shell = prepare(), Shell()
    if trouble is not None:
        shell.warn(f"kling: {trouble}")
        return Exit.USAGE
    try:
        with as_interrupts():
            command = read(words, shell)
            return command if isinstance(command, Exit) else anyio.run(perform, command, shell)
    except KeyboardInterrupt:
        shell.warn("kling: interrupted")
        shell.farewell()
        return Exit.PENDING
    except BrokenPipeError:  # whoever read the results has gone
        shell.farewell()
        return Exit.PENDING if shell.debts or shell.again else Exit.FAILED
    finally:
        silence()


def read(words: Sequence[str], shell: Shell) -> Command | Exit:
    """The command in *words*, ready to run; its help is said at once."""
    shell.words, ordered = words, _in_order(words)
    if ordered[0] not in COMMANDS:
        near = get_close_matches(ordered[0], COMMANDS, 1)
        hint = f"; is it {near[0]}?" if near else ""
        told = "is given" if ordered[0].startswith("-") else f"{ordered[0]!r}{hint}"
        shell.warn(f"kling: no command {told}; `kling --help` names them all")
        return Exit.USAGE
    try:
        command, bound, _ = app(ordered[0]).parse_args(
            ordered,
            console=Console(file=shell.out),
            print_error=False,
            exit_on_error=False,
        )
    except CycloptsError as error:
        shell.warn(f"kling: {_fault(error)}\nkling: `kling {ordered[0]} --help` says what there is")
        return Exit.USAGE
    if "shell" not in inspect.signature(command).parameters:  # its help, or the version
        command(*bound.args, **bound.kwargs)
        return Exit.FINE
    shell.options = bound.arguments.get("options") or Options()
    return partial(command, *bound.args, **bound.kwargs, shell=shell)


async def perform(command: Command, shell: Shell) -> int:
    """Run a command; its errors become lines and an exit code."""
    with shell.listening():
        try:
            return await command()
        except BrokenPipeError:
            raise
        except (KlingError, ValidationError, OSError) as error:
            shell.complain(error)
            shell.farewell()
            return Exit.USAGE if isinstance(error, ValidationError) else exit_of(error)
        except Exception:
            shell.farewell()
            raise


def app(name: str) -> App:
    """The command *name*; no other one is loaded."""
    home, _ = COMMANDS[name]
    plain = Parameter(show_default=False)
    whole = App(name="kling", version=__version__, help_format="plaintext", default_parameter=plain)
    whole.command(f"kling_async.cli.{home}", name=name)
    return whole


def _fault(error: CycloptsError) -> str:
    """What was typed wrong; of words that are left over cyclopts says the list alone."""
    if isinstance(error, UnusedCliTokensError):
        words = " ".join(map(repr, error.unused_tokens or ()))
        return f"{words} follows no option; each value stands behind its option's name"
    return str(error)


_WITH_VALUE = ("--provider", "--base-url")


def _in_order(words: Sequence[str]) -> list[str]:
    """Options of all commands may stand before the command, too."""
    rest, first = list(words), list[str]()
    while rest and rest[0].startswith("-") and len(rest) > 1:
        count = 2 if rest[0] in _WITH_VALUE else 1
        first += rest[:count]
        del rest[:count]
    return [*rest[:1], *first, *rest[1:]]


def _emulate(words: Sequence[str]) -> int:
    try:
        main: Any = import_module("kling_async.emulator.__main__").main
    except ModuleNotFoundError as error:
        sys.stderr.write(f"kling: {error}\n")
        return Exit.USAGE
    return int(main(words, "kling emulator"))
