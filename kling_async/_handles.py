"""Handles: tasks taken up again by their tokens."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._errors import ConfigurationError
from ._job import Job
from ._slots import Slots
from ._state import TaskState, TaskStatus
from ._task import Task, Waiting
from ._token import Token
from .endpoints import Avatar, Image2Video, MultiImage2Video, Request, Text2Video

ENDPOINTS: Mapping[str, type[Request[Any]]] = {
    model.endpoint: model for model in (Text2Video, Image2Video, MultiImage2Video, Avatar)
}


class Handles:
    """Makes handles of tasks that this client has not created."""

    def __init__(self, waiting: Waiting, slots: Slots) -> None:
        self._waiting = waiting
        self._slots = slots

    def read(self, text: str) -> tuple[type[Request[Any]], Token]:
        """The endpoint and the parts of a token."""
        parts, provider = Token.read(text), self._waiting.server.provider.name
        if parts.provider != provider:
            raise ConfigurationError(
                f"the token is of provider {parts.provider}, this client talks to {provider}"
            )
        if (model := ENDPOINTS.get(parts.endpoint)) is None:
            raise ConfigurationError(f"the token is of endpoint {parts.endpoint}, unknown here")
        return model, parts

    def take_up(
        self,
        model: type[Request[Any]],
        task_id: str,
        model_name: str | None,
        external_id: str | None = None,
    ) -> Task[Any]:
        """The handle of a task, which runs as far as is known."""
        record = self._waiting.known(model.path, task_id)
        if record is None:
            # A client that has an address for calls is thought to have had it before, too: if
            # not, the safety net finds the end, where questions to all would be the rule.
            calls = self._waiting.calls.url is not None
            job = Job(task_id, model.path, (model.endpoint,), born=None, callback=calls)
            state = TaskState(task_id, TaskStatus.UNKNOWN)
            ticket = self._slots.ticket(model_name or "")
            record = self._waiting.record(model, state, external_id, job, ticket)
            self._slots.adopt(ticket)
            self._waiting.calls.welcome(record)
        return Task(record, self._waiting)
