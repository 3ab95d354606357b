"""Wires the emulator together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncGenerator, Callable, Collection, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from random import Random
from types import TracebackType

import anyio
import anyio.to_thread
from starlette.applications import Starlette

from kling_async.emulator._app import Api, Seen, build_app
from kling_async.emulator._auth import Gate
from kling_async.emulator._callbacks import Callbacks, Delivery, Transport
from kling_async.emulator._clock import Clock
from kling_async.emulator._faults import Faults
from kling_async.emulator._files import FileHost
from kling_async.emulator._ledger import Ledger
from kling_async.emulator._limits import Limits
from kling_async.emulator._service import Duration, Service
from kling_async.emulator._tasks import ListOrder, Tasks
from kling_async.emulator._transport import EmulatorTransport

_REQUESTS_KEPT = 100_000


class Emulator:
    """A server that looks like Kling, CometAPI and three kinds of gateway.

    It runs without being entered; callbacks alone need `async with emulator`,
    which owns the task group they are sent from. A server's lifespan does that.

    Args:
        speed: Simulated seconds per second: at 60, a two-minute task takes two.
        seed: Of all chance: durations, ids and random faults.
        parallel: Tasks in progress allowed per account and model (1303 above it).
        rate: Creates per second allowed per account (1302 above it).
        keys: The accepted API keys; None takes any. The key is the account.
        access_keys: Secret keys by access key, for signed tokens on the official paths.
        duration: Simulated seconds a task takes: a number, or a function of a
            `random.Random` and the body. None is lognormal around two minutes.
        strict_ids: Refuse an external_task_id the account has used.
        finds_external_id: Whether queries find external ids; None is by dialect.
        chaos: The probability that a request meets a random transient fault.
        webhook_secret: `whsec_…`, to sign callbacks by Standard Webhooks.
        callback_transport: How callbacks are sent; None is over the network.
        video_bytes: Pads each video to about this size.
        latency: Seconds of the loop's time that each API answer takes.
        wall: The source of Unix time, read once for timestamps, and for tokens.
    """

    def __init__(
        self,
        *,
        speed: float = 1.0,
        seed: int = 0,
        parallel: int | None = None,
        rate: float | None = None,
        keys: Collection[str] | None = None,
        access_keys: Mapping[str, str] | None = None,
        duration: Duration | None = None,
        strict_ids: bool = True,
        finds_external_id: bool | None = None,
        chaos: float = 0.0,
        webhook_secret: str | None = None,
        callback_transport: Transport | None = None,
        video_bytes: int | None = None,
        latency: float = 0.0,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.clock = Clock(speed, wall)
        # Each kind of chance has a stream of its own: a poll more must not change a duration.
        self.faults = Faults(Random(f"{seed} faults"), chaos)
        self.limits = Limits(parallel, rate)
        self.requests: deque[Seen] = deque(maxlen=_REQUESTS_KEPT)
        self._callbacks = Callbacks(
            clock=self.clock,
            random=Random(f"{seed} callbacks"),
            faults=self.faults,
            secret=webhook_secret,
            transport=callback_transport,
        )
        self._service = Service(
            clock=self.clock,
            random=Random(f"{seed} tasks"),
            limits=self.limits,
            callbacks=self._callbacks,
            duration=duration,
            strict_ids=strict_ids,
            finds_external_id=finds_external_id,
        )
        api = Api(
            service=self._service,
            gate=Gate(keys, access_keys, wall),
            faults=self.faults,
            files=FileHost(self._service.tasks, self.faults, video_bytes),
            random=Random(f"{seed} requests"),
            requests=self.requests,
            latency=latency,
        )
        self.app: Starlette = build_app(api, self._service, self)
        self._stack = AsyncExitStack()
        self._depth = 0

    @property
    def tasks(self) -> Tasks:
        """Every task by its id; tests may look at them and end them."""
        return self._service.tasks

    @property
    def ledger(self) -> Ledger:
        """What was created and billed."""
        return self._service.ledger

    @property
    def callbacks(self) -> list[Delivery]:
        """The callbacks sent so far."""
        return self._callbacks.deliveries

    @property
    def list_order(self) -> ListOrder:
        """The order of lists: "newest" first, "oldest" first, or "random"."""
        return self._service.list_order

    @list_order.setter
    def list_order(self, order: ListOrder) -> None:
        self._service.list_order = order

    def transport(self) -> EmulatorTransport:
        """An httpx transport that ends here, whatever host is asked for."""
        return EmulatorTransport(self.app)

    @asynccontextmanager
    async def serve(self, *, host: str = "127.0.0.1", port: int = 0) -> AsyncGenerator[str]:
        """Serve on a port while the `async with` block runs; asyncio only.

        The block is given the origin, such as "http://127.0.0.1:8000". Port 0
        takes a free one.
        """
        # Importing a server reads many files: not on the loop.
        serve = await anyio.to_thread.run_sync(_server)
        async with serve(self.app, host, port) as origin:
            yield origin

    async def __aenter__(self) -> Emulator:
        """Start sending callbacks; a server's lifespan inside changes nothing."""
        self._depth += 1
        if self._depth == 1:
            self._stack.push_async_callback(self._callbacks.aclose)
            group = await self._stack.enter_async_context(anyio.create_task_group())
            self._stack.callback(group.cancel_scope.cancel)
            self._callbacks.open(group)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop sending callbacks."""
        self._depth -= 1
        if self._depth == 0:
            # The group must not see the block's error: it would wrap it in an ExceptionGroup.
            await self._stack.aclose()


def _server() -> Callable[[Starlette, str, int], AbstractAsyncContextManager[str]]:
    from kling_async.emulator._server import serve

    return serve
