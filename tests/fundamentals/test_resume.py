"""Lesson 5: a token takes a task up again, anywhere and any time."""

from __future__ import annotations

import pytest

from kling_async import ConfigurationError, Kling, KlingAI, TaskTimeout
from kling_async.emulator import Emulator


async def test_token_is_a_line_of_text(kling: Kling) -> None:
    """Provider, endpoint, id and model: keep it in a database or a log. It holds no key."""
    task = await kling.text2video.submit(prompt="A paper boat")

    assert task.token == f"klingai/text2video/{task.id}/kling-v1"


async def test_token_finds_the_task_in_another_process(kling: Kling, emulator: Emulator) -> None:
    """Another client, a day later, waits for the task that was paid for."""
    token = (await kling.text2video.submit(prompt="A paper boat")).token

    async with Kling(KlingAI("a-key-of-mine"), transport=emulator.transport()) as another:
        video = await another.task(token)

    assert video.url
    assert len(emulator.ledger) == 1


async def test_timeout_holds_the_token(kling: Kling) -> None:
    """The error of a wait that ended too early says how to go on."""
    task = await kling.text2video.submit(prompt="A paper boat")
    with pytest.raises(TaskTimeout) as caught:
        await task.result(timeout=10)

    assert caught.value.token == task.token
    assert (await kling.task(task.token)).url


async def test_id_alone_gives_the_state(kling: Kling) -> None:
    """`get` asks for one task of an endpoint by Kling's id, without a token."""
    task = await kling.text2video.submit(prompt="A paper boat")

    state = await kling.text2video.get(task.id)

    assert (state.id, state.status) == (task.id, "submitted")


async def test_your_own_id_gives_the_state(kling: Kling) -> None:
    """An `external_task_id`, say an order number, finds the task where the provider looks."""
    task = await kling.text2video.submit(prompt="A paper boat", external_task_id="order-4711")

    state = await kling.text2video.get("order-4711")

    assert state.id == task.id


async def test_list_shows_what_the_account_has(kling: Kling) -> None:
    """Kling lists an account's tasks; `list` turns its pages for you."""
    ids = {(await kling.text2video.submit(prompt="A paper boat")).id for _ in range(5)}

    listed = {state.id async for state in kling.text2video.list(page_size=2)}

    assert listed == ids


async def test_foreign_token_is_refused(kling: Kling) -> None:
    """A task of one provider cannot be asked for at another."""
    with pytest.raises(ConfigurationError, match="cometapi"):
        kling.task("cometapi/text2video/2032273942220931072")
