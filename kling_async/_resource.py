"""Resource: the calls of one endpoint, typed by its request model."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine
from functools import cache, wraps
from inspect import Parameter, Signature
from types import SimpleNamespace
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, get_type_hints

from pydantic.fields import FieldInfo

from ._errors import ConfigurationError
from ._results import FromState
from ._state import TaskState
from ._task import Task
from .endpoints import Request

P = ParamSpec("P")
T = TypeVar("T")
ResultT = TypeVar("ResultT", bound=FromState)

LARGEST_PAGE = 500


class Owner(Protocol):
    """What a resource needs of the client."""

    async def submit(self, request: Request[ResultT], /) -> Task[ResultT]:
        """Create the task."""
        ...

    async def run(self, request: Request[ResultT], /) -> ResultT:
        """Create the task and wait for its result."""
        ...

    async def get(self, request: type[Request[Any]], task_id: str, /) -> TaskState:
        """Ask for one task."""
        ...

    async def page(self, request: type[Request[Any]], number: int, size: int, /) -> list[TaskState]:
        """Ask for one page of tasks; an item that is none has no id."""
        ...


class Resource(Generic[P, ResultT]):
    """One endpoint; `submit` and `run` take the fields of its request model as keywords."""

    def __init__(
        self,
        owner: Owner,
        request: Callable[P, Request[ResultT]],
        model: type[Request[Any]],
    ) -> None:
        self._owner = owner
        self._request = request
        self._model = model
        for call in (self.submit, self.run):
            setattr(self, call.__name__, _shown(call, model))

    def __repr__(self) -> str:
        return f"<Resource {self._model.endpoint}>"

    async def submit(self, *args: P.args, **kwargs: P.kwargs) -> Task[ResultT]:
        """Create a task and return its handle as soon as it is accepted; this is what costs."""
        return await self._owner.submit(self._request(*args, **kwargs))

    async def run(self, *args: P.args, **kwargs: P.kwargs) -> ResultT:
        """Create a task and wait for its result."""
        return await self._owner.run(self._request(*args, **kwargs))

    async def get(self, task_id: str) -> TaskState:
        """The state of one task, by its id or, where the provider finds those, external id."""
        return await self._owner.get(self._model, task_id)

    async def list(self, *, page_size: int = 100) -> AsyncIterator[TaskState]:
        """The account's tasks of this endpoint; the order is the server's and not promised."""
        if not 1 <= page_size <= LARGEST_PAGE:
            raise ConfigurationError(f"page_size: from 1 to {LARGEST_PAGE}, got {page_size}")
        number = 1
        while True:
            states = await self._owner.page(self._model, number, page_size)
            for state in states:
                if state.id:
                    yield state
            # There is no total and no cursor: a short page is the last one.
            if len(states) < page_size:
                return
            number += 1


def _shown(
    call: Callable[P, Coroutine[Any, Any, T]], model: type[Request[Any]]
) -> Callable[P, Coroutine[Any, Any, T]]:
    """The call, with the model's fields where help() and notebooks look for its keywords."""

    @wraps(call)
    async def shown(*args: P.args, **kwargs: P.kwargs) -> T:
        return await call(*args, **kwargs)

    returns = call.__annotations__["return"]
    # What `inspect` reads; no type says that a function has one.
    shown.__signature__ = Signature(_keywords(model), return_annotation=returns)  # type: ignore[attr-defined]
    return shown


@cache
def _keywords(model: type[Request[Any]]) -> list[Parameter]:
    """The fields, the endpoint's own first; pydantic's signature lacks them before first use."""
    fields = sorted(model.model_fields.items(), key=lambda item: item[0] in Request.model_fields)
    types = SimpleNamespace(__annotations__={name: field.annotation for name, field in fields})
    hints = get_type_hints(types)  # without what only validators read
    return [
        Parameter(name, Parameter.KEYWORD_ONLY, default=_default(field), annotation=hints[name])
        for name, field in fields
    ]


def _default(field: FieldInfo) -> object:
    return Parameter.empty if field.is_required() else field.get_default(call_default_factory=True)
