"""Connecting under trio, where Ctrl-C may hit one of the tasks in which trio dials."""

from __future__ import annotations

import signal
import socket
from collections.abc import Iterator

import httpcore
import pytest
import trio

from kling_async._background import Background
from kling_async._network import Network


class Interrupting(trio.abc.SocketFactory):
    """Ctrl-C is pressed as trio begins to dial, so many times."""

    def __init__(self, times: int) -> None:
        self.times = times
        self.dialed = 0

    def socket(self, family: int = -1, type: int = -1, proto: int = -1) -> trio.socket.SocketType:
        self.dialed += 1
        if self.dialed <= self.times:
            signal.raise_signal(signal.SIGINT)
        return trio.socket.from_stdlib_socket(socket.socket(family, type, proto))


@pytest.fixture(autouse=True)
def interrupts_are_raised() -> Iterator[None]:
    """Where tests run in the background, they are ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


@pytest.mark.parametrize("times", [1, 3])
def test_interrupt_is_for_the_main_task_and_work_of_ours_goes_on(port: int, times: int) -> None:
    streams: list[httpcore.AsyncNetworkStream] = []

    async def connect() -> None:
        streams.append(await Network(65536).connect_tcp("127.0.0.1", port))

    async def main() -> None:
        sockets = Interrupting(times)
        trio.socket.set_custom_socket_factory(sockets)
        background = Background(connect)
        background.start()
        interrupted = 0
        while not streams:
            try:
                await background.finished()
            except KeyboardInterrupt:
                interrupted += 1
        assert 1 <= interrupted <= times
        assert sockets.dialed == times + 1
        await streams[0].aclose()

    trio.run(main)


def test_interrupt_in_the_main_task_is_raised_there(port: int) -> None:
    async def main() -> None:
        sockets = Interrupting(1)
        trio.socket.set_custom_socket_factory(sockets)
        with pytest.raises(KeyboardInterrupt):
            await Network(65536).connect_tcp("127.0.0.1", port)
        assert sockets.dialed == 1

    trio.run(main)


def test_interrupt_by_a_handler_of_the_users_is_raised_too(port: int) -> None:
    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, handler)
    test_interrupt_in_the_main_task_is_raised_there(port)


def test_what_else_goes_wrong_is_raised_as_ever() -> None:
    async def main() -> None:
        trio.socket.set_custom_socket_factory(Interrupting(0))
        with pytest.raises(httpcore.ConnectError):
            await Network(65536).connect_tcp("127.0.0.1", 1)

    trio.run(main)
