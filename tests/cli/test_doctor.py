"""`kling doctor`: what is wrong is found by free questions, and the key is never shown."""

from __future__ import annotations

import time
from email.utils import formatdate

import httpx
import pytest

from kling_async.cli._shell import Shell
from kling_async.emulator import Emulator, Fault
from tests.cli.terminal import KEY, Terminal

SECRET = "a-secret-key-of-at-least-32-letters"


class Dated(httpx.AsyncBaseTransport):
    """An emulator whose clock goes wrong by so many seconds."""

    def __init__(self, emulator: Emulator, seconds: float) -> None:
        self._transport = emulator.transport()
        self._seconds = seconds

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        response = await self._transport.handle_async_request(request)
        response.headers["Date"] = formatdate(time.time() + self._seconds, usegmt=True)
        return response


class Clocked(Terminal):
    seconds = 0.0

    def open(self) -> Shell:
        shell = super().open()
        shell.transport = Dated(self.emulator, self.seconds)
        return shell


def check(terminal: Terminal, costs: int = 0) -> None:
    """It showed no key, and cost nothing."""
    for secret in (KEY, SECRET, "a-comet-key-0123"):
        assert secret not in terminal.out + terminal.err
    assert terminal.creates == costs


async def test_all_is_well(terminal: Terminal) -> None:
    assert await terminal.run("doctor") == 0

    assert "found in KLINGAI_API_KEY" in terminal.out
    assert "https://api-singapore.klingai.com answers" in terminal.out
    assert "not known; the answer has no date" in terminal.out
    assert "the key is accepted" in terminal.out
    assert "lists tasks: yes" in terminal.out
    check(terminal)


async def test_tells_programs_check_by_check(terminal: Terminal) -> None:
    terminal.environ = {"COMETAPI_KEY": "a-comet-key-0123"}

    assert await terminal.run("doctor", "--json") == 0
    assert [found["check"] for found in terminal.objects] == [
        "key",
        "host",
        "clock",
        "answer",
        "provider",
    ]
    assert "finds external ids: not known" in terminal.objects[-1]["says"]
    check(terminal)


async def test_pair_of_keys_is_named(terminal: Terminal) -> None:
    terminal.environ = {"KLINGAI_ACCESS_KEY": "access", "KLINGAI_SECRET_KEY": SECRET}

    await terminal.run("doctor", "--base-url", "https://host.example/official")
    assert "found in KLINGAI_ACCESS_KEY and KLINGAI_SECRET_KEY" in terminal.out
    assert "https://host.example/official answers" in terminal.out
    check(terminal)


async def test_gateway_is_asked_at_its_own_host(terminal: Terminal) -> None:
    terminal.environ = {"KLING_GATEWAY_KEY": "a-gateway-key-01"}
    words = ("--provider", "gateway", "--base-url", "https://host.example/gateway/newapi")

    assert await terminal.run("doctor", *words) == 0
    assert "gateway; lists tasks: no; finds external ids: no" in terminal.out


async def test_other_host_of_cometapi_is_asked(terminal: Terminal) -> None:
    terminal.environ = {"COMETAPI_KEY": "a-comet-key-0123"}

    assert await terminal.run("doctor", "--base-url", "https://comet.example") == 0
    assert "https://comet.example answers" in terminal.out


async def test_refused_key_is_three(terminal: Terminal) -> None:
    terminal.emulator.faults.add(Fault.UNAUTHORIZED, on="query", times=9)

    assert await terminal.run("doctor") == 3
    assert "KLINGAI_API_KEY" in terminal.out
    check(terminal)


async def test_missing_key_is_three(terminal: Terminal) -> None:
    terminal.environ.clear()

    assert await terminal.run("doctor") == 3


async def test_host_that_does_not_answer_is_told(terminal: Terminal) -> None:
    terminal.emulator.faults.add(Fault.LOST_BEFORE, on="query", times=9)

    assert await terminal.run("doctor") == 1
    assert "does not answer" in terminal.out


async def test_answer_of_no_kling_is_told(terminal: Terminal) -> None:
    terminal.emulator.faults.add(Fault.HTML, on="query", times=9)

    assert await terminal.run("doctor") == 1
    assert "the key is accepted" not in terminal.out


async def test_task_where_none_should_be_proves_the_key(terminal: Terminal) -> None:
    name = ("--external-task-id", "kling-doctor-asks-for-no-task")
    await terminal.run("text2video", "--prompt", "A boat", "--no-wait", *name)

    assert await terminal.run("doctor") == 0
    check(terminal, costs=1)


@pytest.mark.parametrize(
    ("seconds", "code", "said"),
    [(0, 0, "right to 1 s"), (-600, 1, " s fast; set it right"), (600, 1, " s slow; set it right")],
)
async def test_wrong_clock_is_told(
    terminal: Terminal, seconds: float, code: int, said: str
) -> None:
    clocked = Clocked(terminal.emulator)
    clocked.seconds = seconds

    assert await clocked.run("doctor") == code
    assert said in clocked.out


async def test_no_key_is_a_finding(terminal: Terminal) -> None:
    terminal.environ = {}

    assert await terminal.run("doctor", "--json") == 3
    (found,) = terminal.objects
    assert (found["check"], found["fine"]) == ("key", False)
    assert found["says"].startswith("no key found: set COMETAPI_KEY or KLINGAI_API_KEY or ")
    assert " or KLING_GATEWAY_KEY. No key yet?" in found["says"]
