"""`kling demo`: what it makes, survives and owns up to, and that a second one touches nothing."""

from __future__ import annotations

import os
import re
import shutil
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async import ConfigurationError
from kling_async.cli import _stage
from kling_async.cli._demo import _free, _reason
from kling_async.emulator import Emulator, Entry, Fault
from tests.cli.terminal import Terminal
from tests.cli.test_recording import HEIGHT, WIDTH, window

ROOT = Path(__file__).parent.parent
KINDS = {"text2video", "image2video", "multi-image2video", "avatar"}
FAULTS = {
    "lost_answer": 2,
    "lost_before": 1,
    "content": 1,
    "fail": 1,
    "reset": 1,
    "truncated": 1,
    "expired_url": 1,
}

Spoil = Callable[[Emulator], object]


class Theatre(Terminal):
    """A terminal that sees the emulator of its demo, and may spoil it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, tty: bool = False) -> None:
        super().__init__(Emulator(), tty=tty)
        self.spoil: Spoil = id
        self._build = _stage.stage
        monkeypatch.setattr(_stage, "stage", self.stage)

    def stage(self) -> Emulator:
        self.emulator = self._build()
        self.spoil(self.emulator)
        return self.emulator

    @property
    def facts(self) -> Mapping[str, Any]:
        """The numbers at the end."""
        facts: Mapping[str, Any] = self.objects[-2]["demo"]
        return facts


@pytest.fixture
def theatre(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Theatre:
    monkeypatch.chdir(tmp_path)
    return Theatre(monkeypatch)


async def test_everything_that_goes_wrong_is_survived_and_nothing_is_paid_for_twice(
    theatre: Theatre, tmp_path: Path
) -> None:
    theatre.environ.clear()  # no key
    assert await theatre.run("demo", "--json") == 0

    emulator, facts = theatre.emulator, theatre.facts
    assert emulator.faults.pending == []
    assert len({str(entry.body["prompt"]) for entry in emulator.ledger}) == len(emulator.ledger)
    assert (facts["requests"], facts["created"], facts["saved"]) == (24, 23, 22)
    assert (facts["found_again"], facts["sent_again"]) == (2, 1)
    assert (facts["paid_twice"], facts["missing"], facts["kept"]) == ({}, [], True)
    assert facts["units"] == str(emulator.ledger.units)
    assert facts["faults"].pop("parallel") >= 1
    assert facts["faults"] == FAULTS
    assert facts["seconds"] < 20  # of the test's clock
    outcomes = theatre.objects[:-2]
    assert {outcome["endpoint"] for outcome in outcomes} == KINDS
    assert sorted(len(outcome["files"]) for outcome in outcomes) == [0, 0, *[1] * 22]
    files = {Path(name) for outcome in outcomes for name in outcome["files"]}
    assert files == {path.relative_to(tmp_path) for path in tmp_path.glob("kling-demo/*.mp4")}
    report = (tmp_path / theatre.objects[-1]["report"]).read_text()
    assert [path.name for path in files if path.name not in report] == []


async def test_for_people_it_ends_with_the_numbers_that_the_documents_quote(
    theatre: Theatre,
) -> None:
    transcript = (ROOT / "docs" / "demo.txt").read_text(encoding="utf-8")
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    quoted = re.search(r"^```\n(\d+ requests in .*?)^```$", readme, re.S | re.M)
    assert quoted is not None

    assert await theatre.run("demo", "films") == 0

    said = theatre.out.splitlines()
    assert said[-1] == "films/report.html"
    ending = shapes(theatre.out)
    assert shapes(transcript)[:-1] == ending[:-1]  # but for the folder
    assert [line for line in shapes(quoted[1]) if line not in {*ending, "..."}] == []
    assert "Nothing was paid for twice: 23 tasks" in theatre.out
    for news in ("asks whether there is a task", "by the same id", "waits for a slot"):
        assert news in theatre.err
    assert max(map(len, [*said, *theatre.err.splitlines()])) < 80


async def test_on_a_terminal_a_table_follows_it(theatre: Theatre) -> None:
    theatre.tty = True
    assert await theatre.run("demo") == 0

    assert re.search(r"demo  \d+ of 24 told", theatre.err)


async def test_video_paid_for_twice_is_owned_up_to(theatre: Theatre) -> None:
    def bill_twice(emulator: Emulator) -> None:
        add = emulator.ledger.add

        def twice(entry: Entry) -> None:
            add(entry)
            if entry.body["prompt"] == "They meet":
                add(entry)

        emulator.ledger.add = twice  # type: ignore[method-assign]  # of this one only

    theatre.spoil = bill_twice
    assert await theatre.run("demo") == 1

    assert "BROKEN: paid for twice: They meet" in theatre.out


async def test_video_paid_for_and_not_here_is_owned_up_to(theatre: Theatre) -> None:
    theatre.spoil = lambda emulator: emulator.faults.add(
        Fault.HTML, on="file", endpoint="avatar/image2video", times=999
    )
    assert await theatre.run("demo", "--quiet") == 1

    paid = {entry.task_id for entry in theatre.emulator.ledger if "avatar" in entry.path}
    broken = re.search(r"^BROKEN: paid for and not here: (.*)\.$", theatre.out, re.M)
    assert broken is not None
    assert set(broken[1].split(", ")) == paid


async def test_interrupted_demo_says_that_nothing_is_left_to_go_on_with(theatre: Theatre) -> None:
    with anyio.move_on_after(2):
        await theatre.run("demo")

    assert "another demo begins anew" in theatre.err
    assert theatre.advice == []


async def test_second_demo_leaves_the_first_alone(theatre: Theatre, tmp_path: Path) -> None:
    (tmp_path / "kling-demo").mkdir()
    (tmp_path / "kling-demo" / "mine.txt").write_text("mine")

    assert await theatre.run("demo", "--json") == 0

    assert [path.name for path in (tmp_path / "kling-demo").iterdir()] == ["mine.txt"]
    assert theatre.objects[-1]["report"] == str(Path("kling-demo-2", "report.html"))


async def test_without_the_emulator_it_says_what_to_install(
    theatre: Theatre, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "kling_async.cli._stage", None)

    assert await theatre.run("demo") == 2
    assert "_stage" in theatre.err
    assert list(tmp_path.iterdir()) == []


def test_folder_is_new_or_empty(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "films"

    assert _free(wanted) == wanted
    assert _free(wanted) == wanted  # nothing is in it
    (wanted / "boat.mp4").touch()
    (tmp_path / "a" / "films-2").touch()  # a file
    assert _free(wanted) == tmp_path / "a" / "films-3"


@pytest.mark.parametrize("name", [".", "..", "/"])
def test_folder_without_a_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigurationError, match="name a folder"):
        _free(Path(name))


def test_other_errors_are_told_as_they_are() -> None:
    assert _reason(OSError("disk full")) == "disk full"


@pytest.mark.real_time
@pytest.mark.long  # at a desk, scripts/demo is the same
@pytest.mark.timeout(60)
def test_example_leaves_playable_files(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-W", "error", str(ROOT / "examples" / "demo.py"), "films"]

    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("\nfilms/report.html\n")
    lengths = [seconds(path) for path in (tmp_path / "films").glob("*.mp4")]
    assert len(lengths) == 22
    # An avatar speaks as long as its sound; a little more than was asked for, as Kling does it.
    assert {round(length) for length in lengths} == {3, 4, 5, 6, 10}


@pytest.mark.real_time
@pytest.mark.long
@pytest.mark.timeout(120)
@pytest.mark.skipif(shutil.which("tmux") is None, reason="scripts/test installs tmux where it can")
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_table_stays_whole_in_80_columns(tmp_path: Path) -> None:
    async with window(tmp_path) as terminal:
        await terminal.type("kling demo; echo code $?", "Enter")
        await terminal.until(r"^code 0 *$")

    if target := os.environ.get("TERMINAL_RECORDING"):
        pictures = ["\n".join(lines) for lines in terminal.pictures]
        await anyio.Path(target).write_text(f"\n{'=' * WIDTH}\n".join(pictures))

    heads = [[line for line in lines if TOLD.match(line)] for lines in terminal.pictures]
    assert sum(map(bool, heads)) > 10
    assert max(map(len, heads)) == 1, "drawn twice"
    for lines in terminal.pictures:
        rows = [line for line in lines if TASK.match(line)]
        at = [index for index, line in enumerate(lines) if TOLD.match(line)]
        # A row that went on in the next line would tear the table apart.
        assert not rows or lines[at[0] + 2 :][: len(rows)] == rows, lines
        assert len(lines) <= HEIGHT


def shapes(text: str) -> list[str]:
    """The lines of the numbers at the end, with any numbers in them."""
    begin = re.search(r"^\d+ requests in", text, re.M)
    assert begin is not None
    ending = text[begin.start() :]
    return [re.sub(r" *\d+(\.\d+)?", " 0", line) for line in ending.splitlines()]


TOLD = re.compile(r"demo  \d+ of 24 told  ")
TASK = re.compile(r"86\d{10,}…? ")


def seconds(film: Path) -> float:
    """The length that stands in the head of an MP4 file."""
    top = dict(boxes(film.read_bytes()))
    assert next(iter(top)) == b"ftyp"
    assert top[b"mdat"]
    scale, length = struct.unpack_from(">II", dict(boxes(top[b"moov"]))[b"mvhd"], 12)
    return float(length / scale)


def boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    at = 0
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        yield kind, data[at + 8 : at + size]
        at += size
