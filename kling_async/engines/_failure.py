"""Failures: errors of the package as an engine stores them, and as errors again."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, cast

from dbos import PortableWorkflowError

from kling_async._errors import (
    AuthenticationError,
    BalanceExhausted,
    KlingError,
    PermissionDenied,
    TaskError,
)
from kling_async._retry import is_transient

_FACTS = ("status", "request_id", "provider", "task_id", "external_task_id", "token", "advice")
_PUT_RIGHT = (AuthenticationError, BalanceExhausted, PermissionDenied)


def stored(error: Exception) -> dict[str, Any]:
    """What is kept of an error, as JSON."""
    facts = {name: getattr(error, name, None) for name in _FACTS}
    return {
        "name": type(error).__name__,
        "message": error.message if isinstance(error, KlingError) else str(error),
        "code": getattr(error, "code", None),
        "data": {name: value for name, value in facts.items() if value is not None},
    }


def failed(facts: dict[str, Any]) -> PortableWorkflowError:
    """What a workflow raises to end with that error."""
    # DBOS stores the name of the class that is raised, and the rest as it is.
    data = {"name": facts["name"], **facts["data"]}
    return PortableWorkflowError(facts["message"], facts["name"], facts["code"], data)


def raised(error: object, key: str) -> Exception:
    """The error that the job of *key* ended with, as it was; a defect's is only described."""
    if not isinstance(error, PortableWorkflowError):
        return _broken_off(repr(error), key)
    facts = dict(cast("dict[str, Any]", error.data or {}))
    name = facts.pop("name", error.name)
    kind = next((each for each in _kinds(KlingError) if each.__name__ == name), None)
    if kind is None:
        return _broken_off(f"{name}: {error.message}", key)
    return kind(error.message, code=error.code, **facts)


def _broken_off(why: str, key: str) -> TaskError:
    return TaskError(
        f"job {key} broke off: {why}; a task of it may exist under that external_task_id",
        external_task_id=key,
        advice="Its state may have the result already; kling.settle looks for the task.",
    )


def passes(error: KlingError) -> bool:
    """Whether the same may succeed later, perhaps after somebody has put the account right."""
    return is_transient(error) or isinstance(error, _PUT_RIGHT)


def _kinds(kind: type[KlingError]) -> Generator[type[KlingError], None, None]:
    yield kind
    for each in kind.__subclasses__():
        yield from _kinds(each)
