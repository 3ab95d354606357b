"""Lesson 10: a batch keeps a journal, so stopping it is only a pause."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_async import (
    BatchStopped,
    Gateway,
    Kling,
    KlingAI,
    RequestChanged,
    SubmissionUnknown,
    Task,
    TaskFailed,
    Text2Video,
    VideoResult,
)
from kling_async.emulator import Emulator, Fault

BOATS = [Text2Video(prompt=f"A paper boat, take {take}") for take in range(5)]


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """A file that is not there yet: the first run makes it."""
    return tmp_path / "boats.db"


async def test_every_request_becomes_a_file(kling: Kling, journal: Path, tmp_path: Path) -> None:
    """The outcomes come as they finish, each with its files."""
    async with kling.batch(journal, BOATS, out=tmp_path / "videos") as batch:
        files = [path async for outcome in batch for path in outcome.files]

    assert sorted(files) == sorted((tmp_path / "videos").iterdir())
    assert len(files) == 5
    assert batch.summary().saved == 5


async def test_second_run_pays_for_nothing(kling: Kling, emulator: Emulator, journal: Path) -> None:
    """What is done is told from the journal: the server is not even asked."""
    async with kling.batch(journal, BOATS) as batch:
        first = [outcome.result async for outcome in batch]
    asked = len(emulator.requests)
    async with kling.batch(journal, BOATS) as batch:
        second = [outcome.result async for outcome in batch]

    assert {video and video.url for video in second} == {video and video.url for video in first}
    assert len(emulator.requests) == asked


async def test_stopped_batch_goes_on(kling: Kling, emulator: Emulator, journal: Path) -> None:
    """Tomorrow, in another process: what was paid for is waited for, and the rest submitted."""
    async with kling.batch(journal, BOATS, max_at_once=2) as batch:
        async for _ in batch:
            break

    async with Kling(KlingAI("a-key-of-mine"), transport=emulator.transport()) as another:
        async with another.batch(journal, BOATS) as batch:
            outcomes = [outcome async for outcome in batch]

    assert all(outcome.ok for outcome in outcomes)
    assert len(outcomes) == len(emulator.ledger) == 5


async def test_requests_may_come_and_go(kling: Kling, emulator: Emulator, journal: Path) -> None:
    """A row is known by what its request says, so only the new one is paid for."""
    async with kling.batch(journal, BOATS) as batch:
        assert len([outcome async for outcome in batch]) == 5
    async with kling.batch(journal, [Text2Video(prompt="A paper ship"), *BOATS[:2]]) as batch:
        assert len([outcome async for outcome in batch]) == 3

    assert len(emulator.ledger) == 6


async def test_key_of_a_row_is_yours_to_choose(
    kling: Kling, emulator: Emulator, journal: Path
) -> None:
    """Then a changed request is an error that shows the change, not a second bill."""
    for prompt in ("A paper boat", "A paper ship"):
        request = Text2Video(prompt=prompt)
        async with kling.batch(journal, [request], key=lambda _: "first") as batch:
            outcome = await anext(aiter(batch))

    assert isinstance(outcome.error, RequestChanged)
    assert "prompt: 'A paper boat' before, 'A paper ship' now" in str(outcome.error)
    assert len(emulator.ledger) == 1


async def test_failed_row_is_not_paid_for_again_unasked(
    kling: Kling, emulator: Emulator, journal: Path
) -> None:
    """A rerun tells the old failure; `retry_failed` makes a new, paid task."""
    emulator.faults.add(Fault.FAIL, message="too dark")
    for _ in range(2):
        async with kling.batch(journal, BOATS[:1]) as batch:
            outcome = await anext(aiter(batch))
        assert isinstance(outcome.error, TaskFailed)
        assert len(emulator.ledger) == 1

    async with kling.batch(journal, BOATS[:1], retry_failed=True) as batch:
        assert (await anext(aiter(batch))).ok


async def test_budget_is_never_passed(kling: Kling, emulator: Emulator, journal: Path) -> None:
    """It bounds all runs on the journal together; the unit is Kling's, 1 for each boat."""
    for _ in range(2):
        batch = kling.batch(journal, BOATS, budget=3)
        with pytest.raises(BatchStopped, match="the budget of 3 units"):
            async with batch:
                async for _ in batch:
                    pass
        assert batch.summary().units == len(emulator.ledger) == 3


async def test_token_is_yours_before_the_video_is_there(kling: Kling, journal: Path) -> None:
    """`on_submitted` is awaited with each task: write its token where your program looks."""
    tokens: list[str] = []

    async def note(task: Task[VideoResult]) -> None:
        tokens.append(task.token)

    async with kling.batch(journal, BOATS, on_submitted=note) as batch:
        outcomes = [outcome async for outcome in batch]

    assert sorted(tokens) == sorted(str(outcome.token) for outcome in outcomes)


async def test_unknown_create_stays_unknown(journal: Path) -> None:
    """A gateway cannot be asked, so no run sends it again unless you say so."""
    emulator = Emulator(duration=100.0, strict_ids=False)
    boat = Text2Video(
        prompt="A boat", model_name="kling-v1-6", mode="std", duration=5, multi_shot=False
    )
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    gateway = Gateway("https://acme.example/gateway/newapi", "a-key-of-mine")
    async with Kling(gateway, transport=emulator.transport()) as kling:
        for _ in range(2):
            async with kling.batch(journal, [boat]) as batch:
                outcome = await anext(aiter(batch))
            assert isinstance(outcome.error, SubmissionUnknown)
            assert len(emulator.ledger) == batch.summary().unknown == 1

        async with kling.batch(journal, [boat], resend=True) as batch:
            assert (await anext(aiter(batch))).ok

    assert len(emulator.ledger) == 2  # paid for twice, as was risked


async def test_journal_becomes_a_table(kling: Kling, journal: Path, tmp_path: Path) -> None:
    """For people and spreadsheets: a row a line, as .csv or .jsonl."""
    async with kling.batch(journal, BOATS) as batch:
        async for _ in batch:
            pass
    await batch.export(tmp_path / "boats.csv")

    lines = (tmp_path / "boats.csv").read_text(encoding="utf-8-sig").splitlines()
    assert lines[0].startswith("key,endpoint,stage,prompt,")
    assert len(lines) == 6
