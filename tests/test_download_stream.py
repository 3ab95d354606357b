"""kling.open: a video as a stream, which no break can be seen in."""

from __future__ import annotations

import httpx
import pytest

from kling_async import DownloadError, DownloadFinished, DownloadProgressed, Event, Kling, KlingAI
from kling_async.emulator import Emulator, Fault
from tests.film_host import KEY, RESULT, FilmHost, film

pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

SIZE = 1_000_000
STEP = 300_000


async def read(kling: Kling) -> bytes:
    async with kling.open(RESULT) as stream:
        return b"".join([piece async for piece in stream])


@pytest.fixture
def host() -> FilmHost:
    """It breaks off three times."""
    return FilmHost(film(SIZE), break_after=STEP)


async def test_stream_knows_what_it_is(host: FilmHost) -> None:
    async with host.client() as kling, kling.open(RESULT) as stream:
        assert (stream.size, stream.media_type) == (SIZE, "video/mp4")


async def test_breaks_are_not_seen(host: FilmHost) -> None:
    async with host.client() as kling:
        assert await read(kling) == host.content

    assert host.sent == SIZE
    assert host.asked[1:] == ["bytes=300000-", "bytes=600000-", "bytes=900000-"]


@pytest.mark.parametrize("headers", [{}, {"etag": '"v1"'}], ids=["no tag", "no ranges"])
async def test_what_comes_twice_is_given_once(headers: dict[str, str], host: FilmHost) -> None:
    host.headers, host.ranges = headers, False
    host.first.append(host.serve)
    async with host.client() as kling, kling.open(RESULT) as stream:
        host.break_after = None
        assert b"".join([piece async for piece in stream]) == host.content


def whole(size: int) -> bytes:
    """A film that ends where its boxes do."""
    return film(24)[:8] + bytes(16) + (size - 24).to_bytes(4, "big") + b"mdat" + bytes(size - 32)


OTHERS = [
    pytest.param(True, film(SIZE, seed=2), id="bytes"),
    pytest.param(True, film(SIZE - 1), id="size"),
    pytest.param(True, film(SIZE)[: STEP - 1], id="end"),
    pytest.param(False, film(SIZE, seed=2), id="bytes of no known number"),
    pytest.param(False, whole(STEP - 1), id="end of no known number"),
]


@pytest.mark.parametrize(("sized", "changed"), OTHERS)
async def test_change_in_the_midst_is_an_error(sized: bool, changed: bytes, host: FilmHost) -> None:
    if not sized:
        host.headers["content-encoding"] = "unheard-of"  # its length then means nothing
    async with host.client() as kling, kling.open(RESULT) as stream:
        host.content, host.headers["etag"], host.break_after = changed, '"v2"', None
        with pytest.raises(DownloadError, match="changed while it was read"):
            async for _ in stream:
                pass


async def test_reader_may_leave(host: FilmHost) -> None:
    async with host.client() as kling:
        async with kling.open(RESULT) as stream:
            async for _ in stream:
                break
        assert await read(kling) == host.content


async def test_end_of_the_address_is_an_error_before_the_first_byte(host: FilmHost) -> None:
    host.first.append(httpx.Response(404))
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="HTTP 404") as caught:
            async with kling.open(RESULT):
                raise AssertionError("it cannot be open")

    assert caught.value.status == 404


async def test_expired_address_is_renewed() -> None:
    emulator = Emulator()
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        video = await kling.text2video.run(prompt="A boat")
        emulator.faults.add(Fault.EXPIRED_URL)
        async with kling.open(video, 0) as stream:
            assert sum([len(piece) async for piece in stream]) == stream.size


@pytest.mark.parametrize("index", [-1, 1])
async def test_video_that_is_not_there_is_an_error(index: int, host: FilmHost) -> None:
    async with host.client() as kling:
        with pytest.raises(DownloadError, match=f"there is no video {index}"):
            async with kling.open(RESULT, index):
                raise AssertionError("it cannot be open")


async def test_missing_watermarked_copy_is_an_error(host: FilmHost) -> None:
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="watermark_info"):
            async with kling.open(RESULT, watermark=True):
                raise AssertionError("it cannot be open")


async def test_error_of_the_reader_is_the_readers(host: FilmHost) -> None:
    mine = DownloadError("mine", token="mine")
    async with host.client() as kling:
        with pytest.raises(DownloadError) as caught:
            async with kling.open(RESULT):
                raise mine

    assert caught.value is mine
    assert mine.token == "mine"


async def test_stream_tells_how_far_it_is(host: FilmHost) -> None:
    events: list[Event] = []
    host.break_after = None
    async with host.client(hooks=[events.append]) as kling:
        await read(kling)

    downloads = DownloadProgressed | DownloadFinished
    assert [event for event in events if isinstance(event, downloads)] == [
        DownloadProgressed("7", 0, None, 65_536, SIZE),
        DownloadFinished("7", 0, None, SIZE, SIZE, 0.0),
    ]
