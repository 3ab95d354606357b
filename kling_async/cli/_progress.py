"""Progress for people: a table that is redrawn on a terminal, elsewhere a line now and then."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from io import StringIO

import anyio
from rich.console import Console, JustifyMethod
from rich.table import Table
from rich.text import Text

from .._events import Event
from ._board import Board, Line
from ._screen import Screen
from ._shell import Shell, harmless

_PERIOD = 0.25
_PAUSE = 30.0
"""Between two lines where there is no terminal."""
_MOST_LINES = 20
_STATES = {"processing": "cyan", "submitted": "yellow", "download": "green", "unknown": "magenta"}


Names = Callable[[], Mapping[str, str]]
"""What people know tasks by, by their ids."""


class Progress:
    """Follows a run by its events; `hook` is for the client."""

    def __init__(self, head: Callable[[Board], str], names: Names = dict) -> None:
        self.board = Board()
        self._head = head
        self._names = names
        self._began = anyio.current_time()

    def hook(self, event: Event) -> None:
        """Something happened."""
        self.board.tell(event, anyio.current_time())

    def head(self) -> Text:
        """All of it in a line."""
        board, took = self.board, clock(anyio.current_time() - self._began)
        limit = "" if board.limit is None else f"/{board.limit}"
        waiting = f" ({board.queued} waiting)" if board.queued else ""
        rest = f"  {board.running}{limit} slots{waiting}  {board.polls} polls  {took}"
        return Text(self._head(board), style="bold").append(rest, style="not bold")

    def picture(self, width: int, height: int) -> list[str]:
        """The table as lines for a terminal, which they fit in."""
        now = anyio.current_time()
        # The oldest first, as they will end first.
        lines = list(self.board.lines.values())
        room = min(_MOST_LINES, height - 3)
        shown = lines if len(lines) <= room else lines[: max(0, room)]
        if any(not line.name for line in shown):
            names = self._names()
            for line in shown:
                line.name = line.name or names.get(line.task_id, "")
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), expand=False)
        for name, least, justify in _COLUMNS:
            table.add_column(
                name, min_width=least, justify=justify, no_wrap=True, overflow="ellipsis"
            )
        rest = _BESIDE + max([len(line.kind) for line in shown], default=0)
        for line in shown:
            table.add_row(*self._cells(line, now, max(_NAME, width - rest)))
        left = len(lines) - len(shown)
        more = [Text(f"and {left} more")] if left else []
        return _drawn([self.head(), *([table] if shown else []), *more], width)[:height]

    def _cells(self, line: Line, now: float, room: int) -> list[Text]:
        age = clock(now - line.since) if line.is_new else ""
        left = self.board.expected(line, now)
        expected = "" if left is None else f"in {clock(left)}" if left else "any moment"
        style = _STATES.get(line.state.partition(" ")[0], "")
        name = Text(harmless(" ".join(line.name.split())) or line.task_id)
        name.truncate(room, overflow="ellipsis")  # the others lose nothing by a long one
        return [
            name,
            Text(line.kind),
            Text(line.state, style),
            *map(Text, (age, expected)),
        ]


_COLUMNS: tuple[tuple[str, int, JustifyMethod], ...] = (
    ("task", 12, "left"),
    ("request", 10, "left"),
    ("state", 13, "left"),
    ("age", 5, "right"),
    ("expected", 10, "left"),
)


_NAME = _COLUMNS[0][1]
_BESIDE = 36
"""Columns of the terminal that go to neither names nor requests."""


def clock(seconds: float) -> str:
    """Seconds as people read them: 2:05."""
    whole = max(0, round(seconds))
    hours, rest = divmod(whole, 3600)
    return f"{hours}:{rest // 60:02}:{rest % 60:02}" if hours else f"{rest // 60}:{rest % 60:02}"


def _drawn(parts: list[Text | Table], width: int) -> list[str]:
    paper = StringIO()
    console = Console(
        file=paper, width=width, force_terminal=True, color_system="standard", legacy_windows=False
    )
    for part in parts:
        console.print(part, no_wrap=True, overflow="ellipsis", crop=True)
    return paper.getvalue().splitlines()


@asynccontextmanager
async def shown(
    shell: Shell, progress: Progress, screen: Screen | None = None
) -> AsyncGenerator[None]:
    """Draw *progress* while the block runs, if there is a terminal to draw on."""
    if shell.options.quiet:
        yield
        return
    can_draw = shell.err.isatty() and shell.environ.get("TERM") != "dumb"
    screen = (screen or Screen(shell.err)) if can_draw else None
    shell.screen = screen

    def draw() -> None:
        if screen is not None:
            screen.draw(progress.picture(*screen.room))

    async def go_on() -> None:
        while True:
            draw()
            await anyio.sleep(_PERIOD if can_draw else _PAUSE)
            if not can_draw:
                shell.say(progress.head().plain)

    failure: Exception | None = None
    async with anyio.create_task_group() as group:
        group.start_soon(go_on)
        try:
            yield
        except Exception as error:  # the group would wrap it
            failure = error
        finally:
            draw()
            if screen is not None:
                screen.close()
            shell.screen = None
            group.cancel_scope.cancel()
    if failure is not None:
        raise failure
