"""What the server on loopback says, in the words of each API that a client was written for.

Taken from the clients themselves, at the versions in peers.txt: no more of an answer than the
client reads, and that in the shape it checks.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Callable
from random import Random
from typing import NamedTuple
from urllib.parse import parse_qs

_INTENT = re.compile(rb"intent-[\w-]+")
_EXTERNAL_ID = re.compile(rb'"external_task_id": ?"([^"]+)"')
KLING = re.compile(r"(?:/kling)?/v1/videos/text2video(?:/(?P<id>[\w-]+))?$")
FAL = re.compile(r"/fal-ai/kling-video(?:/requests/(?P<id>\w+)(?P<status>/status)?)?$")
REPLICATE = re.compile(r"/v1/predictions(?:/(?P<id>\w+))?$")
RUNWAY_CREATE = re.compile(r"/v1/text_to_video$")
RUNWAY = re.compile(r"/v1/tasks/(?P<id>[\w-]+)$")
OPENAI = re.compile(r"/v1/videos(?:/(?P<id>\w+))?$")


class Answer(NamedTuple):
    status: int
    body: bytes
    headers: str = ""


class Task:
    __slots__ = ("ends", "external_id", "id", "is_told")

    def __init__(self, task_id: str, ends: float, external_id: str | None) -> None:
        self.id = task_id
        self.ends = ends
        self.external_id = external_id
        self.is_told = False


def usual(random: Random) -> float:
    """How long a task takes, as in polling.py."""
    return max(30.0, random.lognormvariate(4.787, 0.5))


class World:
    """The tasks of one run, and what was asked about them."""

    def __init__(self, now: Callable[[], float], takes: float | None, origin: str) -> None:
        self.now = now
        self.origin = origin
        self._takes = takes
        self._random = Random(7)
        self.tasks: dict[str, Task] = {}
        self.named: dict[str, Task] = {}
        self.listed: list[Task] = []
        self.requests: Counter[str] = Counter()
        self.billed: Counter[str] = Counter()
        self.lags: list[float] = []
        self.in_flight = self.most_in_flight = 0

    def answer(self, method: str, target: str, body: bytes) -> Answer:
        """Carry one request out."""
        path, _, query = target.partition("?")
        if found := KLING.match(path):
            # Whether CometAPI finds tasks by external id is not known: here it does not.
            finds = not path.startswith("/kling")
            return self._kling(method, found["id"], query, body, finds)
        if found := FAL.search(path):
            return self._fal(method, path, found["id"], found["status"], body)
        if found := RUNWAY_CREATE.search(path):
            return _json({"id": self.create(body).id})
        if found := RUNWAY.search(path):
            return self._runway(found["id"])
        if found := OPENAI.search(path):
            return self._openai(method, found["id"], body)
        if found := REPLICATE.search(path):
            return self._replicate(method, found["id"], body)
        return _json({"error": f"nothing at {path}"}, 404)

    def create(self, body: bytes) -> Task:
        """Bill for a task, and begin it."""
        name = _EXTERNAL_ID.search(body)
        self.requests["create"] += 1
        self.billed[intent(body)] += 1
        takes = usual(self._random) if self._takes is None else self._takes
        # Letters and digits alone, as replicate and fal have them.
        task = Task(
            f"{self._random.getrandbits(96):024x}",
            self.now() + takes,
            name[1].decode() if name else None,
        )
        self.tasks[task.id] = task
        self.listed.append(task)
        if task.external_id:
            self.named[task.external_id] = task
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        return task

    def is_over(self, task: Task) -> bool:
        """Whether it has ended; its first being told so is what the waiting came to."""
        lag = self.now() - task.ends
        if lag < 0:
            return False
        if not task.is_told:
            task.is_told = True
            self.in_flight -= 1
            self.lags.append(lag)
        return True

    def _kling(
        self, method: str, task_id: str | None, query: str, body: bytes, finds: bool
    ) -> Answer:
        if method == "POST":
            name = _EXTERNAL_ID.search(body)
            if finds and name and name[1].decode() in self.named:
                return _json({"code": 1201, "message": "External task id already exists"}, 400)
            return Answer(200, _ENVELOPE % self._kling_task(self.create(body)))
        if task_id is None:
            self.requests["page"] += 1
            wish = parse_qs(query)
            number, size = int(wish["pageNum"][0]), int(wish["pageSize"][0])
            end = max(0, len(self.listed) - (number - 1) * size)
            page = self.listed[max(0, end - size) : end]
            return Answer(200, _ENVELOPE % b"[%s]" % b",".join(map(self._kling_task, page[::-1])))
        self.requests["question"] += 1
        task = self.tasks.get(task_id) or (self.named.get(task_id) if finds else None)
        if task is None:
            return _json({"code": 1201, "message": f"Task not found by id {task_id}"}, 400)
        return Answer(200, _ENVELOPE % self._kling_task(task))

    def _kling_task(self, task: Task) -> bytes:
        is_over = self.is_over(task)
        name = b'"external_task_id":"%s"' % task.external_id.encode() if task.external_id else b""
        ends = task.ends if is_over else 0.0
        return _KLING_TASK % (
            task.id.encode(),
            b"succeed" if is_over else b"processing",
            name,
            _KLING_RESULT if is_over else b"{}",
            1_764_000_000_000 + int(1000 * ends),
        )

    def _fal(
        self, method: str, path: str, task_id: str | None, status: str | None, body: bytes
    ) -> Answer:
        if method == "POST":
            task = self.create(body)
            place = f"{self.origin}{path}/requests/{task.id}"
            return _json(
                {
                    "request_id": task.id,
                    "response_url": place,
                    "status_url": f"{place}/status",
                    "cancel_url": f"{place}/cancel",
                }
            )
        assert task_id is not None
        if status is None:
            self.requests["result"] += 1
            return _json({"video": {"url": "https://files.test/0.mp4"}})
        self.requests["question"] += 1
        if self.is_over(self.tasks[task_id]):
            return _json({"status": "COMPLETED", "logs": None, "metrics": {"inference_time": 60.0}})
        return _json({"status": "IN_PROGRESS", "logs": None})

    def _replicate(self, method: str, task_id: str | None, body: bytes) -> Answer:
        if task_id is None:
            task = self.create(body)
        else:
            task = self.tasks[task_id]
            self.requests["question"] += 1
        is_over = task_id is not None and self.is_over(task)
        return _json(
            {
                "id": task.id,
                "model": "kwaivgi/kling-v2.1",
                "version": "hidden",
                "status": "succeeded" if is_over else "processing",
                "input": {"prompt": "A paper boat"},
                "output": "https://files.test/0.mp4" if is_over else None,
                "logs": "",
                "error": None,
                "metrics": {},
                "created_at": "2026-11-21T12:00:00.000Z",
                "started_at": "2026-11-21T12:00:00.000Z",
                "completed_at": "2026-11-21T12:02:00.000Z" if is_over else None,
                "urls": {"get": f"{self.origin}/v1/predictions/{task.id}", "cancel": ""},
            },
            200 if method == "GET" else 201,
        )

    def _runway(self, task_id: str) -> Answer:
        self.requests["question"] += 1
        task = {"id": task_id, "createdAt": "2026-11-21T12:00:00.000Z"}
        if self.is_over(self.tasks[task_id]):
            return _json({**task, "status": "SUCCEEDED", "output": ["https://files.test/0.mp4"]})
        return _json({**task, "status": "RUNNING", "progress": 0.5})

    def _openai(self, method: str, task_id: str | None, body: bytes) -> Answer:
        if task_id is None:
            task = self.create(body)
        else:
            task = self.tasks[task_id]
            self.requests["question"] += 1
        is_over = task_id is not None and self.is_over(task)
        return _json(
            {
                "id": task.id,
                "object": "video",
                "model": "sora-2",
                "status": "completed" if is_over else "in_progress",
                "progress": 100 if is_over else 50,
                "created_at": 1_764_000_000,
                "completed_at": 1_764_000_120 if is_over else None,
                "prompt": "A paper boat",
                "seconds": "4",
                "size": "720x1280",
            }
        )


# In full, as the official server has it: a page of 500 is about 200 KB.
_ENVELOPE = b'{"code":0,"message":"SUCCEED","request_id":"CLQ-1a2b3c4d5e6f","data":%s}'
_KLING_TASK = (
    b'{"task_id":"%s","task_status":"%s","task_status_msg":"","task_info":{%s},"task_result":%s,'
    b'"watermark_info":{"enabled":false},"created_at":1764000000000,"updated_at":%d}'
)
_KLING_RESULT = b'{"videos":[{"id":"b1f0c1de","url":"https://files.test/0.mp4","duration":"5.1"}]}'


def intent(body: bytes) -> str:
    """What the prompt says that this create is for."""
    found = _INTENT.search(body)
    return found[0].decode() if found else ""


def _json(value: object, status: int = 200) -> Answer:
    return Answer(status, json.dumps(value).encode())
