"""What breaks off is gone on with, and only where it is certainly the same file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest

from kling_async import (
    ConfigurationError,
    DownloadError,
    DownloadFinished,
    DownloadProgressed,
    Downloads,
    Event,
    ExchangeFinished,
    Kling,
    KlingAI,
    RetryScheduled,
    Video,
    VideoResult,
)
from kling_async.emulator import Emulator, Fault
from tests.film_host import DATE, KEY, OLD, RESULT, FilmHost, film

# An answer that is left half-way leaves httpx's generators to the collector; trio warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

SIZE = 1_000_000
STEP = 300_000
PAIR = VideoResult(
    task_id="7", videos=(Video(url="https://f.test/0.mp4"), Video(url="https://f.test/1.mp4"))
)


@pytest.fixture
def host() -> FilmHost:
    """It breaks off three times."""
    return FilmHost(film(SIZE), break_after=STEP)


def holding(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


async def test_no_byte_is_fetched_twice(host: FilmHost, tmp_path: Path) -> None:
    async with host.client() as kling:
        (path,) = await kling.download(RESULT, tmp_path)

    assert path.read_bytes() == host.content
    assert host.sent == SIZE
    assert host.asked == ["", "bytes=300000-", "bytes=600000-", "bytes=900000-"]
    assert [request.headers.get("if-range") for request in host.requests[1:]] == ['"v1"'] * 3
    assert holding(tmp_path) == ["7-0.mp4"]
    assert anyio.current_time() == 0  # what has brought something goes on at once


async def test_many_at_once_are_all_right(tmp_path: Path) -> None:
    hosts = [FilmHost(film(SIZE, seed), break_after=STEP) for seed in range(20)]
    async with anyio.create_task_group() as group:
        for number, host in enumerate(hosts):
            group.start_soon(_save, host, tmp_path / f"{number}.mp4")

    assert all((tmp_path / f"{n}.mp4").read_bytes() == host.content for n, host in enumerate(hosts))
    assert sum(host.sent for host in hosts) == 20 * SIZE
    assert len(holding(tmp_path)) == 20


async def _save(host: FilmHost, target: Path) -> None:
    async with host.client() as kling:
        await kling.download(RESULT, target)


async def test_date_tells_the_file_too(host: FilmHost, tmp_path: Path) -> None:
    host.headers = {"etag": 'W/"v1"', "last-modified": OLD, "date": DATE}
    async with host.client() as kling:
        (path,) = await kling.download(RESULT, tmp_path)

    assert path.read_bytes() == host.content
    assert host.sent == SIZE
    assert host.requests[1].headers["if-range"] == OLD


async def test_without_a_proof_it_begins_anew(host: FilmHost, tmp_path: Path) -> None:
    host.headers = {"etag": 'W/"v1"'}
    host.first += [broken_off(host)]
    host.break_after = None
    async with host.client() as kling:
        (path,) = await kling.download(RESULT, tmp_path)

    assert path.read_bytes() == host.content
    assert host.asked == ["", ""]


def broken_off(host: FilmHost, after: int = STEP) -> httpx.Response:
    """The first bytes of the whole file."""

    class Body(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield host.content[:after]
            raise httpx.ReadError("reset")

    return httpx.Response(
        200, headers={**host.headers, "content-length": str(len(host.content))}, stream=Body()
    )


async def test_host_that_ignores_ranges_sends_all_again(host: FilmHost, tmp_path: Path) -> None:
    host.first += [broken_off(host)]
    host.break_after, host.ranges = None, False
    async with host.client() as kling:
        (path,) = await kling.download(RESULT, tmp_path)

    assert path.read_bytes() == host.content
    assert host.asked == ["", "bytes=300000-"]


async def test_file_that_changed_begins_anew(host: FilmHost, tmp_path: Path) -> None:
    host.first += [broken_off(host)]
    host.content, host.headers["etag"], host.break_after = film(SIZE - 9, 2), '"v2"', None
    async with host.client() as kling:
        (path,) = await kling.download(RESULT, tmp_path)

    assert path.read_bytes() == host.content


LIES = [
    httpx.Response(206, content=bytes(9), headers={"content-range": "bytes 0-8/1000000"}),
    httpx.Response(206, content=bytes(9), headers={"content-range": "bytes 300000-300008/9999999"}),
    httpx.Response(206, content=bytes(9)),
    httpx.Response(
        206,
        content=bytes(SIZE - STEP),
        headers={"content-range": f"bytes {STEP}-{SIZE - 1}/{SIZE}", "etag": '"v2"'},
    ),
    httpx.Response(
        206,
        content=bytes(99),
        headers={"content-range": "bytes 300000-300008/1000000", "etag": '"v1"'},
    ),
    httpx.Response(416, headers={"content-range": "bytes */300000"}),
]


@pytest.mark.parametrize(
    "lie", LIES, ids=["start", "total", "silence", "tag", "more", "unsatisfied"]
)
async def test_part_that_does_not_fit_is_not_used(
    lie: httpx.Response, host: FilmHost, tmp_path: Path
) -> None:
    host.first += [broken_off(host), lie]
    host.break_after = None
    async with host.client() as kling:
        (path,) = await kling.download(RESULT, tmp_path)

    assert path.read_bytes() == host.content
    assert host.asked == ["", "bytes=300000-", ""]


async def test_rest_may_come_in_parts(host: FilmHost, tmp_path: Path) -> None:
    part = host.content[STEP : 2 * STEP]
    headers = {"content-range": f"bytes {STEP}-{2 * STEP - 1}/{SIZE}", "etag": '"v1"'}
    host.first += [broken_off(host), httpx.Response(206, content=part, headers=headers)]
    host.break_after = None
    async with host.client() as kling:
        (path,) = await kling.download(RESULT, tmp_path)

    assert path.read_bytes() == host.content
    assert host.asked == ["", "bytes=300000-", "bytes=600000-"]


@pytest.mark.parametrize("status", [408, 425, 429, 500, 502, 503, 504])
async def test_busy_host_is_asked_again(status: int, host: FilmHost, tmp_path: Path) -> None:
    host.first += [httpx.Response(status)] * 3
    host.break_after = None
    async with host.client() as kling:
        await kling.download(RESULT, tmp_path)

    assert len(host.requests) == 4
    assert 3.5 <= anyio.current_time() <= 7


async def test_pause_that_is_asked_for_is_kept(host: FilmHost, tmp_path: Path) -> None:
    host.first += [httpx.Response(503, headers={"retry-after": "100"})]
    async with host.client() as kling:
        await kling.download(RESULT, tmp_path)

    assert 100 <= anyio.current_time() <= 102


async def test_pause_of_an_hour_is_an_error(host: FilmHost, tmp_path: Path) -> None:
    host.first += [httpx.Response(429, headers={"retry-after": "3600"})]
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="HTTP 429"):
            await kling.download(RESULT, tmp_path)


async def test_attempts_without_progress_have_an_end(host: FilmHost, tmp_path: Path) -> None:
    host.break_after = 1000
    async with host.client(downloads=Downloads(tries=3)) as kling:
        with pytest.raises(DownloadError, match="given up after 3 attempts"):
            await kling.download(RESULT, tmp_path)

    assert len(host.requests) == 3


async def test_trickle_is_no_progress(tmp_path: Path) -> None:
    class Trickle(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            for byte in film(SIZE):
                await anyio.sleep(50)
                yield bytes([byte])

    host = FilmHost(film(SIZE))
    host.first += [lambda _: httpx.Response(200, stream=Trickle())] * 2
    async with host.client(downloads=Downloads(tries=2)) as kling:
        with pytest.raises(DownloadError, match="sent 2 bytes in 100 s"):
            await kling.download(RESULT, tmp_path)


async def test_next_call_goes_on(host: FilmHost, tmp_path: Path) -> None:
    host.first += [broken_off(host), httpx.Response(404)]
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="HTTP 404"):
            await kling.download(RESULT, tmp_path)
        left = holding(tmp_path)
    async with host.client() as kling:
        await kling.download(RESULT, tmp_path)

    assert [name.rpartition(".")[2] for name in left] == ["note", "part"]
    assert host.asked[:4] == ["", "bytes=300000-", "bytes=300000-", "bytes=600000-"]
    assert (tmp_path / "7-0.mp4").read_bytes() == host.content
    assert holding(tmp_path) == ["7-0.mp4"]


async def test_cancelled_download_is_gone_on_with(tmp_path: Path) -> None:
    host = FilmHost(film(SIZE))

    class Stalling(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield host.content[:STEP]
            await anyio.sleep_forever()

    headers = {**host.headers, "content-length": str(SIZE)}
    host.first += [httpx.Response(200, headers=headers, stream=Stalling())]
    async with host.client() as kling:
        with anyio.move_on_after(10):
            await kling.download(RESULT, tmp_path)
        await kling.download(RESULT, tmp_path)

    assert host.asked == ["", "bytes=300000-"]
    assert (tmp_path / "7-0.mp4").read_bytes() == host.content


async def test_another_video_does_not_go_on_with_it(host: FilmHost, tmp_path: Path) -> None:
    host.first += [broken_off(host), httpx.Response(404)]
    other = RESULT.model_copy(update={"task_id": "8"})
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="HTTP 404"):
            await kling.download(RESULT, tmp_path / "boat.mp4")
        await kling.download(other, tmp_path / "boat.mp4")

    assert host.asked[2] == ""
    assert holding(tmp_path) == ["boat.mp4"]


async def test_interrupted_pair_keeps_what_is_whole(tmp_path: Path) -> None:
    host = FilmHost(film(SIZE))
    host.first += [host.serve, httpx.Response(410)]
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="HTTP 410"):
            await kling.download(PAIR, tmp_path)
        await kling.download(PAIR, tmp_path)

    assert [request.url.path for request in host.requests] == ["/0.mp4", "/1.mp4", "/1.mp4"]
    assert holding(tmp_path) == ["7-0.mp4", "7-1.mp4"]


async def test_file_that_was_changed_meanwhile_is_not_taken_for_the_video(tmp_path: Path) -> None:
    host = FilmHost(film(SIZE))
    host.first += [host.serve, httpx.Response(410)]
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="HTTP 410"):
            await kling.download(PAIR, tmp_path)
        (tmp_path / "7-0.mp4").write_bytes(film(SIZE, seed=3))
        with pytest.raises(DownloadError, match=r"7-0\.mp4 exists"):
            await kling.download(PAIR, tmp_path)

    assert (tmp_path / "7-0.mp4").read_bytes() == film(SIZE, seed=3)


@pytest.mark.parametrize("declared", [True, False])
async def test_file_that_is_too_large_is_refused(declared: bool, tmp_path: Path) -> None:
    host = FilmHost(film(SIZE))
    if not declared:
        host.headers["content-encoding"] = "gzipped"  # unknown, so its length means nothing
    async with host.client(downloads=Downloads(max_bytes=SIZE - 1)) as kling:
        with pytest.raises(DownloadError, match="the limit is 999999.*max_bytes"):
            await kling.download(RESULT, tmp_path)

    assert (host.sent == 0) is declared
    assert holding(tmp_path) == []


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><p>Log in</p>", b"gone"])
async def test_file_that_is_no_film_is_refused(content: bytes, tmp_path: Path) -> None:
    host = FilmHost(content)
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="which is no video"):
            await kling.download(RESULT, tmp_path)

    assert holding(tmp_path) == []


async def test_error_page_in_the_midst_costs_nothing(host: FilmHost, tmp_path: Path) -> None:
    host.first += [broken_off(host), httpx.Response(200, html="<p>Log in</p>")]
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="text/html"):
            await kling.download(RESULT, tmp_path)
        await kling.download(RESULT, tmp_path)

    assert host.asked[2] == "bytes=300000-"


async def test_progress_is_told_now_and_then(host: FilmHost, tmp_path: Path) -> None:
    events: list[Event] = []
    async with host.client(hooks=[events.append]) as kling:
        (path,) = await kling.download(RESULT, tmp_path)

    downloads = DownloadProgressed | DownloadFinished
    assert [event for event in events if isinstance(event, downloads)] == [
        DownloadProgressed("7", 0, path, 65_536, SIZE),
        DownloadFinished("7", 0, path, SIZE, SIZE, 0.0),
    ]
    assert [event.what for event in events if isinstance(event, RetryScheduled)] == ["download"] * 3
    exchanges = [event for event in events if isinstance(event, ExchangeFinished)]
    assert [told.error for told in exchanges] == ["AnswerLost"] * 3 + [None]


async def test_downloads_are_bounded(tmp_path: Path) -> None:
    running = most = 0

    async def answer(request: httpx.Request) -> httpx.Response:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await anyio.sleep(1)
        running -= 1
        return httpx.Response(200, content=film(1000))

    transport = httpx.MockTransport(answer)
    kling = Kling(KlingAI(KEY), transport=transport, downloads=Downloads(at_once=3))
    async with kling, anyio.create_task_group() as group:
        for number in range(10):
            group.start_soon(kling.download, RESULT, tmp_path / f"{number}.mp4")

    assert most == 3


@pytest.mark.parametrize(
    "bounds", [Downloads(at_once=0), Downloads(tries=0), Downloads(max_bytes=0)]
)
def test_bounds_are_positive(bounds: Downloads) -> None:
    with pytest.raises(ConfigurationError, match="=0.*give 1 or more"):
        FilmHost(b"").client(downloads=bounds)


def test_bounds_have_a_class() -> None:
    with pytest.raises(ConfigurationError, match="at_once=4"):
        FilmHost(b"").client(downloads=4)


async def test_expired_address_is_asked_for_once(tmp_path: Path) -> None:
    emulator = Emulator()
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        video = await kling.text2video.run(prompt="A boat")
        asked = len(emulator.requests)
        emulator.faults.add(Fault.EXPIRED_URL)
        await kling.download(video, tmp_path / "boat.mp4")

    seen = [request.path for request in list(emulator.requests)[asked:]]
    assert [path.rpartition("/")[2] for path in seen] == ["0.mp4", video.task_id, "0.mp4"]


async def test_address_that_expires_again_is_an_error(tmp_path: Path) -> None:
    emulator = Emulator()
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        video = await kling.text2video.run(prompt="A boat")
        emulator.faults.add(Fault.EXPIRED_URL, times=2)
        with pytest.raises(DownloadError, match="HTTP 403"):
            await kling.download(video, tmp_path / "boat.mp4")


async def test_question_for_the_address_is_repeated(tmp_path: Path) -> None:
    emulator = Emulator()
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        video = await kling.text2video.run(prompt="A boat")
        emulator.faults.add(Fault.EXPIRED_URL)
        emulator.faults.add(Fault.HTML, on="query", times=2)
        await kling.download(video, tmp_path / "boat.mp4")

    assert (tmp_path / "boat.mp4").is_file()


@pytest.mark.parametrize("fault", [Fault.NOT_FOUND, Fault.UNKNOWN_STATUS])
async def test_without_a_present_address_the_old_one_is_the_error(
    fault: Fault, tmp_path: Path
) -> None:
    emulator = Emulator()
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        video = await kling.text2video.run(prompt="A boat")
        emulator.faults.add(Fault.EXPIRED_URL)
        emulator.faults.add(fault, on="query")
        with pytest.raises(DownloadError, match="HTTP 403"):
            await kling.download(video, tmp_path / "boat.mp4")
