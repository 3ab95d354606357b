"""`kling models`, `kling export`, `kling report`: what is known without asking anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_async import MODELS
from tests.cli.terminal import Terminal


async def test_models_are_a_table_of_eighty_columns(terminal: Terminal) -> None:
    terminal.environ.clear()

    assert await terminal.run("models") == 0
    lines = terminal.out.splitlines()
    assert [line.split()[0] for line in lines[1:]] == list(MODELS)
    assert max(map(len, lines)) <= 80


async def test_models_for_programs_hold_the_whole_table(terminal: Terminal) -> None:
    assert await terminal.run("models", "--json") == 0

    assert [found["name"] for found in terminal.objects] == list(MODELS)
    assert terminal.objects[0]["features"]["sound"] is False


async def test_journal_is_exported(terminal: Terminal) -> None:
    Path("jobs.jsonl").write_text('{"prompt": "A boat"}\n')
    await terminal.run("batch", "jobs.jsonl", "--endpoint", "text2video")

    assert await terminal.run("export", "jobs.db", "-o", "boats.csv") == 0
    assert terminal.out == "boats.csv\n"
    assert "A boat" in Path("boats.csv").read_text(encoding="utf-8-sig")
    assert await terminal.run("export", "jobs.db", "-o", "boats.csv") == 2
    assert await terminal.run("export", "jobs.db", "-o", "boats.csv", "--overwrite") == 0


@pytest.mark.parametrize(
    ("words", "code"), [(("x.db", "-o", "x.txt"), 2), (("x.db", "-o", "x.csv"), 1)]
)
async def test_export_of_nothing_is_an_error(
    terminal: Terminal, words: tuple[str, ...], code: int
) -> None:
    assert await terminal.run("export", *words) == code
    assert not list(Path().glob("x*"))


async def test_journal_is_a_page(terminal: Terminal) -> None:
    Path("jobs.jsonl").write_text('{"prompt": "A boat"}\n')
    words = ("batch", "jobs.jsonl", "--endpoint", "text2video", "--report", "boats.html")

    assert await terminal.run(*words) == 0
    assert "A boat" in Path("boats.html").read_text(encoding="utf-8")
    assert await terminal.run("report", "jobs.db", "-o", "boats.html") == 2
    assert await terminal.run("report", "jobs.db", "-o", "boats.html", "--overwrite") == 0
    assert await terminal.run("report", "jobs.db", "-o", "boats.txt") == 2
    assert await terminal.run("report", "none.db", "-o", "none.html") == 1


async def test_page_by_a_wrong_name_is_refused_before_anything_is_sent(terminal: Terminal) -> None:
    Path("jobs.jsonl").write_text('{"prompt": "A boat"}\n')
    words = ("batch", "jobs.jsonl", "--endpoint", "text2video", "--report", "boats.pdf")

    assert await terminal.run(*words) == 2
    assert not terminal.emulator.requests
