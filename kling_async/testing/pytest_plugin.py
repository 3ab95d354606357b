"""The pytest plugin: an emulator, a client and virtual time, for who names them in a test.

pytest loads it for everybody who has the package installed, so it imports nothing before a
fixture is used.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator
from contextlib import AsyncExitStack
from functools import wraps
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from kling_async import Kling
    from kling_async.emulator import Emulator
    from kling_async.testing._virtual_time import VirtualTime

_CLOCK = pytest.StashKey["VirtualTime"]()
_CLIENT = pytest.StashKey["Kling"]()


def pytest_configure(config: pytest.Config) -> None:
    """Make the marker known."""
    config.addinivalue_line(
        "markers",
        "kling(dialect='cometapi', faults=(), **options): what the fixtures kling_emulator and"
        " kling are; the options are those of kling_async.emulator.Emulator",
    )


@pytest.fixture
def kling_emulator(request: pytest.FixtureRequest) -> Emulator:
    """A fresh emulator, as `@pytest.mark.kling(...)` wants it.

    In virtual time its tasks take as long as Kling's; in real time it runs 1000 times as fast.
    """
    from kling_async.testing._stage import stage

    return stage(request.node).emulator(virtual=_is_virtual(request))


@pytest.fixture
def kling(request: pytest.FixtureRequest, kling_emulator: Emulator) -> Kling:
    """A client that talks to `kling_emulator`, closed when the test function is over."""
    from kling_async.testing._stage import stage

    _expect_coroutine(request, "Elsewhere: Kling(..., transport=kling_emulator.transport())")
    client = stage(request.node).client(kling_emulator)
    request.node.stash[_CLIENT] = client
    return client


@pytest.fixture
def virtual_time(request: pytest.FixtureRequest) -> VirtualTime:
    """Sleeps and deadlines are instant from the first line of the test function to its last."""
    from kling_async.testing._virtual_time import VirtualTime

    _expect_coroutine(request, "Elsewhere: with kling_async.testing.VirtualTime()")
    clock = VirtualTime()
    request.node.stash[_CLOCK] = clock
    return clock


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Begin and end inside of the test function what only its own event loop can."""
    clock, client = item.stash.get(_CLOCK, None), item.stash.get(_CLIENT, None)
    if not isinstance(item, pytest.Function) or (clock is None and client is None):
        return (yield)
    test = item.obj
    item.obj = _within(clock, client, test)
    try:
        return (yield)
    finally:
        item.obj = test


def _within(
    clock: VirtualTime | None, client: Kling | None, test: Callable[..., Awaitable[object]]
) -> Callable[..., Awaitable[object]]:
    # Fixtures of coroutines are one plugin's or another's, and so is the loop they run on.
    # The test function runs on the right one whoever runs it.
    @wraps(test)
    async def inside(**arguments: Any) -> object:
        async with AsyncExitStack() as stack:
            if clock is not None:
                stack.enter_context(clock)
            if client is not None:
                await stack.enter_async_context(client)
            return await test(**arguments)

    return inside


def _is_virtual(request: pytest.FixtureRequest) -> bool:
    from kling_async.testing._virtual_time import is_virtual

    if "virtual_time" in request.fixturenames:
        return True
    return "anyio_backend" in request.fixturenames and is_virtual(
        request.getfixturevalue("anyio_backend")
    )


def _expect_coroutine(request: pytest.FixtureRequest, advice: str) -> None:
    if not iscoroutinefunction(request.function):
        pytest.fail(
            f"the fixture {request.fixturename} begins and ends with a test that is an"
            f" `async def`. {advice}.",
            pytrace=False,
        )
