"""Each answer is whole and goes to its own request, under asyncio, uvloop and trio."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from kling_async import AnswerLost, ConnectFailed, Timeouts
from tests.hang_ups import closes_after_the_request, speaks_no_tls, stalls_after_the_request
from tests.pooled import ask, create, opened
from tests.tls_host import ANSWER, TASK, Conversation, Script, TLSHost

pytestmark = pytest.mark.real_time
NOBODYS = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\nanother"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
UVLOOP = pytest.param(
    ("asyncio", {"use_uvloop": True}),
    id="uvloop",
    marks=pytest.mark.skipif(sys.platform == "win32", reason="uvloop is not for Windows"),
)


@pytest.fixture(params=["asyncio", UVLOOP, "trio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    return request.param


async def test_calls_share_a_connection(host: TLSHost) -> None:
    async with opened(host) as transport:
        for body in ({"image": "x" * 3_000_000}, None):
            assert (await create(transport, host, body)).content == TASK
            assert (await ask(transport, host)).content == TASK

    assert host.connections == 1
    assert host.creates == 2


@pytest.mark.parametrize(
    ("script", "error"), [(speaks_no_tls, ConnectFailed), (closes_after_the_request, AnswerLost)]
)
async def test_error_tells_whether_anything_was_sent(
    host: TLSHost, script: Script, error: type[Exception]
) -> None:
    host.scripts = [script]
    async with opened(host) as transport:
        with pytest.raises(error):
            await create(transport, host)


async def test_silence_ends_with_its_time_out(host: TLSHost) -> None:
    host.scripts = [stalls_after_the_request]
    async with opened(host, timeouts=Timeouts(connect=5, read=0.2)) as transport:
        with pytest.raises(AnswerLost, match=r"0\.2 s"):
            await create(transport, host)


@pytest.mark.parametrize(
    "records",
    [
        [ANSWER + NOBODYS],
        [ANSWER, NOBODYS],
        [EMPTY + TASK],
        [EMPTY, NOBODYS],
        [ANSWER + NOBODYS[:9]],
    ],
    ids=["together", "apart", "body of 204", "after 204", "half"],
)
async def test_what_comes_after_an_answer_is_nobodys(host: TLSHost, records: list[bytes]) -> None:
    def says_more(conversation: Conversation) -> None:
        closes_after_the_request(conversation)
        conversation.say_at_once(*records)
        conversation.serve()

    host.scripts = [says_more]
    async with opened(host) as transport:
        await ask(transport, host)
        assert (await create(transport, host)).content == TASK

    assert host.connections == 2


@pytest.mark.parametrize("size", [100_000, 300_000, 1_000_000])
@pytest.mark.parametrize("tells", [True, False], ids=["length", "no length"])
async def test_answer_is_whole_whose_server_closes_without_a_word(
    host: TLSHost, size: int, tells: bool
) -> None:
    head = b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    if tells:
        head += b"Content-Length: %d\r\n" % size
    answer = head + b"\r\n" + bytes(size)

    def closes(conversation: Conversation) -> None:
        closes_after_the_request(conversation)
        conversation.say(answer)

    host.scripts = [closes] * 5
    async with opened(host) as transport:
        for _ in host.scripts.copy():
            assert len((await ask(transport, host)).content) == size
