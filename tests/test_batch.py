"""A batch ends every row, goes on after any stop, and pays for nothing twice."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async import (
    CometAPI,
    ConfigurationError,
    ContentRejected,
    DownloadError,
    DownloadFinished,
    DownloadProgressed,
    Event,
    Image2Video,
    JournalError,
    Kling,
    RequestChanged,
    RequestRefused,
    SubmissionUnknown,
    Task,
    TaskFailed,
    Text2Video,
    VideoResult,
)
from kling_async.emulator import Emulator, Fault
from tests.harbour import KEY, Found, Harbour, boats, creates, official
from tests.media_samples import png


@pytest.fixture
def harbour(tmp_path: Path) -> Harbour:
    return Harbour(tmp_path)


async def test_every_row_ends_in_a_file(harbour: Harbour) -> None:
    outcomes = await harbour.run(boats(*range(5)))

    assert sorted(outcome.index for outcome in outcomes) == list(range(5))
    assert sorted(path for outcome in outcomes for path in outcome.files) == harbour.files
    assert len(harbour.files) == harbour.paid == 5
    assert harbour.summary.startswith("5 saved, 0 succeeded, 0 failed")


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
    assert harbour.summary.startswith("4 saved")


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


@pytest.mark.parametrize("name", [None, 5, ""])
async def test_key_that_names_nothing_is_an_error_of_its_row(harbour: Harbour, name: Any) -> None:
    [outcome] = await harbour.run(boats(1), key=lambda request: name)

    assert isinstance(outcome.error, ConfigurationError)
    assert f"key gave {name!r}" in str(outcome.error)
    assert harbour.paid == 0


async def test_key_that_names_no_row_at_all_is_refused(harbour: Harbour) -> None:
    async def late(request: object) -> str:
        raise NotImplementedError

    for bad in ("prompt", late):
        with pytest.raises(ConfigurationError, match="give a plain function"):
            await harbour.run(boats(1), key=bad)


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
    assert harbour.summary.startswith("1 saved, 0 succeeded, 0 failed")


async def test_refused_row_is_kept_with_its_reason_and_cost_nothing(harbour: Harbour) -> None:
    harbour.emulator.faults.add(Fault.CONTENT, on="create")
    await harbour.run(boats(1))
    [outcome] = await harbour.run(boats(1))

    assert isinstance(outcome.error, ContentRejected)
    assert harbour.summary == (
        "0 saved, 0 succeeded, 1 failed, 0 running, 0 unknown, 0 not submitted, 0 units"
    )


async def test_bad_request_is_an_outcome_and_no_row(harbour: Harbour) -> None:
    requests: list[Any] = ["boat", Text2Video(prompt="x" * 9999), *boats(1)]
    outcomes = sorted(await harbour.run(requests), key=lambda outcome: outcome.index)

    assert [outcome.ok for outcome in outcomes] == [False, False, True]
    assert isinstance(outcomes[0].error, RequestRefused)
    assert isinstance(outcomes[1].error, RequestRefused)
    assert harbour.summary.startswith("1 saved, 0 succeeded, 0 failed")


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


async def test_row_is_under_way_until_it_is_saved(harbour: Harbour) -> None:
    named = dict[str, set[str]]()

    def hook(event: Event) -> None:
        if isinstance(event, DownloadProgressed | DownloadFinished):
            told = {key for key, _ in batch.under_way().values()}
            named.setdefault(type(event).__name__, set()).update(told)

    async with official(harbour.emulator, hooks=[hook]) as kling:
        requests = [
            boat.model_copy(update={"external_task_id": boat.prompt}) for boat in boats(1, 2)
        ]
        batch = kling.batch(harbour.path, requests, out=harbour.out)
        async with batch:
            _ = [outcome async for outcome in batch]
            assert batch.under_way() == {}

    assert named == {
        "DownloadProgressed": {"Boat 1", "Boat 2"},
        "DownloadFinished": {"Boat 1", "Boat 2"},
    }


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
        assert harbour.summary.startswith("0 saved, 0 succeeded, 0 failed, 0 running, 1 unknown")
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


async def test_file_that_is_gone_is_downloaded_again(harbour: Harbour) -> None:
    await harbour.run(boats(1, 2))
    gone = harbour.files[0]
    gone.unlink()
    outcomes = await harbour.run(boats(1, 2), out=harbour.folder / "elsewhere")

    assert harbour.paid == 2
    assert [path.name for path in (harbour.folder / "elsewhere").iterdir()] == [gone.name]
    assert all(outcome.files[0].is_absolute() and outcome.files[0].exists() for outcome in outcomes)


async def test_without_a_folder_nothing_is_downloaded_until_there_is_one(harbour: Harbour) -> None:
    [first] = await harbour.run(boats(1), out=None)
    assert first.ok
    assert harbour.summary.startswith("0 saved, 1 succeeded")
    [second] = await harbour.run(boats(1))

    assert (first.files, len(second.files)) == ((), 1)
    assert harbour.paid == 1


async def test_journal_of_another_provider_is_refused(harbour: Harbour) -> None:
    async with official(harbour.emulator) as kling:
        async with kling.batch(harbour.path, boats(1)) as batch:
            with anyio.move_on_after(10):
                await anext(aiter(batch))
    comet = Kling(CometAPI(KEY), transport=harbour.emulator.transport())
    with pytest.raises(ConfigurationError, match="has tasks of klingai at"):
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
