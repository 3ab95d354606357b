"""Answers HTTP: finds the dialect, checks the key, lets faults strike."""

from __future__ import annotations

import json
import re
from collections import deque
from collections.abc import AsyncGenerator, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, replace
from random import Random
from typing import cast
from uuid import UUID

import anyio
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.types import Receive, Scope, Send

from kling_async.emulator._answers import spoil
from kling_async.emulator._auth import Gate
from kling_async.emulator._dialects import JSON, NewAPI
from kling_async.emulator._faults import Fault, Faults, Occasion, Strike
from kling_async.emulator._files import FileHost
from kling_async.emulator._jobs import Job
from kling_async.emulator._refusals import Refusal, TaskNotFound
from kling_async.emulator._routes import Place, locate
from kling_async.emulator._service import Service

FILE_HOST = "files.kling-emulator.test"
IN_PROCESS = "kling_async.in_process"
"""The ASGI extension that says no socket lies between."""

_FILE = re.compile(r"(/files)?/([^/]+)/([^/]+)")
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
_UNHEARD_OF = "reviewing"
_SHOWN_TASKS = 1000


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that arrived; `at` is the loop's time.

    `authorized` says whether it brought an Authorization header at all.
    """

    method: str
    host: str
    path: str
    query: str
    authorized: bool
    at: float


@dataclass(frozen=True, slots=True)
class _Call:
    """A request whose sender and purpose are known."""

    place: Place
    on: Occasion
    account: str
    body: Mapping[str, object] | None
    query: Mapping[str, str]
    origin: str
    request_id: str


class Api:
    """The ASGI application behind every path of every imitated server."""

    def __init__(
        self,
        *,
        service: Service,
        gate: Gate,
        faults: Faults,
        files: FileHost,
        random: Random,
        requests: deque[Seen],
        latency: float,
    ) -> None:
        self._service = service
        self._gate = gate
        self._faults = faults
        self._files = files
        self._random = random
        self._requests = requests
        self.latency = latency

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = Request(scope, receive)
        response = await self._answer(request)
        await response(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        host = _host(request)
        path: str = request.scope["path"]  # `url.path` has # and ? quoted again
        self._note(request, host, path)
        file = _FILE.fullmatch(path)
        if file is not None and (host == FILE_HOST or file[1]):
            return await self._files.answer(request, file[2], file[3])
        # Read before anything is decided, as a server behind a proxy would.
        content = await request.body()
        await anyio.sleep(self.latency / 2)
        place = locate(host, path)
        request_id = self._new_request_id()
        on = _occasion(request.method, place)
        if on is None:
            return _stray(request, place, path, request_id)
        try:
            account = self._gate.account(
                request.headers.get("authorization"), signed=place.dialect.signed_tokens
            )
        except Refusal as refusal:
            return _refuse(refusal, place, request_id)
        body = _parse(content) if on == "create" else None
        call = _Call(
            place, on, account, body, request.query_params, _origin(request, host), request_id
        )
        # Whoever is cancelled from here on has paid for what he will not hear of.
        answer = await self._handle(call)
        await anyio.sleep(self.latency / 2)
        return answer

    async def _handle(self, call: _Call) -> Response:
        def refuse(refusal: Refusal) -> Response:
            return _refuse(refusal, call.place, call.request_id)

        def work() -> Response:
            try:
                return JSONResponse(self._work(call, strike))
            except Refusal as refusal:
                return refuse(refusal)

        strike = self._draw(call)
        if strike is None:
            return work()
        return await spoil(strike, work() if strike.commits else None, refuse)

    def _work(self, call: _Call, strike: Strike | None) -> JSON:
        if call.on == "create":
            return self._create(call, strike)
        if call.on == "list":
            return self._list(call)
        return self._query(call, strike)

    def _create(self, call: _Call, strike: Strike | None) -> JSON:
        if call.body is None:
            raise Refusal(1200)
        job = self._service.create(call.account, call.place, call.body, call.origin)
        if strike is not None and strike.fault is Fault.STUCK:
            job.stick()
        if strike is not None and strike.fault is Fault.FAIL:
            job.doom(strike.message or "Failure to pass the risk control system")
        return call.place.dialect.created(job, job.state, self._service.clock, call.request_id)

    def _query(self, call: _Call, strike: Strike | None) -> JSON:
        # A true "not found" comes first: a fault needs a task to lie about.
        job = self._service.find(call.account, call.place)
        fault = None if strike is None else strike.fault
        state = job.state
        if fault is Fault.NOT_FOUND:
            raise TaskNotFound(call.place.task or "")
        if fault is Fault.STALE:
            state = job.earlier() or state
        else:
            job.shown = state.status
        if fault is Fault.UNKNOWN_STATUS:
            state = replace(state, status=_UNHEARD_OF)
        dialect, clock = call.place.dialect, self._service.clock
        if call.place.openai and isinstance(dialect, NewAPI):
            return dialect.openai_video(job, state, clock)
        return dialect.queried(job, state, clock, call.request_id)

    def _list(self, call: _Call) -> JSON:
        jobs = self._service.page(call.account, call.place, call.query)
        return call.place.dialect.listed(jobs, self._service.clock, call.request_id)

    def _draw(self, call: _Call) -> Strike | None:
        if not self._faults.armed:
            return None
        names: tuple[str | None, ...] = ()
        impossible: set[Fault] = set()
        endpoint = call.place.endpoint or ""
        if call.on == "create" and call.body is not None:
            names = (cast("str | None", call.body.get("external_task_id")),)
        if call.on == "query":
            job = self._job(call)
            if job is None:
                impossible = {Fault.NOT_FOUND, Fault.UNKNOWN_STATUS, Fault.STALE}
                names = (call.place.task,)
            else:
                endpoint = job.endpoint
                names = (job.task_id, job.external_task_id)
                if job.earlier() is None:
                    impossible = {Fault.STALE}
        return self._faults.draw(
            call.on, endpoint=endpoint, names=names, impossible=frozenset(impossible)
        )

    def _job(self, call: _Call) -> Job | None:
        try:
            return self._service.find(call.account, call.place)
        except TaskNotFound:
            return None

    def _note(self, request: Request, host: str, path: str) -> None:
        authorized = bool(request.headers.get("authorization"))
        query = request.url.query
        now = anyio.current_time()
        self._requests.append(Seen(request.method, host, path, query, authorized, now))

    def _new_request_id(self) -> str:
        return str(UUID(int=self._random.getrandbits(128), version=4))


def build_app(
    api: Api, service: Service, lifespan: AbstractAsyncContextManager[object]
) -> Starlette:
    """The Starlette application: the ledger's page, and the API for the rest."""

    async def show(request: Request) -> Response:
        shown = list(service.tasks.values())[-_SHOWN_TASKS:]
        tasks = [{"task_id": job.task_id, "task_status": job.state.status} for job in shown]
        return JSONResponse({"ledger": service.ledger.summary(), "tasks": tasks})

    @asynccontextmanager
    async def span(app: Starlette) -> AsyncGenerator[None]:
        async with lifespan:
            yield

    routes = [Route("/", show), Route("/ledger", show), Mount("/", app=api)]
    return Starlette(routes=routes, lifespan=span)


def _occasion(method: str, place: Place) -> Occasion | None:
    """What is wanted, or None if the server has no such method and path."""
    if place.endpoint is None:
        return None
    if method == "POST" and place.task is None:
        return "create"
    if method == "GET" and place.task is not None:
        return "query"
    if method == "GET" and place.dialect.lists:
        return "list"
    return None


def _stray(request: Request, place: Place, path: str, request_id: str) -> Response:
    if place.endpoint is not None and place.dialect.lists:
        return _refuse(Refusal(1202), place, request_id)
    status, content = place.dialect.stray(request.method, path, request_id)
    if isinstance(content, dict):
        return JSONResponse(content, status)
    headers = {"Location": "/kling" + path} if status == 301 else None
    return HTMLResponse(content, status, headers)


def _refuse(refusal: Refusal, place: Place, request_id: str) -> Response:
    return JSONResponse(place.dialect.refused(refusal, request_id), refusal.status)


def _parse(content: bytes) -> Mapping[str, object] | None:
    """The JSON object of a body; None if it is anything else."""
    try:
        body: object = json.loads(content)
    except ValueError:
        return None
    return cast("dict[str, object]", body) if isinstance(body, dict) else None


def _host(request: Request) -> str:
    return re.sub(r":\d+$", "", request.headers.get("host", "").lower())


def _origin(request: Request, host: str) -> str:
    """Where the files of a task created by this request will be."""
    if IN_PROCESS in request.scope.get("extensions", {}) and host not in _LOOPBACK:
        return f"https://{FILE_HOST}"
    return f"{request.url.scheme}://{request.url.netloc}/files"
