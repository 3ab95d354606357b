"""A batch goes on with whatever a stopped process has left in its journal."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from kling_async import (
    BatchStopped,
    Journal,
    JournalError,
    KlingAI,
    Polling,
    Stage,
    TaskTimeout,
)
from kling_async._fingerprint import fingerprint
from kling_async.emulator import Emulator, Fault
from tests.harbour import KEY, Found, Harbour, boats, official


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


async def left(harbour: Harbour, stage: Stage, *, exists: bool = True, ago: float = 0) -> str:
    """A journal whose only row, boat 1, was left at *stage*; gives its external id."""
    [request] = boats(1)
    body: dict[str, Any] = {**request.body(KlingAI(KEY).limits), "external_task_id": "ka-1"}
    task_id, result = "", dict[str, Any]()
    if exists:
        async with official(harbour.emulator) as kling:
            own = request.model_copy(update={"external_task_id": "ka-1"})
            task = await kling.submit(own)
            task_id = task.id
            if stage is Stage.SUCCEEDED:
                result = (await task).model_dump(mode="json")
    digest, facts = fingerprint(body)
    async with Journal(harbour.path) as journal:
        journal.account = KlingAI(KEY).account
        row = await journal.claim(key=None, digest=digest, endpoint="text2video", request=facts)
        await journal.intend(row, "ka-1", now=time.time() - ago, estimate=None)
        if stage is not Stage.INTENDED:
            await journal.created("ka-1", f"klingai/text2video/{task_id}/kling-v1")
        if stage is Stage.SUCCEEDED:
            await journal.succeeded("ka-1", result, None)
    return task_id


@pytest.mark.parametrize("stage", [Stage.INTENDED, Stage.RUNNING, Stage.SUCCEEDED])
@pytest.mark.parametrize("asked_for", [True, False])
async def test_row_is_gone_on_with_where_it_was_left(
    harbour: Harbour, stage: Stage, asked_for: bool
) -> None:
    task_id = await left(harbour, stage)
    outcomes = await harbour.run(boats(1) if asked_for else [])

    assert [outcome.token is not None for outcome in outcomes] == [True] * asked_for
    assert [path.name for path in harbour.files] == [f"{task_id}-0.mp4"]
    assert harbour.paid == 1


async def test_intent_that_was_never_sent_is_sent_once_that_is_certain(harbour: Harbour) -> None:
    await left(harbour, Stage.INTENDED, exists=False, ago=30)
    await harbour.run(boats(1))
    looked_up = [seen for seen in harbour.emulator.requests if seen.path.endswith("/ka-1")]

    assert harbour.paid == len(harbour.files) == 1
    assert harbour.emulator.ledger.billed("ka-1") == 1
    assert [seen.at for seen in looked_up] == pytest.approx([0, 90], abs=1)


async def test_old_intent_is_looked_up_once(harbour: Harbour) -> None:
    await left(harbour, Stage.INTENDED, exists=False, ago=3600)
    await harbour.run(boats(1))

    assert [seen.method for seen in harbour.emulator.requests][:2] == ["GET", "POST"]


async def test_intent_that_is_no_longer_asked_for_is_not_sent(harbour: Harbour) -> None:
    await left(harbour, Stage.INTENDED, exists=False, ago=3600)
    outcomes = await harbour.run([])

    assert (outcomes, harbour.paid) == ([], 0)
    assert "1 unknown" in harbour.summary


async def test_journal_that_breaks_before_the_send_costs_nothing(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise JournalError("disk full")

    monkeypatch.setattr(Journal, "intend", fail)
    with pytest.raises(BatchStopped, match="the journal cannot be written") as caught:
        await harbour.run(boats(*range(9)), max_at_once=1)

    assert isinstance(caught.value.__cause__, JournalError)
    assert harbour.paid == 0


@pytest.mark.parametrize("move", ["created", "succeeded", "saved"])
async def test_journal_that_breaks_later_loses_nothing(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch, move: str, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise JournalError("disk full")

    found: list[Found] = []
    with monkeypatch.context() as patch:
        patch.setattr(Journal, move, fail)
        async with official(harbour.emulator) as kling:
            async with kling.batch(
                harbour.path, boats(*range(9)), out=harbour.out, max_at_once=1
            ) as batch:
                with pytest.raises(BatchStopped, match="the journal cannot be written"):
                    async for outcome in batch:
                        found.append(outcome)

    assert [outcome.ok for outcome in found] == [True]
    assert harbour.paid == len(harbour.files) == 1
    assert (str(found[0].token) in caplog.text) == (move == "created")

    await harbour.run(boats(*range(9)))
    assert harbour.paid == len(harbour.files) == 9


async def test_journal_that_cannot_withdraw_looks_the_row_up_in_vain(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: object, **__: object) -> None:
        raise JournalError("disk full")

    harbour.emulator.faults.add(Fault.PARALLEL, on="create")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "withdraw", fail)
        with pytest.raises(BatchStopped):
            await harbour.run(boats(1))
    assert harbour.paid == 0
    await harbour.run(boats(1))

    assert harbour.paid == len(harbour.files) == 1


async def test_tasks_that_take_too_long_are_left_to_the_next_run(harbour: Harbour) -> None:
    harbour.emulator = Emulator(duration=3600)
    impatient = official(harbour.emulator, polling=Polling(timeout=300))
    outcomes = await harbour.run(boats(1, 2), impatient)

    assert all(isinstance(outcome.error, TaskTimeout) for outcome in outcomes)
    assert harbour.summary.startswith("0 saved, 0 succeeded, 0 failed, 2 running, 0 unknown")

    assert all(outcome.ok for outcome in await harbour.run(boats(1, 2)))
    assert harbour.paid == 2
