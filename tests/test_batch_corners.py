"""What batches and maps keep to in the corners: stops, odd ends, other runs, other rows."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest

from kling_async import (
    BatchStopped,
    ConfigurationError,
    Kling,
    KlingAI,
    Polling,
    Retries,
    SubmissionUnknown,
    Text2Video,
)
from kling_async.emulator import Emulator, Fault
from tests.harbour import KEY, Found, Harbour, boats, creates, official


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


class Through(httpx.AsyncBaseTransport):
    """Creates of Boat 1 take a second longer; files raise what no transport should."""

    def __init__(self, inner: httpx.AsyncBaseTransport, *, odd_files: bool = False) -> None:
        self._inner, self._odd_files = inner, odd_files

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self._odd_files and "files" in request.url.host:
            raise RuntimeError("no such thing")
        if request.method == "POST" and b"Boat 1" in request.content:
            await anyio.sleep(1)
        return await self._inner.handle_async_request(request)


# A stop holds also for creates that were on the wire then.


@pytest.mark.parametrize("then", [Fault.PARALLEL, Fault.RATE, Fault.BUSY, Fault.LOST_BEFORE])
@pytest.mark.parametrize("first", [Fault.CONTENT, Fault.ARREARS])
async def test_nothing_is_sent_after_a_stop(harbour: Harbour, first: Fault, then: Fault) -> None:
    harbour.emulator = Emulator(duration=30, latency=1)
    harbour.emulator.faults.add(first, on="create")  # Boat 0, at 1 s: the batch stops
    harbour.emulator.faults.add(then, on="create")  # Boat 1, at 2 s: there is no task of it
    kling = Kling(KlingAI(KEY), transport=Through(harbour.emulator.transport()))
    with pytest.raises(BatchStopped):
        await harbour.run(boats(0, 1), kling, on_failure="stop")

    assert harbour.paid == 0


async def test_stop_ends_although_others_have_all_slots(harbour: Harbour) -> None:
    harbour.emulator = Emulator(duration=30, latency=1)
    harbour.emulator.faults.add(Fault.ARREARS, on="create")
    harbour.emulator.faults.add(Fault.PARALLEL, on="create", times=9999)
    kling = Kling(KlingAI(KEY), transport=Through(harbour.emulator.transport()))
    with anyio.move_on_after(1800) as scope:
        with pytest.raises(BatchStopped):
            await harbour.run(boats(0, 1), kling)

    assert not scope.cancelled_caught, f"{creates(harbour.emulator)} creates, half an hour later"


# A hook that begins after the batch was left is not waited for.


async def test_hook_that_begins_after_leaving_does_not_hold_the_batch(harbour: Harbour) -> None:
    harbour.emulator = Emulator(duration=30, latency=10)

    async def hang(_: object) -> None:
        await anyio.sleep(1000)  # sleep_forever would hang this test for real

    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, boats(1), out=harbour.out, on_submitted=hang) as batch:
            with anyio.move_on_after(5):  # its create is on the wire until 10
                async for _ in batch:
                    pass

    assert anyio.current_time() < 200


# Odd ends are outcomes like others, and leave the budget.


async def test_odd_end_does_not_hold_a_batch_with_a_budget(harbour: Harbour) -> None:
    kling = Kling(KlingAI(KEY), transport=Through(harbour.emulator.transport(), odd_files=True))
    with anyio.move_on_after(24 * 3600) as scope:
        with pytest.raises(BatchStopped):
            await harbour.run(boats(2, 3), kling, budget=1)

    assert not scope.cancelled_caught


async def test_odd_end_is_an_outcome_of_a_batch(harbour: Harbour) -> None:
    kling = Kling(KlingAI(KEY), transport=Through(harbour.emulator.transport(), odd_files=True))
    [outcome] = await harbour.run(boats(2), kling)

    assert outcome.key
    assert outcome.files == ()


# The budget counts what an earlier run knew no price of.


async def test_budget_counts_tasks_of_an_earlier_run_without_a_price(harbour: Harbour) -> None:
    odd = [Text2Video(prompt=f"Boat {index}", extra={"x": 1}) for index in range(20)]
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, odd[:3], out=harbour.out) as batch:
            with anyio.move_on_after(5):
                async for _ in batch:
                    pass
    assert harbour.paid == 3
    with pytest.raises(BatchStopped):
        await harbour.run(odd[1:], budget=4, price=1)

    assert harbour.paid <= 4, harbour.summary


@pytest.mark.parametrize("price", [None, lambda request: 1])
async def test_budget_is_refused_where_earlier_tasks_have_no_price(
    harbour: Harbour, price: Any
) -> None:
    odd = [Text2Video(prompt="A boat", extra={"x": 1})]
    with anyio.move_on_after(5):  # before the server has said what it costs
        await harbour.run(odd)
    with pytest.raises(ConfigurationError, match="1 tasks of earlier runs have no price"):
        await harbour.run(odd, budget=4, price=price)


# A task of a map that was left can be waited for.


async def left(kling: Kling, emulator: Emulator) -> Any:
    """Left at 90 s with a task that is late at 100, and a create that is out until 120."""
    emulator.faults.add(Fault.STALL, on="create", after=1)

    async def source() -> AsyncIterator[Text2Video]:
        yield boats(1)[0]
        await anyio.sleep(60)
        yield boats(2)[0]

    outcomes = kling.map(source())
    reader = aiter(outcomes)
    with anyio.move_on_after(90):
        await anext(reader)
    [token] = outcomes.pending
    del reader
    await anyio.lowlevel.checkpoint()
    return outcomes, kling.task(token)


async def test_task_of_a_left_map_can_be_waited_for() -> None:
    emulator = Emulator(duration=300)
    async with official(emulator, polling=Polling(timeout=100)) as kling:
        outcomes, task = await left(kling, emulator)
        with anyio.move_on_after(3600) as scope:
            await task.result(timeout=None)

        assert outcomes is not None
        assert not scope.cancelled_caught, "it ended at 300 s, and who awaits it is never told"


# A retry by an id that is another's never takes the other's clip.


async def test_retry_of_an_own_id_never_adopts_another_request(harbour: Harbour) -> None:
    first = Text2Video(prompt="Scene 1", external_task_id="scene-1")
    other = Text2Video(prompt="Scene 1, shot 2", external_task_id="scene-1-2")
    async with official(harbour.emulator) as kling:
        theirs = await kling.run(other)  # outside of this journal
    harbour.emulator.faults.add(Fault.FAIL)
    await harbour.run([first])
    [outcome] = await harbour.run([first], retry_failed=True)

    assert outcome.result is None or outcome.result.task_id != theirs.task_id


async def test_retry_of_an_own_id_is_possible_beside_another(harbour: Harbour) -> None:
    first = Text2Video(prompt="Scene 1", external_task_id="scene-1")
    other = Text2Video(prompt="Scene 1, shot 2", external_task_id="scene-1-2")
    harbour.emulator.faults.add(Fault.FAIL)
    await harbour.run([first, other], max_at_once=1)
    outcomes = await harbour.run([first, other], retry_failed=True)

    assert [outcome.ok for outcome in outcomes] == [True, True], [o.error for o in outcomes]


# A stuck task and max_at_once= of the client.


async def test_stuck_task_does_not_hold_a_map_of_a_client_with_a_limit() -> None:
    emulator = Emulator(duration=30)
    emulator.faults.add(Fault.STUCK)
    found = []
    async with official(emulator, max_at_once=1, polling=Polling(timeout=600)) as kling:
        with anyio.move_on_after(2 * 3600) as scope:
            async for outcome in kling.map(boats(1, 2)):
                found.append(outcome)

    assert not scope.cancelled_caught, f"{len(found)} outcomes, then nothing more"


# No advice makes the caller pay again.


async def test_lost_journal_is_not_called_safe(harbour: Harbour) -> None:
    with pytest.raises(BatchStopped) as caught:
        async with official(harbour.emulator) as kling:
            async with kling.batch(harbour.path, boats(1, 2, 3), max_at_once=1) as batch:
                async for _ in batch:
                    await anyio.Path(harbour.path).unlink(missing_ok=True)

    assert "Everything so far is in the journal" not in str(caught.value)


async def test_unknown_row_is_not_to_be_submitted_beside_the_batch(harbour: Harbour) -> None:
    [request] = boats(1)
    harbour.emulator.faults.add(Fault.LOST_BEFORE, on="create", times=99)
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, [request], out=harbour.out) as batch:
            with anyio.move_on_after(5):
                async for _ in batch:
                    pass
    harbour.emulator.faults.clear()
    [outcome] = await harbour.run([request], budget="0.5")  # what would help: more budget
    assert isinstance(outcome.error, SubmissionUnknown)
    async with official(harbour.emulator) as kling:  # as the advice has it, word for word
        await kling.submit(request, resend=True)
    await harbour.run([request])

    assert "submit(request, resend=True)" not in str(outcome.error) or harbour.paid == 1


# A create that was lost and is then refused is told with both.


async def test_refusal_of_a_second_create_is_told_with_the_doubt(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.LOST_BEFORE, on="create", times=99)
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, boats(1), out=harbour.out) as batch:
            with anyio.move_on_after(5):
                async for _ in batch:
                    pass
    harbour.emulator.faults.clear()
    harbour.emulator.faults.add(Fault.CONTENT, on="create", times=9)
    [outcome] = await harbour.run(boats(1))

    assert isinstance(outcome.error, SubmissionUnknown)
    assert "sent again, it was refused" in str(outcome.error)
    assert harbour.summary.startswith("0 saved, 0 succeeded, 0 failed, 0 running, 1 unknown")


# A create that the client, not the journal, knows to be unknown.


async def test_unknown_create_of_the_client_becomes_a_row(harbour: Harbour) -> None:
    own = Text2Video(prompt="A boat", external_task_id="boat-1")
    async with official(harbour.emulator, retries=Retries(look_ups=1)) as kling:
        harbour.emulator.faults.add(Fault.LOST_ANSWER, on="create")
        harbour.emulator.faults.add(Fault.SERVER_ERROR, on="query", times=2, after=1)
        with pytest.raises(SubmissionUnknown):
            await kling.submit(own)
        async with kling.batch(harbour.path, [own], out=harbour.out) as batch:
            outcomes = [outcome async for outcome in batch]

    assert [outcome.ok for outcome in outcomes] == [True]
    assert batch.summary().saved == 1


# A source that raises hides no unknown creates.


async def test_unknown_row_is_told_although_the_source_raises(harbour: Harbour) -> None:
    async def source() -> AsyncIterator[Text2Video]:
        yield boats(1)[0]
        await anyio.sleep(3600)
        raise ValueError("no such column")

    harbour.emulator.faults.add(Fault.LOST_ANSWER, on="create")
    harbour.emulator.faults.add(Fault.SERVER_ERROR, on="query", times=9999)
    found: list[Found] = []
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, source(), out=harbour.out) as batch:
            with pytest.raises(ValueError, match="column"):
                async for outcome in batch:
                    found.append(outcome)

    assert len(found) == 1


# A video that is gone and cannot be had any more is not saved.


async def test_lost_file_is_not_called_saved(harbour: Harbour) -> None:
    await harbour.run(boats(1))
    await anyio.Path(harbour.files[0]).unlink()
    harbour.emulator.faults.add(Fault.EXPIRED_URL, on="file", times=99)
    [outcome] = await harbour.run(boats(1))

    assert not outcome.ok
    assert outcome.files == ()
    assert harbour.summary.startswith("0 saved, 1 succeeded")


# Whatever the last look-up is answered, the id is told.


async def test_unknown_create_is_told_with_its_id_although_it_cannot_be_looked_up(
    harbour: Harbour,
) -> None:
    harbour.emulator.faults.add(Fault.LOST_ANSWER, on="create")
    harbour.emulator.faults.add(Fault.SERVER_ERROR, on="query", times=9999)
    [outcome] = await harbour.run(boats(1))

    assert harbour.paid == 1
    assert isinstance(outcome.error, SubmissionUnknown), repr(outcome.error)
    assert outcome.token is not None
