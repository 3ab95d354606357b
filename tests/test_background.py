"""Work in the background belongs to nobody's scope, and calls from anywhere reach the loop."""

from __future__ import annotations

import asyncio
import threading
from contextvars import ContextVar

import anyio
import pytest
import trio

from kling_async._background import Background, Signal

PLACE: ContextVar[str] = ContextVar("PLACE", default="nowhere")


class Sleeper:
    """Work that notes what becomes of it."""

    def __init__(self, seconds: float = 5) -> None:
        self.seconds = seconds
        self.notes: list[str] = []
        self.background = Background(self._work)

    async def _work(self) -> None:
        self.notes.append(f"begun {PLACE.get()}")
        await anyio.sleep(self.seconds)
        self.notes.append("done")


async def test_second_start_changes_nothing() -> None:
    sleeper = Sleeper()
    sleeper.background.start()
    sleeper.background.start()
    await sleeper.background.finished()

    assert sleeper.notes == ["begun nowhere", "done"]


async def test_work_can_begin_again_when_it_is_over() -> None:
    sleeper = Sleeper()
    for _ in range(2):
        sleeper.background.start()
        await sleeper.background.finished()

    assert anyio.current_time() == pytest.approx(10)
    await sleeper.background.finished()  # nothing to wait for


async def test_work_outlives_the_scope_it_was_started_in() -> None:
    sleeper = Sleeper()
    async with anyio.create_task_group() as group:
        sleeper.background.start()
        group.cancel_scope.cancel()
    await sleeper.background.finished()

    assert sleeper.notes[-1] == "done"


async def test_work_does_not_inherit_its_starters_context() -> None:
    PLACE.set("a web request")
    sleeper = Sleeper()
    sleeper.background.start()
    await sleeper.background.finished()

    assert sleeper.notes[0] == "begun nowhere"


async def test_stop_cancels_the_work_and_waits_for_its_end() -> None:
    sleeper = Sleeper()
    sleeper.background.start()
    await anyio.sleep(1)
    await sleeper.background.stop()
    await sleeper.background.stop()

    assert sleeper.notes == ["begun nowhere"]
    assert anyio.current_time() == pytest.approx(1)


async def test_cancelled_stop_still_waits_for_the_end() -> None:
    sleeper = Sleeper()
    sleeper.background.start()
    with anyio.CancelScope() as scope:
        scope.cancel()
        await sleeper.background.stop()
    sleeper.background.start()  # so it is over
    await sleeper.background.stop()

    assert "done" not in sleeper.notes


async def test_call_from_another_thread_reaches_the_loop() -> None:
    sleeper, threads = Sleeper(), list[int]()
    sleeper.background.start()

    def call() -> None:
        sleeper.background.call_soon(lambda: threads.append(threading.get_ident()))

    await anyio.to_thread.run_sync(call)
    await sleeper.background.stop()

    assert threads == [threading.get_ident()]


def test_call_without_a_loop_is_made_at_once() -> None:
    calls: list[int] = []
    Sleeper().background.call_soon(lambda: calls.append(1))

    assert calls == [1]


@pytest.mark.parametrize("run", [asyncio.run, lambda main: trio.run(lambda: main)])
def test_call_to_a_loop_that_is_gone_is_dropped(run: object) -> None:
    sleeper, calls = Sleeper(0), list[int]()

    async def main() -> None:
        sleeper.background.start()
        await sleeper.background.finished()

    assert callable(run)
    run(main())
    sleeper.background.call_soon(lambda: calls.append(1))

    assert calls == []


async def test_ring_wakes_all_who_wait() -> None:
    signal, woken = Signal(), list[int]()

    async def wait(number: int) -> None:
        await signal.wait()
        woken.append(number)

    signal.ring()  # nobody waits yet
    async with anyio.create_task_group() as group:
        for number in range(3):
            group.start_soon(wait, number)
        await anyio.sleep(1)
        assert woken == []
        signal.ring()

    assert sorted(woken) == [0, 1, 2]


@pytest.mark.parametrize(("keeps", "place"), [(True, "harbour"), (False, "nowhere")])
async def test_work_of_one_caller_may_keep_his_context(keeps: bool, place: str) -> None:
    seen: list[str] = []

    async def look() -> None:
        seen.append(PLACE.get())

    background = Background(look, keeps_context=keeps)
    PLACE.set("harbour")
    background.start()
    PLACE.set("sea")
    await background.finished()

    assert seen == [place]
