"""A create whose caller is cancelled is finished first, or its id is named."""

from __future__ import annotations

import asyncio
import logging

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from kling_async import Kling, KlingAI, Text2Video, Timeouts
from kling_async.emulator import Emulator, Fault

KEY = "a-secret-key-of-the-usual-length-0123456789"
PLAIN = Text2Video(prompt="A paper boat")
BOAT = Text2Video(prompt="A paper boat", external_task_id="boat-1")


def official(emulator: Emulator, *, timeouts: Timeouts | None = None, most: int = 20) -> Kling:
    transport = emulator.transport()
    return Kling(KlingAI(KEY), transport=transport, timeouts=timeouts, max_connections=most)


def creates(emulator: Emulator) -> int:
    return sum(seen.method == "POST" for seen in emulator.requests)


@settings(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(moment=st.floats(0.1, 12), latency=st.floats(0.1, 12))
async def test_cancelled_create_is_never_half_known(
    moment: float, latency: float, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.clear()
    emulator, known = Emulator(latency=latency), ""
    async with official(emulator) as kling:
        with anyio.move_on_after(moment):
            known = (await kling.submit(PLAIN)).id
        [entry] = emulator.ledger  # the farewell is long enough to carry it out
        assert entry.external_task_id is not None
        found = await kling.text2video.get(entry.external_task_id)

    assert found.id == entry.task_id
    assert known == entry.task_id or (
        entry.task_id in caplog.text or entry.external_task_id in caplog.text
    )


@pytest.mark.parametrize("tenths", range(1, 40, 3))
async def test_cancelled_create_is_finished_first(tenths: int) -> None:
    emulator = Emulator(latency=4)
    async with official(emulator) as kling:
        with anyio.move_on_after(tenths / 10) as span:
            await kling.submit(PLAIN)
        ended = anyio.current_time()

    assert span.cancelled_caught
    assert ended == pytest.approx(4)
    assert len(emulator.ledger) == 1


@pytest.mark.parametrize("farewell", [0, 2])
async def test_farewell_is_short(farewell: float) -> None:
    emulator = Emulator(latency=60)
    async with official(emulator, timeouts=Timeouts(farewell=farewell)) as kling:
        with anyio.move_on_after(5):
            await kling.submit(PLAIN)
        ended = anyio.current_time()

    assert ended == pytest.approx(5 + farewell)


async def test_cancel_says_where_the_task_may_be(caplog: pytest.LogCaptureFixture) -> None:
    emulator = Emulator(latency=4)
    async with official(emulator) as kling:
        with anyio.move_on_after(1):
            await kling.submit(Text2Video(prompt="A paper boat"))

    assert f"kling.task('klingai/text2video/{emulator.ledger[0].task_id}/kling-v1')" in caplog.text
    assert [record.levelno for record in caplog.records] == [logging.WARNING]


async def test_cancel_without_an_answer_names_the_external_id(
    caplog: pytest.LogCaptureFixture,
) -> None:
    emulator = Emulator(latency=40)
    async with official(emulator) as kling:
        with anyio.move_on_after(1):
            await kling.submit(PLAIN)

    assert "may exist and be billed under external_task_id ka-" in caplog.text


async def test_cancel_before_sending_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    emulator, ended = Emulator(latency=30), 0.0
    async with official(emulator, most=1) as kling, anyio.create_task_group() as group:
        group.start_soon(kling.submit, Text2Video(prompt="It holds the only connection"))
        await anyio.sleep(1)
        with anyio.move_on_after(1):
            await kling.submit(BOAT)
        ended = anyio.current_time()

    assert ended == pytest.approx(2)
    assert emulator.ledger.billed("boat-1") == 0
    assert "boat-1" not in caplog.text


@pytest.mark.parametrize("fault", [Fault.RATE, Fault.PARALLEL])
async def test_cancel_in_a_pause_ends_at_once(
    fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    emulator = Emulator()
    emulator.faults.add(fault, on="create", retry_after=60)
    async with official(emulator) as kling:
        with anyio.move_on_after(5):
            await kling.submit(BOAT)
        ended = anyio.current_time()

    assert ended == pytest.approx(5)
    assert caplog.text == ""


async def test_cancel_while_looking_up_names_the_id(caplog: pytest.LogCaptureFixture) -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.LOST_BEFORE, on="create")
    async with official(emulator) as kling:
        with anyio.move_on_after(5):
            await kling.submit(BOAT)

    assert "boat-1" in caplog.text


async def test_group_that_fails_leaves_no_half_create() -> None:
    emulator = Emulator(latency=4)
    async with official(emulator) as kling:
        with pytest.raises(ExceptionGroup):
            async with anyio.create_task_group() as group:
                group.start_soon(kling.submit, PLAIN)
                await anyio.sleep(1)
                raise RuntimeError("another task of the group")

    assert len(emulator.ledger) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
@pytest.mark.parametrize("cancels", [1, 2, 5])
async def test_native_cancel_waits_for_the_create(cancels: int) -> None:
    emulator = Emulator(latency=6)
    async with official(emulator) as kling:
        running = asyncio.create_task(kling.submit(PLAIN))
        for _ in range(cancels):
            await asyncio.sleep(1)
            running.cancel()
        with pytest.raises(asyncio.CancelledError):
            await running

    assert asyncio.get_running_loop().time() == pytest.approx(6)
    assert len(emulator.ledger) == 1


@pytest.mark.parametrize("anyio_backend", ["asyncio"], indirect=True)
async def test_native_timeout_waits_for_the_create() -> None:
    emulator = Emulator(latency=6)
    async with official(emulator) as kling:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await kling.submit(PLAIN)

    assert len(emulator.ledger) == 1


async def test_cancel_at_the_very_first_moment_is_whole() -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        with anyio.CancelScope() as span:
            span.cancel()
            await kling.submit(BOAT)

    assert creates(emulator) == len(emulator.ledger)
