"""Serves the finished videos, whole or by range, while their URLs are good."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response

from kling_async.emulator._answers import spoil
from kling_async.emulator._dialects import VIDEO, WATERMARKED
from kling_async.emulator._faults import Fault, Faults
from kling_async.emulator._jobs import Job
from kling_async.emulator._mp4 import write_mp4
from kling_async.emulator._tasks import Tasks

_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_REUSABLE = 8


@dataclass(frozen=True, slots=True)
class Video:
    """The bytes of a file, and the tag by which a resumed download knows them."""

    content: bytes
    etag: str


class FileHost:
    """The host behind the URLs in task results; it asks for no key."""

    def __init__(self, tasks: Tasks, faults: Faults, video_bytes: int | None) -> None:
        self._tasks = tasks
        self._faults = faults
        self._size = video_bytes or 0
        self._written = lru_cache(_REUSABLE)(self._write)

    async def answer(self, request: Request, task_id: str, name: str) -> Response:
        """The answer to a request for a file."""
        if request.method not in ("GET", "HEAD"):
            return Response(status_code=405)
        job = self._tasks.get(task_id)
        if job is None or job.state.status != "succeed" or name not in (VIDEO, WATERMARKED):
            return PlainTextResponse("Not Found", 404)
        strike = self._faults.draw(
            "file", endpoint=job.endpoint, names=(job.task_id, job.external_task_id)
        )
        version = request.query_params.get("v", "0")
        if strike is not None and strike.fault is Fault.EXPIRED_URL:
            # Gone for good: only asking for the task again gives a URL that works.
            job.file_version += 1
        if version != str(job.file_version):
            return PlainTextResponse("Forbidden", 403)
        # Writing reads the samples from disk and may be long: not on the loop.
        video = await anyio.to_thread.run_sync(self.video, job)
        served = _ranged(request, video)
        if strike is None:
            return served
        return await spoil(
            strike, served, lambda refusal: PlainTextResponse(refusal.message, refusal.status)
        )

    def video(self, job: Job) -> Video:
        """The video of a task, the same every time."""
        title = str(job.body.get("prompt") or "")
        return self._written(job.order.ratio, job.frames, title, f"task {job.task_id}")

    def _write(self, ratio: str, frames: int, title: str, comment: str) -> Video:
        content = write_mp4(ratio, frames, title=title, comment=comment, size=self._size)
        return Video(content, f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"')


def _ranged(request: Request, video: Video) -> Response:
    whole, etag = video.content, video.etag
    headers = {"ETag": etag, "Accept-Ranges": "bytes"}
    start, end = 0, len(whole)
    status = 200
    wanted = _RANGE.fullmatch(request.headers.get("range", ""))
    if wanted is not None and request.headers.get("if-range", etag) == etag:
        span = _span(wanted[1], wanted[2], len(whole))
        if span is not None:
            start, end = span
            if start >= end:
                headers["Content-Range"] = f"bytes */{len(whole)}"
                return Response(status_code=416, headers=headers)
            headers["Content-Range"] = f"bytes {start}-{end - 1}/{len(whole)}"
            status = 206
    # The length stays that of the body a GET would have had.
    response = Response(whole[start:end], status, headers, media_type="video/mp4")
    if request.method == "HEAD":
        response.body = b""
    return response


def _span(first: str, last: str, size: int) -> tuple[int, int] | None:
    """Start and end of a range, empty if it cannot be served, None if it means nothing."""
    if first:
        end = min(size, int(last) + 1) if last else size
        return None if last and int(last) < int(first) else (int(first), end)
    if last:
        return max(0, size - int(last)), size if int(last) else 0
    return None
