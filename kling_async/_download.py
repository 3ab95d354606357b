"""Results to disk: streamed beside the target, checked, then renamed into place."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

import anyio
import anyio.to_thread

from ._errors import ConfigurationError, DownloadError, TransportError
from ._results import Video, VideoResult
from ._transport import Download, Transport


class Downloader:
    """Fetches result files; the API key never goes with it."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def save(
        self, result: VideoResult, target: str, *, watermark: bool, overwrite: bool
    ) -> list[Path]:
        """Save every video of *result*."""
        try:
            return await self._save(result, target, watermark=watermark, overwrite=overwrite)
        except DownloadError as error:
            error.token = result.token
            if result.token is not None:
                # It is paid for, and its address may be known nowhere else.
                error.advice = (
                    "The result stays on the server for 30 days:"
                    f" await kling.task({result.token!r}) gives it again."
                )
            raise

    async def _save(
        self, result: VideoResult, target: str, *, watermark: bool, overwrite: bool
    ) -> list[Path]:
        urls = [_address(video, watermark=watermark) for video in result.videos]
        paths = await anyio.to_thread.run_sync(_paths, result, target)
        await anyio.to_thread.run_sync(_check_targets, paths, overwrite)
        for url, path in zip(urls, paths, strict=True):
            await self._fetch(url, path, overwrite=overwrite)
        return paths

    async def _fetch(self, url: str, path: Path, *, overwrite: bool) -> None:
        # A name of its own, for two downloads may have one target.
        part = path.with_name(f".kling-{uuid4().hex}.part")
        try:
            await anyio.Path(path.parent).mkdir(parents=True, exist_ok=True)
            async with self._transport.open(url, {}) as answer:
                _check(answer.status, answer.headers, url)
                size = await _write(part, answer)
                _check_whole(answer.headers, size, url)
            await anyio.to_thread.run_sync(_move, part, path, overwrite)
        except OSError as error:
            raise DownloadError(f"cannot save {path}: {error}") from error
        except (ConfigurationError, TransportError) as error:
            raise DownloadError(str(error)) from error
        finally:
            with anyio.CancelScope(shield=True), suppress(OSError):
                await anyio.Path(part).unlink()


def check_folder(folder: Path) -> None:
    """Make the folder, and see that files can be written there; blocks."""
    probe = folder / f".kling-{uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise DownloadError(f"cannot save anything in {folder}: {error}") from error


def _paths(result: VideoResult, target: str) -> list[Path]:
    path = Path(target)
    if not (target.endswith(("/", os.sep)) or os.path.isdir(path)):
        if len(result.videos) > 1:
            raise DownloadError(
                f"{len(result.videos)} videos do not fit in one file; name a folder"
            )
        return [path]
    # The server's own file names are not used: they may hold anything.
    name = re.sub(r"[^\w.-]", "_", result.task_id)
    return [path / f"{name}-{index}.mp4" for index in range(len(result.videos))]


def _check_targets(paths: list[Path], overwrite: bool) -> None:
    for path in paths:
        if overwrite and path.exists() and not path.is_file():
            raise DownloadError(f"{path} is no regular file; name another one")
        if not overwrite:
            _check_free(path)


def _check_free(path: Path) -> None:
    if os.path.lexists(path):
        raise _taken(path)


def _taken(path: Path) -> DownloadError:
    return DownloadError(f"{path} exists; pass overwrite=True, or name another file")


def _move(part: Path, path: Path, overwrite: bool) -> None:
    if overwrite:
        os.replace(part, path)
        return
    try:
        os.link(part, path)  # unlike a rename, it never replaces what has come there meanwhile
    except FileExistsError:
        raise _taken(path) from None
    except OSError:  # a disk without hard links
        _check_free(path)
        os.replace(part, path)


def _address(video: Video, *, watermark: bool) -> str:
    if not watermark:
        return video.url
    if video.watermark_url is None:
        raise DownloadError("there is no watermarked copy; ask for one with watermark_info")
    return video.watermark_url


def _check(status: int, headers: Mapping[str, str], url: str) -> None:
    if status != 200:
        where = headers.get("location")
        detail = f"redirects to {_without_query(where)}" if where else f"answers HTTP {status}"
        raise DownloadError(
            f"{_without_query(url)} {detail}",
            status=status,
        )
    kind = headers.get("content-type", "")
    if kind.startswith(("text/", "application/json", "application/xml")):
        raise DownloadError(f"{_without_query(url)} sends {kind}, which is no video")


def _check_whole(headers: Mapping[str, str], size: int, url: str) -> None:
    promised = headers.get("content-length", "")
    counts_this = promised.isdigit() and "content-encoding" not in headers
    if counts_this and int(promised) != size:
        raise DownloadError(f"{_without_query(url)} promised {promised} bytes and sent {size}")
    if size == 0:
        raise DownloadError(f"{_without_query(url)} sent an empty file")


async def _write(part: Path, answer: Download) -> int:
    size = 0
    async with await anyio.open_file(part, "wb") as file:
        async for piece in answer.pieces():
            await file.write(piece)
            size += len(piece)
        await file.flush()
        await anyio.to_thread.run_sync(os.fsync, file.wrapped.fileno())
    return size


def _without_query(url: str) -> str:
    # The query may hold the signature that opens the file.
    return re.split("[?#]", url, maxsplit=1)[0]
