"""A task that goes by an id of the caller's own is created once, by whatever submits meet."""

from __future__ import annotations

import gc

import anyio
import httpx
import pytest

from kling_async import (
    AuthenticationError,
    CometAPI,
    ConnectFailed,
    Gateway,
    Kling,
    KlingAI,
    ServerError,
    Text2Video,
)
from kling_async.emulator import Emulator, Fault

KEY = "a-secret-key-0123456789"
BOAT = Text2Video(
    model_name="kling-v2-6",
    prompt="A paper boat",
    mode="pro",
    duration=5,
    multi_shot=False,
    external_task_id="boat-1",
)
PROVIDERS = {
    "official": KlingAI(KEY),
    "unknown": CometAPI(KEY),
    **{
        name: Gateway(f"https://gate.test/gateway/{name}", KEY)
        for name in ("newapi", "crazyrouter")
    },
}


def client(name: str, emulator: Emulator) -> Kling:
    return Kling(PROVIDERS[name], transport=emulator.transport(), validate=name != "unknown")


def methods(emulator: Emulator) -> list[str]:
    return [seen.method for seen in emulator.requests]


@pytest.mark.parametrize("finds", [True, False])
@pytest.mark.parametrize("name", PROVIDERS)
async def test_submits_at_once_share_a_task(name: str, finds: bool) -> None:
    emulator = Emulator(latency=1, strict_ids=False, finds_external_id=finds)
    tasks = []

    async def submit() -> None:
        tasks.append(await kling.submit(BOAT))

    async with client(name, emulator) as kling:
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(submit)

    assert {task.id for task in tasks} == {emulator.ledger[0].task_id}
    assert len(emulator.ledger) == 1


@pytest.mark.parametrize("name", PROVIDERS)
async def test_submit_while_a_handle_lives_asks_nobody(name: str) -> None:
    emulator = Emulator(strict_ids=False, finds_external_id=True)
    async with client(name, emulator) as kling:
        first = await kling.submit(BOAT)
        await anyio.sleep(100)
        before = len(emulator.requests)
        second = await kling.submit(BOAT)

        assert (second.id, len(emulator.requests)) == (first.id, before)


@pytest.mark.parametrize("name", ["official", "unknown"])
async def test_task_of_another_process_is_adopted(name: str) -> None:
    emulator = Emulator(strict_ids=False, finds_external_id=True)
    async with client(name, emulator) as kling:
        first = await kling.submit(BOAT)
    async with client(name, emulator) as kling:
        second = await kling.submit(BOAT)
        await second

    assert second.id == first.id
    assert methods(emulator).count("POST") == 1


async def test_adopted_task_shares_its_handle_and_gives_its_slot_back() -> None:
    emulator = Emulator(duration=60, parallel=2)
    kling = Kling(KlingAI(KEY), transport=emulator.transport(), max_at_once=2)
    async with kling:
        named = await kling.submit(BOAT)
        token = named.token
        del named
        gc.collect()
        first = kling.task(token)
        second = await kling.submit(BOAT)
        third = await kling.submit(Text2Video(prompt="There is a slot", model_name="kling-v2-6"))
        now = anyio.current_time()

        assert first.record is second.record
        assert third.id != second.id
    assert now < 60


async def test_task_that_is_known_by_its_token_is_not_made_twice() -> None:
    emulator = Emulator(duration=60)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as other:
        token = (await other.submit(BOAT)).token
    kling = Kling(KlingAI(KEY), transport=emulator.transport(), max_at_once=2)
    async with kling:
        first = kling.task(token)
        second = await kling.submit(BOAT)

        assert first.record is second.record
        assert first.record.ticket.gate.running == 1


@pytest.mark.parametrize("finds", [True, False])
async def test_first_submit_that_fails_lets_the_next_one_try(finds: bool) -> None:
    emulator = Emulator(latency=1, finds_external_id=finds)
    emulator.faults.add(Fault.UNAUTHORIZED, on="create")
    errors, tasks = list[AuthenticationError](), list[str]()

    async def submit() -> None:
        try:
            tasks.append((await kling.submit(BOAT)).id)
        except AuthenticationError as error:
            errors.append(error)

    async with client("unknown", emulator) as kling:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(submit)

    assert (len(errors), len(tasks), len(emulator.ledger)) == (1, 2, 1)


async def test_cancelled_wait_for_the_first_leaves_it_alone() -> None:
    emulator = Emulator(latency=4)
    async with client("official", emulator) as kling:
        async with anyio.create_task_group() as group:
            group.start_soon(kling.submit, BOAT)
            await anyio.sleep(1)
            with anyio.move_on_after(1) as span:
                await kling.submit(BOAT)
            assert span.cancelled_caught
        task = await kling.submit(BOAT)

    assert [entry.task_id for entry in emulator.ledger] == [task.id]


async def test_id_that_cannot_be_looked_up_is_not_sent() -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.SERVER_ERROR, on="query", times=99)
    async with client("official", emulator) as kling:
        with pytest.raises(ServerError):
            await kling.submit(BOAT)

    assert set(methods(emulator)) == {"GET"}


async def test_server_that_is_not_there_is_no_doubt() -> None:
    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused")

    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(refuse)) as kling:
        with pytest.raises(ConnectFailed):
            await kling.submit(BOAT)


@pytest.mark.parametrize("own_id", ["a#b", "a?b", "a%23b", "ä", "a&b=c", "100%"])
async def test_id_of_odd_characters_is_looked_up(own_id: str) -> None:
    emulator = Emulator()
    emulator.faults.add(Fault.LOST_ANSWER, on="create")
    async with client("official", emulator) as kling:
        task = await kling.text2video.submit(prompt="A boat", external_task_id=own_id)
        assert (await kling.settle(own_id)).id == task.id
    assert [entry.external_task_id for entry in emulator.ledger] == [own_id]
