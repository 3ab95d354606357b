"""Callback: what is said of a task by whoever calls; it proves nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, cast

from pydantic_core import from_json

from ._errors import CallbackRefused
from ._signature import Signatures
from ._state import TaskStatus, read_status

LARGEST_BODY = 1_000_000
_LONGEST_ID = 512
_NO_HEADERS: Mapping[str, str] = {}
_NOTHING: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Callback:
    """What a callback says: a reason to ask, and nothing to be believed."""

    task_id: str
    status: TaskStatus
    external_task_id: str | None = None

    @property
    def says_ended(self) -> bool:
        """Whether the task may have ended; a status we do not know may say so."""
        return self.status.is_terminal or self.status is TaskStatus.UNKNOWN


def parse_callback(
    body: bytes,
    headers: Mapping[str, str] = _NO_HEADERS,
    *,
    secrets: str | Iterable[str] = (),
) -> Callback:
    """Read one of Kling's callbacks, of /v1 or of API 2.0; for servers other than ASGI ones.

    Give what it returns to `kling.hear(callback)`, or send its ids to the process that
    waits for the task. Beside its ids it says nothing that may be believed.

    Args:
        body: The body as it came, byte for byte.
        headers: The headers of the request, in any case; only signatures need them.
        secrets: One or several `whsec_...`; one of them must have signed the body.

    Raises:
        CallbackRefused: It is none of Kling's; `status` is the HTTP status to answer.
    """
    return read(body, headers, Signatures(secrets))


def read(body: bytes, headers: Mapping[str, str], signatures: Signatures) -> Callback:
    """The same, by secrets that are looked at already."""
    if len(body) > LARGEST_BODY:
        raise CallbackRefused(f"{len(body):,} bytes are no callback", status=413)
    signatures.check(body, headers)
    try:
        parsed: object = from_json(body)
    except ValueError as error:
        raise CallbackRefused("it is no JSON", status=400) from error
    return _read(_mapping(parsed))


def _read(fields: Mapping[str, Any]) -> Callback:
    # The task alone, without an envelope, in both generations (KLING_API E).
    if "task_id" in fields:
        task_id, word = _id(fields["task_id"]), fields.get("task_status")
        external_id = _id(_mapping(fields.get("task_info")).get("external_task_id"))
    else:
        task_id, word = _id(fields.get("id")), fields.get("status")
        external_id = _id(fields.get("external_id"))
    if task_id is None or not isinstance(word, str):
        raise CallbackRefused("it holds no task with a status", status=400)
    return Callback(task_id, read_status(word), external_id)


def _mapping(value: object) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else _NOTHING


def _id(value: object) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= _LONGEST_ID else None
