"""Whatever is cancelled, closed, timed out or left, and whenever: nothing stays behind."""

from __future__ import annotations

import asyncio
import gc
import warnings
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
import pytest
import trio
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_async import (
    ClientClosed,
    CometAPI,
    Kling,
    KlingAI,
    KlingError,
    Polling,
    Provider,
    Task,
    TaskTimeout,
    Text2Video,
    VideoResult,
)
from kling_async.emulator import Emulator
from kling_async.testing import _virtual_time as virtual_time

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A boat")
OPTIONS: dict[str, Callable[[], dict[str, Any]]] = {
    "asyncio": virtual_time.asyncio_options,
    "trio": virtual_time.trio_options,
}
SLOW = [HealthCheck.too_slow]
MOMENTS = st.floats(0, 90).map(lambda moment: round(moment, 1))


@dataclass
class Act:
    """Somebody who does one thing from a moment on, and is cancelled at another."""

    what: str
    at: float
    patience: float


ACTS = st.builds(
    Act,
    what=st.sampled_from(["run", "result", "updates", "refresh", "map", "ordered", "completed"]),
    at=MOMENTS,
    patience=MOMENTS,
)


class Play:
    """Acts on one client, which may be closed in their midst."""

    def __init__(self, provider: Provider, seed: int) -> None:
        self.emulator = Emulator(
            seed=seed, duration=lambda random, _: random.uniform(1, 60), latency=0.3, parallel=4
        )
        self.kling = Kling(provider, transport=self.emulator.transport(), max_at_once=4)
        self.strange: list[KlingError] = []

    async def perform(self, acts: list[Act], closes_at: float | None) -> None:
        self.shared = await self.kling.submit(BOAT)
        async with anyio.create_task_group() as group:
            for act in acts:
                group.start_soon(self._act, act)
            if closes_at is not None:
                await anyio.sleep(closes_at)
                await self.kling.aclose()

    async def _act(self, act: Act) -> None:
        await anyio.sleep(act.at)
        with anyio.move_on_after(act.patience):
            try:
                await getattr(self, f"_{act.what}")()
            except (ClientClosed, TaskTimeout):
                pass
            except KlingError as error:
                self.strange += [error] if "closed" not in str(error) else []

    async def _run(self) -> None:
        await self.kling.run(BOAT)

    async def _result(self) -> None:
        await self.shared.result(timeout=40)

    async def _updates(self) -> None:
        async for _ in self.shared.updates():
            break

    async def _refresh(self) -> None:
        await self.shared.refresh()

    async def _map(self) -> None:
        left = 3
        async for _ in self.kling.map((BOAT for _ in range(9)), max_at_once=2):
            left -= 1
            if not left:
                break

    async def _ordered(self) -> None:
        async with self.kling.map([BOAT] * 5, ordered=True) as outcomes:
            async for _ in outcomes:
                pass

    async def _completed(self) -> None:
        async for _ in self.kling.as_completed([self.shared, await self.kling.submit(BOAT)]):
            pass


def left_behind() -> list[str]:
    """What of the package runs in the background."""
    tasks = [f"{task.name} {task.coro!r}" for task in anyio.get_running_tasks()]
    return [task for task in tasks if any(noun in task for noun in ("Background", "Poller."))]


async def test_what_is_left_behind_would_be_seen() -> None:
    async with Kling(CometAPI(KEY), transport=Emulator().transport()) as kling:
        reader = aiter(kling.map([BOAT]))
        with anyio.move_on_after(10):
            await anext(reader)
        assert len(left_behind()) >= 2  # the clock-watcher, and the work that it belongs to


@pytest.mark.parametrize("provider", [KlingAI(KEY), CometAPI(KEY)], ids=["lists", "single"])
@pytest.mark.parametrize("backend", OPTIONS)
@given(acts=st.lists(ACTS, max_size=8), closes_at=st.none() | MOMENTS, seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
def test_nothing_stays_behind(
    backend: str, provider: Provider, acts: list[Act], closes_at: float | None, seed: int
) -> None:
    async def main() -> None:
        play = Play(provider, seed)
        with anyio.fail_after(5000):  # no waiter is stuck
            await play.perform(acts, closes_at)
        await anyio.sleep(100)  # a create that was on the wire has its farewell
        assert left_behind() == []
        if closes_at is None:
            with anyio.fail_after(5000):  # no slot is lost: as many run at once as ever
                assert len(await play.kling.gather(*[BOAT] * 8)) == 8
        await play.kling.aclose()
        await anyio.sleep(1)
        assert left_behind() == []
        assert play.emulator.ledger.billed_twice == {}
        assert play.strange == []

    anyio.run(main, backend=backend, backend_options=OPTIONS[backend]())


@pytest.mark.parametrize("backend", OPTIONS)
@given(leaves_at=MOMENTS, ordered=st.booleans(), seed=st.integers(0, 99))
@settings(max_examples=25, deadline=None, suppress_health_check=SLOW)
def test_every_paid_task_of_a_map_left_at_any_moment_is_known(
    backend: str, leaves_at: float, ordered: bool, seed: int
) -> None:
    async def main() -> None:
        emulator = Emulator(seed=seed, duration=lambda random, _: random.uniform(1, 60), latency=1)
        found: set[str] = set()
        async with Kling(CometAPI(KEY), transport=emulator.transport()) as kling:
            outcomes = kling.map((BOAT for _ in range(30)), max_at_once=5, ordered=ordered)
            async with outcomes:
                with anyio.move_on_after(leaves_at):
                    async for outcome in outcomes:
                        found.add(outcome.unwrap().task_id)
        assert len(found) + len(outcomes.pending) == len(emulator.ledger)
        async with Kling(CometAPI(KEY), transport=emulator.transport()) as kling:
            found |= {(await kling.task(token)).task_id for token in outcomes.pending}
        assert found == set(emulator.tasks)

    anyio.run(main, backend=backend, backend_options=OPTIONS[backend]())


async def test_two_clients_live_in_one_loop() -> None:
    one, two = Emulator(duration=20), Emulator(duration=30)
    async with (
        Kling(KlingAI(KEY), transport=one.transport()) as first,
        Kling(CometAPI(KEY), transport=two.transport()) as second,
        anyio.create_task_group() as group,
    ):
        group.start_soon(first.run, BOAT)
        group.start_soon(second.run, BOAT)
        await anyio.sleep(10)
        third = await second.submit(BOAT)
        await anyio.sleep(30)
        await first.aclose()
        await third

    assert len(one.ledger) == 1
    assert len(two.ledger) == 2


async def test_client_may_be_closed_in_another_task_than_it_was_opened_in() -> None:
    kling = Kling(CometAPI(KEY), transport=Emulator(duration=600).transport())

    async def use() -> None:
        async with kling:
            with pytest.raises(ClientClosed):
                await kling.run(BOAT)

    async with anyio.create_task_group() as group:
        group.start_soon(use)
        await anyio.sleep(30)
        await kling.aclose()


async def test_client_that_is_never_closed_leaves_no_trace() -> None:
    with warnings.catch_warnings(action="error"):
        kling = Kling(KlingAI(KEY), transport=Emulator(duration=20).transport())
        await kling.gather(*[BOAT] * 5)
        await anyio.sleep(0.1)
        assert left_behind() == []
        del kling
        gc.collect()


@pytest.mark.parametrize("backend", OPTIONS)
def test_loop_that_ends_in_the_midst_of_a_wait_ends_quietly(
    backend: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        kling = Kling(CometAPI(KEY), transport=Emulator(duration=600).transport())
        reader = aiter(kling.map([BOAT] * 5))
        with anyio.move_on_after(20):
            await anext(reader)
        kept.append(reader)  # so that nobody leaves it while the loop still runs

    kept: list[object] = []
    anyio.run(main, backend=backend, backend_options=OPTIONS[backend]())
    kept.clear()
    gc.collect()

    assert caplog.records == []


async def test_waiter_hears_of_it_when_the_poller_is_cancelled(anyio_backend_name: str) -> None:
    """As by a program that cancels all its tasks in order to end."""
    if anyio_backend_name == "trio":
        pytest.skip("there tasks are cancelled by scopes, and nobody else has the poller's")
    async with Kling(CometAPI(KEY), transport=Emulator(duration=60).transport()) as kling:
        task = await kling.submit(BOAT)

        async def wait() -> None:
            with pytest.raises(ClientClosed, match="cancelled"):
                await task

        async with anyio.create_task_group() as group:
            group.start_soon(wait)
            await anyio.sleep(7)
            for each in asyncio.all_tasks():
                if "Background._run" in repr(each.get_coro()):
                    each.cancel()
        video = await task

    assert video.task_id == task.id


def interrupting(emulator: Emulator, at: int) -> httpx.AsyncBaseTransport:
    """A transport in which somebody presses control-C at the nth question."""
    inner, questions = emulator.transport(), iter(range(10_000))

    async def handle(request: httpx.Request) -> httpx.Response:
        if request.method == "GET" and next(questions) == at:
            raise KeyboardInterrupt
        return await inner.handle_async_request(request)

    return httpx.MockTransport(handle)


def test_interrupted_loop_may_go_on_and_its_waiters_are_told() -> None:
    kling = Kling(CometAPI(KEY), transport=interrupting(Emulator(duration=60), 2))
    loop = virtual_time.VirtualTimeLoop()

    async def main() -> VideoResult:
        task = await kling.submit(BOAT)
        with pytest.raises(ClientClosed):
            await task
        return await task

    waiting = loop.create_task(main())
    with pytest.raises(KeyboardInterrupt):
        loop.run_until_complete(waiting)
    video = loop.run_until_complete(waiting)
    loop.run_until_complete(kling.aclose())
    loop.close()

    assert video.videos


async def drop(kling: Kling) -> None:
    with anyio.move_on_after(10):
        await kling.run(BOAT)


async def leave(kling: Kling) -> None:
    async for _ in kling.map(BOAT for _ in range(99)):
        break


async def peek(kling: Kling) -> None:
    task: Task[VideoResult] = await kling.submit(BOAT)
    async for _ in task.updates():
        break


@pytest.mark.parametrize("use", [drop, leave, peek])
async def test_unfinished_use_warns_of_nothing(use: Callable[[Kling], Awaitable[None]]) -> None:
    with warnings.catch_warnings(action="error"):
        async with Kling(CometAPI(KEY), transport=Emulator(duration=20).transport()) as kling:
            await use(kling)
            gc.collect()
            await anyio.sleep(0.1)


async def test_one_poll_at_a_time_is_enough_for_many() -> None:
    polling = Polling(max_polls_at_once=1)
    transport = Emulator(duration=20, latency=0.1).transport()
    async with Kling(CometAPI(KEY), transport=transport, polling=polling) as kling:
        assert len(await kling.gather(*[BOAT] * 30)) == 30


def requests(read: list[int]) -> Iterator[Text2Video]:
    for index in range(3):
        read.append(index)
        yield BOAT


def test_outcomes_that_are_made_and_never_read_do_nothing() -> None:
    async def main() -> None:
        read: list[int] = []
        async with Kling(CometAPI(KEY), transport=Emulator().transport()) as kling:
            kling.map(requests(read))
        assert read == []

    trio.run(main)
