"""Downloader: results to disk, whole or not at all, and results as streams."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Generator
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from random import Random
from uuid import uuid4

import anyio
from anyio import to_thread

from ._background import sparing
from ._config import Downloads, Timeouts
from ._errors import ConfigurationError, DownloadError, KlingError
from ._events import DownloadFinished, DownloadProgressed, Hooks, RetryScheduled
from ._fetch import Fetch
from ._file_host import FileHost
from ._part import Part, forget, is_saved, taken
from ._results import Video, VideoResult
from ._transport import Transport

Again = Callable[[str], Awaitable[VideoResult]]
"""Asks for the task of a token once more."""

_BUFFER = 1024 * 1024
_SECONDS_A_TELL = 0.5


class VideoStream:
    """A video as it comes: ``async for piece in stream``."""

    def __init__(self, pieces: AsyncIterator[bytes], size: int | None, media_type: str) -> None:
        self._pieces = pieces
        self.size = size
        """How many bytes there will be, where the host says so."""
        self.media_type = media_type
        """Such as "video/mp4"; may be empty."""

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._pieces


@dataclass(frozen=True, slots=True)
class _File:
    """One video of a result, and where it goes."""

    result: VideoResult
    index: int
    watermark: bool
    path: Path | None = None

    @property
    def url(self) -> str:
        return _address(self.result.videos[self.index], watermark=self.watermark)

    @property
    def video(self) -> str:
        """Names the video: its bytes are always the same."""
        return f"{self.result.task_id}/{self.index}{'/watermark' if self.watermark else ''}"


class Downloader:
    """Fetches result files; the API key never goes with it.

    Args:
        home: The API's address, whose host may be one of this machine or its network.
    """

    def __init__(
        self,
        transport: Transport,
        home: str,
        again: Again,
        limits: Downloads | None,
        hooks: Hooks,
        random: Random,
        timeouts: Timeouts,
    ) -> None:
        limits = limits or Downloads()
        for name in ("at_once", "tries", "max_bytes"):
            if getattr(limits, name) < 1:
                raise ConfigurationError(
                    f"Downloads({name}={getattr(limits, name)}); give 1 or more"
                )
        self._host = FileHost(transport, home, limits)
        self._again = again
        self._limits = limits
        self._hooks = hooks
        self._random = random
        self._patience = timeouts.read
        self._places = anyio.Semaphore(limits.at_once, fast_acquire=True)

    async def save(
        self, result: VideoResult, target: str, watermark: bool, overwrite: bool
    ) -> list[Path]:
        """Save every video of *result*."""
        with _told(result):
            numbers = range(len(result.videos))
            for number in numbers:
                _address(result.videos[number], watermark=watermark)
            paths = await to_thread.run_sync(_paths, result, target)
            files = [_File(result, number, watermark, paths[number]) for number in numbers]
            to_do = await to_thread.run_sync(_unsaved, files, overwrite)
            for file in to_do:
                async with self._places:
                    await self._save(file, overwrite=overwrite)
            # Until now they proved that the first videos are there, had the others failed.
            await to_thread.run_sync(forget, paths)
            return paths

    async def _save(self, file: _File, *, overwrite: bool) -> None:
        assert file.path is not None
        discard = False
        try:
            part = await to_thread.run_sync(Part, file.path, file.video)
            try:
                progress = _Progress(self._hooks, file)
                if not part.is_whole:
                    await self._fill(part, file, progress)
                discard = True
                await _to_the_end(partial(part.finish, overwrite=overwrite))
                discard = False
                progress.finish(part.received)
            except OSError:  # a full disk: give its room back
                discard = True
                raise
            finally:
                with anyio.CancelScope(shield=True):
                    await to_thread.run_sync(partial(part.close, discard=discard))
        except OSError as error:
            raise DownloadError(f"cannot save {file.path}: {error}") from error

    async def _fill(self, part: Part, file: _File, progress: _Progress) -> None:
        fetch, buffer, size = self._fetch(file, part), list[bytes](), 0

        async def flush() -> None:
            data = b"".join(buffer)
            buffer.clear()  # first: whoever is cancelled while they are written flushes again
            if data:
                await _to_the_end(partial(part.add, data))

        try:
            async with aclosing(fetch.pieces()) as pieces:
                async for at, piece in pieces:
                    if at == 0:
                        buffer.clear()
                        size = 0
                        await _to_the_end(partial(part.begin, fetch.head))
                    buffer.append(piece)
                    size += len(piece)
                    progress.tell(len(piece), fetch)
                    if size >= _BUFFER:
                        size = 0
                        await flush()
        except BaseException:
            with anyio.CancelScope(shield=True), suppress(OSError):
                await flush()
            raise
        await flush()

    @asynccontextmanager
    async def open(
        self, result: VideoResult, index: int, *, watermark: bool
    ) -> AsyncGenerator[VideoStream]:
        """Stream one video of *result*."""
        with _told(result):
            if not 0 <= index < len(result.videos):
                raise DownloadError(f"there is no video {index}, only {len(result.videos)}")
            file = _File(result, index, watermark)
            fetch = self._fetch(file)
        async with aclosing(self._joined(fetch, file)) as pieces:
            first = await anext(pieces)
            head = fetch.head
            async with aclosing(_chained(first, pieces)) as all_pieces:
                yield VideoStream(all_pieces, head.size, head.media_type)

    async def _joined(self, fetch: Fetch, file: _File) -> AsyncGenerator[bytes]:
        """The bytes in one row: what comes twice is compared, and not given twice."""
        size, given, checksum, again = None, 0, 0, 0
        progress = _Progress(self._hooks, file)
        with _told(file.result):
            async with aclosing(fetch.pieces()) as pieces:
                async for at, piece in pieces:
                    progress.tell(len(piece), fetch)
                    if at == 0:
                        again, size = 0, fetch.head.size if size is None else size
                    old = piece[: max(0, given - at)]
                    again = zlib.crc32(old, again)
                    is_other = bool(old) and at + len(old) == given and again != checksum
                    if is_other or fetch.head.size != size:
                        raise _changed(file)
                    if new := piece[len(old) :]:
                        given, checksum = given + len(new), zlib.crc32(new, checksum)
                        yield new
            if fetch.at < given:
                raise _changed(file)
        progress.finish(given)

    def _fetch(self, file: _File, part: Part | None = None) -> Fetch:
        async def renew() -> str | None:
            if file.result.token is None:
                return None
            try:
                fresh = await self._again(file.result.token)
                return _address(fresh.videos[file.index], watermark=file.watermark)
            except (ValueError, IndexError):  # it has no such video any more
                return None

        def retried(error: KlingError, seconds: float) -> None:
            if self._hooks:
                self._hooks.tell(RetryScheduled("download", error, seconds))

        return Fetch(
            self._host,
            file.url,
            renew,
            limits=self._limits,
            patience=self._patience,
            random=self._random,
            retried=retried,
            at=0 if part is None else part.received,
            head=None if part is None else part.head,
        )


async def _to_the_end(call: Callable[[], None]) -> None:
    """Run it in a thread; asyncio's own cancelling, which no shield holds up, waits for it too."""
    errors: list[Exception] = []

    async def run() -> None:
        try:
            await to_thread.run_sync(call)
        except Exception as error:
            errors.append(error)

    async with anyio.create_task_group() as group:
        group.start_soon(sparing, run)
    if errors:
        raise errors[0]


class _Progress:
    """Tells how far a download has come, now and then."""

    def __init__(self, hooks: Hooks, file: _File) -> None:
        self._hooks = hooks
        self._file = file
        self._fetched = 0
        self._began = anyio.current_time()
        self._next_tell = self._began

    def tell(self, more: int, fetch: Fetch) -> None:
        self._fetched += more
        if self._hooks and anyio.current_time() >= self._next_tell:
            self._next_tell = anyio.current_time() + _SECONDS_A_TELL
            file = self._file
            self._hooks.tell(
                DownloadProgressed(
                    file.result.task_id, file.index, file.path, fetch.at, fetch.head.size
                )
            )

    def finish(self, size: int) -> None:
        if self._hooks:
            file, seconds = self._file, anyio.current_time() - self._began
            self._hooks.tell(
                DownloadFinished(
                    file.result.task_id, file.index, file.path, size, self._fetched, seconds
                )
            )


def check_folder(folder: Path) -> Path:
    """Make the folder, see that files can be written there, and say where it is; blocks."""
    probe = folder / f".kling-{uuid4().hex}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
        return folder.absolute()
    except (OSError, ValueError) as error:  # ValueError: the name holds what no name can
        why = getattr(error, "strerror", None) or error
        raise DownloadError(f"cannot save anything in {folder}: {why}") from error


@contextmanager
def _told(result: VideoResult) -> Generator[None]:
    """Make every error a DownloadError that says how the result is come by again."""
    try:
        try:
            yield
        except DownloadError:
            raise
        except KlingError as error:
            raise DownloadError(str(error), status=error.status) from error
    except DownloadError as error:
        error.token = result.token
        if result.token is not None and error.advice == DownloadError.advice:
            # It is paid for, and its address may be known nowhere else.
            error.advice = (
                "The result stays on the server for 30 days:"
                f" await kling.task({result.token!r}) gives it again."
            )
        raise


async def _chained(first: bytes, pieces: AsyncIterator[bytes]) -> AsyncGenerator[bytes]:
    yield first
    async for piece in pieces:
        yield piece


def _paths(result: VideoResult, target: str) -> list[Path]:
    try:
        if not target or b"\0" in os.fsencode(target):
            raise DownloadError(f"{target!r} names no file", advice="Name a file or a folder.")
    except UnicodeError:
        raise DownloadError(f"{target!r} cannot be a file's name here") from None
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


def _unsaved(files: list[_File], overwrite: bool) -> list[_File]:
    """Those that are not there yet; raises if one cannot be."""
    missing: list[_File] = []
    for file in files:
        path = file.path
        assert path is not None
        if is_saved(path, file.video):
            continue
        if os.path.lexists(path):
            if not overwrite:
                raise taken(path)
            if not path.is_file():
                raise DownloadError(f"{path} is no regular file; name another one")
        missing.append(file)
    return missing


def _address(video: Video, *, watermark: bool) -> str:
    if not watermark:
        return video.url
    if video.watermark_url is None:
        raise DownloadError("there is no watermarked copy; ask for one with watermark_info")
    return video.watermark_url


def _changed(file: _File) -> DownloadError:
    return DownloadError(f"video {file.index} changed while it was read; begin anew")
