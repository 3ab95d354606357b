"""A batch ends every row, goes on after any stop, and pays for nothing twice."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async import (
    AuthenticationError,
    BatchOutcome,
    BatchStopped,
    CometAPI,
    ConfigurationError,
    ContentRejected,
    DownloadError,
    Image2Video,
    Journal,
    JournalError,
    Kling,
    KlingAI,
    Request,
    RequestChanged,
    RequestRefused,
    Stage,
    SubmissionUnknown,
    Task,
    TaskFailed,
    Text2Video,
    VideoResult,
)
from kling_async._fingerprint import fingerprint
from kling_async.emulator import Emulator, Fault
from tests.media_samples import png

KEY = "a-secret-key-0123456789"
Found = BatchOutcome[VideoResult]


def official(emulator: Emulator, **options: Any) -> Kling:
    return Kling(KlingAI(KEY), transport=emulator.transport(), **options)


def creates(emulator: Emulator) -> int:
    return sum(seen.method == "POST" for seen in emulator.requests)


def boats(*numbers: int) -> list[Text2Video]:
    return [Text2Video(prompt=f"Boat {number}") for number in numbers]


class Harbour:
    """A journal and a folder, on which runs follow each other, each with a client of its own."""

    def __init__(self, folder: Path) -> None:
        self.emulator = Emulator(duration=30)
        self.folder = folder
        self.out = folder / "videos"
        self.path = folder / "boats.db"
        self.summary = ""

    async def run(
        self, requests: Iterable[Request[VideoResult]], client: Kling | None = None, **options: Any
    ) -> list[Found]:
        """A whole run; what it came to is in `summary`, also when it raises."""
        async with client or official(self.emulator) as kling:
            batch = kling.batch(self.path, requests, **{"out": self.out, **options})
            try:
                async with batch:
                    return [outcome async for outcome in batch]
            finally:
                self.summary = str(batch.summary())

    @property
    def paid(self) -> int:
        return len(self.emulator.ledger)

    @property
    def files(self) -> list[Path]:
        return sorted(self.out.glob("*"))


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


async def test_every_row_ends_in_a_file(harbour: Harbour) -> None:
    outcomes = await harbour.run(boats(*range(5)))

    assert sorted(outcome.index for outcome in outcomes) == list(range(5))
    assert sorted(path for outcome in outcomes for path in outcome.files) == harbour.files
    assert len(harbour.files) == harbour.paid == 5
    assert harbour.summary.startswith("5 done, 0 failed")


async def test_second_run_costs_nothing_and_tells_the_same(harbour: Harbour) -> None:
    first = await harbour.run(boats(*range(5)))
    asked = len(harbour.emulator.requests)
    second = await harbour.run(boats(*range(5)))

    def told(outcomes: list[Found]) -> list[Found]:
        return sorted(outcomes, key=lambda outcome: outcome.index)

    assert told(second) == told(first)
    assert len(harbour.emulator.requests) == asked


async def test_requests_may_come_go_and_move(harbour: Harbour) -> None:
    await harbour.run(boats(1, 2, 3))
    await harbour.run(boats(3, 7, 1))

    assert harbour.paid == 4
    assert harbour.summary.startswith("4 done")


async def test_equal_requests_are_rows_of_their_own(harbour: Harbour) -> None:
    outcomes = await harbour.run(boats(1, 1, 1))
    await harbour.run(boats(1, 1))

    assert harbour.paid == 3
    assert len({outcome.key for outcome in outcomes}) == 3


async def test_image_is_known_by_its_content(harbour: Harbour) -> None:
    one, other = harbour.folder / "one.png", harbour.folder / "other.png"
    one.write_bytes(png(640, 640))
    other.write_bytes(png(640, 640))
    await harbour.run([Image2Video(image=one, prompt="it yawns")])
    await harbour.run([Image2Video(image=other, prompt="it yawns")])
    other.write_bytes(png(641, 640))
    await harbour.run([Image2Video(image=other, prompt="it yawns")])

    assert harbour.paid == 2
    assert harbour.path.stat().st_size < 100_000


async def test_key_names_a_row(harbour: Harbour) -> None:
    outcomes = await harbour.run(boats(1), key=lambda request: "first")

    assert outcomes[0].key == "first"


async def test_changed_request_of_a_key_is_an_error_that_shows_the_difference(
    harbour: Harbour,
) -> None:
    await harbour.run(boats(1), key=lambda request: "first")
    [outcome] = await harbour.run(boats(2), key=lambda request: "first")

    assert isinstance(outcome.error, RequestChanged)
    assert "prompt: 'Boat 1' before, 'Boat 2' now" in str(outcome.error)
    assert harbour.paid == 1


async def test_key_that_comes_twice_is_an_error_of_its_row(harbour: Harbour) -> None:
    outcomes = await harbour.run(boats(1, 1, 2), key=lambda request: str(request)[-3:])
    bad = [outcome for outcome in outcomes if not outcome.ok]

    assert harbour.paid == 2
    assert [type(outcome.error) for outcome in bad] == [RequestRefused]


async def test_own_ids_are_keys_and_outlive_the_journal(harbour: Harbour) -> None:
    request = Text2Video(prompt="A boat", external_task_id="boat-1")
    [first] = await harbour.run([request])
    harbour.path.unlink()
    [second] = await harbour.run([request])

    assert first.key == second.key == "boat-1"
    assert first.token == second.token
    assert harbour.paid == 1


@pytest.mark.parametrize("own_id", [None, "boat-1"])
async def test_failed_row_is_kept_and_paid_for_again_only_when_asked(
    harbour: Harbour, own_id: str | None
) -> None:
    request = Text2Video(prompt="A boat", external_task_id=own_id)
    harbour.emulator.faults.add(Fault.FAIL, message="too dark")
    [first] = await harbour.run([request])
    [second] = await harbour.run([request])

    assert isinstance(first.error, TaskFailed)
    assert isinstance(second.error, TaskFailed)
    assert "too dark" in str(second.error)
    assert (second.token, harbour.paid) == (first.token, 1)

    [third] = await harbour.run([request], retry_failed=True)
    assert third.ok
    assert harbour.paid == 2
    assert harbour.emulator.ledger.billed_twice == {}
    assert harbour.summary.startswith("1 done, 0 failed")


async def test_refused_row_is_kept_with_its_reason_and_cost_nothing(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.CONTENT, on="create")
    await harbour.run(boats(1))
    [outcome] = await harbour.run(boats(1))

    assert isinstance(outcome.error, ContentRejected)
    assert harbour.summary == ("0 done, 1 failed, 0 running, 0 unknown, 0 not submitted, 0 units")


async def test_bad_request_is_an_outcome_and_no_row(harbour: Harbour) -> None:
    requests: list[Any] = ["boat", Text2Video(prompt="x" * 9999), *boats(1)]
    outcomes = sorted(await harbour.run(requests), key=lambda outcome: outcome.index)

    assert [outcome.ok for outcome in outcomes] == [False, False, True]
    assert isinstance(outcomes[0].error, RequestRefused)
    assert isinstance(outcomes[1].error, RequestRefused)
    assert harbour.summary.startswith("1 done, 0 failed")


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


async def test_unknown_word_for_what_a_failure_does_is_refused(harbour: Harbour) -> None:
    with pytest.raises(ConfigurationError, match="on_failure"):
        await harbour.run(boats(1), on_failure="ignore")


async def test_folder_that_cannot_be_written_costs_nothing(harbour: Harbour) -> None:
    harbour.out.write_text("a file")
    with pytest.raises(DownloadError, match="cannot save anything in"):
        async with official(harbour.emulator) as kling:
            async with kling.batch(harbour.path, boats(1), out=harbour.out):
                pytest.fail("it was opened")

    assert not harbour.emulator.requests


async def test_hook_is_awaited_before_the_first_question(harbour: Harbour) -> None:
    told: list[str] = []

    async def note(task: Task[VideoResult]) -> None:
        await anyio.sleep(1)
        assert [seen.method for seen in harbour.emulator.requests] == ["POST"]
        told.append(task.token)

    [outcome] = await harbour.run(boats(1), on_submitted=note)
    assert told == [outcome.token]


async def test_hook_that_fails_costs_no_video(
    harbour: Harbour, caplog: pytest.LogCaptureFixture
) -> None:
    async def fail(task: Task[VideoResult]) -> None:
        raise LookupError("no database")

    [outcome] = await harbour.run(boats(1), on_submitted=fail)
    assert outcome.ok
    assert "no database" in caplog.text


async def test_broken_off_run_goes_on(harbour: Harbour) -> None:
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, boats(*range(9)), out=harbour.out) as batch:
            async for _ in batch:
                break
            assert len(batch.pending) == harbour.paid - 1
    outcomes = await harbour.run(boats(*range(9)))

    assert len(outcomes) == harbour.paid == len(harbour.files) == 9


async def test_tasks_of_an_earlier_run_hold_slots(harbour: Harbour) -> None:
    harbour.emulator = Emulator(duration=500, parallel=4)
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, boats(*range(9)), out=harbour.out) as batch:
            with anyio.move_on_after(60):
                await anext(aiter(batch))
    refused = creates(harbour.emulator) - harbour.paid
    await harbour.run(reversed(boats(*range(9))), official(harbour.emulator, max_at_once=4))

    assert harbour.paid == len(harbour.files) == 9
    assert creates(harbour.emulator) - harbour.paid == refused


async def test_row_that_is_no_longer_asked_for_is_saved_all_the_same(harbour: Harbour) -> None:
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, boats(1, 2), out=harbour.out) as batch:
            with anyio.move_on_after(10):
                await anext(aiter(batch))
    outcomes = await harbour.run(boats(2))

    assert len(outcomes) == 1
    assert harbour.paid == len(harbour.files) == 2


async def test_lost_create_is_found_by_the_end_of_the_batch(harbour: Harbour) -> None:
    """The server cannot be asked for longer than a look-up is tried."""
    harbour.emulator.faults.add(Fault.LOST_ANSWER, on="create")
    harbour.emulator.faults.add(Fault.SERVER_ERROR, on="query", times=8)
    [outcome] = await harbour.run(boats(1))

    assert outcome.ok
    assert outcome.index == 0
    assert harbour.paid == len(harbour.files) == 1


async def test_unknown_create_is_reported_by_every_run(harbour: Harbour) -> None:
    harbour.emulator = Emulator(duration=30, finds_external_id=False, strict_ids=False)
    harbour.emulator.faults.add(Fault.LOST_ANSWER, on="create")

    def client() -> Kling:
        return Kling(CometAPI(KEY), transport=harbour.emulator.transport())

    for _ in range(2):
        [outcome] = await harbour.run(boats(1), client())
        assert isinstance(outcome.error, SubmissionUnknown)
        assert harbour.summary.startswith("0 done, 0 failed, 0 running, 1 unknown")
    assert harbour.paid == 1

    [outcome] = await harbour.run(boats(1), client(), resend=True)
    assert outcome.ok
    assert harbour.paid == 2  # as the caller chose


async def test_download_that_fails_is_done_by_the_next_run(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.SERVER_ERROR, on="file", times=99)
    [first] = await harbour.run(boats(1))
    harbour.emulator.faults.clear()
    asked = len(harbour.emulator.requests)
    [second] = await harbour.run(boats(1))

    assert isinstance(first.error, DownloadError)
    assert first.result is not None
    assert second.ok
    assert len(harbour.files) == harbour.paid == 1
    assert len(harbour.emulator.requests) == asked + 1


async def test_without_a_folder_nothing_is_downloaded_until_there_is_one(harbour: Harbour) -> None:
    [first] = await harbour.run(boats(1), out=None)
    assert first.ok
    assert harbour.summary.startswith("1 done")
    [second] = await harbour.run(boats(1))

    assert (first.files, len(second.files)) == ((), 1)
    assert harbour.paid == 1


async def test_journal_of_another_provider_is_refused(harbour: Harbour) -> None:
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, boats(1)) as batch:
            with anyio.move_on_after(10):
                await anext(aiter(batch))
    comet = Kling(CometAPI(KEY), transport=harbour.emulator.transport())
    with pytest.raises(ConfigurationError, match="the token is of provider klingai"):
        await harbour.run(boats(1), comet)
    [outcome] = await harbour.run(boats(1))

    assert outcome.ok


async def test_journal_in_use_is_refused(harbour: Harbour) -> None:
    async with official(harbour.emulator) as kling, kling.batch(harbour.path, boats(1)):
        with pytest.raises(JournalError):
            async with kling.batch(harbour.path, boats(1)):
                pytest.fail("it was opened")


async def test_batch_must_be_opened_first(harbour: Harbour) -> None:
    async with official(harbour.emulator) as kling:
        with pytest.raises(RuntimeError, match="async with"):
            aiter(kling.batch(harbour.path, boats(1)))


async def test_requests_are_read_as_slots_come_free(harbour: Harbour) -> None:
    read: list[int] = []

    async def endless() -> AsyncIterator[Text2Video]:
        for number in itertools.count():
            read.append(number)
            yield Text2Video(prompt=f"Boat {number}")

    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, endless(), max_at_once=3) as batch:
            async for outcome in batch:
                if outcome.index >= 20:
                    break

    assert len(read) < 40
    assert harbour.paid < 40


# Money.


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


# Rows that a stopped process has left.


async def left(harbour: Harbour, stage: Stage, *, exists: bool = True, ago: float = 0) -> str:
    """A journal whose only row, boat 1, was left at *stage*; gives its external id."""
    [request] = boats(1)
    body: dict[str, Any] = {**request.body(KlingAI(KEY).limits), "external_task_id": "ka-1"}
    task_id = ""
    if exists:
        async with official(harbour.emulator) as kling:
            own = request.model_copy(update={"external_task_id": "ka-1"})
            task = await kling.submit(own)
            task_id = task.id
            if stage is Stage.SUCCEEDED:
                result = (await task).model_dump(mode="json")
    digest, facts = fingerprint(body)
    async with Journal(harbour.path) as journal:
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


# A journal that breaks.


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


async def test_lost_create_can_be_settled_by_hand() -> None:
    emulator = Emulator(duration=10)
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    emulator.faults.add(Fault.SERVER_ERROR, on="query", times=8)
    async with official(emulator) as kling:
        with pytest.raises(SubmissionUnknown) as caught:
            await kling.text2video.submit(prompt="A boat")
        assert caught.value.token is not None
        assert caught.value.external_task_id is not None
        by_token = await kling.settle(caught.value.token)
        by_id = await kling.settle(caught.value.external_task_id)
        video = await by_id

    assert by_token.id == by_id.id == video.task_id
    assert len(emulator.ledger) == 1


async def test_what_is_not_found_stays_unknown() -> None:
    async with official(Emulator()) as kling:
        with pytest.raises(SubmissionUnknown, match="boat-7 as yet"):
            await kling.settle("boat-7")
        with pytest.raises(SubmissionUnknown) as caught:
            await kling.settle("klingai/avatar/boat-7")

    assert caught.value.token == "klingai/avatar/boat-7"
