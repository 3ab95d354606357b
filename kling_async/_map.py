"""Many requests at once: outcomes as they finish, with back-pressure.

The feeder runs in the background. It reads a request from the source only when there is a
slot for it and room for its outcome, creates it in a task of its own, and then only the
poller knows of it, until it ends. Nothing here grows with the length of the source.

What a loop holds is a small object of its own, which nothing else refers to: when the loop
is left, Python drops it, and that is how leaving is noticed.
"""

from __future__ import annotations

import logging
import signal
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Iterable,
)
from contextlib import aclosing, suppress
from dataclasses import dataclass
from functools import partial
from math import inf
from types import TracebackType
from typing import Generic, Self, TypeVar

import anyio
import anyio.abc

from ._background import Background, Signal, running_loop, spared
from ._errors import ClientClosed, ConfigurationError, TaskError
from ._intent import Intent
from ._outcome import Begin, Finish, Outcome
from ._poller import Poller
from ._results import FromState
from ._source import each
from ._submitter import Creation
from ._task import Task
from .endpoints import Request

ResultT = TypeVar("ResultT", bound=FromState)

_LOG = logging.getLogger("kling_async")
_UNREAD = 100
_UNBOUNDED = 10_000  # in progress where neither the caller nor the server sets a bound
_GLANCE = 1.0
_LAST_LOOK = 10.0


@dataclass(slots=True)
class _Running(Generic[ResultT]):
    """A task in progress."""

    request: Request[ResultT]
    task: Task[ResultT]
    until: float
    """When it is waited for no more."""
    is_late: bool = False


class Outcomes(Generic[ResultT]):
    """The outcomes of many requests, as they finish or in their order.

    Leaving the loop stops submitting. What was submitted by then goes on at the server, and
    `pending` holds the tokens that take it up again; `async with` waits for the creates on
    the wire, so that after it none is missing.

    Example:
        async with kling.map(requests, max_at_once=50) as outcomes:
            async for outcome in outcomes:
                print(outcome.index, outcome.result if outcome.ok else outcome.error)
    """

    def __init__(
        self,
        poller: Poller,
        source: Iterable[Request[ResultT]] | AsyncIterable[Request[ResultT]],
        begin: Begin[ResultT],
        finish: Finish[ResultT] | None = None,
        *,
        max_at_once: int | None,
        ordered: bool,
    ) -> None:
        if max_at_once is not None and max_at_once < 1:
            raise ConfigurationError(f"max_at_once is {max_at_once}; give 1 or more")
        self._poller = poller
        self._patience = poller.patience
        self._source = source
        self._begin = begin
        self._finish = finish
        self._limit = max_at_once
        self._ordered = ordered
        self._feeder = Background(self._feed, keeps_context=True)
        self._reading = anyio.CancelScope()
        self._on_end = self._ended
        """One object for all tasks, and not one for each."""
        self._creating: set[Intent] = set()
        self._running: dict[int, _Running[ResultT]] = {}
        self._finishing: dict[int, tuple[Outcome[ResultT], anyio.CancelScope]] = {}
        self._unfinished: list[Outcome[ResultT]] = []
        self._group: anyio.abc.TaskGroup | None = None
        self._ready: dict[int, Outcome[ResultT]] = {}
        self._next_index = 0
        self._error: BaseException | None = None
        self._begun = self._fed = self._exhausted = self._left = self._stopped = False
        self._changed = Signal()

    @property
    def pending(self) -> list[str]:
        """Tokens of the tasks that were paid for and whose outcome was not handed out yet."""
        finishing = [outcome for outcome, _ in self._finishing.values()]
        ended = [*self._unfinished, *finishing, *self._ready.values()]
        unread = [outcome.token for outcome in ended if outcome.token]
        return [running.task.token for running in self._running.values()] + unread

    def __aiter__(self) -> AsyncIterator[Outcome[ResultT]]:
        if self._begun:
            raise RuntimeError("these outcomes are read already, and each is handed out once")
        self._begun = True
        if not self._left:
            self._feeder.start()
        return _Reader(self)

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
        """Submit no more, and wait for the creates on the wire; who still reads is told."""
        self.leave()
        await self._feeder.finished()

    async def abandon(self) -> None:
        """As `aclose`, but leave the creates on the wire to their fate."""
        self.leave()
        for intent in self._creating:
            intent.exchange.cancel()
        await self._feeder.stop()

    def let_go(self) -> None:
        """As `leave`, for `__del__`."""
        self._feeder.call_soon(self.leave)

    def leave(self) -> None:
        """Submit no more and wait for nothing; creates that are on the wire come to their end."""
        if self._left:
            return
        self._left = True
        self._reading.cancel()
        for index, running in self._running.items():
            running.task.record.forget(self._on_end, index)
            self._poller.unwatch(running.task.record)
        for _, scope in self._finishing.values():
            scope.cancel()
        self._changed.ring()

    def stop(self, error: Exception) -> None:
        """Send nothing that was not sent; raise *error* once all the rest has ended."""
        if not self._stopped:
            self._stopped, self._error = True, error
            self._call_off()
            self._changed.ring()

    async def change(self) -> None:
        """Wait until a task, or the making of one, has ended."""
        await self._changed.wait()

    async def idle(self) -> None:
        """Wait until nothing is being created or finished."""
        while self._creating or self._finishing:
            await self._changed.wait()

    async def read(self) -> Outcome[ResultT]:
        """The next outcome; waits for it."""
        while True:
            index = self._next_index if self._ordered else next(iter(self._ready), None)
            if index is not None and index in self._ready:
                self._next_index += 1
                self._changed.ring()
                return self._ready.pop(index)
            if self._left or (self._fed and not self._busy()):
                break
            await self._changed.wait()
        error, self._error = self._error, None
        if error is None and not (self._exhausted and not self._busy()):
            # Who reads must not take this for the natural end.
            error = self._farewell()
        raise error or StopAsyncIteration

    def _busy(self) -> bool:
        return bool(self._running or self._creating or self._finishing)

    def _farewell(self) -> ClientClosed:
        tokens = self.pending
        error = ClientClosed(
            f"closed before all outcomes were handed out; {len(tokens)} tasks are under way",
            advice="Their tokens stand in `pending` and in a note of this error.",
        )
        error.add_note("\n".join(tokens))
        return error

    async def _feed(self) -> None:
        try:
            async with anyio.create_task_group() as self._group:
                if self._patience < inf:
                    self._group.start_soon(self._expire)
                await self._read_source(self._group)
                while self._creating or self._finishing or (self._running and not self._left):
                    if self._left:
                        self._call_off()
                    with anyio.move_on_after(_GLANCE if self._left else None):
                        await self._changed.wait()
                self._group.cancel_scope.cancel()  # nothing is left that could be late
        finally:
            self._fed = True
            self._changed.ring()

    def _call_off(self) -> None:
        """Of the creates, those that were not sent yet are not wanted any more."""
        for intent in self._creating:
            intent.call_off(leaves_lost=self._left and intent.notes.lasting)

    async def _read_source(self, group: anyio.abc.TaskGroup) -> None:
        try:
            with self._reading:
                async with aclosing(each(self._source)) as source:
                    await self._submit_each(source, group)
        except anyio.get_cancelled_exc_class():
            raise
        except BaseException as error:
            loop = running_loop()
            if isinstance(error, KeyboardInterrupt) and loop.raises_anywhere:
                # It hit this task by chance: pass it on to whom it was meant for.
                loop.call_soon(partial(signal.raise_signal, signal.SIGINT))
            elif self._left or self._stopped:
                _LOG.warning("the source failed when it was left", exc_info=error)
            else:  # raised where the outcomes are read
                self._error, self._exhausted = error, True
        self._fed = True
        self._changed.ring()

    async def _submit_each(
        self, source: AsyncIterable[Request[ResultT]], group: anyio.abc.TaskGroup
    ) -> None:
        index = 0
        requests = aiter(source)
        while not self._left:  # a source that never waits is not stopped by cancelling
            while not self._has_room():
                await self._changed.wait()
            try:
                request = await anext(requests)
            except StopAsyncIteration:
                self._exhausted = True
                return
            await self._start(group, index, request)
            index += 1

    def _has_room(self) -> bool:
        running = len(self._running) + len(self._creating)
        ready = len(self._ready) + len(self._finishing)
        if self._limit is None:
            return ready + (running if self._ordered else 0) < _UNREAD and running < _UNBOUNDED
        if self._ordered:
            return running + ready < self._limit
        return running < self._limit and ready < self._limit

    async def _start(
        self, group: anyio.abc.TaskGroup, index: int, request: Request[ResultT]
    ) -> None:
        try:
            begun = await self._begin(index, request)
        except Exception as error:
            self._add(index, Outcome(index, request, error=error))
            return
        if isinstance(begun, Outcome):
            self._add(index, begun)
        elif begun is not None:
            self._creating.add(begun.intent)
            if self._stopped:  # while it waited for its turn
                self._call_off()
            group.start_soon(self._create, index, request, begun)

    @spared
    async def _create(
        self, index: int, request: Request[ResultT], creation: Creation[ResultT]
    ) -> None:
        task = None
        try:
            with creation.intent.creation:
                task = await creation.submit()
        except Exception as error:
            # One whose fate is unknown may have been paid for, and can be looked up by it.
            token = error.token if isinstance(error, TaskError) else None
            self._add(index, Outcome(index, request, error=error, token=token))
        finally:
            self._creating.discard(creation.intent)
            self._changed.ring()
        if task is None:
            return
        until = anyio.current_time() + self._patience
        self._running[index] = _Running(request, task, until)
        if not self._left:
            self._poller.watch(task.record)
            task.record.when_over(self._on_end, index)

    def _ended(self, index: int) -> None:
        task = self._running[index].task
        try:
            self._give(index, result=task.result_now())
        except Exception as error:
            self._give(index, error=error)

    def _give(
        self, index: int, *, result: ResultT | None = None, error: Exception | None = None
    ) -> None:
        running = self._running.pop(index)
        self._poller.unwatch(running.task.record)
        self._add(index, Outcome(index, running.request, result, error, running.task.token))

    @spared
    async def _expire(self) -> None:
        """Wait for none of the tasks longer than the client's patience lasts."""
        while not self._left:
            # As they all have equally long, the first of them is the first to be late.
            running = self._running.items()
            first = next((each for each in running if not each[1].is_late), None)
            if first is None:
                await self._changed.wait()
                continue
            index, oldest = first
            await anyio.sleep_until(oldest.until)
            if self._waits_for(index) and self._group is not None:
                oldest.is_late = True
                self._group.start_soon(self._give_up, index, oldest.task)

    def _waits_for(self, index: int) -> bool:
        return index in self._running and not self._left  # leaving has unwatched it already

    @spared
    async def _give_up(self, index: int, task: Task[ResultT]) -> None:
        with anyio.move_on_after(_LAST_LOOK), suppress(Exception):  # whatever the transport raises
            await task.refresh()  # which may find that it has ended
        if self._waits_for(index):
            task.record.forget(self._on_end, index)
            self._give(index, error=task.timed_out(self._patience))
            self._poller.give_up(task.record)

    def _add(self, index: int, outcome: Outcome[ResultT]) -> None:
        if self._finish is None or self._group is None:
            self._ready[index] = outcome
        else:
            self._finishing[index] = outcome, anyio.CancelScope()
            self._group.start_soon(self._conclude, index, self._finish)
        self._changed.ring()

    @spared
    async def _conclude(self, index: int, finish: Finish[ResultT]) -> None:
        outcome, scope = self._finishing[index]
        try:
            with scope:
                finished = await finish(outcome)
                if finished is not None:
                    self._ready[index] = finished
            if scope.cancelled_caught:
                self._unfinished.append(outcome)
        finally:
            del self._finishing[index]
            self._changed.ring()


class _Reader(Generic[ResultT]):
    """What a loop over outcomes holds."""

    def __init__(self, outcomes: Outcomes[ResultT]) -> None:
        self._outcomes = outcomes

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome[ResultT]:
        return await self._outcomes.read()

    def __del__(self) -> None:
        self._outcomes.let_go()
