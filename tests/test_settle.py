"""A create whose answer was lost can be looked for again."""

from __future__ import annotations

import pytest

from kling_async import SubmissionUnknown
from kling_async.emulator import Emulator, Fault
from tests.harbour import official


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
