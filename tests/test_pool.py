"""A server that hangs up at any awkward moment costs one error of the right kind, and no more."""

from __future__ import annotations

import select

import anyio
import anyio.lowlevel
import anyio.to_thread
import pytest

from kling_async import AnswerLost, ConnectFailed, Timeouts
from tests.hang_ups import (
    ANSWERED,
    LOST,
    STALLS,
    UNSENT,
    closes_idle,
    complains_idle,
    parts_idle,
    resets_idle,
    stalls_before_the_request,
    stalls_in_the_handshake,
)
from tests.pooled import ask, create, nothing_is_open, opened, remembered
from tests.tls_host import LAST_ANSWER, TASK, Conversation, Script, TLSHost

pytestmark = pytest.mark.real_time
# httpcore reads through nested generators, which trio does not like to see left half-way.
half_read = pytest.mark.filterwarnings("ignore:Async generator .httpcore:ResourceWarning")
LARGE = {"image": "x" * 8_000_000}


def named(script: Script) -> str:
    return script.__name__


@pytest.mark.parametrize("script", UNSENT, ids=named)
async def test_broken_handshake_sends_nothing_and_says_so(host: TLSHost, script: Script) -> None:
    host.scripts = [script]
    async with opened(host) as transport:
        with pytest.raises(ConnectFailed):
            await create(transport, host)
        assert (await create(transport, host)).status == 200

    assert host.creates == 1
    assert host.connections == 2


@half_read
@pytest.mark.parametrize("script", LOST, ids=named)
async def test_broken_exchange_is_lost_and_not_sent_again(host: TLSHost, script: Script) -> None:
    host.scripts = [script]
    async with opened(host) as transport:
        with pytest.raises(AnswerLost):
            await create(transport, host)
        sent = host.creates
        assert (await create(transport, host)).status == 200

    assert sent <= 1
    assert host.creates == sent + 1
    assert host.connections == 2


@pytest.mark.parametrize("script", ANSWERED, ids=named)
async def test_whole_answer_counts_however_the_connection_ends(
    host: TLSHost, script: Script
) -> None:
    host.scripts = [script]
    async with opened(host) as transport:
        for _ in range(3):
            assert (await create(transport, host)).content == TASK
            host.closed.wait(0.3)  # it is in the midst of closing, which no server can hide

    assert host.creates == 3


@half_read
@pytest.mark.parametrize("script", LOST[3:], ids=named)
async def test_kept_connection_that_breaks_is_lost_and_not_sent_again(
    host: TLSHost, script: Script
) -> None:
    def breaks_later(conversation: Conversation) -> None:
        conversation.shake_hands()
        conversation.read()
        conversation.say()
        conversation.shake_hands = lambda: None  # type: ignore[method-assign]  # it was done
        script(conversation)

    host.scripts = [breaks_later]
    async with opened(host) as transport:
        await ask(transport, host)
        with pytest.raises(AnswerLost):
            await create(transport, host)
        assert (await ask(transport, host)).status == 200

    assert host.creates == 1
    assert host.connections == 2


@pytest.mark.parametrize("is_noticed", [True, False], ids=["noticed", "just now"])
@pytest.mark.parametrize(
    "script", [closes_idle, parts_idle, resets_idle, complains_idle], ids=named
)
async def test_connection_that_ended_idle_is_not_used_again(
    host: TLSHost, script: Script, is_noticed: bool
) -> None:
    host.scripts = [script]
    async with opened(host) as transport:
        await create(transport, host)
        host.go.set()
        if is_noticed:
            await anyio.to_thread.run_sync(host.closed.wait, 5)
        host.closed.wait(5)
        select.select(host.open_sockets(), [], [], 0.2)  # until it has arrived, and not the loop
        assert (await create(transport, host)).status == 200

    assert host.creates == 2
    assert host.connections == 2


async def test_stalled_handshake_is_connect_failed(host: TLSHost) -> None:
    host.scripts = [stalls_in_the_handshake]
    async with opened(host, timeouts=Timeouts(connect=0.2)) as transport:
        with pytest.raises(ConnectFailed):
            await create(transport, host)


@half_read
@pytest.mark.parametrize("script", STALLS, ids=named)
async def test_stalled_answer_is_lost(host: TLSHost, script: Script) -> None:
    host.scripts = [script]
    async with opened(host, timeouts=Timeouts(connect=5, read=0.2)) as transport:
        with pytest.raises(AnswerLost, match=r"0\.2 s"):
            await create(transport, host)

    assert host.creates <= 1


async def test_server_that_reads_nothing_ends_the_sending(host: TLSHost) -> None:
    host.scripts = [stalls_before_the_request]
    patient = Timeouts(connect=5, read=600, write=0.2, total=600)
    async with opened(host, timeouts=patient) as transport:
        with pytest.raises(AnswerLost, match=r"nothing more could be sent .* for 0\.2 s"):
            await create(transport, host, LARGE)


async def test_server_that_leaves_in_between_ends_the_sending(host: TLSHost) -> None:
    def leaves(conversation: Conversation) -> None:
        conversation.shake_hands()
        conversation.sock.recv(65536)
        host.reached.set()
        conversation.wait()
        conversation.reset()

    host.scripts = [leaves]
    patient = Timeouts(connect=5, read=600, write=600, total=600)
    async with opened(host, timeouts=patient) as transport, anyio.create_task_group() as group:

        async def fails() -> None:
            with pytest.raises(AnswerLost):
                await create(transport, host, LARGE)

        group.start_soon(fails)
        await anyio.to_thread.run_sync(host.reached.wait, 5)
        await anyio.wait_all_tasks_blocked()  # until nothing more fits into the line
        host.go.set()


async def test_refusal_of_a_body_that_is_half_sent_is_read(host: TLSHost) -> None:
    def refuses(conversation: Conversation) -> None:
        conversation.shake_hands()
        conversation.sock.recv(65536)
        conversation.say(LAST_ANSWER.replace(b"200 OK", b"413 Too Large"))
        while conversation.sock.recv(65536):
            pass

    host.scripts = [refuses]
    async with opened(host) as transport:
        assert (await create(transport, host, LARGE)).status == 413


@half_read
@pytest.mark.parametrize("body", [None, LARGE], ids=["small", "large"])
@pytest.mark.parametrize("script", [stalls_in_the_handshake, *STALLS], ids=named)
async def test_exchange_cancelled_anywhere_closes_its_connection(
    host: TLSHost, script: Script, body: dict[str, str] | None
) -> None:
    host.scripts = [script]
    async with opened(host, most=1) as transport:
        async with anyio.create_task_group() as group:
            group.start_soon(create, transport, host, body)
            await anyio.to_thread.run_sync(host.reached.wait, 5)
            group.cancel_scope.cancel()
        await nothing_is_open(host)
        sent = host.creates
        assert (await create(transport, host)).status == 200

    assert sent <= 1
    assert host.connections == 2


@half_read
@pytest.mark.parametrize("is_kept", [False, True], ids=["new", "kept"])
async def test_exchange_cancelled_at_any_step_leaves_nothing_open(
    host: TLSHost, is_kept: bool
) -> None:
    async with opened(host, most=1) as transport:
        for steps in range(40):
            if is_kept:
                await ask(transport, host)
            async with anyio.create_task_group() as group:
                group.start_soon(create, transport, host)
                for _ in range(steps):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            if steps % 8 == 0:
                assert len(host.open_sockets()) <= 1  # what was over before is kept
        assert (await ask(transport, host)).status == 200
        assert remembered(host) == 1

    assert host.creates <= 40
