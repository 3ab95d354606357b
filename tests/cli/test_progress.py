"""Progress: what the board learns from events, what the table shows, and where it is drawn."""

from __future__ import annotations

import re
from decimal import Decimal
from io import StringIO

import anyio
import pytest

from kling_async import (
    DownloadFinished,
    DownloadProgressed,
    RetryScheduled,
    SlotsChanged,
    TaskFinished,
    TaskPolled,
    TaskStatus,
    TaskSubmitted,
)
from kling_async.cli._board import Board
from kling_async.cli._options import Options
from kling_async.cli._progress import Progress, clock, shown
from kling_async.cli._screen import Screen, terminal_size
from kling_async.cli._shell import Shell
from tests.cli.terminal import Screenlike

MODEL = "kling-v1"


def submitted(number: int) -> TaskSubmitted:
    return TaskSubmitted("text2video", f"8600000000{number:08}", f"ka-{number}", MODEL)


def finished(number: int, units: Decimal | None = None) -> TaskFinished:
    task_id = submitted(number).task_id
    return TaskFinished("text2video", task_id, TaskStatus.SUCCEEDED, None, units, "", MODEL, None)


def polled(number: int, status: TaskStatus = TaskStatus.PROCESSING) -> TaskPolled:
    return TaskPolled("text2video", submitted(number).task_id, status, False)


def test_board_follows_a_task_from_end_to_end() -> None:
    board, task_id = Board(), submitted(1).task_id
    board.tell(submitted(1), 0)
    board.tell(polled(1), 5)
    assert board.lines[task_id].state == "processing"
    board.tell(polled(1, TaskStatus.SUCCEEDED), 9)
    board.tell(finished(1, Decimal(2)), 10)
    assert not board.lines
    board.tell(DownloadProgressed(task_id, 0, None, 50, 200), 11)
    assert board.lines[task_id].state == "download 25 %"
    board.tell(DownloadProgressed(task_id, 0, None, 50, None), 11)
    assert board.lines[task_id].state == "download"
    board.tell(DownloadFinished(task_id, 0, None, 200, 200, 1.0), 12)

    assert not board.lines
    assert (board.polls, board.ended, board.units) == (2, 1, Decimal(2))


def test_end_is_expected_from_the_ends_of_others() -> None:
    board = Board()
    for number, seconds in enumerate([60, 100, 140]):
        board.tell(submitted(number), 0)
        assert board.expected(board.lines[submitted(number).task_id], 1) is None
        board.tell(finished(number), seconds)
    board.tell(submitted(9), 1000)
    line = board.lines[submitted(9).task_id]

    assert board.expected(line, 1000) == 100
    assert board.expected(line, 1080) == 40
    assert board.expected(line, 1200) == 0


def test_task_of_an_earlier_run_has_no_age_and_teaches_nothing() -> None:
    board = Board()
    for number in range(4):
        board.tell(polled(number), 0)
    for number in range(3):
        board.tell(finished(number), 5)

    assert board.expected(board.lines[submitted(3).task_id], 5) is None


def test_slots_are_those_of_all_models() -> None:
    board = Board()
    limits: list[int | None] = [board.limit]
    board.tell(SlotsChanged("kling-v1", 3, 2, 3), 0)
    for limit in (4, None):
        board.tell(SlotsChanged("kling-v3", 1, 0, limit), 0)
        limits.append(board.limit)

    assert limits == [None, 7, None]
    assert (board.running, board.queued) == (4, 2)


def test_retries_are_no_news_for_the_board() -> None:
    board = Board()
    board.tell(RetryScheduled("create", ValueError(), 1.0), 0)

    assert board == Board()


def plain(lines: list[str]) -> list[str]:
    return [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in lines]


async def many(number: int) -> Progress:
    progress = Progress(lambda board: f"jobs.csv  {board.ended} of {number} told  12.5 units")
    progress.hook(SlotsChanged(MODEL, number, 5, number))
    for each in range(number):
        progress.hook(submitted(each))
        progress.hook(DownloadProgressed(submitted(each).task_id, 0, None, 5, 10))
    await anyio.sleep(4000)
    return progress


@pytest.mark.parametrize("width", [20, 79, 200])
@pytest.mark.parametrize("height", [1, 2, 3, 4, 23, 60])
@pytest.mark.parametrize("number", [0, 1, 3, 500])
async def test_table_fits_any_terminal(width: int, height: int, number: int) -> None:
    lines = plain((await many(number)).picture(width, height))

    assert 1 <= len(lines) <= height
    assert max(map(len, lines)) <= width


async def test_table_shows_what_people_ask_for() -> None:
    progress = await many(30)
    for number in range(3):
        progress.hook(finished(number))
    head, columns, first, *_, last = plain(progress.picture(79, 23))

    said = "jobs.csv 3 of 30 told 12.5 units 30/30 slots (5 waiting) 0 polls 1:06:40"
    assert " ".join(head.split()) == said
    assert columns.split() == ["task", "request", "state", "age", "expected"]
    said = "860000000000000003 text2video kling-v1 download 50 % 1:06:40 any moment"
    assert " ".join(first.split()) == said
    assert last.strip() == "and 7 more"


async def test_tasks_go_by_their_names_through_their_downloads() -> None:
    long = "[bold]A boat,\n adrift\x1b[2J " + "日本" * 30
    ids = [submitted(number).task_id for number in range(3)]
    progress = Progress(lambda _: "", lambda: {ids[0]: long, ids[1]: "boat-1"})
    for number in range(3):
        progress.hook(submitted(number))
    *_, first, second, third = plain(progress.picture(79, 23))

    assert first.startswith("[bold]A boat, adrift\ufffd[2…  text2video kling-v1  submitted")
    assert second.split() == ["boat-1", "text2video", "kling-v1", "submitted", "0:00"]
    assert third.startswith(ids[2])
    progress.hook(finished(1))
    progress.hook(DownloadProgressed(ids[1], 0, None, 50, 100))
    *_, last = plain(progress.picture(79, 23))
    assert last.split() == ["boat-1", "text2video", "kling-v1", "download", "50", "%"]


def test_board_forgets_what_ended_long_ago() -> None:
    board = Board()
    for number in range(1000):
        board.tell(submitted(number), 0)
        board.tell(finished(number), 1)
    for number in (1, 999):
        board.tell(DownloadProgressed(submitted(number).task_id, 0, None, 50, None), 2)

    assert [line.kind for line in board.lines.values()] == ["", "text2video kling-v1"]


async def test_newer_ones_are_expected_later() -> None:
    progress = Progress(lambda _: "")
    for number in range(3):
        progress.hook(submitted(number))
    await anyio.sleep(100)
    for number in range(3):
        progress.hook(finished(number))
    progress.hook(submitted(3))
    progress.hook(polled(4))
    await anyio.sleep(30)

    *_, new, old = plain(progress.picture(79, 23))
    assert new.split()[-3:] == ["0:30", "in", "1:10"]
    assert old.split() == ["860000000000000004", "text2video", "processing"]


@pytest.mark.parametrize(
    ("seconds", "text"), [(-1, "0:00"), (59.6, "1:00"), (125, "2:05"), (3725, "1:02:05")]
)
def test_clock_reads_well(seconds: float, text: str) -> None:
    assert clock(seconds) == text


class Glass:
    """A terminal of so many columns that understands what a screen writes."""

    def __init__(self, width: int = 20, height: int = 8) -> None:
        self.stream = StringIO()
        self.size = (width, height)
        self.screen = Screen(self.stream, lambda: self.size)

    def seen(self) -> list[str]:
        """What stands there, and that nothing vanished in between."""
        lines, row, column = [""], 0, 0
        for token in re.findall(r"\x1b\[\??\d*[a-zA-Z]|\n|\r|[^\x1b\n\r]+", self.stream.getvalue()):
            if token == "\n":
                row, column = row + 1, 0
                lines += [""] * (row + 1 - len(lines))
            elif token == "\r":
                column = 0
            elif token == "\x1b[K":
                lines[row] = lines[row][:column]
            elif token == "\x1b[J":
                lines = [*lines[:row], lines[row][:column]]
            elif token.endswith("A"):
                row -= int(token[2:-1])
                assert row >= 0
            elif not token.startswith("\x1b"):
                lines[row] = lines[row][:column] + token + lines[row][column + len(token) :]
                column += len(token)
        return lines


def test_lines_are_drawn_over_each_other() -> None:
    glass = Glass()
    glass.screen.draw(["one", "two", "three"])
    glass.screen.draw(["one", "2"])

    assert glass.seen() == ["one", "2", ""]


def test_no_line_is_cleared_before_it_is_written_anew() -> None:
    glass = Glass()
    glass.screen.draw(["one", "two"])
    glass.screen.draw(["ONE", "two"])
    written = glass.stream.getvalue()

    assert "\x1b[2K" not in written
    assert "\x1b[2J" not in written
    assert "ONE\x1b[K\n" in written


def test_nothing_is_written_where_nothing_changed() -> None:
    glass = Glass()
    glass.screen.draw(["one"])
    before = glass.stream.getvalue()
    glass.screen.draw(["one"])
    assert glass.stream.getvalue() == before

    glass.size = (30, 8)
    glass.screen.draw(["one"])
    assert glass.stream.getvalue() != before


def test_text_above_stays_there() -> None:
    glass = Glass()
    glass.screen.above("hello")
    glass.screen.draw(["one", "two"])
    glass.screen.above("a result\nof two lines")
    glass.screen.draw(["three"])

    assert glass.seen() == ["hello", "a result", "of two lines", "three", ""]


def test_last_column_and_line_stay_free() -> None:
    assert Glass(80, 24).screen.room == (79, 23)
    assert len(terminal_size()) == 2


def test_cursor_is_hidden_and_comes_back() -> None:
    glass = Glass()
    glass.screen.close()

    assert glass.stream.getvalue() == "\x1b[?25l\x1b[?25h"


def shell(*, tty: bool = True, term: str = "xterm", quiet: bool = False) -> Shell:
    return Shell(
        Screenlike(),
        Screenlike() if tty else StringIO(),
        environ={"TERM": term},
        options=Options(quiet=quiet),
    )


def said(world: Shell) -> str:
    assert isinstance(world.err, StringIO)
    return world.err.getvalue()


async def test_table_is_redrawn_while_the_block_runs() -> None:
    world, progress = shell(), Progress(lambda _: "head")
    async with shown(world, progress):
        await anyio.sleep(1)
        progress.hook(submitted(1))
        await anyio.sleep(1)
        world.show("a result", {})
        world.say("some news")

    assert world.screen is None
    assert "submitted" in said(world)
    assert "a result" in said(world)
    assert "some news" in said(world)


@pytest.mark.parametrize("world", [shell(tty=False), shell(term="dumb")])
async def test_elsewhere_a_line_comes_now_and_then(world: Shell) -> None:
    progress = Progress(lambda _: "head")
    async with shown(world, progress):
        await anyio.sleep(65)

    assert said(world).count("\n") == 2
    assert "\x1b" not in said(world)
    world.err.truncate(0)


async def test_quiet_says_nothing() -> None:
    world = shell(quiet=True)
    async with shown(world, Progress(lambda _: "head")):
        await anyio.sleep(65)

    assert said(world) == ""


async def test_error_comes_out_as_it_is() -> None:
    with pytest.raises(ValueError, match="boom"):
        async with shown(shell(), Progress(lambda _: "head")):
            raise ValueError("boom")
