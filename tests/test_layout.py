"""The package is laid out as CONTRIBUTING.md says: short files with a noun and a sentence each."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FILES = sorted((ROOT / "kling_async").rglob("*.py"))
NAMES = [path.relative_to(ROOT / "kling_async").as_posix() for path in FILES]

# A file past the limit holds two nouns: split it by noun. Where no second noun can be named, say
# here how long the file may be, and why: {"_name.py": (450, "because ...")}.
LONGEST = 400
LONGER: dict[str, tuple[int, str]] = {}


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_file_is_short(path: Path) -> None:
    limit, _ = LONGER.get(path.relative_to(ROOT / "kling_async").as_posix(), (LONGEST, ""))

    assert len(path.read_text(encoding="utf-8").splitlines()) <= limit


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_docstring_opens_with_one_sentence(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert docstring, "say in one sentence what the module is"
    opening = " ".join(docstring.split("\n\n")[0].split())

    assert opening.endswith((".", "?"))
    assert not re.search(r"[.?!] [A-Z]", opening)


@pytest.mark.parametrize("path", FILES, ids=NAMES)
def test_name_is_a_noun_of_the_domain(path: Path) -> None:
    parts = {part.strip("_") for part in path.relative_to(ROOT).with_suffix("").parts}

    assert not parts & {"common", "helper", "helpers", "misc", "util", "utils"}


def test_exceptions_to_the_length_are_still_needed() -> None:
    assert set(LONGER) <= set(NAMES)


def test_map_in_contributing_is_fresh() -> None:
    command = [sys.executable, str(ROOT / "scripts" / "module_map.py"), "--check"]

    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0, f"run scripts/fix:\n{result.stdout}{result.stderr}"
