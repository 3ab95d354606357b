"""The ASGI app answers quickly, bounds what it reads, and gives nothing away."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable
from contextlib import suppress
from typing import Any

import anyio
import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount

from kling_async import ConfigurationError, Kling, KlingAI, TaskStatus
from kling_async.emulator._server import serve
from kling_async.webhooks import Callback, callback_app
from tests.switchboard import KEY, PATH_TOKEN, Line, connected
from tests.test_webhooks_parse import BODY, OTHER, SECRET, headers


@pytest.fixture
def kling() -> Kling:
    return Kling(KlingAI(KEY))


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    async with connected() as line:
        yield line


async def status_of(
    app: Any, messages: Iterable[dict[str, Any]], *, path: str = f"/{PATH_TOKEN}", **scope: Any
) -> int | None:
    """What the app answers to raw ASGI messages; the last of them goes on for ever."""
    told: list[Any] = []
    waiting = iter(messages)
    last: dict[str, Any] = {}

    async def receive() -> dict[str, Any]:
        nonlocal last
        last = next(waiting, last)
        if "pause" in last:
            await anyio.sleep(last["pause"])
        return {"type": "http.request", **last}

    async def send(message: Any) -> None:
        told.append(message)

    given = {"type": "http", "method": "POST", "path": path, "headers": [], **scope}
    await app(given, receive, send)
    if not told:
        return None
    assert [message["type"] for message in told] == ["http.response.start", "http.response.body"]
    assert told[1]["body"] == b""
    return int(told[0]["status"])


async def test_callback_is_answered_with_nothing_but_200(line: Line) -> None:
    reply = await line.http.post(line.path, content=BODY)

    assert (reply.status_code, reply.content) == (200, b"")


@pytest.mark.parametrize("method", ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"])
async def test_other_methods_are_refused(line: Line, method: str) -> None:
    reply = await line.http.request(method, line.path)

    assert (reply.status_code, reply.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize(
    "path",
    ["/", "", "/kling", "/kling/", f"/{PATH_TOKEN[:-1]}", f"/{PATH_TOKEN}/", "/kling/\xff\ud800"],
)
async def test_without_the_token_there_is_nothing(line: Line, path: str) -> None:
    app = callback_app(line.kling, path_token=PATH_TOKEN)
    unread: list[dict[str, Any]] = []

    assert await status_of(app, unread, path=path) == 404


@pytest.mark.parametrize("token", ["für-Kling-❤", "\udcff"])
async def test_token_need_not_be_ascii(kling: Kling, token: str) -> None:
    app = callback_app(kling, path_token=token)

    assert await status_of(app, [{"body": BODY}], path=f"/{token}") == 200
    assert await status_of(app, [{"body": BODY}], path=f"/{token}x") == 404


async def test_secret_alone_needs_no_path(kling: Kling) -> None:
    app = callback_app(kling, secrets=[OTHER, SECRET])
    signed = [(name.lower().encode(), value.encode()) for name, value in headers().items()]

    assert await status_of(app, [{"body": BODY}], path="/x", headers=signed) == 200
    assert await status_of(app, [{"body": BODY}], path="/x") == 401
    assert await status_of(app, [{"body": BODY[:-1]}], path="/x", headers=signed) == 401


async def test_secret_and_token_are_both_required(kling: Kling) -> None:
    app = callback_app(kling, secrets=SECRET, path_token=PATH_TOKEN)
    signed = [(name.lower().encode(), value.encode()) for name, value in headers().items()]

    assert await status_of(app, [{"body": BODY}], headers=signed) == 200
    assert await status_of(app, [{"body": BODY}]) == 401
    assert await status_of(app, [{"body": BODY}], path="/x", headers=signed) == 404


def test_one_of_them_must_be_given(kling: Kling) -> None:
    with pytest.raises(ConfigurationError, match=r"secrets\.token_urlsafe\(\)"):
        callback_app(kling)


@pytest.mark.parametrize("token", ["", "a/b"])
def test_token_that_no_path_can_end_in_is_refused(kling: Kling, token: str) -> None:
    with pytest.raises(ConfigurationError, match="path_token"):
        callback_app(kling, path_token=token)


@pytest.mark.parametrize(
    ("length", "status"),
    [(b"10000000", 413), (b"1000001", 413), (b"9" * 5000, 413), (b"-1", 400), (b"x", 400)]
    + [(b"", 400), (b"\xb2", 400), (b"42", 200)],
)
async def test_length_is_looked_at_before_the_body(
    kling: Kling, length: bytes, status: int
) -> None:
    app = callback_app(kling, path_token=PATH_TOKEN)
    messages = [{"body": BODY}] if status == 200 else [{"pause": 99}]

    assert await status_of(app, messages, headers=[(b"content-length", length)]) == status
    assert anyio.current_time() == 0


async def test_body_is_counted_while_it_comes(kling: Kling) -> None:
    app = callback_app(kling, path_token=PATH_TOKEN)
    piece = {"body": b" " * 65_536, "more_body": True}

    assert await status_of(app, [piece]) == 413
    assert await status_of(app, [{**piece, "body": BODY.ljust(1_000_000)}, {}]) == 200
    assert await status_of(app, [{**piece, "body": BODY.ljust(1_000_000)}, {"body": b" "}]) == 413


@pytest.mark.parametrize(
    "piece", [{"body": b" ", "pause": 1}, {"body": b""}, {}, {"pause": 3600}], ids=str
)
async def test_body_without_end_is_given_up(kling: Kling, piece: dict[str, Any]) -> None:
    app = callback_app(kling, path_token=PATH_TOKEN)

    with anyio.fail_after(11):
        if "pause" not in piece:  # the clock stands still while anything can run
            piece = {**piece, "pause": 0.01}
        assert await status_of(app, [{**piece, "more_body": True}]) == 408


async def test_body_may_come_in_any_number_of_pieces(kling: Kling) -> None:
    seen: list[Callback] = []
    app = callback_app(kling, path_token=PATH_TOKEN, on_unknown=seen.append)
    body = BODY.ljust(2_000)

    pieces = [{"body": body[n : n + 1], "more_body": True} for n in range(len(body))]
    assert await status_of(app, [*pieces, {"body": b""}]) == 200
    assert seen == [Callback("7", TaskStatus.SUCCEEDED)]


async def test_empty_pieces_let_others_run(kling: Kling) -> None:
    app = callback_app(kling, path_token=PATH_TOKEN)

    with anyio.move_on_after(0) as span:
        await status_of(app, [{"body": b"", "more_body": True}])

    assert span.cancelled_caught


async def test_slow_bodies_hold_little_memory(kling: Kling) -> None:
    app = callback_app(kling, path_token=PATH_TOKEN)
    read: list[int] = []

    async def drip(number: int) -> None:
        async def receive() -> dict[str, Any]:
            read.append(number)
            await anyio.sleep(1)
            return {"type": "http.request", "body": b" ", "more_body": True}

        async def send(message: Any) -> None:
            pass

        scope = {"type": "http", "method": "POST", "path": f"/{PATH_TOKEN}", "headers": []}
        await app(scope, receive, send)

    async with anyio.create_task_group() as group:
        for number in range(1000):
            group.start_soon(drip, number)

    assert len(set(read)) < 100
    assert anyio.current_time() == pytest.approx(10)


async def test_sender_that_goes_is_not_answered(kling: Kling) -> None:
    app = callback_app(kling, path_token=PATH_TOKEN)

    gone: list[dict[str, Any]] = [{"body": BODY, "more_body": True}, {"type": "http.disconnect"}]
    assert await status_of(app, gone) is None


async def test_unknown_task_is_handed_over() -> None:
    seen: list[Callback] = []

    async def later(callback: Callback) -> None:
        await anyio.sleep(1)
        seen.append(callback)

    for hand_over in (seen.append, later):
        async with connected(app={"on_unknown": hand_over}) as line:
            task = {"task_info": {"external_task_id": "mine"}, "task_id": "7", "task_status": "x"}
            assert await line.post(task) == 200

    assert seen == [Callback("7", TaskStatus.UNKNOWN, "mine")] * 2


async def test_unknown_task_is_dropped_otherwise(line: Line) -> None:
    assert await line.call("7") == 200
    await anyio.sleep(1000)

    assert line.asked == []


async def test_known_task_is_not_handed_over() -> None:
    seen: list[Callback] = []
    async with connected(app={"on_unknown": seen.append}, duration=10) as line:
        await line.kling.text2video.run(prompt="A boat")
        await anyio.sleep(1)

    assert len(line.emulator.callbacks) == 3
    assert seen == []


async def test_what_on_unknown_raises_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(callback: Callback) -> None:
        raise RuntimeError("the queue is down")

    async with connected(app={"on_unknown": fail}) as line:
        assert await line.call("7") == 200

    assert "the queue is down" in caplog.text


async def test_answer_does_not_wait_for_on_unknown(kling: Kling) -> None:
    answered: list[float] = []

    async def hang(callback: Callback) -> None:
        await anyio.sleep(100)

    app = callback_app(kling, path_token=PATH_TOKEN, on_unknown=hang)

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": BODY}

    async def send(message: Any) -> None:
        answered.append(anyio.current_time())

    await app(
        {"type": "http", "method": "POST", "path": f"/{PATH_TOKEN}", "headers": []}, receive, send
    )
    assert answered == [0, 0]
    assert anyio.current_time() == 100


async def test_token_and_body_are_not_logged(line: Line, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "kling_async")
    await line.post(b"a secret in the body")
    await line.call("7")

    assert "kling_async" in {record.name for record in caplog.records}
    ours = [record.getMessage() for record in caplog.records if record.name == "kling_async"]
    assert PATH_TOKEN not in str(ours)
    assert "a secret" not in str(ours)
    assert PATH_TOKEN not in repr(line.kling)


async def test_mounted_in_another_app(line: Line) -> None:
    web = Starlette(
        routes=[Mount("/hooks/kling", app=callback_app(line.kling, path_token=PATH_TOKEN))]
    )
    transport = httpx.ASGITransport(web)
    async with httpx.AsyncClient(transport=transport, base_url="https://app.example") as http:
        good = await http.post(f"/hooks/kling/{PATH_TOKEN}", content=BODY)
        bad = await http.post("/hooks/kling/x", content=BODY)

    assert (good.status_code, bad.status_code) == (200, 404)


async def test_websocket_is_closed(kling: Kling) -> None:
    told: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        told.append(message)

    await callback_app(kling, path_token=PATH_TOKEN)({"type": "websocket"}, receive, send)
    assert told == [{"type": "websocket.close"}]


@pytest.mark.real_time
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_alone_on_a_server(kling: Kling) -> None:
    app = callback_app(kling, path_token=PATH_TOKEN)
    async with serve(app, "127.0.0.1", 0) as origin, httpx.AsyncClient(base_url=origin) as http:
        told = [
            (await http.post(f"/{PATH_TOKEN}", content=body)).status_code
            for body in (BODY, b" " * 10_000_000, BODY, b"[" * 900_000, BODY)
        ]

    assert told == [200, 413, 200, 400, 200]


@pytest.mark.real_time
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_endless_body_on_a_server(kling: Kling) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        while True:
            yield b" " * 65_536

    app = callback_app(kling, path_token=PATH_TOKEN)
    async with serve(app, "127.0.0.1", 0) as origin, httpx.AsyncClient(base_url=origin) as http:
        with anyio.move_on_after(0.5), suppress(httpx.HTTPError):
            reply = await http.post(f"/{PATH_TOKEN}", content=pieces())
            assert reply.status_code == 413
        assert (await http.post(f"/{PATH_TOKEN}", content=BODY)).status_code == 200
