"""A file appears under its name only when it is whole, and nothing else is left behind."""

from __future__ import annotations

import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import httpx
import pytest

from kling_async import (
    CometAPI,
    DownloadError,
    Kling,
    KlingAI,
    Text2Video,
    Video,
    VideoResult,
    WatermarkInfo,
)
from kling_async._part import move
from kling_async.emulator import Emulator, Fault

KEY = "a-secret-key-0123456789"
BYTES = b"\0\0\0\x18ftypmp42" + bytes(1000)
RESULT = VideoResult(task_id="7", videos=(Video(url="https://f.test/0.mp4?sign=abc"),))
PAIR = VideoResult(
    task_id="../7", videos=(Video(url="https://f.test/0.mp4"), Video(url="https://f.test/1.mp4"))
)


def official(emulator: Emulator) -> Kling:
    return Kling(KlingAI(KEY), transport=emulator.transport())


def hosting(response: httpx.Response) -> Kling:
    return Kling(KlingAI(KEY), transport=httpx.MockTransport(lambda request: response))


def holding(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*"))


async def test_file_holds_the_bytes_of_the_host(tmp_path: Path) -> None:
    emulator = Emulator(video_bytes=300_000)
    async with official(emulator) as kling:
        video = await kling.text2video.run(prompt="A boat")
        saved = await kling.download(video, tmp_path / "boat.mp4")
    async with httpx.AsyncClient(transport=emulator.transport()) as plain:
        served = await plain.get(video.url)

    assert saved == [tmp_path / "boat.mp4"]
    assert saved[0].read_bytes() == served.content
    assert holding(tmp_path) == ["boat.mp4"]


async def test_key_is_not_sent_to_the_host(tmp_path: Path) -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        await kling.download(await kling.text2video.run(prompt="A boat"), tmp_path)
    files = [seen for seen in emulator.requests if seen.host.startswith("files.")]

    assert [seen.authorized for seen in files] == [False]


@pytest.mark.parametrize("ending", ["", "/", "/new/deep/"])
async def test_folder_gets_the_id_as_a_name(ending: str, tmp_path: Path) -> None:
    async with official(Emulator()) as kling:
        video = await kling.text2video.run(prompt="A boat")
        (path,) = await kling.download(video, f"{tmp_path}{ending}")

    assert path == Path(f"{tmp_path}{ending}") / f"{video.task_id}-0.mp4"
    assert path.is_file()


async def test_folders_above_the_file_are_made(tmp_path: Path) -> None:
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        (path,) = await kling.download(RESULT, tmp_path / "a" / "b.mp4")

    assert path.read_bytes() == BYTES


async def test_several_videos_go_into_a_folder(tmp_path: Path) -> None:
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        await kling.download(PAIR, tmp_path)

    assert holding(tmp_path) == [".._7-0.mp4", ".._7-1.mp4"]


async def test_several_videos_do_not_fit_in_a_file(tmp_path: Path) -> None:
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        with pytest.raises(DownloadError, match="folder"):
            await kling.download(PAIR, tmp_path / "one.mp4")

    assert holding(tmp_path) == []


async def test_watermarked_copy_is_saved_on_demand(tmp_path: Path) -> None:
    emulator = Emulator()
    request = Text2Video(prompt="A boat", watermark_info=WatermarkInfo(enabled=True))
    async with official(emulator) as kling:
        await kling.download(await kling.run(request), tmp_path, watermark=True)

    assert emulator.requests[-1].path.endswith("/0-watermark.mp4")


async def test_missing_watermarked_copy_is_an_error(tmp_path: Path) -> None:
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        with pytest.raises(DownloadError, match="watermark_info"):
            await kling.download(RESULT, tmp_path, watermark=True)

    assert holding(tmp_path) == []


async def test_file_is_not_overwritten_by_accident(tmp_path: Path) -> None:
    target = tmp_path / "boat.mp4"
    target.write_text("precious")
    async with hosting(httpx.Response(500)) as kling:
        with pytest.raises(DownloadError, match="overwrite=True"):
            await kling.download(RESULT, target)

    assert target.read_text() == "precious"


async def test_file_that_appears_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    target = tmp_path / "boat.mp4"

    async def answer(request: httpx.Request) -> httpx.Response:
        await anyio.Path(target).write_text("precious")
        return httpx.Response(200, content=BYTES)

    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(answer)) as kling:
        with pytest.raises(DownloadError, match="exists"):
            await kling.download(RESULT, target)

    assert target.read_text() == "precious"
    assert holding(tmp_path) == ["boat.mp4"]


async def test_one_taken_name_stops_all_of_them(tmp_path: Path) -> None:
    (tmp_path / ".._7-1.mp4").write_text("precious")
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        with pytest.raises(DownloadError, match="exists"):
            await kling.download(PAIR, tmp_path)

    assert holding(tmp_path) == [".._7-1.mp4"]


async def test_file_is_overwritten_on_demand(tmp_path: Path) -> None:
    target = tmp_path / "boat.mp4"
    target.write_text("worthless")
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        await kling.download(RESULT, target, overwrite=True)

    assert target.read_bytes() == BYTES


async def test_two_downloads_to_one_target_do_not_mix(tmp_path: Path) -> None:
    target = tmp_path / "boat.mp4"
    emulator = Emulator(video_bytes=500_000)
    async with official(emulator) as kling:
        videos = [await kling.text2video.run(prompt=prompt) for prompt in ("A boat", "A cat")]
        async with anyio.create_task_group() as group:
            for video in videos:
                group.start_soon(overwrite, kling, video, target)
        await overwrite(kling, videos[0], tmp_path / "one")
        await overwrite(kling, videos[1], tmp_path / "two")

    assert target.read_bytes() in ((tmp_path / "one").read_bytes(), (tmp_path / "two").read_bytes())
    assert holding(tmp_path) == ["boat.mp4", "one", "two"]


async def overwrite(kling: Kling, video: VideoResult, target: Path) -> None:
    await kling.download(video, target, overwrite=True)


@pytest.mark.parametrize(
    "fault", [Fault.RESET, Fault.TRUNCATED, Fault.LOST_BEFORE, Fault.HTML, Fault.EXPIRED_URL]
)
async def test_fault_in_passing_is_survived(fault: Fault, tmp_path: Path) -> None:
    emulator = Emulator(video_bytes=300_000)
    async with official(emulator) as kling:
        video = await kling.text2video.run(prompt="A boat")
        emulator.faults.add(fault, on="file")
        await kling.download(video, tmp_path / "boat.mp4")
        await kling.download(video, tmp_path / "again.mp4")

    assert (tmp_path / "boat.mp4").read_bytes() == (tmp_path / "again.mp4").read_bytes()
    assert holding(tmp_path) == ["again.mp4", "boat.mp4"]


async def test_lasting_fault_is_an_error_in_the_end(tmp_path: Path) -> None:
    emulator = Emulator()
    async with official(emulator) as kling:
        video = await kling.text2video.run(prompt="A boat")
        emulator.faults.add(Fault.HTML, on="file", times=99)
        with pytest.raises(
            DownloadError, match=r"files\.kling-emulator\.test.* HTTP 502; given up after 8"
        ) as caught:
            await kling.download(video, tmp_path / "boat.mp4")

    assert caught.value.status == 502
    assert holding(tmp_path) == []


async def test_expired_address_says_what_to_do(tmp_path: Path) -> None:
    async with hosting(httpx.Response(403)) as kling:
        with pytest.raises(DownloadError, match="HTTP 403.*30 days") as caught:
            await kling.download(RESULT, tmp_path)

    assert caught.value.status == 403
    assert "sign=abc" not in str(caught.value)


class Endless(httpx.AsyncByteStream):
    """Sends a piece, and then no more."""

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield BYTES
        await anyio.sleep_forever()


async def test_cancelled_download_leaves_nothing_behind(tmp_path: Path) -> None:
    async with hosting(httpx.Response(200, stream=Endless())) as kling:
        with anyio.move_on_after(60) as span:
            await kling.download(RESULT, tmp_path / "boat.mp4")

    assert span.cancelled_caught
    assert holding(tmp_path) == []


@pytest.mark.parametrize(
    ("response", "reason"),
    [
        (httpx.Response(200, content=b""), "empty"),
        (httpx.Response(200, content=BYTES, headers={"content-length": "2000"}), "promised 2000"),
        (httpx.Response(200, html="<p>Log in</p>"), "text/html"),
        (httpx.Response(200, json={"code": 1}), "application/json"),
        (httpx.Response(206, content=BYTES), "HTTP 206"),
    ],
    ids=["empty", "short", "page", "json", "partial"],
)
async def test_what_is_no_whole_video_is_refused(
    response: httpx.Response, reason: str, tmp_path: Path
) -> None:
    async with hosting(response) as kling:
        with pytest.raises(DownloadError, match=reason):
            await kling.download(RESULT, tmp_path)

    assert holding(tmp_path) == []


async def test_compressed_file_is_saved_as_it_was(tmp_path: Path) -> None:
    packed, asked = gzip.compress(BYTES), list[str]()

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.headers["accept-encoding"])
        return httpx.Response(200, content=packed, headers={"content-encoding": "gzip"})

    async with Kling(KlingAI(KEY), transport=httpx.MockTransport(answer)) as kling:
        (path,) = await kling.download(RESULT, tmp_path)

    assert path.read_bytes() == BYTES
    assert asked == ["identity"]


@pytest.mark.parametrize(
    "url",
    ["ftp://f.test/0.mp4", "https://[::1", "boat.mp4", "https:///0.mp4", "https://f.test:0/0.mp4"],
)
async def test_impossible_address_is_an_error(url: str, tmp_path: Path) -> None:
    async with Kling(KlingAI(KEY)) as kling:
        with pytest.raises(DownloadError, match="the file's address"):
            await kling.download(VideoResult(task_id="7", videos=(Video(url=url),)), tmp_path)


async def test_folder_in_place_of_the_file_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "7-0.mp4").mkdir()
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        with pytest.raises(DownloadError, match="no regular file"):
            await kling.download(RESULT, tmp_path, overwrite=True)

    assert holding(tmp_path) == ["7-0.mp4"]


async def test_file_in_place_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        with pytest.raises(DownloadError, match="cannot save"):
            await kling.download(RESULT, tmp_path / "file" / "boat.mp4")


@pytest.mark.parametrize("target", ["", "boat\0.mp4", "films\0/", "boat\ud800.mp4"])
async def test_impossible_name_is_an_error(target: str, tmp_path: Path) -> None:
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        with pytest.raises(DownloadError, match="names no file|cannot be a file's name"):
            await kling.download(RESULT, target and f"{tmp_path}/{target}")

    assert holding(tmp_path) == []


async def test_name_beyond_the_disk_is_an_error(tmp_path: Path) -> None:
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        with pytest.raises(DownloadError, match="cannot save"):
            await kling.download(RESULT, tmp_path / ("x" * 300))

    assert holding(tmp_path) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a disk that is always full")
async def test_unwritable_folder_is_an_error() -> None:
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        with pytest.raises(DownloadError, match="cannot save"):
            await kling.download(RESULT, "/proc/boat.mp4")

    assert not os.path.exists("/proc/boat.mp4")


async def test_closed_client_does_not_download(tmp_path: Path) -> None:
    async with hosting(httpx.Response(200, content=BYTES)) as kling:
        pass

    with pytest.raises(DownloadError, match="closed"):
        await kling.download(RESULT, tmp_path)


async def test_failed_download_says_how_to_get_the_result_again(tmp_path: Path) -> None:
    emulator = Emulator(duration=10)
    async with Kling(CometAPI("any-key"), transport=emulator.transport()) as kling:
        video = await kling.text2video.run(prompt="A boat")
        await kling.download(video, tmp_path / "boat.mp4")
        with pytest.raises(DownloadError, match=r"exists.*kling\.task\('cometapi/") as caught:
            await kling.download(video, tmp_path / "boat.mp4")

    assert caught.value.token == video.token is not None


def test_disk_without_links_is_moved_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    part, target = tmp_path / "part", tmp_path / "boat.mp4"
    part.write_bytes(b"video")
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links")))
    move(part, target, overwrite=False)

    assert target.read_bytes() == b"video"


def test_disk_without_links_takes_no_name_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part, target = tmp_path / "part", tmp_path / "boat.mp4"
    part.write_bytes(b"video")
    target.write_text("precious")
    monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(PermissionError("no links")))
    with pytest.raises(DownloadError, match="exists"):
        move(part, target, overwrite=False)

    assert target.read_text() == "precious"
