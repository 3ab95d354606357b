"""Rows are found again, attempts only go forward, and the sums are right after any stop."""

from __future__ import annotations

import decimal
import json
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from kling_async import JournalError, RequestChanged, RequestRefused
from kling_async._attempt import Attempt, Row, Stage
from kling_async._journal import Journal

BOAT = {"prompt": "A boat", "model_name": "kling-v2-5-turbo"}
UNTIL_KILLED = """
import sys
from decimal import Decimal
import anyio
from kling_async._journal import Journal

async def main():
    async with Journal(sys.argv[1]) as journal:
        row = await journal.claim(key="boat", digest=b"1", endpoint="x", request={"prompt": "A"})
        await journal.intend(row, "ka-1", now=5.0, estimate=Decimal("0.14"))
        print("intended", flush=True)
        await anyio.sleep_forever()

anyio.run(main)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "boats.db"


@pytest.fixture
async def journal(path: Path) -> AsyncIterator[Journal]:
    async with Journal(path) as journal:
        yield journal


async def claimed(journal: Journal, key: str | None = None, **request: Any) -> Row:
    """The row of a request, whose digest is that of its text."""
    request = request or BOAT
    digest = sha256(json.dumps(request, sort_keys=True).encode()).digest()
    return await journal.claim(key=key, digest=digest, endpoint="text2video", request=request)


async def intended(
    journal: Journal, row: Row, name: str = "ka-1", estimate: str | None = "0.14"
) -> Attempt:
    cost = None if estimate is None else Decimal(estimate)
    return await journal.intend(row, name, now=5.0, estimate=cost)


async def rows(path: Path) -> list[Row]:
    return await anyio.to_thread.run_sync(lambda: list(Journal.read(path)))


async def attempt(path: Path) -> Attempt:
    """The latest attempt of the only row."""
    (row,) = await rows(path)
    assert row.attempt
    return row.attempt


def told(journal: Journal) -> dict[Stage | None, int]:
    return {stage: number for stage, number in journal.counts.items() if number}


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """One that has intended an attempt."""
    command = [sys.executable, "-c", UNTIL_KILLED, str(path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "intended\n"
        try:
            yield process
        finally:
            process.kill()


# Rows.


async def test_new_row_has_no_attempt(journal: Journal, path: Path) -> None:
    row = await claimed(journal, "boat-7")

    assert journal.path == path
    assert row == Row(1, "boat-7", "text2video", BOAT, None)
    assert told(journal) == {None: 1}


async def test_row_of_a_key_is_found_again_with_its_attempt(path: Path) -> None:
    async with Journal(path) as journal:
        assert journal.is_new
        first = await claimed(journal, "boat-7")
        made = await intended(journal, first)
    async with Journal(path) as journal:
        assert not journal.is_new
        again = await claimed(journal, "boat-7")

    assert again == Row(first.id, "boat-7", "text2video", BOAT, made)


async def test_row_without_a_key_is_named_by_its_content_and_place(journal: Journal) -> None:
    keys = [(await claimed(journal, prompt=prompt)).key for prompt in ("A", "B", "A", "A")]

    assert keys[0][:-2] != keys[1][:-2]
    assert [key[-2:] for key in keys] == ["-1", "-1", "-2", "-3"]
    assert keys[2:] == [keys[0][:-2] + "-2", keys[0][:-2] + "-3"]
    assert len(keys[0]) == 16 + 2


async def test_other_requests_may_come_go_and_move(path: Path) -> None:
    async with Journal(path) as journal:
        before = [await claimed(journal, prompt=prompt) for prompt in "ABCAB"]
    async with Journal(path) as journal:
        after = [await claimed(journal, prompt=prompt) for prompt in "XBAYBAZ"]
        new = [row for row in after if row.id > len(before)]

    assert [row.request["prompt"] for row in new] == ["X", "Y", "Z"]
    assert {row.id for row in after if row not in new} == {1, 2, 4, 5}


async def test_fewer_equals_take_the_first_ones_whatever_ran_before(path: Path) -> None:
    taken: list[list[int]] = []
    for equals in (3, 1, 2, 1, 4):
        async with Journal(path) as journal:
            taken.append([(await claimed(journal)).id for _ in range(equals)])

    assert taken == [[1, 2, 3], [1], [1, 2], [1], [1, 2, 3, 4]]


async def test_equal_content_of_another_endpoint_is_another_row(path: Path) -> None:
    found: list[Row] = []
    for _ in range(2):
        async with Journal(path) as journal:
            found = [
                await journal.claim(key=None, digest=b"12345678", endpoint=endpoint, request=BOAT)
                for endpoint in ("text2video", "avatar", "text2video")
            ]

    assert [row.id for row in found] == [1, 2, 3]
    assert [row.key for row in found] == [f"{b'12345678'.hex()}-{n}" for n in (1, 2, 3)]


async def test_own_key_that_looks_like_ours_is_passed_over(journal: Journal) -> None:
    name = f"{b'12345678'.hex()}-1"
    named = await journal.claim(key=name, digest=b"12345678", endpoint="x", request=BOAT)
    plain = await journal.claim(key=None, digest=b"12345678", endpoint="x", request=BOAT)

    assert (named.key, plain.key) == (name, name[:-1] + "2")


async def test_our_key_is_not_taken_for_the_callers(path: Path) -> None:
    async with Journal(path) as journal:
        ours = await claimed(journal)
    async with Journal(path) as journal:
        with pytest.raises(RequestRefused, match="is taken.*the journal's own key"):
            await claimed(journal, ours.key)


async def test_key_comes_once_in_a_run(journal: Journal) -> None:
    await claimed(journal, "boat-7")
    with pytest.raises(RequestRefused, match="key 'boat-7' came twice in this run"):
        await claimed(journal, "boat-7")

    assert told(journal) == {None: 1}


async def test_many_claims_at_once_take_a_row_each(journal: Journal) -> None:
    taken: list[int] = []

    async def claim() -> None:
        taken.append((await claimed(journal)).id)

    async with anyio.create_task_group() as group:
        for _ in range(50):
            group.start_soon(claim)

    assert sorted(taken) == list(range(1, 51))


# A request that has changed.


async def change(path: Path, old: dict[str, Any], new: dict[str, Any], **more: Any) -> str:
    first: dict[str, Any] = {"key": "boat-7", "digest": b"old", "endpoint": "text2video"}
    async with Journal(path) as journal:
        await journal.claim(request=old, **first)
    async with Journal(path) as journal:
        with pytest.raises(RequestChanged) as caught:
            await journal.claim(request=new, **{**first, "digest": b"new", **more})
    (row,) = await rows(path)

    assert row.request == old
    assert isinstance(caught.value, ValueError)
    return caught.value.message


async def test_changed_request_is_told_field_by_field(path: Path) -> None:
    message = await change(
        path,
        {"prompt": "A boat", "mode": "pro", "n": 1, "sound": "on"},
        {"prompt": "A ship", "mode": "pro", "n": 1, "duration": "10"},
    )

    assert message == (
        "row 'boat-7' was another request before: prompt: 'A boat' before, 'A ship' now;"
        " sound: 'on' before, not set now; duration: not set before, '10' now"
    )


async def test_changed_part_is_told_with_its_path(path: Path) -> None:
    message = await change(
        path,
        {"camera": {"type": "simple", "config": {"zoom": 1}}, "images": [{"image": "a"}, 2]},
        {"camera": {"type": "simple", "config": {"zoom": 2}}, "images": [{"image": "b"}]},
    )

    assert message.split(": ", 1)[1] == (
        "camera.config.zoom: 1 before, 2 now; images.0.image: 'a' before, 'b' now;"
        " images.1: 2 before, not set now"
    )


async def test_long_texts_are_cut_to_where_they_differ(path: Path) -> None:
    long = "A boat on the sea, and more of it. " * 10
    message = await change(
        path, {"prompt": long + "red", "other": "x" * 500}, {"prompt": long + "blue", "other": "y"}
    )

    assert "it. red' before" in message
    assert "it. blue' now" in message
    assert f"other: '{'x' * 59}… before, 'y' now" in message
    assert len(message) < 300


async def test_changed_endpoint_is_told(path: Path) -> None:
    message = await change(path, BOAT, BOAT, digest=b"old", endpoint="avatar")

    assert message.endswith("before: endpoint: 'text2video' before, 'avatar' now")


async def test_change_that_cannot_be_seen_is_a_files(path: Path) -> None:
    assert (await change(path, BOAT, BOAT)).endswith("before: a file that it names")


# Attempts.


async def test_attempt_goes_all_the_way(journal: Journal, path: Path) -> None:
    row = await claimed(journal)
    stages = [(await intended(journal, row)).stage]
    await journal.created("ka-1", "klingai/text2video/7")
    stages.append((await attempt(path)).stage)
    await journal.succeeded("ka-1", {"videos": [{"url": "https://x"}]}, Decimal("0.280"))
    stages.append((await attempt(path)).stage)
    await journal.saved("ka-1", ["out/boat.mp4"])

    assert stages == [Stage.INTENDED, Stage.RUNNING, Stage.SUCCEEDED]
    done = await attempt(path)
    assert done == Attempt(
        *("ka-1", 1, Stage.SAVED, 5.0, ""),
        token="klingai/text2video/7",
        estimate=Decimal("0.14"),
        units=Decimal("0.280"),
        result={"videos": [{"url": "https://x"}]},
        files=("out/boat.mp4",),
    )
    assert str(done.units) == "0.280"


async def test_failure_is_kept_with_its_reason(journal: Journal, path: Path) -> None:
    await intended(journal, await claimed(journal), estimate=None)
    await journal.failed("ka-1", {"type": "TaskFailed", "message": "no boat"})

    assert await attempt(path) == Attempt(
        "ka-1", 1, Stage.FAILED, 5.0, error={"type": "TaskFailed", "message": "no boat"}
    )


async def test_further_attempt_has_the_next_number(journal: Journal) -> None:
    row = await claimed(journal)
    numbers = [(await intended(journal, row, f"ka-{n}")).number for n in range(3)]

    assert numbers == [1, 2, 3]


async def test_same_intent_again_is_the_same_attempt(journal: Journal, path: Path) -> None:
    row = await claimed(journal)
    await intended(journal, row)
    again = await journal.intend(row, "ka-1", now=9.0, estimate=Decimal(1))

    assert again == Attempt("ka-1", 1, Stage.INTENDED, 9.0, estimate=Decimal(1))
    assert await attempt(path) == again
    assert journal.spent == 1


async def test_id_of_another_row_is_refused(journal: Journal) -> None:
    await intended(journal, await claimed(journal, "boat-7"))
    other = await claimed(journal, "boat-8")
    with pytest.raises(
        RequestRefused, match=r"'ka-1' was used before, by row 'boat-7' \(intended\)"
    ):
        await intended(journal, other)

    assert told(journal) == {None: 1, Stage.INTENDED: 1}


async def test_id_that_has_a_task_is_not_intended_again(journal: Journal) -> None:
    row = await claimed(journal, "boat-7")
    await intended(journal, row)
    await journal.created("ka-1", "token")
    with pytest.raises(RequestRefused, match=r"by row 'boat-7' \(running\)"):
        await intended(journal, row)


async def test_refused_create_is_a_failed_attempt_that_cost_nothing(
    journal: Journal, path: Path
) -> None:
    row = await claimed(journal)
    await journal.refused(row, "ka-1", {"type": "ContentRejected"}, now=7.0)

    facts: dict[str, Any] = {"units": Decimal(0), "error": {"type": "ContentRejected"}}
    assert await attempt(path) == Attempt(
        "ka-1", 1, Stage.FAILED, 7.0, **facts, answered_at=7.0, ended_at=7.0
    )
    assert told(journal) == {Stage.FAILED: 1}
    assert journal.spent == 0


async def test_refused_id_may_be_tried_again(journal: Journal) -> None:
    row = await claimed(journal)
    await journal.refused(row, "ka-1", {"type": "ContentRejected"}, now=7.0)

    assert await intended(journal, row) == Attempt(
        "ka-1", 1, Stage.INTENDED, 5.0, estimate=Decimal("0.14")
    )
    assert journal.spent == Decimal("0.14")
    await journal.refused(row, "ka-1", {}, now=8.0)
    assert journal.spent == 0


async def test_id_of_a_task_that_failed_is_not_tried_again(journal: Journal) -> None:
    row = await claimed(journal, "boat-7")
    await intended(journal, row)
    await journal.created("ka-1", "token")
    await journal.failed("ka-1", {})
    with pytest.raises(RequestRefused, match=r"by row 'boat-7' \(failed\)"):
        await intended(journal, row)
    with pytest.raises(RequestRefused, match=r"by row 'boat-7' \(failed\)"):
        await journal.refused(row, "ka-1", {}, now=8.0)


async def test_withdrawn_attempt_is_forgotten(journal: Journal, path: Path) -> None:
    row = await claimed(journal)
    await intended(journal, row)
    await journal.withdraw("ka-1")

    assert (await rows(path))[0].attempt is None
    assert told(journal) == {None: 1}
    assert journal.spent == 0
    assert (await intended(journal, row)).number == 1


async def test_attempt_with_a_task_is_not_withdrawn(journal: Journal, path: Path) -> None:
    await intended(journal, await claimed(journal))
    await journal.created("ka-1", "token")
    await journal.withdraw("ka-1")

    assert (await attempt(path)).stage == Stage.RUNNING


async def test_withdrawing_a_further_attempt_shows_the_one_before(
    journal: Journal, path: Path
) -> None:
    row = await claimed(journal)
    await intended(journal, row)
    await journal.failed("ka-1", {})
    await intended(journal, row, "ka-2")
    assert told(journal) == {Stage.INTENDED: 1}
    await journal.withdraw("ka-2")

    assert told(journal) == {Stage.FAILED: 1}
    assert (await attempt(path)).external_task_id == "ka-1"


@pytest.mark.parametrize("end", [Stage.SAVED, Stage.FAILED])
async def test_late_moves_change_nothing(journal: Journal, path: Path, end: Stage) -> None:
    await intended(journal, await claimed(journal))
    if end == Stage.SAVED:
        await journal.saved("ka-1", ["a.mp4"])
    else:
        await journal.failed("ka-1", {"message": "no boat"}, Decimal(0))
    before, spent = await attempt(path), journal.spent

    await journal.created("ka-1", "late")
    await journal.succeeded("ka-1", {"late": 1}, Decimal(9))
    await journal.failed("ka-1", {"late": 1}, Decimal(9))
    assert await attempt(path) == before
    assert journal.spent == spent
    assert told(journal) == {end: 1}


async def test_result_is_not_lost_to_a_late_failure(journal: Journal, path: Path) -> None:
    await intended(journal, await claimed(journal))
    await journal.succeeded("ka-1", {"url": "x"}, None)
    await journal.failed("ka-1", {"message": "late"})

    assert (await attempt(path)).stage == Stage.SUCCEEDED
    assert (await attempt(path)).error is None


async def test_files_saved_again_have_their_new_place(journal: Journal, path: Path) -> None:
    await intended(journal, await claimed(journal))
    await journal.saved("ka-1", ["a.mp4"])
    await journal.saved("ka-1", ["b.mp4", "c.mp4"])

    assert (await attempt(path)).files == ("b.mp4", "c.mp4")


async def test_unknown_attempt_is_told(journal: Journal) -> None:
    with pytest.raises(JournalError, match="no attempt has the external_task_id 'ka-9'"):
        await journal.created("ka-9", "token")


# Sums.


async def test_units_count_and_estimates_where_there_are_none(journal: Journal) -> None:
    for number, estimate in enumerate(["0.1", "0.2", "0.4", "0.8", None, "1.6"]):
        await intended(journal, await claimed(journal), f"ka-{number}", estimate)
    await journal.succeeded("ka-0", {}, Decimal("10.05"))
    await journal.succeeded("ka-1", {}, None)
    await journal.failed("ka-2", {})
    await journal.failed("ka-3", {}, Decimal(0))

    assert journal.spent == Decimal("10.05") + Decimal("0.2") + Decimal("0.4") + Decimal("1.6")


async def test_sums_are_exact(path: Path) -> None:
    with decimal.localcontext(prec=3):
        async with Journal(path) as journal:
            for number, cost in enumerate(["0.1"] * 30 + ["1e20", "1e-20"]):
                await intended(journal, await claimed(journal), f"ka-{number}", cost)
            spent = journal.spent
        async with Journal(path) as journal:
            assert journal.spent == spent

    assert str(spent) == "100000000000000000003.00000000000000000001"


@pytest.mark.parametrize("seed", range(3))
async def test_sums_are_those_of_the_file_after_anything(path: Path, seed: int) -> None:
    chance = random.Random(seed)
    async with Journal(path) as journal:
        works = [await claimed(journal, prompt=prompt) for prompt in "ABC"]
        for _ in range(150):
            row = chance.choice(works)
            name = f"ka-{row.id}-{chance.randrange(4)}"
            units = chance.choice([None, Decimal(chance.randrange(100)) / 100])
            moves: list[Callable[[], Awaitable[object]]] = [
                partial(journal.intend, row, name, now=0, estimate=units),
                partial(journal.withdraw, name),
                partial(journal.refused, row, name, {}, now=0),
                partial(journal.created, name, "token"),
                partial(journal.succeeded, name, {}, units),
                partial(journal.saved, name, []),
                partial(journal.failed, name, {}, units),
            ]
            with suppress(
                JournalError, RequestRefused
            ):  # of a name that is not there, or has moved on
                await chance.choice([moves[0], chance.choice(moves)])()
        counts, spent = journal.counts, journal.spent
    async with Journal(path) as journal:
        assert journal.counts == counts
        assert journal.spent == spent
    assert sum(counts.values()) == 3


async def test_cancelled_move_is_made_and_counted(journal: Journal, path: Path) -> None:
    row = await claimed(journal)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await intended(journal, row)
    assert scope.cancelled_caught
    await journal.unclaimed(with_results=True)  # whatever was queued before is done

    assert told(journal) == {Stage.INTENDED: 1}
    assert (await attempt(path)).stage == Stage.INTENDED


# Runs.


async def test_work_left_over_is_told(path: Path) -> None:
    async with Journal(path) as journal:
        for number, stage in enumerate(Stage):
            row = await claimed(journal, stage.value)
            await intended(journal, row, f"ka-{number}")
        await journal.created("ka-1", "token")
        await journal.succeeded("ka-2", {}, None)
        await journal.saved("ka-3", [])
        await journal.failed("ka-4", {})
        again = await claimed(journal, "again")
        await intended(journal, again, "ka-5")
        await intended(journal, again, "ka-6")
        await journal.failed("ka-6", {})
        await claimed(journal, "nothing yet")
        assert await journal.unclaimed(with_results=True) == []
        assert [name for name, _ in await journal.running()] == ["ka-1"]
    async with Journal(path) as journal:
        await claimed(journal, "running")
        left = await journal.unclaimed(with_results=True)

        assert [row.key for row in left] == ["intended", "succeeded"]
        assert [row.attempt and row.attempt.stage for row in left] == ["intended", "succeeded"]
        assert [name for name, _ in await journal.running()] == ["ka-1"]


@pytest.mark.real_time
async def test_killed_at_any_moment_what_was_told_is_there(path: Path) -> None:
    with another_process(path) as process:
        (row,) = await rows(path)
        assert row.attempt == Attempt("ka-1", 1, Stage.INTENDED, 5.0, estimate=Decimal("0.14"))
        process.send_signal(signal.SIGKILL)
    async with Journal(path) as journal:
        assert [row.key for row in await journal.unclaimed(with_results=True)] == ["boat"]
        assert journal.spent == Decimal("0.14")
        assert told(journal) == {Stage.INTENDED: 1}


async def test_rows_are_read_in_order_and_one_by_one(journal: Journal, path: Path) -> None:
    for prompt in "CAB":
        await claimed(journal, prompt=prompt)

    def read() -> tuple[Row, list[str]]:
        reader = Journal.read(path)
        return next(reader), [row.request["prompt"] for row in reader]

    first, others = await anyio.to_thread.run_sync(read)
    assert first.request["prompt"] == "C"
    assert others == ["A", "B"]


async def test_reading_may_go_on_in_another_thread(journal: Journal, path: Path) -> None:
    for prompt in "AB":
        await claimed(journal, prompt=prompt)
    reader = Journal.read(path)
    async with anyio.create_task_group() as group:  # so that the two threads are two

        async def read() -> None:
            await anyio.to_thread.run_sync(next, reader)

        await read()
        group.start_soon(read)
    await anyio.to_thread.run_sync(reader.close)


async def test_text_of_any_kind_is_kept(path: Path) -> None:
    request = {"prompt": "Ein Böötchen 船 \ud83d \0 '\"", "n": [1, 2.5, None, True]}
    async with Journal(path) as journal:
        await journal.claim(key="a'\"b", digest=b"", endpoint="x", request=request)
    async with Journal(path) as journal:
        row = await journal.claim(key="a'\"b", digest=b"", endpoint="x", request=request)

    assert row.request == request


async def test_journal_that_cannot_begin_is_closed_again(path: Path) -> None:
    async with Journal(path):
        pass
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("DROP TABLE attempts")
    for _ in range(2):  # the second time would be told of the lock, were it still held
        with pytest.raises(JournalError, match="no such table: attempts"):
            await Journal(path).open()
