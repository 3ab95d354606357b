"""Fetch: one file, read to its end however often the answers to it break off."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from random import Random

import anyio

from ._config import Downloads
from ._errors import AnswerLost, DownloadError, KlingError, RateLimited, ServerError
from ._file_head import SIGNATURE, FileHead, is_film, is_mp4, is_page, span
from ._file_host import FileHost
from ._film_end import FilmEnd
from ._retry import is_transient, next_delay
from ._transport import Download, place

Renew = Callable[[], Awaitable[str | None]]
"""Gives the file's present address, where that can be found out."""

_EXPIRED = frozenset({401, 403, 404, 410})
_STEP = 64 * 1024
"""Bytes that are progress: what brings fewer is another attempt without."""


class Fetch:
    """Bytes *at* their places in the file, which begins anew where it cannot be gone on with.

    Args:
        at: Where to begin, with the `head` of the file whose first bytes are there already.
        patience: Seconds that `_STEP` bytes may take.
    """

    def __init__(
        self,
        host: FileHost,
        url: str,
        renew: Renew,
        *,
        limits: Downloads,
        patience: float,
        random: Random,
        retried: Callable[[KlingError, float], None],
        at: int = 0,
        head: FileHead | None = None,
    ) -> None:
        self._host = host
        self._url = url
        self._renew = renew
        self._limits = limits
        self._patience = patience
        self._random = random
        self._retried = retried
        self.at = at
        self.head = head or FileHead()
        self._end: int | None = None
        self._film: FilmEnd | None = None
        """Where nothing else tells how long the file is."""

    async def pieces(self) -> AsyncGenerator[tuple[int, bytes]]:
        """Each piece with its place; a place before the last one means that all begins anew."""
        failures, furthest, renewed = 0, self.at, False
        while True:
            try:
                async with self._host.get(self._url, self._wishes()) as answer:
                    self._accept(answer)
                    async with aclosing(self._read(answer)) as pieces:
                        async for piece in pieces:
                            yield piece
                return
            except KlingError as error:
                failure = error
            if failure.status in _EXPIRED and not renewed:
                renewed = True
                try:
                    self._url = await self._present(failure)
                    continue
                except KlingError as error:
                    failure, renewed = error, False
            failures += 1
            if self.at - furthest >= _STEP:
                failures, furthest, renewed = 0, self.at, False
            await self._pause(failures, failure)

    async def _present(self, failure: KlingError) -> str:
        try:
            url = await self._renew()
        except KlingError as error:
            if is_transient(error):
                raise
            raise failure from error
        if url is None:
            raise failure
        return url

    async def _pause(self, failures: int, failure: KlingError) -> None:
        if not is_transient(failure):
            raise failure
        if failures >= self._limits.tries:
            raise DownloadError(
                f"{failure.message}; given up after {failures} attempts", status=failure.status
            ) from failure
        hint = failure.retry_after if isinstance(failure, RateLimited | ServerError) else None
        # What has brought something may go on at once, unless it was asked not to.
        delay = hint or 0.0
        if failures:
            delay = next_delay(failures - 1, random=self._random, hint=hint, limit=30.0)
        self._retried(failure, delay)
        await anyio.sleep(delay)

    def _wishes(self) -> dict[str, str]:
        if not self.at or self.head.validator is None:
            return {}
        return {"range": f"bytes={self.at}-", "if-range": self.head.validator}

    def _accept(self, answer: Download) -> None:
        """Make sure that this is the file, or the rest of it, and set `at` to where it begins."""
        shown, headers = place(self._url), answer.headers
        if answer.status == 206 and self._wishes():
            self._end = span(headers, self.at, self.head.size)
            if self._end is None or not self.head.agrees(headers):
                self._forget()
                raise AnswerLost(f"{shown} sends another part than was asked for")
            return
        if answer.status == 416 and self._wishes():
            self._forget()
            raise AnswerLost(f"{shown} does not know the rest of the file")
        _check_status(f"{shown} answers HTTP {answer.status}", answer)
        if is_page(headers):
            raise DownloadError(f"{shown} sends {headers['content-type']}, which is no video")
        head = FileHead.of(headers)
        self._check_size(head.size or 0)
        self.head, self.at, self._end = head, 0, head.size

    async def _read(self, answer: Download) -> AsyncGenerator[tuple[int, bytes]]:
        shown, held, waited, brought = place(self._url), b"", 0.0, 0
        async with aclosing(answer.pieces()) as pieces:
            asked = anyio.current_time()
            async for piece in pieces:
                waited, brought = waited + anyio.current_time() - asked, brought + len(piece)
                if brought >= _STEP:
                    waited, brought = 0.0, 0
                elif waited > self._patience:
                    raise AnswerLost(f"{shown} sent {brought} bytes in {waited:.0f} s")
                held += piece
                if self.at or len(held) >= SIGNATURE:
                    yield self._taken(held, shown)
                    held = b""
                asked = anyio.current_time()
        sent = self.at + len(held)
        if self._end is not None and sent < self._end:
            raise AnswerLost(f"{shown} promised {self._end} bytes and sent {sent}")
        if not sent:
            raise AnswerLost(f"{shown} sent an empty file")
        if held:
            yield self._taken(held, shown)
        if self.head.size not in (None, self.at):
            raise AnswerLost(f"{shown} sent less than the rest of the file")
        if self._film is not None and self._film.is_missing:
            raise AnswerLost(f"{shown} sent {self.at} bytes, which end in the midst of the film")

    def _taken(self, data: bytes, shown: object) -> tuple[int, bytes]:
        at, end = self.at, self.at + len(data)
        if at == 0 and not is_film(data):
            raise DownloadError(f"{shown} begins with {data[:SIGNATURE]!r}, which is no video")
        if at == 0:
            self._film = FilmEnd() if self.head.size is None and is_mp4(data) else None
        if self._film is not None:
            self._film.feed(data)
        if self._end is not None and end > self._end:
            self._forget()
            raise AnswerLost(f"{shown} promised {self._end} bytes and sends more")
        self._check_size(end)
        self.at = end
        return at, data

    def _check_size(self, size: int) -> None:
        if size > self._limits.max_bytes:
            raise DownloadError(
                f"{place(self._url)} has {size} bytes or more;"
                f" the limit is {self._limits.max_bytes}",
                advice="If it may be that large: Kling(downloads=Downloads(max_bytes=...)).",
            )

    def _forget(self) -> None:
        self.at, self.head = 0, FileHead()


def _check_status(message: str, answer: Download) -> None:
    status = answer.status
    if status == 200:
        return
    if status in (408, 425, 429) or status >= 500:
        wait = answer.headers.get("retry-after", "")
        retry_after = float(wait) if re.fullmatch(r"[0-9]{1,6}(\.[0-9]+)?", wait) else None
        raise ServerError(message, status=status, retry_after=retry_after)
    raise DownloadError(message, status=status)
