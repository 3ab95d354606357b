"""Ending: tasks, in the order in which they end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Generic, Self, TypeVar

from ._background import Signal
from ._poller import Poller
from ._results import FromState
from ._task import Task

ResultT = TypeVar("ResultT", bound=FromState)


class Ending(Generic[ResultT]):
    """Tasks, as they end: what a loop over them holds."""

    _ends: _Ends[ResultT] | None = None

    def __init__(self, poller: Poller, tasks: Iterable[Task[ResultT]]) -> None:
        self._ends = _Ends(poller, tasks)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Task[ResultT]:
        assert self._ends is not None
        return await self._ends.read()

    def __del__(self) -> None:
        if self._ends is not None:
            self._ends.let_go()


class _Ends(Generic[ResultT]):
    """Tasks that are watched until they end."""

    def __init__(self, poller: Poller, tasks: Iterable[Task[ResultT]]) -> None:
        self._poller = poller
        self._changed = Signal()
        self._ended: deque[Task[ResultT]] = deque()
        self._new = deque(dict.fromkeys(tasks))
        self._watched: dict[Task[ResultT], None] = {}

    async def read(self) -> Task[ResultT]:
        while self._new:
            task = self._new.popleft()
            self._watched[task] = None
            self._poller.watch(task.record)
            task.record.when_over(self._end, task)
        while not self._ended:
            if not self._watched:
                raise StopAsyncIteration
            await self._changed.wait()
        return self._ended.popleft()

    def let_go(self) -> None:
        self._poller.call_soon(self._leave)

    def _leave(self) -> None:
        for task in self._watched:
            task.record.forget(self._end, task)
            self._poller.unwatch(task.record)

    def _end(self, task: Task[ResultT]) -> None:
        del self._watched[task]
        self._poller.unwatch(task.record)
        self._ended.append(task)
        self._changed.ring()
