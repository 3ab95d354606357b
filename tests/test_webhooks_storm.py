"""Ten thousand hostile callbacks change nothing, and cost few questions and no memory."""

from __future__ import annotations

import gc
import json
import tracemalloc
from collections import Counter
from random import Random
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from kling_async import Event, Task, TaskPolled, TaskStatus, VideoResult
from kling_async.testing import virtual_backend
from kling_async.webhooks import callback_app
from tests.switchboard import BOAT, PATH_TOKEN, Line, connected
from tests.test_webhooks_parse import OTHER, SECRET, headers

pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

CALLS = 10_000
LIVE = 20


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> tuple[str, dict[str, Any]]:
    """So many take long: trio has its turn in the other tests of callbacks."""
    return virtual_backend(request.param)


def hostile(random: Random, tasks: list[Task[VideoResult]]) -> tuple[bytes, dict[str, str]]:
    """One of all that may come: forged, doubled, late, out of order, unsigned, nonsense."""
    task_id = random.choice(tasks).id if random.random() < 0.7 else str(random.getrandbits(60))
    status = random.choice(["submitted", "processing", "succeed", "failed", "odd", ""])
    videos = [{"id": "1", "url": "https://evil.test/forged.mp4", "duration": "5"}]
    body = json.dumps(
        random.choice(
            [
                {"task_id": task_id, "task_status": status, "task_result": {"videos": videos}},
                {"id": task_id, "status": status, "outputs": videos},
            ]
        )
    ).encode()
    body = random.choices(
        [body, b"[" * 5_000, b"{" + body, b" " * 10_000_000, b"\xff" * 100],
        weights=[90, 2, 2, 0.2, 2],
    )[0]
    secret = random.choices([SECRET, OTHER, None], weights=[8, 1, 1])[0]
    return body, headers(secret, body) if secret and len(body) < 1_000_000 else {}


async def storm(line: Line, tasks: list[Task[VideoResult]]) -> Counter[int]:
    random, answers = Random(7), Counter[int]()
    sent: list[tuple[bytes, dict[str, str]]] = []
    for number in range(CALLS):
        if sent and random.random() < 0.2:
            body, names = random.choice(sent)  # replayed
        else:
            body, names = hostile(random, tasks)
            sent = [*sent[-99:], (body, names)]
        answers[(await line.http.post(line.path, content=body, headers=names)).status_code] += 1
        if number % 100 == 99:
            await anyio.sleep(0.3)  # 30 s in all
    return answers


async def test_no_state_changes_but_through_a_question() -> None:
    events: list[Event] = []
    app = {"secrets": [SECRET]}
    async with connected(app=app, client={"hooks": [events.append]}, duration=1000) as line:
        line.switchboard.down = True
        tasks = [await line.kling.submit(BOAT) for _ in range(LIVE)]
        answers = await storm(line, tasks)

        await anyio.sleep(6)  # for what is still to be asked
        asked = len(line.asked)
        told = [event for event in events if isinstance(event, TaskPolled)]
        last = {event.task_id: event.status for event in told}
        assert last == {task.id: task.state.status for task in tasks}
        assert TaskStatus.SUCCEEDED not in last.values()
        assert asked == len(told)
        assert asked <= LIVE * 8  # 36 s hold seven intervals and their beginning
        line.switchboard.down = False
        results = [await task async for task in line.kling.as_completed(tasks)]

    assert set(answers) == {200, 400, 401, 413}
    assert answers[200] > CALLS / 2
    assert len(results) == LIVE
    assert "evil" not in str(results)


async def test_memory_stays_flat() -> None:
    async with connected(duration=100_000) as line:
        app = callback_app(line.kling, path_token=PATH_TOKEN)
        task = await line.kling.submit(BOAT)
        piece = {"type": "http.request", "body": b" " * 65_536, "more_body": True}
        scope = {"type": "http", "method": "POST", "path": f"/{PATH_TOKEN}", "headers": []}

        async def send(message: object) -> None:
            pass

        async def call(number: int) -> None:
            external = {"external_task_id": f"stranger-{number}" * 20}
            for task_id in (task.id, f"{number}"):
                told = {"task_id": task_id, "task_status": "succeed", "task_info": external}

                async def receive(told: object = told) -> dict[str, object]:
                    return {"type": "http.request", "body": json.dumps(told).encode()}

                await app(scope, receive, send)

            async def endless() -> dict[str, object]:
                return piece

            if number % 10 == 0:
                await app(scope, endless, send)

        tracemalloc.start()
        held: list[int] = []
        for number in range(CALLS):
            await call(number)
            await anyio.lowlevel.checkpoint()
            if number in (CALLS // 2, CALLS - 1):
                gc.collect()
                held.append(tracemalloc.get_traced_memory()[0])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()

    assert held[1] - held[0] < 500_000  # a kilobyte came with each
    assert peak < 6_000_000
