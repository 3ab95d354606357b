"""Kling: the client that wires everything up, opens it and closes it."""

from __future__ import annotations

import logging
import os
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from random import Random
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, cast
from weakref import WeakSet

import anyio

from ._batch import Batch
from ._batch_options import Options, called, names, stops
from ._budget import Budget, Price, Units
from ._callback import Callback
from ._carrier import HTTPTransport
from ._config import DEFAULT_MAX_CONNECTIONS, Downloads, Retries, Slotting, Timeouts, expect
from ._download import Downloader, VideoStream
from ._ending import Ending
from ._environment import provider_in
from ._errors import SubmissionUnknown, TaskNotFound
from ._events import Hook, Hooks
from ._handles import ENDPOINTS, Handles
from ._intent import Intent
from ._journal import Journal
from ._map import Outcomes
from ._outcome import Outcome
from ._poller import Poller
from ._polling import Polling
from ._record import Record
from ._resource import Resource
from ._results import FromState, VideoResult
from ._rows import Rows
from ._server import Server
from ._slots import Slots, Ticket
from ._state import TaskState
from ._submitter import Submitter
from ._task import CLIENT_DEFAULT, Task, Timeout, Waiting
from ._transport import Transport
from .endpoints import Avatar, Image2Video, MultiImage2Video, Request, Text2Video
from .providers import Provider

T = TypeVar("T")
ResultT = TypeVar("ResultT", bound=FromState)

_LOG = logging.getLogger("kling_async")


class Kling:
    """The client: ``async with Kling() as kling``.

    Without a *provider* it takes the one whose key stands in the environment: COMETAPI_KEY,
    else KLINGAI_API_KEY, else KLINGAI_ACCESS_KEY and KLINGAI_SECRET_KEY.

    Example:
        async with Kling() as kling:
            video = await kling.text2video.run(prompt="A paper boat", duration=5)
            await kling.download(video, "boat.mp4", overwrite=True)

    Args:
        transport: Any `httpx.AsyncBaseTransport`, in place of the client's own connections, or
            "aiohttp", with that extra: calls by aiohttp, at less CPU, on asyncio only.
        max_at_once: Tasks in progress at most, of each model; None learns the account's
            limit from the server's refusals.
        hooks: Called with every event, in the event loop.
        validate: False sends requests and media unchecked.
        callback_url: See the attribute.
    """

    def __init__(
        self,
        provider: Provider | None = None,
        *,
        transport: HTTPTransport | Literal["aiohttp"] | None = None,
        timeouts: Timeouts | None = None,
        polling: Polling | None = None,
        retries: Retries | None = None,
        downloads: Downloads | None = None,
        max_connections: int = DEFAULT_MAX_CONNECTIONS,
        max_at_once: int | None = None,
        hooks: Iterable[Hook] = (),
        validate: bool = True,
        callback_url: str | None = None,
    ) -> None:
        expect("the first argument", provider, Provider, "Kling(CometAPI(key))")
        expect("timeouts", timeouts, Timeouts, "Timeouts(total=60)")
        expect("polling", polling, Polling, "Polling(interval=3)")
        expect("retries", retries, Retries, "Retries(busy=60)")
        expect("downloads", downloads, Downloads, "Downloads(at_once=4)")
        self.provider = provider or provider_in(os.environ)
        self.timeouts = timeouts = timeouts or Timeouts()
        polling, random = polling or Polling(), Random()
        told = Hooks(hooks)
        self._transport = Transport(
            timeouts=timeouts, max_connections=max_connections, transport=transport, hooks=told
        )
        self._server = Server(self.provider, self._transport)
        self._downloader = Downloader(
            self._transport, self.provider.base_url, self._result, downloads, told, random, timeouts
        )
        # More would wait for a connection, each with all that a create needs.
        slotting = Slotting(most_creates=2 * max_connections)
        self._slots = Slots(max_at_once, slotting, random, told, self._mind)
        self._poller = Poller(self._server, polling, random, told, self._slots)
        self._waiting = Waiting(self._server, self._poller, polling, told)
        self._waiting.calls.url = callback_url
        self._handles = Handles(self._waiting, self._slots)
        self._submitter = Submitter(
            self._server,
            self._slots,
            self._waiting,
            told,
            random,
            timeouts=timeouts,
            retries=retries or Retries(),
            validate=validate,
        )
        self._maps: WeakSet[Outcomes[Any] | Rows[Any]] = WeakSet()
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
        """Stop waiting and close every connection; tasks go on, and their tokens stay good."""
        maps = list(self._maps)
        for outcomes in maps:
            outcomes.leave()
        self._slots.close()
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._poller.aclose)
                group.start_soon(self._submitter.aclose)
                for outcomes in maps:
                    group.start_soon(outcomes.aclose)
        finally:
            with anyio.CancelScope(shield=True):
                await self._transport.aclose()

    @property
    def callback_url(self) -> str | None:
        """Put on every request that names none itself; an http(s) address, set at any time.

        Tasks with one are asked about when they are called about, and seldom otherwise:
        mount `kling_async.webhooks.callback_app` there. A path that cannot be guessed is as
        good as a password, so this is never logged.
        """
        return self._waiting.calls.url

    @callback_url.setter
    def callback_url(self, url: str | None) -> None:
        self._waiting.calls.url = url

    def hear(self, callback: Callback) -> bool:
        """Ask now about the task that *callback* says has ended; False if it is not ours.

        For servers other than ASGI ones: give it what `webhooks.parse_callback` returns, in
        the client's event loop. A callback is never believed: only the answer counts.
        """
        return self._waiting.calls.hear(callback)

    async def submit(
        self, request: Request[ResultT], *, resend: bool = False, intent: Intent | None = None
    ) -> Task[ResultT]:
        """Create a task, exactly once, and return its handle as soon as it is accepted.

        It waits for a slot first, where the account's are taken.

        Args:
            resend: Send a second create where the fate of the first cannot be found out.
                It may be paid for twice.
            intent: For `kling_async.engines`, which know more of the create.

        Raises:
            RequestRefused: The provider would refuse it; nothing was sent.
            SubmissionUnknown: It was sent, and nobody can say whether a task came of it.
        """
        creation = await self._submitter.begin(request, resend=resend, intent=intent)
        return await creation.submit()

    async def run(
        self,
        request: Request[ResultT],
        *,
        timeout: Timeout = CLIENT_DEFAULT,  # it bounds the wait, not the task
    ) -> ResultT:
        """Create a task and wait for its result."""
        task = await self.submit(request)
        try:
            return await task.result(timeout=timeout)
        except anyio.get_cancelled_exc_class():
            # Nobody else holds the handle of a task that is paid for.
            _LOG.warning("cancelled; the task goes on: kling.task(%r)", task.token)
            raise

    def task(self, token: str) -> Task[Any]:
        """Take a task up again by its token; asks nobody yet."""
        model, parts = self._handles.read(token)
        return self._handles.take_up(model, parts.task_id, parts.model)

    async def settle(self, token: str) -> Task[Any]:
        """Look again for a task whose create was lost, by the token of `SubmissionUnknown`.

        Args:
            token: Or the external_task_id alone, which is looked for on every endpoint.

        Raises:
            SubmissionUnknown: It is not found, which proves nothing: try again later.
        """
        external_id, model_name, models = token, None, list(ENDPOINTS.values())
        if "/" in token:
            model, parts = self._handles.read(token)
            external_id, model_name, models = parts.task_id, parts.model, [model]
        for model in models:
            try:
                state = await self._submitter.find(model, external_id)
            except TaskNotFound:
                continue
            task = self._handles.take_up(model, state.id, model_name, external_id)
            self._poller.learn(task.record, state)
            return task
        raise SubmissionUnknown(
            f"no task goes by the external_task_id {external_id} as yet",
            external_task_id=external_id,
            token=token if "/" in token else None,
            provider=self.provider.name,
        )

    def map(
        self,
        requests: Iterable[Request[ResultT]] | AsyncIterable[Request[ResultT]],
        *,
        max_at_once: int | None = None,
        ordered: bool = False,
    ) -> Outcomes[ResultT]:
        """Run many requests; their outcomes come as they finish, failures among them.

        The requests are read lazily, from any iterable or async iterable, as slots come
        free; a slow consumer slows the reading down. A task that outlives `Polling.timeout`
        comes as `TaskTimeout`, whose token takes it up again.

        Args:
            max_at_once: Tasks in progress at most; None leaves it to the client's slots.
            ordered: Hand the outcomes out in the order of the requests.
        """
        outcomes = Outcomes(
            self._poller,
            requests,
            lambda _, request: self._submitter.begin(request),
            max_at_once=max_at_once,
            ordered=ordered,
        )
        self._maps.add(outcomes)
        return outcomes

    def batch(
        self,
        path: str | os.PathLike[str],
        requests: Iterable[Request[ResultT]] | AsyncIterable[Request[ResultT]],
        *,
        out: str | os.PathLike[str] | None = None,
        key: Callable[[Request[ResultT]], str] | None = None,
        max_at_once: int | None = None,
        on_failure: Literal["continue", "stop"] = "continue",
        retry_failed: bool = False,
        resend: bool = False,
        budget: Units | None = None,
        price: Price | None = None,
        on_submitted: Callable[[Task[ResultT]], object] | None = None,
    ) -> Batch[ResultT]:
        """Run many requests with a journal: stopped at any moment, the same call goes on.

        Every create is written down before it is sent, so that nothing is paid for twice and
        nothing that was paid for is lost, whatever ends the process. Rows that are done cost
        nothing when the batch is run again.

        Args:
            path: The journal, an SQLite file, made if it is missing.
            out: A folder for the videos; without one they are not downloaded. A file that is
                gone is downloaded again, for as long as the server keeps it.
            key: Names the row of a request. Without it, a row is known by its request's
                external_task_id, else by the request itself: all that is sent, files by
                their content. Equal requests are rows of their own, in their order.
            max_at_once: Tasks in progress at most; None leaves it to the client's slots.
            on_failure: "stop" submits no more when a row has failed.
            retry_failed: Submit rows again that failed, by another id: each is paid for anew.
            resend: Send a second create where the fate of the first cannot be found out.
                It may be paid for twice, which the budget does not count.
            budget: Kling's units that all runs on the journal may cost, those in flight
                included; submitting stops before it would be passed.
            price: What one request costs, or a function of the request that says so, where
                the price list is silent or another one holds.
            on_submitted: Called, and awaited, with each task before it is first asked about;
                after a stop it may be called again for the same task. What it raises is
                logged, and the task goes on.
        """
        journal = Journal(path)
        rows = Rows(
            journal,
            requests,
            self._submitter,
            self._poller,
            self._downloader,
            self,
            Budget(budget, price),
            Options(
                out=None if out is None else Path(out),
                key=names(key),
                max_at_once=max_at_once,
                stops_on_failure=stops(on_failure),
                retry_failed=retry_failed,
                resend=resend,
                on_submitted=called(on_submitted),
            ),
        )
        self._maps.add(rows)
        return Batch(journal, rows)

    async def gather(
        self, *requests: Request[ResultT], max_at_once: int | None = None
    ) -> list[ResultT]:
        """The results of all requests, in their order.

        When all have ended, the first error is raised, if there was one.
        """
        outcomes = self.map(requests, max_at_once=max_at_once, ordered=True)
        ended: list[Outcome[ResultT]] = []
        try:
            async for outcome in outcomes:
                ended.append(outcome)  # noqa: PERF401  # what has ended counts when it is left
        finally:
            if len(ended) < len(requests):
                # Left half-way, it gives nothing back: neither tasks nor results that are there.
                tokens = [outcome.token for outcome in ended if outcome.token] + outcomes.pending
                _LOG.warning(
                    "gather was left; what was paid for: %s", " ".join(tokens) or "nothing"
                )
        return [outcome.unwrap() for outcome in ended]

    def as_completed(self, tasks: Iterable[Task[ResultT]]) -> AsyncIterator[Task[ResultT]]:
        """The tasks as they end, well or badly; awaiting one then gives its result at once."""
        return Ending(self._poller, tasks)

    def _mind(self, ticket: Ticket) -> None:
        assert isinstance(ticket.owner, Record)
        (self._poller.watch if ticket.minded else self._poller.unwatch)(ticket.owner)

    async def get(self, request: type[Request[Any]], task_id: str) -> TaskState:
        """The state of one task of the endpoint of *request*."""
        return await self._server.ask(request.path, task_id)

    async def page(self, request: type[Request[Any]], number: int, size: int) -> list[TaskState]:
        """One page of the account's tasks; what could not be read has its place, and no id."""
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
        return await self._downloader.save(result, os.fspath(target), watermark, overwrite)

    def open(
        self, result: VideoResult, index: int = 0, *, watermark: bool = False
    ) -> AbstractAsyncContextManager[VideoStream]:
        """Read a video without saving it: ``async with kling.open(result) as stream``."""
        return self._downloader.open(result, index, watermark=watermark)

    async def _result(self, token: str) -> VideoResult:
        model, parts = self._handles.read(token)
        state = await self._server.ask(model.path, parts.task_id)
        return cast("VideoResult", model.result_type.from_state(state, token))
