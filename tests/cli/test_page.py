"""docs/command-line.md: every command stands there, and what stands there is a command."""

from __future__ import annotations

import re
import shlex
from importlib import import_module
from pathlib import Path

import pytest

from kling_async.cli._app import read
from kling_async.cli._exit import Exit
from kling_async.cli._guide import CODES, COMMANDS, guide
from kling_async.cli._shell import Shell
from kling_async.emulator.__main__ import main as emulate

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "command-line.md"


def typed(path: Path) -> list[str]:
    """The commands in the blocks of a document."""
    blocks = re.findall(r"^```sh\n(.*?)^```$", path.read_text(encoding="utf-8"), re.S | re.M)
    found = re.findall(r"\bkling (?!_).*", "".join(blocks))
    return [line.partition(" #")[0].rstrip(" )") if "$(" in line else line for line in found]


TYPED = sorted({line for path in (PAGE, ROOT / "README.md") for line in typed(path)})


def test_every_command_is_documented_and_every_documented_one_exists() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert set(re.findall(r"^### `kling (\S+)`$", text, re.M)) == set(COMMANDS)
    assert set(re.findall(r"`kling ([a-z][a-z0-9-]+)", text)) <= set(COMMANDS)
    assert {shlex.split(line)[1] for line in TYPED} == set(COMMANDS)


@pytest.mark.parametrize("line", TYPED)
def test_documented_command_is_understood(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = shlex.split(line.rstrip(")"))[1:]
    if words[0] == "emulator":
        with pytest.raises(SystemExit, match="0"):
            emulate([*words[1:], "--help"])
        return

    assert not isinstance(read(words, Shell()), Exit), capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_there_and_says_what_it_does(name: str) -> None:
    home, what = COMMANDS[name]
    if home:  # the emulator's is elsewhere
        module, function = home.split(":")
        command = getattr(import_module(f"kling_async.cli.{module}"), function)
        assert command.__doc__

    assert f"\n  {name:<18} {what}\n" in guide()


def test_exit_codes_are_those_of_the_page() -> None:
    text = PAGE.read_text(encoding="utf-8")

    assert len(CODES) == len(Exit)
    for number, what in enumerate(CODES):
        assert f"\n| {number} | {what} |\n" in text
        assert f"\n  {number}  {what}\n" in guide()
