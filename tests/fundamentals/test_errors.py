"""Lesson 6: errors say what happened, whether it cost anything, and what to do next."""

from __future__ import annotations

import pickle

import pytest

from kling_async import (
    APIError,
    AuthenticationError,
    BalanceExhausted,
    ContentRejected,
    Kling,
    KlingAI,
    KlingError,
    RequestRefused,
    TaskFailed,
)
from kling_async.emulator import Emulator, Fault


async def test_failed_task_says_why(kling: Kling, emulator: Emulator) -> None:
    """Kling accepted the task and could not do it: its reason is the message."""
    emulator.faults.add(Fault.FAIL, message="the picture is too dark")

    with pytest.raises(TaskFailed, match="the picture is too dark") as caught:
        await kling.text2video.run(prompt="A paper boat")

    assert caught.value.task_id == emulator.ledger[0].task_id


async def test_refused_request_was_never_sent(kling: Kling, emulator: Emulator) -> None:
    """`RequestRefused` comes from this package, and `field` says what to correct."""
    with pytest.raises(RequestRefused) as caught:
        await kling.text2video.run(prompt="A paper boat", aspect_ratio="2:1")

    assert caught.value.field == "aspect_ratio"
    assert not emulator.requests


async def test_rejected_content_is_no_reason_to_retry(kling: Kling, emulator: Emulator) -> None:
    """The server said no, once: it is not asked again and nothing is billed."""
    emulator.faults.add(Fault.CONTENT)

    with pytest.raises(ContentRejected, match="Change the prompt or the media"):
        await kling.text2video.run(prompt="A paper boat")

    assert len(emulator.requests) == 1
    assert not emulator.ledger


async def test_empty_account_is_not_a_rate_limit(kling: Kling, emulator: Emulator) -> None:
    """Both are HTTP 429; the code tells them apart, and no program waits for money."""
    emulator.faults.add(Fault.ARREARS)

    with pytest.raises(BalanceExhausted, match="Top up the account") as caught:
        await kling.text2video.run(prompt="A paper boat")

    assert (caught.value.status, caught.value.code) == (429, 1101)


async def test_rate_limit_is_waited_out(kling: Kling, emulator: Emulator) -> None:
    """A server that is busy for a while is no error at all."""
    emulator.faults.add(Fault.RATE, times=3)

    assert (await kling.text2video.run(prompt="A paper boat")).url


async def test_wrong_key_is_not_in_the_error() -> None:
    """The error names the variable to look at; a key is in no message, log or pickle."""
    strict = Emulator(keys=["the-right-key"])
    async with Kling(KlingAI("the-wrong-key"), transport=strict.transport()) as kling:
        with pytest.raises(AuthenticationError, match="KLINGAI_API_KEY") as caught:
            await kling.text2video.run(prompt="A paper boat")

    assert b"the-wrong-key" not in pickle.dumps(caught.value)


async def test_one_class_catches_them_all(kling: Kling, emulator: Emulator) -> None:
    """Whatever a server says or does not say, it is a `KlingError`."""
    emulator.faults.add(Fault.IP)

    with pytest.raises(KlingError) as caught:
        await kling.text2video.run(prompt="A paper boat")

    assert isinstance(caught.value, APIError)
    assert caught.value.request_id
