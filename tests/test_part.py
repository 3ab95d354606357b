"""Parts outlive their process, and belong to one download at a time."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from kling_async import DownloadError, Downloads, Kling, KlingAI, Video, VideoResult
from kling_async import _part as part_module
from kling_async._file_head import FileHead
from kling_async._file_lock import lock
from kling_async._part import Part, is_saved
from tests.film_host import KEY, RESULT, FilmHost, film
from tests.film_server import FilmServer

# An answer that is left half-way leaves httpx's generators to the collector; trio warns of it.
pytestmark = pytest.mark.filterwarnings("ignore:Async generator:ResourceWarning")

HEAD = FileHead(1000, '"v1"')
ROOT = Path(__file__).parent.parent
PROGRAM = """
import sys, anyio
from kling_async import *

async def main(url, target):
    downloads = Downloads(http=True, private=True)
    async with Kling(KlingAI("a-key-of-mine"), downloads=downloads) as kling:
        await kling.download(VideoResult(task_id="7", videos=(Video(url=url),)), target)

anyio.run(main, *sys.argv[1:])
"""


def holding(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def begun(target: Path, data: bytes = b"12345") -> Part:
    part = Part(target, "7/0")
    part.begin(HEAD)
    part.add(data)
    return part


def note_of(folder: Path) -> Path:
    (path,) = folder.glob("*.note")
    return path


def left(folder: Path, data: bytes = b"12345") -> Path:
    """A target whose download was left half-way."""
    begun(folder / "boat.mp4", data).close()
    return folder / "boat.mp4"


def taken_up(target: Path, video: str = "7/0") -> int:
    part = Part(target, video)
    received = part.received
    part.close(discard=True)
    return received


def test_part_is_taken_up(tmp_path: Path) -> None:
    part = Part(left(tmp_path), "7/0")
    part.add(b"6789")
    part.finish(overwrite=False)
    part.close()

    assert (tmp_path / "boat.mp4").read_bytes() == b"123456789"
    assert is_saved(tmp_path / "boat.mp4", "7/0")
    assert not is_saved(tmp_path / "boat.mp4", "8/0")


def test_part_of_another_video_is_not(tmp_path: Path) -> None:
    assert taken_up(left(tmp_path), "8/0") == 0


def test_part_that_was_changed_is_not(tmp_path: Path) -> None:
    target = left(tmp_path)
    next(tmp_path.glob("*.part")).write_bytes(b"1234\0")

    assert taken_up(target) == 0


def test_part_that_lost_bytes_is_not(tmp_path: Path) -> None:
    target = left(tmp_path)
    next(tmp_path.glob("*.part")).write_bytes(b"1234")

    assert taken_up(target) == 0


def test_bytes_that_were_not_noted_are_cut_off(tmp_path: Path) -> None:
    target = left(tmp_path)
    with next(tmp_path.glob("*.part")).open("ab") as file:
        file.write(b"torn")
    with note_of(tmp_path).open("ab") as file:
        file.write(b"[9, 12")
    part = Part(target, "7/0")
    part.close()

    assert part.received == 5
    assert next(tmp_path.glob("*.part")).read_bytes() == b"12345"


@pytest.mark.parametrize(
    "note", [b"", b"\n", b"{}\n", b"[]\n[]\n", b'{"video": "7/0", "colour": 1}\n[5, 1, false]\n']
)
def test_note_that_cannot_be_read_is_none(note: bytes, tmp_path: Path) -> None:
    target = left(tmp_path)
    note_of(tmp_path).write_bytes(note)

    assert taken_up(target) == 0


def test_part_of_a_file_without_proof_is_not_kept(tmp_path: Path) -> None:
    part = Part(tmp_path / "boat.mp4", "7/0")
    part.begin(FileHead(1000))
    part.add(b"12345")
    part.close()

    assert holding(tmp_path) == []


def test_second_part_is_one_of_its_own(tmp_path: Path) -> None:
    first, second = begun(tmp_path / "boat.mp4"), begun(tmp_path / "boat.mp4", b"abc")
    second.finish(overwrite=True)
    second.close()
    first.finish(overwrite=True)
    first.close()
    third = begun(tmp_path / "cat.mp4")
    fourth = begun(tmp_path / "cat.mp4")
    fourth.close()
    third.close(discard=True)

    assert (tmp_path / "boat.mp4").read_bytes() == b"12345"
    assert [name for name in holding(tmp_path) if not name.endswith(".note")] == ["boat.mp4"]


def test_part_that_is_the_target_already_is_not_written_to(tmp_path: Path) -> None:
    """A kill came between the two steps that give a file its name."""
    target = left(tmp_path)
    os.link(next(tmp_path.glob("*.part")), target)
    part = begun(target, b"other")
    part.close(discard=True)

    assert target.read_bytes() == b"12345"


def test_part_that_is_moved_away_while_it_is_opened_is_opened_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = left(tmp_path)

    def moving(file: object) -> None:
        for path in tmp_path.glob("*.part"):
            path.rename(target)
        monkeypatch.setattr(part_module, "lock", lock)

    monkeypatch.setattr(part_module, "lock", moving)
    part = begun(target, b"other")
    part.close(discard=True)

    assert target.read_bytes() == b"12345"


def test_disk_without_locks_gives_each_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_locks(file: object) -> None:
        raise OSError(errno.ENOLCK, "no locks available")

    monkeypatch.setattr(part_module, "lock", no_locks)
    part = begun(tmp_path / "boat.mp4")
    part.finish(overwrite=False)
    part.close()

    assert (tmp_path / "boat.mp4").read_bytes() == b"12345"


def test_link_that_somebody_planted_is_not_followed(tmp_path: Path) -> None:
    target = left(tmp_path)
    path = next(tmp_path.glob("*.part"))
    path.unlink()
    path.symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        Part(target, "7/0")
    path.unlink()
    note_of(tmp_path).unlink()
    path.with_suffix(".note").symlink_to(tmp_path / "victim")
    with pytest.raises(OSError, match=os.strerror(errno.ELOOP)):
        Part(target, "7/0")

    assert not (tmp_path / "victim").exists()


def test_link_is_not_the_video(tmp_path: Path) -> None:
    part = begun(tmp_path / "boat.mp4")
    part.finish(overwrite=False)
    part.close()
    (tmp_path / "boat.mp4").rename(tmp_path / "other.mp4")
    assert not is_saved(tmp_path / "boat.mp4", "7/0")
    (tmp_path / "boat.mp4").symlink_to(tmp_path / "other.mp4")

    assert not is_saved(tmp_path / "boat.mp4", "7/0")
    assert json.loads(note_of(tmp_path).read_bytes().splitlines()[0])["video"] == "7/0"


def test_file_that_cannot_be_read_is_not_the_video(tmp_path: Path) -> None:
    part = begun(tmp_path / ("x" * 300))
    with pytest.raises(OSError, match=os.strerror(errno.ENAMETOOLONG)):
        part.finish(overwrite=False)
    part.close()

    assert not is_saved(tmp_path / ("x" * 300), "7/0")


async def test_whole_part_needs_no_host(tmp_path: Path) -> None:
    """The process was killed before the file got its name."""
    content = film(1000)
    await anyio.to_thread.run_sync(left, tmp_path, content)
    host = FilmHost(b"")
    async with host.client() as kling:
        (path,) = await kling.download(RESULT, tmp_path / "boat.mp4")

    assert path.read_bytes() == content
    assert not host.requests
    assert holding(tmp_path) == ["boat.mp4"]


async def test_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(part: Part, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    host = FilmHost(film(3_000_000))
    monkeypatch.setattr(Part, "add", full)
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="cannot save .* No space left"):
            await kling.download(RESULT, tmp_path / "boat.mp4")

    assert holding(tmp_path) == []


async def test_full_disk_at_a_break_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(part: Part, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    host = FilmHost(film(3_000_000), break_after=9)
    host.first += [host.serve, httpx.Response(404)]
    monkeypatch.setattr(Part, "add", full)
    async with host.client() as kling:
        with pytest.raises(DownloadError, match="HTTP 404"):
            await kling.download(RESULT, tmp_path / "boat.mp4")

    assert holding(tmp_path) == []


@pytest.mark.real_time
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_killed_download_is_gone_on_with(tmp_path: Path) -> None:
    content = film(20_000_000)
    server = FilmServer(lambda _: content, pause=0.005)
    target = tmp_path / "boat.mp4"
    async with anyio.create_task_group() as group:
        origin = await group.start(server.serve)
        url = f"{origin}/0.mp4"
        command = [sys.executable, "-c", PROGRAM, url, str(target)]
        process = await anyio.open_process(command, cwd=ROOT, stderr=subprocess.PIPE)
        await server.reaches(4_000_000)
        process.send_signal(signal.SIGKILL)
        await process.aclose()
        downloads = Downloads(http=True, private=True)
        result = VideoResult(task_id="7", videos=(Video(url=url),))
        async with Kling(KlingAI(KEY), downloads=downloads) as kling:
            await kling.download(result, target)
        group.cancel_scope.cancel()

    first, second = server.starts[0]
    assert (first, second > 0) == (0, True)
    assert target.read_bytes() == content
    assert holding(tmp_path) == ["boat.mp4"]


@pytest.mark.real_time
@pytest.mark.parametrize("reset", [True, False])
async def test_cut_connections_cost_nothing(reset: bool, tmp_path: Path) -> None:
    films = [film(2_000_000, seed) for seed in range(5)]
    server = FilmServer(films.__getitem__, break_after=600_000, reset=reset)
    downloads = Downloads(http=True, private=True)
    async with (
        anyio.create_task_group() as group,
        Kling(KlingAI(KEY), downloads=downloads) as kling,
    ):
        origin = await group.start(server.serve)
        async with anyio.create_task_group() as saving:
            for number in range(5):
                video = Video(url=f"{origin}/{number}.mp4")
                result = VideoResult(task_id=str(number), videos=(video,))
                saving.start_soon(kling.download, result, tmp_path)
        group.cancel_scope.cancel()

    assert all((tmp_path / f"{n}-0.mp4").read_bytes() == films[n] for n in range(5))
    assert len(holding(tmp_path)) == 5
    assert all(starts == sorted(set(starts)) for starts in server.starts.values())
    assert not server.authorized
