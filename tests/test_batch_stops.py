"""A batch stops submitting when nothing would fare better, and when the money is spent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest

from kling_async import (
    AuthenticationError,
    BatchStopped,
    ConfigurationError,
    ContentRejected,
    RequestRefused,
    Text2Video,
)
from kling_async.emulator import Emulator, Fault
from tests.harbour import Harbour, boats, creates, official


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


@pytest.mark.parametrize("fault", [Fault.ARREARS, Fault.PACK_EXHAUSTED, Fault.ACCOUNT])
async def test_empty_account_stops_the_batch_and_keeps_everything(
    harbour: Harbour, fault: Fault
) -> None:
    harbour.emulator.faults.add(fault, on="create", after=3, times=99)
    with pytest.raises(BatchStopped, match="no other request would fare better") as caught:
        await harbour.run(boats(*range(50)), max_at_once=2)

    assert caught.value.__cause__ is not None
    assert harbour.paid == len(harbour.files) == 3
    assert creates(harbour.emulator) <= 5

    harbour.emulator.faults.clear()
    await harbour.run(boats(*range(50)))
    assert harbour.paid == len(harbour.files) == 50


async def test_bad_key_stops_the_batch_at_once(harbour: Harbour) -> None:
    emulator = Emulator(keys={"another"})
    with pytest.raises(BatchStopped) as caught:
        await harbour.run(boats(*range(50)), official(emulator), max_at_once=2)

    assert isinstance(caught.value.__cause__, AuthenticationError)
    assert len(emulator.requests) <= 2


async def test_batch_may_stop_at_the_first_failure(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.CONTENT, on="create", after=2)
    with pytest.raises(BatchStopped, match="a row failed") as caught:
        await harbour.run(boats(*range(50)), max_at_once=2, on_failure="stop")

    assert isinstance(caught.value.__cause__, ContentRejected)
    assert harbour.paid == len(harbour.files) < 5

    await harbour.run(boats(*range(50)), on_failure="stop")  # not for what failed before
    assert harbour.paid == 49


async def test_row_that_waited_for_a_slot_is_not_sent_after_a_stop(harbour: Harbour) -> None:
    harbour.emulator = Emulator(duration=30, latency=1)
    harbour.emulator.faults.add(Fault.CONTENT, on="create", after=1)

    async def source() -> AsyncIterator[Text2Video]:
        yield Text2Video(prompt="A boat", model_name="kling-v1")
        await anyio.sleep(2)
        yield Text2Video(prompt="A boat", model_name="kling-v1-6")  # refused
        yield Text2Video(prompt="A boat", model_name="kling-v1")  # waits until the first is done

    with pytest.raises(BatchStopped, match="a row failed"):
        await harbour.run(source(), official(harbour.emulator, max_at_once=1), on_failure="stop")

    assert creates(harbour.emulator) == 2
    assert harbour.summary.startswith("1 saved, 0 succeeded, 1 failed, 0 running, 0 unknown, 1 not")


async def test_unknown_word_for_what_a_failure_does_is_refused(harbour: Harbour) -> None:
    with pytest.raises(ConfigurationError, match="on_failure"):
        await harbour.run(boats(1), on_failure="ignore")


async def test_budget_stops_the_submitting_before_it_is_passed(harbour: Harbour) -> None:
    with pytest.raises(BatchStopped, match="the budget of 4.5 units has no room"):
        await harbour.run(boats(*range(50)), budget=4.5, max_at_once=3)

    assert harbour.paid == len(harbour.files) == 4
    assert harbour.summary.endswith("4 units")

    with pytest.raises(BatchStopped):
        await harbour.run(boats(*range(50)), budget=4.5)
    assert harbour.paid == 4

    await harbour.run(boats(*range(6)), budget=6)
    assert harbour.paid == 6


async def test_budget_waits_for_tasks_that_may_have_cost_less(harbour: Harbour) -> None:
    """Estimated at two units each, they cost one."""
    with pytest.raises(BatchStopped):
        await harbour.run(boats(*range(50)), budget=5, price=2)

    assert harbour.paid == 4


async def test_refused_create_costs_no_budget(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.CONTENT, on="create", times=2)
    outcomes = await harbour.run(boats(*range(4)), budget=2, max_at_once=1)

    assert [outcome.ok for outcome in outcomes].count(True) == harbour.paid == 2


async def test_request_without_a_price_is_refused_under_a_budget(harbour: Harbour) -> None:
    odd = Text2Video(prompt="A boat", extra={"something": "new"})
    [outcome] = await harbour.run([odd], budget=10)
    assert isinstance(outcome.error, RequestRefused)
    assert harbour.paid == 0

    [outcome] = await harbour.run([odd], budget=10, price=lambda request: 3)
    assert outcome.ok
