"""Lesson 8: results become files, whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from kling_async import DownloadError, Kling, VideoResult, WatermarkInfo
from kling_async.emulator import Emulator, Fault

API = "api-singapore.klingai.com"


@pytest.fixture
async def video(kling: Kling) -> VideoResult:
    """A result to save."""
    return await kling.text2video.run(prompt="A paper boat")


async def test_video_is_saved_under_a_name(
    kling: Kling, video: VideoResult, tmp_path: Path
) -> None:
    """Folders are made as needed."""
    saved = await kling.download(video, tmp_path / "films" / "boat.mp4")

    assert saved == [tmp_path / "films" / "boat.mp4"]
    assert saved[0].read_bytes()[4:8] == b"ftyp"


async def test_video_is_saved_in_a_folder(kling: Kling, video: VideoResult, tmp_path: Path) -> None:
    """In a folder that exists, a video is named after its task."""
    (saved,) = await kling.download(video, tmp_path)

    assert saved.parent == tmp_path
    assert saved.name.startswith(video.task_id)


async def test_file_is_not_overwritten_by_accident(
    kling: Kling, video: VideoResult, tmp_path: Path
) -> None:
    """A file that exists stays, unless you say `overwrite=True`."""
    await kling.download(video, tmp_path / "boat.mp4")

    with pytest.raises(DownloadError, match="overwrite=True"):
        await kling.download(video, tmp_path / "boat.mp4")
    assert await kling.download(video, tmp_path / "boat.mp4", overwrite=True)


async def test_broken_download_is_gone_on_with(
    kling: Kling, emulator: Emulator, video: VideoResult, tmp_path: Path
) -> None:
    """Only the rest of the file is asked for, and only the whole file gets the name."""
    emulator.faults.add(Fault.RESET, on="file")

    await kling.download(video, tmp_path / "boat.mp4")

    assert [path.name for path in tmp_path.iterdir()] == ["boat.mp4"]


async def test_address_that_expired_is_asked_for_again(
    kling: Kling, emulator: Emulator, video: VideoResult, tmp_path: Path
) -> None:
    """Addresses are good for some hours, results for 30 days: the task tells the new one."""
    emulator.faults.add(Fault.EXPIRED_URL)

    assert await kling.download(video, tmp_path / "boat.mp4")


async def test_video_is_read_without_a_disk(kling: Kling, video: VideoResult) -> None:
    """For a web server that hands it on; breaks are gone on with here too."""
    async with kling.open(video) as stream:
        pieces = [piece async for piece in stream]

    assert sum(map(len, pieces)) == stream.size
    assert stream.media_type == "video/mp4"


async def test_key_stays_at_home(
    kling: Kling, emulator: Emulator, video: VideoResult, tmp_path: Path
) -> None:
    """The key goes to the API, never to the host that keeps the files."""
    await kling.download(video, tmp_path)

    assert [seen.authorized for seen in emulator.requests if seen.host != API] == [False]


async def test_watermarked_copy_is_saved_too(kling: Kling, tmp_path: Path) -> None:
    """Ask for it with the request, and it is there to be saved."""
    video = await kling.text2video.run(
        prompt="A paper boat", watermark_info=WatermarkInfo(enabled=True)
    )

    (saved,) = await kling.download(video, tmp_path / "boat.mp4", watermark=True)

    assert saved.is_file()
