"""An id whose create may have made a task is not sent again by the next submit."""

from __future__ import annotations

import anyio
import pytest

from kling_async import (
    CometAPI,
    Gateway,
    Kling,
    KlingAI,
    SubmissionUnknown,
    TaskState,
    Text2Video,
)
from kling_async._intent import Intent, Notes
from kling_async.emulator import Emulator, Fault

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(prompt="A paper boat", external_task_id="boat-1")
PRO_BOAT = Text2Video(
    model_name="kling-v2-6",
    prompt="A paper boat",
    mode="pro",
    duration=5,
    multi_shot=False,
    external_task_id="boat-1",
)
PROVIDERS = {
    "gateway": Gateway("https://gate.test/gateway/passthrough", KEY),
    "unknown": CometAPI(KEY),
}


def creates(emulator: Emulator) -> int:
    return sum(seen.method == "POST" for seen in emulator.requests)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("fault", [Fault.LOST_BEFORE, Fault.LOST_ANSWER])
async def test_next_submit_sends_nothing(name: str, fault: Fault) -> None:
    emulator = Emulator(strict_ids=False, finds_external_id=False)
    emulator.faults.add(fault, on="create")
    boat = PRO_BOAT if name == "gateway" else BOAT
    async with Kling(PROVIDERS[name], transport=emulator.transport()) as kling:
        for _ in range(3):
            with pytest.raises(SubmissionUnknown, match="boat-1"):
                await kling.submit(boat)
        assert creates(emulator) == 1
        await kling.submit(boat, resend=True)

    assert creates(emulator) == 2


async def test_submit_that_waits_for_the_first_sends_nothing_either() -> None:
    emulator, unknown = Emulator(strict_ids=False, latency=1), list[SubmissionUnknown]()
    emulator.faults.add(Fault.LOST_ANSWER, on="create")

    async def submit() -> None:
        try:
            await kling.submit(PRO_BOAT)
        except SubmissionUnknown as error:
            unknown.append(error)

    async with Kling(PROVIDERS["gateway"], transport=emulator.transport()) as kling:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(submit)

    assert len(unknown) == 3
    assert len(emulator.ledger) == 1


async def test_id_that_was_made_up_may_be_taken_up() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    emulator.faults.add(Fault.HTML, on="query", times=8)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(SubmissionUnknown) as caught:
            await kling.submit(Text2Video(prompt="A paper boat"))
        own = {"external_task_id": caught.value.external_task_id}
        task = await kling.submit(Text2Video(prompt="A paper boat").model_copy(update=own))

    assert [entry.task_id for entry in emulator.ledger] == [task.id]
    assert creates(emulator) == 1


async def test_cancelled_create_is_not_sent_again() -> None:
    emulator = Emulator(latency=40, strict_ids=False, finds_external_id=False)
    async with Kling(CometAPI(KEY), transport=emulator.transport()) as kling:
        with anyio.move_on_after(45):  # the question before it takes 40
            await kling.submit(BOAT)
        with pytest.raises(SubmissionUnknown):
            await kling.submit(BOAT)

    assert creates(emulator) == 1


async def test_doubt_ends_with_the_task() -> None:
    emulator = Emulator(finds_external_id=True)
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    emulator.faults.add(Fault.NOT_FOUND, on="query", times=2)
    async with Kling(CometAPI(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(SubmissionUnknown):
            await kling.submit(BOAT)
        first = await kling.submit(BOAT)
        second = await kling.submit(BOAT)
        assert not kling._submitter._in_doubt

    assert first.id == second.id == emulator.ledger[0].task_id
    assert creates(emulator) == 1


async def test_refused_create_leaves_no_doubt() -> None:
    emulator = Emulator()
    async with Kling(PROVIDERS["gateway"], transport=emulator.transport()) as kling:
        emulator.faults.add(Fault.ARREARS, on="create")
        with pytest.raises(Exception, match="1101"):
            await kling.submit(PRO_BOAT)
        await kling.submit(PRO_BOAT)

    assert len(emulator.ledger) == 1


# What is written down


class Diary(Notes):
    """Remembers the order of things."""

    def __init__(self, emulator: Emulator, *, full: bool = False) -> None:
        self.words: list[str] = []
        self._emulator, self._full = emulator, full

    async def leaving(self) -> None:
        self.words.append(f"leaving {creates(self._emulator)}")

    async def withdrawn(self) -> None:
        self.words.append("withdrawn")

    async def created(self, state: TaskState, token: str) -> None:
        self.words.append("created")
        if self._full:
            raise OSError("the disk is full")


async def submit(kling: Kling, diary: Diary, left_before: float | None = None) -> None:
    submitter = kling._submitter
    intent = Intent("ka-1", notes=diary, left_before=left_before)
    creation = await submitter.begin(Text2Video(prompt="A paper boat"), intent=intent)
    await creation.submit()


@pytest.mark.parametrize(
    ("faults", "words"),
    [
        ([], ["leaving 0", "created"]),
        ([Fault.PARALLEL], ["leaving 0", "withdrawn", "leaving 1", "created"]),
        ([Fault.BUSY], ["leaving 0", "withdrawn", "leaving 1", "created"]),
        ([Fault.LOST_ANSWER], ["leaving 0", "created"]),
        ([Fault.LOST_BEFORE], ["leaving 0", "leaving 1", "created"]),
        ([Fault.LOST_BEFORE, Fault.RATE], ["leaving 0", "leaving 1", "leaving 2", "created"]),
        ([Fault.ARREARS], ["leaving 0", "withdrawn"]),
    ],
)
async def test_notes_are_taken_in_order(faults: list[Fault], words: list[str]) -> None:
    emulator = Emulator()
    for fault in faults:
        emulator.faults.add(fault, on="create")
    diary = Diary(emulator)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        try:
            await submit(kling, diary)
        except Exception:
            assert faults == [Fault.ARREARS]

    assert diary.words == words


@pytest.mark.parametrize("left_before", [0.0, 119.0, 200.0])
async def test_create_of_an_earlier_process_is_never_withdrawn(left_before: float) -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.ARREARS, on="create")
    diary = Diary(emulator)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(SubmissionUnknown, match="sent again, it was refused"):
            await submit(kling, diary, left_before)

    assert diary.words == ["leaving 0"]
    assert emulator.requests[-1].at == pytest.approx(max(0.0, 120 - left_before), abs=0.1)


async def test_doubt_of_an_earlier_process_is_older() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.HTML, on="query", times=8)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(SubmissionUnknown):
            await submit(kling, Diary(emulator), 200.0)
        before = anyio.current_time()
        await submit(kling, Diary(emulator), 400.0)

        assert anyio.current_time() == before  # the wire time was over long ago


async def test_task_that_cannot_be_written_down_is_named() -> None:
    emulator = Emulator()
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(OSError, match="disk is full") as caught:
            await submit(kling, Diary(emulator, full=True))

    assert emulator.ledger[0].task_id in caught.value.__notes__[0]
