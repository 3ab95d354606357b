"""Kling: the client that wires everything up, opens it and closes it."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Self, TypeVar
from uuid import uuid4

import anyio
import anyio.to_thread

from ._config import DEFAULT_MAX_CONNECTIONS, Polling, Retries, Timeouts
from ._download import Downloader
from ._errors import ConfigurationError, KlingError
from ._resource import Resource
from ._results import FromState, VideoResult
from ._retry import created_nothing
from ._server import Server
from ._state import TaskState, TaskStatus
from ._submit import Leaving, Rules, perform, submission
from ._task import CLIENT_DEFAULT, Task, Timeout, Token
from ._transport import HTTPTransport, Transport
from .endpoints import Avatar, Image2Video, MultiImage2Video, Request, Text2Video
from .providers import CometAPI, KlingAI, Provider

ResultT = TypeVar("ResultT", bound=FromState)

_LOG = logging.getLogger("kling_async")
_ENDPOINTS: Mapping[str, type[Request[Any]]] = {
    model.endpoint: model for model in (Text2Video, Image2Video, MultiImage2Video, Avatar)
}


class Kling:
    """The client: ``async with Kling() as kling``.

    Without a *provider* it takes the one whose key stands in the environment: COMETAPI_KEY,
    else KLINGAI_API_KEY, else KLINGAI_ACCESS_KEY and KLINGAI_SECRET_KEY.

    Example:
        async with Kling() as kling:
            video = await kling.text2video.run(prompt="A paper boat", duration=5)
            await kling.download(video, "boat.mp4")

    Args:
        transport: Any `httpx.AsyncBaseTransport`, in place of the client's own connections.
        validate: False sends requests and media unchecked.
        callback_url: Put on every request that names none itself.
    """

    def __init__(
        self,
        provider: Provider | None = None,
        *,
        transport: HTTPTransport | None = None,
        timeouts: Timeouts | None = None,
        polling: Polling | None = None,
        retries: Retries | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        validate: bool = True,
        callback_url: str | None = None,
    ) -> None:
        if isinstance(provider, str):  # pyright: ignore[reportUnnecessaryIsInstance]  # a key
            raise ConfigurationError("the first argument is a provider, as in Kling(CometAPI(key))")
        self.provider = provider or _from_environment(os.environ)
        self._timeouts = timeouts or Timeouts()
        self._polling = polling or Polling()
        self._retries = retries or Retries()
        self._validate = validate
        self._callback_url = callback_url
        self._random = Random()
        self._transport = Transport(
            timeouts=self._timeouts, max_connections=max_connections, transport=transport
        )
        self._server = Server(self.provider, self._transport)
        self._downloader = Downloader(self._transport)
        self.text2video = Resource(self, Text2Video, Text2Video)
        self.image2video = Resource(self, Image2Video, Image2Video)
        self.multi_image2video = Resource(self, MultiImage2Video, MultiImage2Video)
        self.avatar = Resource(self, Avatar, Avatar)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close every connection; tasks go on, and their tokens stay good."""
        await self._transport.aclose()

    async def submit(self, request: Request[ResultT], *, resend: bool = False) -> Task[ResultT]:
        """Create a task, exactly once, and return its handle as soon as it is accepted.

        Args:
            resend: Send a second create where the fate of the first cannot be found out.
                It may be paid for twice.

        Raises:
            RequestRefused: The provider would refuse it; nothing was sent.
            SubmissionUnknown: It was sent, and nobody can say whether a task came of it.
        """
        if self._validate:
            for doubt in request.check(self.provider.limits):
                self._server.warn_once(doubt)
        body = await self._body(request)
        external_id: str = body.setdefault("external_task_id", f"ka-{uuid4().hex}")
        state = await self._create(request.path, external_id, body, resend=resend)
        _LOG.info("submitted %s task %s (%s)", request.endpoint, state.id, external_id)
        return self._task(type(request), state, external_id, told_at=anyio.current_time())

    async def run(
        self,
        request: Request[ResultT],
        *,
        timeout: Timeout = CLIENT_DEFAULT,  # it bounds the wait, not the task
    ) -> ResultT:
        """Create a task and wait for its result."""
        task = await self.submit(request)
        return await task.result(timeout=timeout)

    def task(self, token: str) -> Task[Any]:
        """Take a task up again by its token; asks nobody yet."""
        parts = Token.read(token)
        if parts.provider != self.provider.name:
            raise ConfigurationError(
                f"the token is of provider {parts.provider}, this client talks to"
                f" {self.provider.name}"
            )
        model = _ENDPOINTS.get(parts.endpoint)
        if model is None:
            raise ConfigurationError(f"the token is of endpoint {parts.endpoint}, unknown here")
        state = TaskState(parts.task_id, TaskStatus.UNKNOWN)
        task: Task[Any] = self._task(model, state, None, told_at=None)
        return task

    async def get(self, request: type[Request[Any]], task_id: str) -> TaskState:
        """The state of one task of the endpoint of *request*."""
        return await self._server.ask(request.path, task_id)

    async def page(self, request: type[Request[Any]], number: int, size: int) -> list[TaskState]:
        """One page of the account's tasks of the endpoint of *request*."""
        return await self._server.page(request.path, number, size)

    async def download(
        self,
        result: VideoResult,
        target: str | os.PathLike[str],
        *,
        watermark: bool = False,
        overwrite: bool = False,
    ) -> list[Path]:
        """Save the videos of a result; a file appears under its name only when it is whole.

        Args:
            target: A file, or a folder, where the task's id becomes the name. What ends in
                a slash is a folder, and is made.
            watermark: Save the watermarked copies.
            overwrite: Replace a file that exists.
        """
        return await self._downloader.save(
            result, os.fspath(target), watermark=watermark, overwrite=overwrite
        )

    async def _body(self, request: Request[Any]) -> dict[str, Any]:
        def build() -> dict[str, Any]:
            return request.body(self.provider.limits, check=self._validate)

        body = await anyio.to_thread.run_sync(build) if request.reads_media() else build()
        if self._callback_url is not None:
            body.setdefault("callback_url", self._callback_url)
        return body

    async def _create(
        self, path: str, external_id: str, body: Mapping[str, Any], *, resend: bool
    ) -> TaskState:
        provider = self.provider
        rules = Rules(
            external_task_id=external_id,
            # Asking is free, so a server whose abilities are not known is asked as well;
            # but what it does not find proves nothing.
            answers_look_ups=provider.finds_external_id is not False,
            trusts_not_found=bool(provider.finds_external_id and provider.refuses_duplicate_ids),
            on_the_wire=self._timeouts.total,
            retries=self._retries,
            resend=resend,
        )
        may_exist = lost = False

        async def send(leaving: Leaving) -> TaskState:
            nonlocal may_exist, lost

            def note() -> None:
                nonlocal may_exist
                may_exist = True
                leaving()

            try:
                return await self._server.create(path, body, note)
            except KlingError as error:
                may_exist = lost = lost or not created_nothing(error)
                raise

        try:
            return await perform(
                submission(rules, self._random),
                send,
                lambda: self._server.ask(path, external_id),
                self._timeouts.farewell,
            )
        except anyio.get_cancelled_exc_class():
            if may_exist:
                # Nobody will see a handle, and the id may be one that was made up here.
                _LOG.warning(
                    "cancelled while a create was on its way; a task may exist and be billed"
                    " under external_task_id %s",
                    external_id,
                )
            raise

    def _task(
        self,
        model: type[Request[Any]],
        state: TaskState,
        external_id: str | None,
        *,
        told_at: float | None,
    ) -> Task[Any]:
        return Task(
            self._server,
            endpoint=model.endpoint,
            path=model.path,
            result_type=model.result_type,
            state=state,
            told_at=told_at,
            external_task_id=external_id,
            polling=self._polling,
            random=self._random,
        )


def _from_environment(environ: Mapping[str, str]) -> Provider:
    if key := environ.get("COMETAPI_KEY"):
        return CometAPI(key)
    if key := environ.get("KLINGAI_API_KEY"):
        return KlingAI(key)
    access_key, secret_key = environ.get("KLINGAI_ACCESS_KEY"), environ.get("KLINGAI_SECRET_KEY")
    if access_key or secret_key:
        return KlingAI(access_key=access_key or "", secret_key=secret_key or "")
    raise ConfigurationError(
        "no key found: set COMETAPI_KEY, or KLINGAI_API_KEY, or KLINGAI_ACCESS_KEY and"
        " KLINGAI_SECRET_KEY; or pass Kling(CometAPI(key))",
        advice="No key yet? `python -m kling_async.emulator` speaks Kling on localhost, for free.",
    )
