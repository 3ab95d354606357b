"""Whatever comes between two runs of a batch, nothing is paid twice and nothing paid is left."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest

from kling_async import (
    BatchStopped,
    CometAPI,
    ConfigurationError,
    Journal,
    JournalError,
    Kling,
    KlingAI,
    Request,
    SubmissionUnknown,
    Task,
    Text2Video,
    VideoResult,
)
from kling_async.emulator import Emulator, Fault
from tests.harbour import KEY, Harbour, boats, official

OWN = Text2Video(prompt="A boat", external_task_id="boat-1")


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


async def run_for(
    harbour: Harbour, seconds: float, requests: list[Request[VideoResult]], **options: Any
) -> None:
    """A run that is left before its end."""
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, requests, out=harbour.out, **options) as batch:
            with anyio.move_on_after(seconds):
                async for _ in batch:
                    pass


async def test_second_attempt_of_an_own_id_is_found_by_its_own_id(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.FAIL)
    await harbour.run([OWN])
    harbour.emulator.faults.add(Fault.STALL, on="create", seconds=3600)
    await run_for(harbour, 5, [OWN], retry_failed=True)
    assert harbour.paid == 2

    harbour.emulator.faults.clear()
    [outcome] = await harbour.run([OWN])
    assert outcome.ok
    assert harbour.paid == 2


async def test_lost_create_is_not_sent_again_to_another_server(harbour: Harbour) -> None:
    comet = Emulator(duration=30, finds_external_id=False, strict_ids=False)
    comet.faults.add(Fault.LOST_ANSWER, on="create")
    await harbour.run(boats(1), Kling(CometAPI(KEY), transport=comet.transport()))
    with pytest.raises(ConfigurationError, match="has tasks of cometapi at .*; this client talks"):
        await harbour.run(boats(1))

    assert (len(comet.ledger), harbour.paid) == (1, 0)


async def test_lost_create_is_not_sent_again_for_another_account(harbour: Harbour) -> None:
    """Where the new key's account has no such task, that of the old one may."""
    harbour.emulator.faults.add(Fault.LOST_ANSWER, on="create")
    harbour.emulator.faults.add(Fault.SERVER_ERROR, on="query", times=99)
    await harbour.run(boats(1))
    harbour.emulator.faults.clear()
    other = Emulator(duration=30)
    another_key = KlingAI("the-key-of-another-account")
    [outcome] = await harbour.run(boats(1), Kling(another_key, transport=other.transport()))

    assert isinstance(outcome.error, SubmissionUnknown)
    assert (len(other.ledger), harbour.paid) == (0, 1)

    [outcome] = await harbour.run(boats(1))
    assert outcome.ok


async def test_paid_rows_behind_a_stop_are_saved(harbour: Harbour) -> None:
    await run_for(harbour, 5, [*boats(1, 2, 3)])
    with pytest.raises(BatchStopped):
        await harbour.run(boats(0, 1, 2, 3), budget=3)

    assert harbour.paid == len(harbour.files) == 3


async def test_unknown_row_is_told_although_the_batch_stops(harbour: Harbour) -> None:
    emulator = Emulator(duration=30, finds_external_id=False, strict_ids=False)
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    found = []
    async with Kling(CometAPI(KEY), transport=emulator.transport()) as kling:
        async with kling.batch(harbour.path, boats(*range(5)), budget=3, price=1) as batch:
            with pytest.raises(BatchStopped):
                async for outcome in batch:
                    found.append(outcome)

    assert [type(outcome.error) for outcome in found].count(SubmissionUnknown) == 1
    assert len(emulator.ledger) == 3


async def test_task_that_is_not_found_for_a_while_is_not_given_up(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.NOT_FOUND, on="query", times=60)
    [first] = await harbour.run(boats(1))
    harbour.emulator.faults.clear()
    [second] = await harbour.run(boats(1), retry_failed=True)

    assert (first.ok, second.ok, harbour.paid) == (False, True, 1)


async def test_own_id_that_the_client_has_a_handle_of_becomes_a_row(harbour: Harbour) -> None:
    async with official(harbour.emulator) as kling:
        task = await kling.submit(OWN)
        async with kling.batch(harbour.path, [OWN, *boats(1)], out=harbour.out) as batch:
            outcomes = [outcome async for outcome in batch]

    assert {outcome.ok for outcome in outcomes} == {True}
    assert task.token in {outcome.token for outcome in outcomes}
    assert batch.summary().saved == harbour.paid == 2


async def test_resumed_creates_do_not_pass_the_budget(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.LOST_BEFORE, on="create", times=99)
    await run_for(harbour, 5, [*boats(1, 2, 3, 4)])
    assert harbour.paid == 0
    harbour.emulator.faults.clear()
    await harbour.run(boats(1, 2, 3, 4), budget=2)

    assert harbour.paid == 0
    assert "4 unknown" in harbour.summary


async def test_hook_comes_before_the_first_question_although_others_wait(harbour: Harbour) -> None:
    seen: list[list[str]] = []

    async def note(task: Task[VideoResult]) -> None:
        await anyio.sleep(20)
        seen.append([each.method for each in harbour.emulator.requests])

    await harbour.run(boats(1, 2), official(harbour.emulator, max_at_once=1), on_submitted=note)

    assert seen[0] == ["POST"]


async def test_hook_may_be_a_plain_function(harbour: Harbour) -> None:
    told: list[str] = []
    [outcome] = await harbour.run(boats(1), on_submitted=lambda task: told.append(task.token))
    assert told == [outcome.token]

    with pytest.raises(ConfigurationError, match="on_submitted is 5"):
        await harbour.run(boats(1), on_submitted=5)


async def test_hook_that_hangs_is_left_with_the_batch(harbour: Harbour) -> None:
    async def hang(task: Task[VideoResult]) -> None:
        await anyio.sleep_forever()

    await run_for(harbour, 5, [*boats(1)], on_submitted=hang)
    assert anyio.current_time() < 10

    await harbour.run(boats(1))
    assert harbour.paid == len(harbour.files) == 1


async def test_odd_error_of_a_download_harms_no_other_row(harbour: Harbour) -> None:
    inner = harbour.emulator.transport()

    class Odd(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            if "files" in request.url.host:
                raise RuntimeError("no such thing")
            return await inner.handle_async_request(request)

    outcomes = await harbour.run(boats(1, 2, 3), Kling(KlingAI(KEY), transport=Odd()))

    assert [outcome.ok for outcome in outcomes] == [False] * 3
    assert harbour.summary.startswith("0 saved, 3 succeeded")


async def test_journal_that_takes_no_row_stops_the_batch(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise JournalError("disk full")

    monkeypatch.setattr(Journal, "claim", fail)
    with pytest.raises(BatchStopped, match="the journal cannot be written: disk full"):
        await harbour.run(boats(*range(500)))


async def test_refused_request_stops_a_batch_that_is_to_stop(harbour: Harbour) -> None:
    with pytest.raises(BatchStopped, match="a row failed"):
        await harbour.run(
            [Text2Video(prompt="x" * 9999), *boats(*range(20))], on_failure="stop", max_at_once=1
        )

    assert harbour.paid <= 1


async def test_closing_the_client_hands_out_nothing_half_done(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.STALL, on="file", seconds=3600)
    kling, found = official(harbour.emulator), list[object]()
    async with kling.batch(harbour.path, boats(1), out=harbour.out) as batch:
        async with anyio.create_task_group() as group:

            async def close() -> None:
                await anyio.sleep(60)
                await kling.aclose()

            group.start_soon(close)
            with pytest.raises(Exception, match="closed before all outcomes"):
                async for outcome in batch:
                    found.append(outcome)
        assert found == []
        assert len(batch.pending) == 1


@pytest.mark.parametrize("replaced", [True, False])
async def test_journal_that_is_deleted_stops_the_batch(harbour: Harbour, replaced: bool) -> None:
    with pytest.raises(BatchStopped, match="the journal cannot be written"):
        async with official(harbour.emulator) as kling:
            async with kling.batch(harbour.path, boats(*range(9)), max_at_once=1) as batch:
                async for _ in batch:
                    await anyio.Path(harbour.path).unlink(missing_ok=True)
                    if replaced:
                        await anyio.Path(harbour.path).write_bytes(b"")

    assert harbour.paid <= 2


async def test_source_that_waits_for_ever_does_not_hold_up_a_stop(harbour: Harbour) -> None:
    async def source() -> AsyncIterator[Text2Video]:
        for boat in boats(1, 2):
            yield boat
        await anyio.sleep_forever()

    harbour.emulator.faults.add(Fault.ARREARS, on="create", times=9)
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, source()) as batch:
            with pytest.raises(BatchStopped):
                async for _ in batch:
                    pass

    assert harbour.paid == 0


async def test_key_that_is_refused_while_looking_up_stops_the_batch(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.LOST_ANSWER, on="create")
    harbour.emulator.faults.add(Fault.SERVER_ERROR, on="query", times=99)
    await harbour.run(boats(1))
    harbour.emulator.faults.clear()
    harbour.emulator.faults.add(Fault.UNAUTHORIZED, on="query", times=99)
    with pytest.raises(BatchStopped, match="no other request would fare better"):
        await harbour.run(boats(1))

    assert harbour.paid == 1
