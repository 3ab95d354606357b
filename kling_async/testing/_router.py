"""A router for respx that answers as CometAPI and Kling do, and can be told what comes next."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal, Self

import httpx
import respx

from kling_async.emulator import Emulator, Job
from kling_async.emulator._app import FILE_HOST
from kling_async.emulator._refusals import STATUSES, Refusal
from kling_async.emulator._routes import locate

Occasion = Literal["create", "query", "list"]

_HOSTS = ("api.cometapi.com", "api-singapore.klingai.com", "api-beijing.klingai.com")
_KIND = r"^(/kling)?/v1/videos/(avatar/)?[a-z-]+2video"
_REQUEST_ID = "00000000-0000-4000-8000-000000000000"


@dataclass(eq=False, slots=True)
class MockTask:
    """A task of the router, made or yet to be made."""

    questions: int
    """How many questions about it there are to the last, which finds it ended."""
    failure: str | None
    """The reason it fails for; None if it succeeds."""
    id: str | None = None
    """Its id, once there is one."""
    sent: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """The body of its create."""
    asked: int = 0
    """How many questions there were about it, by its id or in a list."""


class KlingRouter(respx.MockRouter):
    """respx's router, with an emulator behind its routes "create", "query", "list" and "file".

    It is a context manager and a decorator, as respx's own is, and takes further routes.
    Unless it is told otherwise, each create is taken and each task succeeds at the first
    question about it.
    """

    def __init__(self, **settings: Any) -> None:
        super().__init__(**settings)
        self.route(method="POST", host__in=_HOSTS, path__regex=f"{_KIND}$", name="create").mock(
            side_effect=self._create
        )
        self.route(method="GET", host__in=_HOSTS, path__regex=f"{_KIND}/[^/]+$", name="query").mock(
            side_effect=self._query
        )
        self.route(method="GET", host__in=_HOSTS, path__regex=f"{_KIND}$", name="list").mock(
            side_effect=self._list
        )
        self.route(method="GET", host=FILE_HOST, name="file").mock(side_effect=self._forward)
        self._own = list(self.routes)
        self._has_run = False
        self._renew()

    def _renew(self) -> None:
        # Never ready by itself: questions move a task on, not time.
        self.emulator = Emulator(duration=self._born)
        self.tasks: list[MockTask] = []
        self.sent: list[Mapping[str, Any]] = []
        self._coming: deque[MockTask] = deque()
        self._refusals: dict[Occasion, deque[Refusal]] = {
            "create": deque(),
            "query": deque(),
            "list": deque(),
        }

    def create(self, *, questions: int = 1, failure: str | None = None) -> MockTask:
        """The next task that is created ends at this question, and fails for this reason."""
        if questions < 1:
            raise ValueError(f"questions={questions}: give 1 or more")
        task = MockTask(questions, failure)
        self._coming.append(task)
        return task

    def refuse(
        self, code: int, message: str | None = None, *, on: Occasion = "create", times: int = 1
    ) -> None:
        """The next creates, queries or lists are refused with this code of Kling's table.

        CometAPI hides the code: of it, only the HTTP status and the message are told.
        """
        if code not in STATUSES:
            raise ValueError(f"code {code} is none of Kling's: {', '.join(map(str, STATUSES))}")
        self._refusals[on].extend([Refusal(code, message)] * times)

    def __enter__(self) -> Self:
        super().__enter__()
        return self

    async def __aenter__(self) -> Self:
        return self.__enter__()

    def start(self) -> None:
        """Begin to answer, each time as if it were the first."""
        if self._has_run:
            self._renew()
        self._has_run = True
        super().start()

    def assert_all_called(self) -> None:
        """What was announced has happened, and routes of others were called."""
        refusals = [str(refusal) for coming in self._refusals.values() for refusal in coming]
        unused = [*self._coming, *refusals]
        assert not unused, f"nobody asked for: {unused}"
        others = [route for route in self.routes if route not in self._own]
        assert all(route.called for route in others), "RESPX: some routes were not called!"

    async def _create(self, request: httpx.Request) -> httpx.Response:
        self.sent.append(json.loads(request.content))
        return self._refused("create", request) or await self._forward(request)

    def _born(self, _: Random, body: Mapping[str, object]) -> float:
        task = self._coming.popleft() if self._coming else MockTask(1, None)
        task.sent = body
        self.tasks.append(task)
        return math.inf

    async def _query(self, request: httpx.Request) -> httpx.Response:
        if (refused := self._refused("query", request)) is not None:
            return refused
        # By its external id a task is looked for, not asked about.
        if (job := self.emulator.tasks.get(request.url.path.rpartition("/")[2])) is not None:
            self._ask_about(job)
        return await self._forward(request)

    async def _list(self, request: httpx.Request) -> httpx.Response:
        if (refused := self._refused("list", request)) is not None:
            return refused
        endpoint = locate(request.url.host, request.url.path).endpoint
        for job in self.emulator.tasks.values():
            if job.endpoint == endpoint:
                self._ask_about(job)
        return await self._forward(request)

    def _ask_about(self, job: Job) -> None:
        task = next(task for task in self.tasks if task.sent is job.body)
        task.asked += 1
        if job.state.is_terminal:
            return
        if task.asked < task.questions:
            job.begin()
        elif task.failure is None:
            job.succeed()
        else:
            job.fail(task.failure)

    def _refused(self, on: Occasion, request: httpx.Request) -> httpx.Response | None:
        if not self._refusals[on]:
            return None
        refusal = self._refusals[on].popleft()
        dialect = locate(request.url.host, request.url.path).dialect
        return httpx.Response(refusal.status, json=dialect.refused(refusal, _REQUEST_ID))

    async def _forward(self, request: httpx.Request) -> httpx.Response:
        answer = await self.emulator.transport().handle_async_request(request)
        content = await answer.aread()
        for task, job in zip(self.tasks, self.emulator.tasks.values(), strict=True):
            task.id = job.task_id
        return httpx.Response(answer.status_code, headers=answer.headers, content=content)


def mock_kling(*, assert_all_called: bool = True, assert_all_mocked: bool = True) -> KlingRouter:
    """Answer what is sent to CometAPI and to Kling: ``with mock_kling() as router``.

    Args:
        assert_all_called: At the end, what was announced must have happened.
        assert_all_mocked: No request may be for anybody else.
    """
    return KlingRouter(assert_all_called=assert_all_called, assert_all_mocked=assert_all_mocked)
