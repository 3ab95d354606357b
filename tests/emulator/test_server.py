"""On a port the emulator cuts real connections, and the command line starts it."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from functools import partial
from typing import Any

import anyio
import httpx
import pytest

from kling_async.emulator import Emulator, Fault
from kling_async.emulator.__main__ import main
from tests.emulator.conftest import KEY

pytestmark = pytest.mark.real_time
T2V = "/kling/v1/videos/text2video"
BODY = {"prompt": "a boat"}


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """Uvicorn knows asyncio alone."""
    return request.param


@pytest.mark.parametrize(
    ("fault", "error", "billed"),
    [
        (Fault.LOST_BEFORE, httpx.RemoteProtocolError, 0),
        (Fault.LOST_ANSWER, httpx.RemoteProtocolError, 1),
        (Fault.RESET, httpx.ReadError, 1),
        (Fault.TRUNCATED, httpx.RemoteProtocolError, 1),
    ],
)
async def test_connection_is_cut(fault: Fault, error: type[Exception], billed: int) -> None:
    emulator = Emulator()
    emulator.faults.add(fault)
    async with emulator.serve() as origin, httpx.AsyncClient(base_url=origin, headers=KEY) as http:
        with pytest.raises(error):
            await http.post(T2V, json=BODY)
        after = await http.get("/ledger")

    assert after.json()["ledger"]["creates"] == billed


async def test_only_the_struck_connection_dies() -> None:
    emulator = Emulator()
    async with emulator.serve() as origin, httpx.AsyncClient(base_url=origin, headers=KEY) as http:
        emulator.faults.add(Fault.STALL, seconds=0.2)
        async with anyio.create_task_group() as group:
            group.start_soon(succeed, http)
            await anyio.sleep(0.05)
            emulator.faults.add(Fault.LOST_ANSWER)
            with pytest.raises(httpx.RemoteProtocolError):
                await http.post(T2V, json=BODY)

    assert len(emulator.ledger) == 2


async def succeed(http: httpx.AsyncClient) -> None:
    assert (await http.post(T2V, json=BODY)).json()["code"] == 0


async def test_videos_come_from_the_same_port() -> None:
    emulator = Emulator(duration=0.0)
    async with emulator.serve() as origin, httpx.AsyncClient(base_url=origin, headers=KEY) as http:
        task_id = (await http.post(T2V, json=BODY)).json()["data"]["task_id"]
        task = (await http.get(f"{T2V}/{task_id}")).json()["data"]
        (video,) = task["task_result"]["videos"]
        file = await http.get(video["url"])

    assert video["url"] == f"{origin}/files/{task_id}/0.mp4"
    assert file.headers["content-type"] == "video/mp4"


async def test_serving_sends_callbacks() -> None:
    received = anyio.Event()

    def receive(request: httpx.Request) -> httpx.Response:
        received.set()
        return httpx.Response(204)

    emulator = Emulator(duration=0.0, callback_transport=httpx.MockTransport(receive))
    async with emulator.serve() as origin, httpx.AsyncClient(base_url=origin, headers=KEY) as http:
        await http.post(T2V, json={**BODY, "callback_url": "http://app.example/hook"})
        with anyio.fail_after(5):
            await received.wait()


@pytest.mark.skipif(not socket.has_ipv6, reason="needs IPv6")
async def test_serves_on_ipv6() -> None:
    emulator = Emulator()
    try:
        async with emulator.serve(host="::1") as origin, httpx.AsyncClient(headers=KEY) as http:
            answer = await http.post(origin + T2V, json=BODY)
    except OSError:
        pytest.skip("no IPv6 here")

    assert answer.json()["code"] == 0


def test_command_greets_serves_and_sums_up() -> None:
    command = [sys.executable, "-m", "kling_async.emulator", "--port", "0"]
    # Where tests run in the background, SIGINT is ignored, and so it would be in what they start.
    heed = partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env=environment(), preexec_fn=heed
    ) as run:
        assert run.stdout is not None
        greeting = [run.stdout.readline() for _ in range(9)]
        origin = greeting[2].split()[1]
        created = httpx.post(origin + T2V, json=BODY, headers=KEY, trust_env=False)
        run.send_signal(signal.SIGINT)
        rest, _ = run.communicate(timeout=10)

    assert created.json()["code"] == 0
    assert f'base_url="{origin}"' in greeting[8]
    assert "'creates': 1" in rest
    assert run.returncode == 0


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONUNBUFFERED": "1"}


def test_taken_port_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["--port", str(port)]) == 1

    assert f"Cannot listen on 127.0.0.1:{port}" in capsys.readouterr().err


def test_missing_server_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "kling_async.emulator._server", raising=False)
    monkeypatch.setitem(sys.modules, "uvicorn", None)

    assert main(["--port", "0"]) == 1
    assert 'pip install "kling_async[emulator]"' in capsys.readouterr().err


def test_missing_starlette_is_told() -> None:
    program = (
        "import sys; sys.modules['starlette'] = None\n"
        "try: import kling_async.emulator\n"
        "except ImportError as error: print(error)"
    )
    command = [sys.executable, "-c", program]
    run = subprocess.run(command, capture_output=True, text=True, check=True)

    assert 'pip install "kling_async[emulator]"' in run.stdout
