"""A web backend, to be copied: type a prompt, watch the task, see the video.

    pip install "kling_async[emulator]" fastapi python-multipart
    python examples/fastapi_app.py
    uvicorn examples.fastapi_app:app --timeout-graceful-shutdown 1    # the same

It plays on the emulator until COMETAPI_KEY or KLINGAI_API_KEY is set; from then on whoever reaches
the page spends your money: put your login before it. Stop it at any moment: started again, it goes
on. One process serves, and locks its database. FOLDER says where that and the videos are kept;
with PUBLIC_URL, the address by which the world reaches this server, Kling calls back, too.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import AsyncGenerator, AsyncIterable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from functools import partial
from html import escape
from pathlib import Path
from secrets import token_urlsafe
from string import Template
from typing import Annotated, Any
from uuid import UUID, uuid4, uuid5

import uvicorn
from anyio import CapacityLimiter, Event, create_task_group, sleep, to_thread
from anyio.abc import TaskGroup
from fastapi import Depends, FastAPI, Form, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.sse import EventSourceResponse
from fastapi.staticfiles import StaticFiles
from pydantic import ValidationError

import kling_async as ka
from kling_async.emulator import Emulator

REHEARSAL = not any(name.startswith(("COMETAPI_", "KLINGAI_")) for name in os.environ)
FOLDER = Path(os.environ.get("FOLDER", "kling-app"), "rehearsal" if REHEARSAL else "paid")
VIDEOS = FOLDER / "videos"
PUBLIC_URL = os.environ.get("PUBLIC_URL")
LOG = logging.getLogger(__name__)
REFUSED = (ValidationError, ka.RequestRefused, ka.InvalidRequest, ka.ContentRejected)


def secret() -> str:
    """The end of our address for callbacks; kept, since tasks outlive this process."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "callback-secret"
    path.touch(0o600)
    if not path.read_text():
        path.write_text(token_urlsafe())
    return path.read_text()


SECRET = secret() if PUBLIC_URL else ""
CALLBACK_URL = f"{PUBLIC_URL.rstrip('/')}/kling/{SECRET}" if PUBLIC_URL else None


def client() -> ka.Kling:
    """Kling by the key in the environment; without one the emulator, thirty times faster."""
    if not REHEARSAL:
        return ka.Kling(callback_url=CALLBACK_URL)
    polling = ka.Polling(interval=0.2, sweep_interval=0.2)
    emulator = Emulator(speed=30)
    return ka.Kling(ka.KlingAI("no-key"), polling=polling, transport=emulator.transport())


# Whoever comes second is told that the database is locked.
SCHEMA = """PRAGMA locking_mode = EXCLUSIVE; BEGIN EXCLUSIVE; CREATE TABLE IF NOT EXISTS tasks
    (id TEXT PRIMARY KEY, prompt TEXT, token TEXT, step TEXT, reason TEXT); COMMIT"""


def database() -> sqlite3.Connection:
    VIDEOS.mkdir(parents=True, exist_ok=True)
    path = FOLDER / "tasks.db"
    return sqlite3.connect(path, isolation_level=None, timeout=1, check_same_thread=False)


@dataclass
class Row:
    """A task of ours; its id is also the external_task_id that Kling knows it by."""

    id: str
    prompt: str
    token: str | None = None
    step: str = "waiting"  # the last one is "over", and the only one that the database learns of
    reason: str = ""  # why there is no video
    task: ka.Task[ka.VideoResult] | None = None
    changed: Event = field(default_factory=Event)

    def tell(self, step: str) -> None:
        self.changed.set()
        self.step, self.changed = step, Event()


class Studio:
    """Makes the videos: one client and one database for all of them."""

    def __init__(self, kling: ka.Kling, db: sqlite3.Connection, group: TaskGroup) -> None:
        self.kling, self.db, self.group = kling, db, group
        self.one_at_a_time = CapacityLimiter(1)
        self.open: dict[str, Row] = {}

    async def sql(self, statement: str, *values: str | None) -> list[Row]:
        """Run a statement in a thread; when it returns, the disk has it."""

        def run() -> list[tuple[Any, ...]]:
            return self.db.execute(statement, values).fetchall()

        found = await to_thread.run_sync(run, limiter=self.one_at_a_time)
        return [Row(*values) for values in found]

    def start(self, row: Row, *, new: bool) -> None:
        self.open[row.id] = row
        self.group.start_soon(partial(self.see_through, row, new=new))

    async def see_through(self, row: Row, *, new: bool) -> None:
        """Bring a row to its end. What breaks on the way is tried again, and not paid for again."""
        pause, update = 1.0, "UPDATE tasks SET step = 'over', reason = ? WHERE id = ?"
        while row.step != "over":
            try:
                row.reason = await self.make(row, new=new)
                await self.sql(update, row.reason, row.id)
                del self.open[row.id]
                row.tell("over")
            except Exception as error:
                LOG.warning("%s is tried again in %.0f s: %r", row.id, pause, error)
                row.tell("trouble")
                await sleep(pause)
                pause = min(2 * pause, 3600)

    async def make(self, row: Row, *, new: bool) -> str:
        """Save the video, or say why there is none."""
        try:
            row.task = row.task or await self.task(row, new=new)
        except ka.DuplicateTaskId:
            raise  # there is such a task, so it will be found
        except REFUSED as error:
            if not new:  # the refusal may be of the look-up, and the task be paid for
                raise
            return str(error)
        await self.sql("UPDATE tasks SET token = ? WHERE id = ?", row.task.token, row.id)
        try:
            async for state in row.task.updates(timeout=None):
                row.tell(state.status)
            await self.kling.download(await row.task, VIDEOS / f"{row.id}.mp4", overwrite=True)
        except ka.TaskFailed as error:
            return str(error)
        return ""

    async def task(self, row: Row, *, new: bool) -> ka.Task[ka.VideoResult]:
        if row.token:
            return self.kling.task(row.token)
        provider = self.kling.provider
        if new or (provider.finds_external_id and provider.refuses_duplicate_ids):
            return await self.kling.text2video.submit(prompt=row.prompt, external_task_id=row.id)
        # An earlier process may have sent it, and sending it again may pay for it again.
        return await self.kling.settle(row.id)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    global studio
    with closing(await to_thread.run_sync(database)) as db:
        await to_thread.run_sync(db.executescript, SCHEMA)
        async with client() as kling, create_task_group() as group:
            studio = Studio(kling, db, group)
            if PUBLIC_URL:
                from kling_async.webhooks import callback_app

                app.mount("/kling", callback_app(kling, path_token=SECRET))
            if REHEARSAL:  # a new emulator knows none of the old one's tasks: made anew, for free
                await studio.sql("UPDATE tasks SET token = NULL")
            for row in await studio.sql("SELECT * FROM tasks WHERE step = 'waiting'"):
                studio.start(row, new=False)
            yield
            group.cancel_scope.cancel()


studio: Studio
app = FastAPI(lifespan=lifespan)
app.mount("/videos", StaticFiles(directory=VIDEOS, check_dir=False))


async def find(task_id: UUID) -> Row:
    if row := studio.open.get(str(task_id)):
        return row
    for row in await studio.sql("SELECT * FROM tasks WHERE id = ?", str(task_id)):
        return row
    raise HTTPException(404)


@app.get("/")
async def form() -> HTMLResponse:
    return page(FORM, title="What shall the video show?", form=str(uuid4()))


@app.post("/tasks")
async def order(
    form: Annotated[UUID, Form()], prompt: Annotated[str, Form(pattern=r"\S", max_length=2500)]
) -> RedirectResponse:
    prompt = " ".join(prompt.split())
    task_id = str(uuid5(form, prompt))  # a form that is sent twice is one task
    insert = "INSERT INTO tasks VALUES (?, ?, NULL, 'waiting', '') ON CONFLICT DO NOTHING"
    for row in await studio.sql(f"{insert} RETURNING *", task_id, prompt):
        studio.start(row, new=True)
    return RedirectResponse(f"/tasks/{task_id}", 303)


@app.get("/tasks/{task_id}")
async def show(row: Annotated[Row, Depends(find)]) -> HTMLResponse:
    body = OPEN if row.step != "over" else FAILED if row.reason else SAVED
    return page(body, title=row.prompt, id=row.id, reason=row.reason)


@app.get("/tasks/{task_id}/events", response_class=EventSourceResponse)
async def events(row: Annotated[Row, Depends(find)]) -> AsyncIterable[str]:
    """The present step and all later ones: who comes back goes on from there."""
    while True:
        step, changed = row.step, row.changed
        yield step
        if step == "over":
            return
        await changed.wait()


def page(body: str, **values: str) -> HTMLResponse:
    note = "On the emulator: for free, and the same film for every prompt." if REHEARSAL else ""
    safe = {name: escape(value) for name, value in values.items()}
    return HTMLResponse(Template(HEAD + body + FOOT).substitute(safe, note=note))


HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>$title</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><style>
:root { color-scheme: light dark; --card: light-dark(#fff, #1e1c29);
  --line: light-dark(#dcd8e8, #3a3750); --accent: light-dark(#5a3fd6, #a794ff) }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background:
  linear-gradient(160deg, light-dark(#efebff, #14121d), light-dark(#fdf1ea, #1b1420));
  font: 1rem/1.5 system-ui, sans-serif; color: light-dark(#1d1b26, #eeecf6) }
main { box-sizing: border-box; width: min(42rem, 94vw); padding: 2rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 1.25rem; box-shadow: 0 1rem 3rem #0001 }
h1 { margin: 0 0 1rem; font-size: 1.4rem; overflow-wrap: anywhere }
textarea { box-sizing: border-box; width: 100%; padding: .8rem; font: inherit; color: inherit;
  background: none; border: 1px solid var(--line); border-radius: .75rem }
button { margin-top: .8rem; padding: .7rem 1.4rem; font: inherit; font-weight: 600; border: 0;
  border-radius: .75rem; color: var(--card); background: var(--accent) }
a { color: var(--accent); margin-right: 1rem }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
video { width: 100%; max-height: 70vh; border-radius: .75rem; background: #000 }
ol { display: grid; grid-auto-flow: column; gap: .5rem; padding: 0; list-style: none }
li { border-top: 4px solid var(--line); padding-top: .4rem; opacity: .7 }
li:has(~ [aria-current]), li[aria-current] { border-color: var(--accent); opacity: 1 }
li[aria-current] { font-weight: 600 }
</style><main><h1>$title</h1>"""

FOOT = "<p><small>$note</small></p></main></html>"

FORM = """<form method="post" action="/tasks" autocomplete="off">
<input type="hidden" name="form" value="$form">
<textarea name="prompt" aria-label="Prompt" rows="4" maxlength="500" required autofocus
  placeholder="A paper boat on a storm drain"></textarea><button>Make the video</button></form>"""

OPEN = """<ol><li id="waiting">Waiting</li><li id="submitted">Submitted</li>
<li id="processing">In the making</li><li id="succeed">Saving</li></ol><p role="status"></p><script>
function listen() {
  const source = new EventSource(location.pathname + "/events")
  source.onmessage = ({data}) => {
    const item = document.getElementById(JSON.parse(data))
    if (data === '"over"') { source.close(); return location.reload() }
    document.querySelector("[aria-current]")?.removeAttribute("aria-current")
    item?.setAttribute("aria-current", "step")
    document.querySelector("[role=status]").textContent =
      (item?.textContent ?? "It takes longer than usual") + ". You may leave, and come back."
  }
  source.onerror = () => source.readyState === 2 && setTimeout(listen, 2000)  // a proxy's 502, say
}
listen()</script>"""

SAVED = """<video src="/videos/$id.mp4" controls autoplay muted loop playsinline></video>
<p><a href="/videos/$id.mp4" download>Download</a> <a href="/">Another one</a></p>"""

FAILED = '<p role="alert">$reason</p><p><a href="/">Another one</a></p>'

if __name__ == "__main__":
    uvicorn.run(app, timeout_graceful_shutdown=1)  # else open pages hold up a stop
