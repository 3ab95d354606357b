"""FilmHost: a file host in memory that breaks off, lies and redirects as it is told to."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import AsyncIterator, Callable
from random import Random
from typing import Any

import httpx

from kling_async import Kling, KlingAI, Video, VideoResult

KEY = "a-secret-key-0123456789"
URL = "https://f.test/0.mp4?sign=abc"
RESULT = VideoResult(task_id="7", videos=(Video(url=URL),))
DATE = "Sat, 21 Nov 2026 12:00:00 GMT"
OLD = "Fri, 20 Nov 2026 12:00:00 GMT"

Answer = Callable[[httpx.Request], httpx.Response]


def film(size: int, seed: int = 0) -> bytes:
    """Bytes that begin as a film does, and are like no others."""
    return b"\0\0\0\x18ftypmp42" + Random(seed).randbytes(size - 12)


class FilmHost(httpx.AsyncBaseTransport):
    """Serves one film, whole or by range; what is in `first` comes before."""

    def __init__(self, content: bytes, *, break_after: int | None = None) -> None:
        self.content = content
        self.headers = {"etag": '"v1"', "content-type": "video/mp4"}
        self.break_after = break_after
        self.ranges = True
        self.first: deque[httpx.Response | Exception | Answer] = deque()
        self.requests: list[httpx.Request] = []
        self.sent = 0

    @property
    def asked(self) -> list[str]:
        """The ranges that were asked for."""
        return [request.headers.get("range", "") for request in self.requests]

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        if not self.first:
            return self.serve(request)
        answer = self.first.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else answer(request)

    def serve(self, request: httpx.Request) -> httpx.Response:
        headers, start, size = dict(self.headers), 0, len(self.content)
        found = re.fullmatch(r"bytes=(\d+)-", request.headers.get("range", ""))
        validators = (headers.get("etag"), headers.get("last-modified"))
        if found and self.ranges and request.headers["if-range"] in validators:
            start = int(found[1])
            if start >= size:
                return httpx.Response(416, headers={"content-range": f"bytes */{size}"})
            headers["content-range"] = f"bytes {start}-{size - 1}/{size}"
        headers["content-length"] = str(size - start)
        end = size if self.break_after is None else min(size, start + self.break_after)
        stream = Pieces(self, self.content[start:end], breaks=end < size)
        return httpx.Response(
            206 if "content-range" in headers else 200, headers=headers, stream=stream
        )

    def client(self, **options: Any) -> Kling:
        return Kling(KlingAI(KEY), transport=self, **options)


class Pieces(httpx.AsyncByteStream):
    """A body in pieces of 64 KB, which may end in a reset."""

    def __init__(self, host: FilmHost, body: bytes, *, breaks: bool) -> None:
        self._host = host
        self._body = body
        self._breaks = breaks

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for at in range(0, len(self._body), 65_536):
            piece = self._body[at : at + 65_536]
            self._host.sent += len(piece)
            yield piece
        if self._breaks:
            raise httpx.ReadError("connection reset by peer")
