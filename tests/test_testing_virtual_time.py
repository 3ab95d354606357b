"""A part of a program may run in virtual time, on the loop that it runs on."""

from __future__ import annotations

import asyncio
import selectors
import time
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from kling_async import Kling, KlingAI, Text2Video
from kling_async.emulator import Emulator
from kling_async.testing import VirtualTime, hold, virtual_backend

pytestmark = pytest.mark.real_time
only_asyncio = pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)


async def test_an_hour_passes_at_once() -> None:
    started = anyio.current_time()

    with VirtualTime() as clock:
        await anyio.sleep(3600)

        assert clock.elapsed == pytest.approx(3600)
    assert anyio.current_time() - started >= 3599


async def test_time_goes_on_where_it_has_come_to() -> None:
    with VirtualTime():
        await anyio.sleep(3600)
    begun, really = anyio.current_time(), time.monotonic()

    await anyio.sleep(0.01)

    assert anyio.current_time() - begun == pytest.approx(time.monotonic() - really, abs=0.005)


async def test_a_loop_may_be_virtual_again_and_again() -> None:
    begun = anyio.current_time()
    for _ in range(3):
        with VirtualTime() as clock:
            assert clock.elapsed == 0
            await anyio.sleep(100)
        await anyio.lowlevel.checkpoint()

    assert anyio.current_time() - begun >= 299


async def test_inner_stretch_changes_nothing() -> None:
    with VirtualTime() as outer:
        await anyio.sleep(10)
        with VirtualTime() as inner:
            await anyio.sleep(10)
            assert inner.elapsed == pytest.approx(10)
        await anyio.sleep(1000)

        assert outer.elapsed == pytest.approx(1020)


async def test_deadline_set_before_it_passes_in_it() -> None:
    with pytest.raises(TimeoutError), anyio.fail_after(60):
        with VirtualTime():
            await anyio.sleep(3600)


async def test_error_ends_it() -> None:
    with pytest.raises(KeyError), VirtualTime():
        raise KeyError

    with VirtualTime() as clock:
        await anyio.sleep(60)
        assert clock.elapsed == pytest.approx(60)


async def test_it_holds_still_for_a_thread() -> None:
    with VirtualTime() as clock:
        await anyio.to_thread.run_sync(time.sleep, 0.05)

        assert clock.elapsed == 0


@only_asyncio
async def test_it_holds_still_for_an_executor() -> None:
    with VirtualTime() as clock:
        async with asyncio.timeout(5):
            await asyncio.to_thread(time.sleep, 0.05)

        assert clock.elapsed == 0


async def test_it_holds_still_for_what_is_held() -> None:
    @hold
    async def outside() -> None:
        began = time.perf_counter()
        while time.perf_counter() - began < 0.05:
            await anyio.lowlevel.checkpoint()

    with VirtualTime() as clock:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(outside)
            tasks.start_soon(anyio.sleep, 60)
        assert clock.elapsed == pytest.approx(60)

    assert outside.__name__ == "outside"


async def test_it_holds_still_for_a_journal(tmp_path: Path) -> None:
    client = Kling(KlingAI("a-key"), transport=Emulator(duration=600).transport())
    with VirtualTime() as clock:
        async with client as kling:
            requests = [Text2Video(prompt=f"Boat {number}") for number in range(3)]
            async with kling.batch(tmp_path / "boats.db", requests) as batch:
                ended = [outcome.ok async for outcome in batch]

        assert ended == [True, True, True]
        assert 600 <= clock.elapsed < 700


class OwnLoop(asyncio.SelectorEventLoop):
    """A loop whose selector is its own."""

    def __init__(self) -> None:
        super().__init__(OwnSelector())


class OwnSelector(selectors.DefaultSelector):
    """Somebody else's."""


def test_loops_of_others_are_refused() -> None:
    async def main() -> None:
        with VirtualTime():
            raise AssertionError

    with asyncio.Runner(loop_factory=OwnLoop) as runner:
        with pytest.raises(RuntimeError, match="own selector loop, not OwnLoop"):
            runner.run(main())


def test_unknown_backend_is_refused() -> None:
    with pytest.raises(ValueError, match="give asyncio or trio"):
        virtual_backend("curio")
