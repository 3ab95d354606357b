"""A web backend on many machines, to be copied: they share PostgreSQL and a folder, nothing else.

    pip install "kling_async[dbos,emulator]" fastapi python-multipart
    DATABASE_URL=postgresql://user:password@host/database python examples/fleet_app.py

That starts what would run on four machines, and starts again what you kill:

    python examples/fleet_app.py work    # twice
    uvicorn examples.fleet_app:app --port 8000 --timeout-graceful-shutdown 1    # twice, see PORT

It plays on an emulator until COMETAPI_KEY or KLINGAI_API_KEY is set; from then on whoever reaches
the page spends your money: put your login before it. SLOTS is how many tasks your account may have
in progress, and ACCOUNT its name in the database; FOLDER, which all machines see by the same path,
keeps the videos; PORT is the first of the web servers' two, and the emulator has the third. With
PUBLIC_URL, the address by which the world reaches the web servers, and CALLBACK_SECRET, 32 random
letters and the same everywhere, Kling calls back.
"""

from __future__ import annotations

import contextlib
import os
import platform
import signal
import sys
from collections.abc import AsyncGenerator, AsyncIterable
from html import escape
from pathlib import Path
from string import Template
from typing import Annotated
from uuid import UUID, uuid4, uuid5

import anyio
from fastapi import Depends, FastAPI, Form, HTTPException
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.sse import EventSourceResponse
from fastapi.staticfiles import StaticFiles
from pydantic import ValidationError

import kling_async as ka
from kling_async.engines.dbos import JobState, JobStatus, KlingDBOS

DATABASE_URL = os.environ.get("DATABASE_URL") or sys.exit(
    "DATABASE_URL: give the address of a PostgreSQL database, postgresql://…"
)
FOLDER = Path(os.environ.get("FOLDER", "kling-fleet")).resolve()
VIDEOS = FOLDER / "videos"
PROGRAM = Path(__file__).resolve()
GRACE = "--timeout-graceful-shutdown", "1"  # else open pages hold up a stop
PATIENCE = 10  # seconds that a process has to stop
SLOTS = os.environ.get("SLOTS", "10")
MOST = 1000  # prompts in an order
REHEARSAL = os.environ.get("EMULATOR")  # its address
PUBLIC_URL, SECRET = os.environ.get("PUBLIC_URL"), os.environ.get("CALLBACK_SECRET")
ENDED = {JobStatus.SUCCEEDED, JobStatus.FAILED}
REFUSED = (ka.TaskFailed, ka.RequestRefused, ka.InvalidRequest, ka.ContentRejected)


def client() -> ka.Kling:
    """Kling by the key in the environment of a worker, or the emulator."""
    if REHEARSAL is None:
        return ka.Kling()
    local = ka.Downloads(http=True, private=True)
    polling = ka.Polling(interval=0.2, sweep_interval=0.2)
    return ka.Kling(
        ka.KlingAI("no-key", base_url=f"{REHEARSAL}/official"), polling=polling, downloads=local
    )


fleet = KlingDBOS(
    DATABASE_URL,
    client=client,
    account=os.environ.get("ACCOUNT", "main"),
    concurrency=int(SLOTS),
    callback_url=f"{PUBLIC_URL.rstrip('/')}/kling/{SECRET}" if PUBLIC_URL else None,
)


async def work() -> None:
    """A batch worker, until it is told to stop; what it has under way goes on elsewhere."""
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with fleet.worker():
            print(f"worker {os.getpid()} is running on {platform.node()}", flush=True)
            await anext(aiter(signals))


@contextlib.asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
    async with fleet.open():
        if PUBLIC_URL:
            app.mount("/kling", fleet.callback_app(path_token=SECRET))
        yield


app = FastAPI(lifespan=lifespan)
app.mount("/videos", StaticFiles(directory=VIDEOS, check_dir=False))


@app.get("/")
async def form() -> HTMLResponse:
    first = {state.key[:36]: state for state in await fleet.states(limit=50)}
    links = "".join(
        f'<li><a href="/orders/{order}">{escape(title(state))}</a></li>'
        for order, state in first.items()
    )
    return page(FORM, title="What shall the videos show?", form=str(uuid4()), latest=links)


@app.post("/orders")
async def order(
    form: Annotated[UUID, Form()],
    prompts: Annotated[str, Form(pattern=r"\S", max_length=100_000)],
) -> RedirectResponse:
    """A form that is sent twice, to whatever server, is one order; when changed, it is another."""
    lines = [" ".join(line.split()) for line in prompts.splitlines() if line.strip()]
    if len(lines) > MOST:
        raise HTTPException(422, f"{len(lines)} prompts are too many: {MOST} at once")
    name = uuid5(form, "\n".join(lines))
    try:
        requests = [ka.Text2Video(prompt=line) for line in lines]  # all, before one is paid for
        for number, request in enumerate(requests):
            key = f"{name}-{number}"
            await fleet.submit(request, key=key, to=VIDEOS / f"{key}.mp4")
    except (ValidationError, ka.RequestRefused, ka.RequestChanged) as error:
        raise HTTPException(422, str(error)) from error
    return RedirectResponse(f"/orders/{name}", 303)


async def jobs(order: UUID) -> list[JobState]:
    """The jobs of an order, as any machine finds them in the database."""
    states = await fleet.states(prefix=f"{order}-", limit=MOST)
    if not states:
        raise HTTPException(404)
    return sorted(states, key=lambda state: int(state.key[37:]))


States = Annotated[list[JobState], Depends(jobs)]


@app.get("/orders/{order}")
async def show(states: States) -> HTMLResponse:
    cards = "".join(
        f'<li id="{state.key}"><b>{escape(title(state))}</b> <span role="status"></span></li>'
        for state in states
    )
    return page(ORDER, title=f"{len(states)} videos", cards=cards)


@app.get("/orders/{order}/events", response_class=EventSourceResponse)
async def events(order: UUID, states: States) -> AsyncIterable[dict[str, str]]:
    """Where each job is, and every change: who comes back, to any server, goes on from there."""
    told: dict[str, str] = {}
    while True:
        for state in states:
            if told.get(state.key) != state.status:
                told[state.key] = state.status
                yield {"key": state.key, "status": state.status, "reason": reason(state)}
        if all(state.status in ENDED for state in states):
            yield {"status": "over"}
            return
        await anyio.sleep(0.5)
        states = await jobs(order)


def title(state: JobState) -> str:
    return str(getattr(state.request, "prompt", state.key))


def reason(state: JobState) -> str:
    """Why there is no video, where that is the visitor's business; the workers log the rest."""
    return str(state.error) if isinstance(state.error, REFUSED) else ""


def page(body: str, *, title: str, **html: str) -> HTMLResponse:
    note = "On the emulator: for free, and the same film for every prompt." if REHEARSAL else ""
    note += f" Server {os.getpid()}."
    return HTMLResponse(Template(HEAD + body + FOOT).substitute(html, title=title, note=note))


HEAD = """<!doctype html><html lang="en"><meta charset="utf-8"><title>$title</title>
<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"><style>
:root { color-scheme: light dark; --card: light-dark(#fff, #1e1c29);
  --line: light-dark(#dcd8e8, #3a3750); --accent: light-dark(#5a3fd6, #a794ff) }
body { margin: 0; min-height: 100vh; display: grid; place-items: center; background:
  linear-gradient(160deg, light-dark(#efebff, #14121d), light-dark(#fdf1ea, #1b1420));
  font: 1rem/1.5 system-ui, sans-serif; color: light-dark(#1d1b26, #eeecf6) }
main { box-sizing: border-box; width: min(60rem, 94vw); padding: 2rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 1.25rem; box-shadow: 0 1rem 3rem #0001 }
h1 { margin: 0 0 1rem; font-size: 1.4rem }
textarea { box-sizing: border-box; width: 100%; padding: .8rem; font: inherit; color: inherit;
  background: none; border: 1px solid var(--line); border-radius: .75rem }
button { margin-top: .8rem; padding: .7rem 1.4rem; font: inherit; font-weight: 600; border: 0;
  border-radius: .75rem; color: var(--card); background: var(--accent) }
a { color: var(--accent) }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px }
.cards { display: grid; grid-template-columns: repeat(auto-fill, minmax(13rem, 1fr)); gap: 1rem;
  padding: 0; list-style: none }
.cards li { border-top: 4px solid var(--line); padding-top: .4rem; overflow-wrap: anywhere }
.cards li[data-status=running], .cards li[data-status=saving] { border-color: var(--accent) }
video { width: 100%; border-radius: .5rem; background: #000 }
[role=status] { display: block; opacity: .7 }
</style><main><h1>$title</h1>"""

FOOT = "<p><small>$note</small></p></main></html>"

FORM = """<form method="post" action="/orders" autocomplete="off">
<input type="hidden" name="form" value="$form">
<textarea name="prompts" aria-label="Prompts, one a line" rows="6" required autofocus
  placeholder="A paper boat on a storm drain&#10;A cork behind it"></textarea>
<button>Make a video of each line</button></form><ul>$latest</ul>"""

ORDER = """<ul class="cards">$cards</ul><p><a href="/">More</a></p><script>
function listen() {
  const source = new EventSource(location.pathname + "/events")
  source.onmessage = ({data}) => {
    const {key, status, reason} = JSON.parse(data)
    if (status === "over") return source.close()
    const card = document.getElementById(key)
    if (!card) return location.reload()  // more were ordered since
    card.dataset.status = status
    card.querySelector("[role=status]").textContent = reason || status
    if (status === "succeeded" && !card.querySelector("video")) {
      const film = Object.assign(document.createElement("video"),
        {src: "/videos/" + key + ".mp4", controls: true, muted: true, loop: true, autoplay: true})
      card.append(film)
    }
  }
  source.onerror = () => source.readyState === 2 && setTimeout(listen, 2000)  // a proxy's 502, say
}
listen()</script>"""


async def run_all() -> None:
    """What a service manager does on your machines."""
    port = int(os.environ.get("PORT", "8000"))
    serve = "-m", "uvicorn", f"{PROGRAM.stem}:app", "--app-dir", str(PROGRAM.parent), "--port"
    commands: list[tuple[str, ...]] = [(str(PROGRAM), "work"), (str(PROGRAM), "work")]
    commands += [(*serve, str(each), *GRACE) for each in (port, port + 1)]
    if not any(name.startswith(("COMETAPI_", "KLINGAI_")) for name in os.environ):
        os.environ["EMULATOR"] = f"http://127.0.0.1:{port + 2}"
        os.environ["ACCOUNT"] = f"rehearsal-{uuid4().hex}"  # an emulator knows no earlier one's
        emulator = "--port", str(port + 2), "--speed", "30", "--parallel", SLOTS
        commands += [("-m", "kling_async.emulator", *emulator)]
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async with anyio.create_task_group() as group:
            for command in commands:
                group.start_soon(keep_running, command)
            await anext(aiter(signals))
            group.cancel_scope.cancel()


async def keep_running(command: tuple[str, ...]) -> None:
    while True:
        process = await anyio.open_process(
            [sys.executable, *command], stdin=None, stdout=None, stderr=None
        )
        try:
            await process.wait()
        finally:
            with anyio.CancelScope(shield=True), contextlib.suppress(ProcessLookupError):
                process.terminate()
                with anyio.move_on_after(PATIENCE):
                    await process.wait()
                process.kill()
                await process.wait()
        await anyio.sleep(1)


if __name__ == "__main__":
    anyio.run(work if sys.argv[1:] == ["work"] else run_all)
