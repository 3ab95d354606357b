"""Answers in, task states or errors out: the envelopes of every dialect, told by shape.

    {code: 0, data: {task_id, task_status, …}}              Kling, CometAPI       (B.1, B.2)
    {code: "success", data: {status, data: {…Kling's…}}}    New-API, old CometAPI (B.5 b, c)
    {id, task_id, object: "video", status}                  New-API create, OpenAI (B.5 d, f)
    {code: "success", data: {task_id, status, url}}         crazyrouter           (B.5 e)

The letters are those of the wire notes. `message` is never compared: on success it has
been seen as SUCCEED, success, HTTP_OK and "string".
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, cast

from pydantic_core import from_json, to_json

from ._errors import (
    APIError,
    AuthenticationError,
    BadEnvelope,
    BalanceExhausted,
    ContentRejected,
    DuplicateTaskId,
    InvalidRequest,
    ParallelLimit,
    PermissionDenied,
    RateLimited,
    ServerError,
    TaskNotFound,
)
from ._exchange import Reply
from ._state import TaskState, TaskStatus, read_status

Json = Mapping[str, Any]
Held = Callable[[str], TaskState | None]
"""Gives the state that is held of a task, by its id; None for one that is not ours."""

# Kling's own table, by code: four of the six 429s are permanent (D.1).
_BY_CODE: dict[int, type[APIError]] = {
    1000: AuthenticationError,
    1001: AuthenticationError,
    1002: AuthenticationError,
    1003: AuthenticationError,
    1004: AuthenticationError,
    1100: PermissionDenied,
    1101: BalanceExhausted,
    1102: BalanceExhausted,
    1103: PermissionDenied,
    1200: InvalidRequest,
    1201: InvalidRequest,
    1202: InvalidRequest,
    1203: InvalidRequest,
    1300: ContentRejected,
    1301: ContentRejected,
    1302: RateLimited,
    1303: ParallelLimit,
    1304: PermissionDenied,
    5000: ServerError,
    5001: ServerError,
    5002: ServerError,
}
# New-API's own words (D.4); the rest of them are told by their HTTP status.
_BY_WORD: dict[str, type[APIError]] = {
    "quota_not_enough": BalanceExhausted,
    "task_not_exist": TaskNotFound,
    "invalid_request": InvalidRequest,  # CometAPI sends it with HTTP 500 too (D.3)
    # The gateway had sent the create on when it failed.
    "do_request_failed": ServerError,
    "read_response_body_failed": ServerError,
    "unmarshal_response_failed": ServerError,
}
_BY_STATUS: dict[int, type[APIError]] = {
    401: AuthenticationError,
    402: BalanceExhausted,
    403: PermissionDenied,
    408: ServerError,  # a time-out further up: whatever was asked may have been done
    429: RateLimited,
    499: ServerError,  # nginx's word for the same
}
# Once a task has a result, nothing that another layer says takes it away; a gateway's own
# record and the copy of Kling's answer inside it can disagree for a while (B.5).
_RANK = {
    TaskStatus.UNKNOWN: 0,
    TaskStatus.SUBMITTED: 1,
    TaskStatus.PROCESSING: 2,
    TaskStatus.FAILED: 3,
}


def read_task(reply: Reply) -> TaskState:
    """The one task of a create's or a query's answer; raises what the server said instead."""
    body = _open(reply)
    layers = list(_layers(body))
    if not any(map(_task_id, layers)):
        raise BadEnvelope("the answer holds no task", status=reply.status, body=reply.content)
    return _state(body, layers, reply.content)


def read_page(reply: Reply, held: Held | None = None) -> list[TaskState]:
    """The items of a list's answer, in the server's order; what is no task has no id.

    With *held* only what is news is decoded: an item that says what it said gives the very
    state that is held, and a stranger's is as good as no task.
    """
    body = _open(reply)
    data = body.get("data")
    if not isinstance(data, list):
        raise BadEnvelope("the answer holds no list", status=reply.status, body=reply.content)
    items = cast("list[object]", data)
    if held is None:
        return [_item(item) for item in items]
    return [_news(item, held) for item in items]


def _news(item: object, held: Held) -> TaskState:
    task_id = _id_of(item)
    if task_id is None:
        return _item(item)
    state = held(task_id)
    if state is None:
        return _NO_TASK
    return state if state.answer == _json(item) else _item(item)


def _id_of(item: object) -> str | None:
    return _task_id(cast("Json", item)) if isinstance(item, dict) else None


def _item(item: object) -> TaskState:
    layers = list(_layers({"data": item}))
    # A place on the page counts, whatever stands there: a short page is the last one.
    return _state(layers[0], layers, _json(item)) if any(map(_task_id, layers)) else _NO_TASK


def _json(item: object) -> bytes:
    return to_json(item, inf_nan_mode="constants")


def _open(reply: Reply) -> Json:
    """The JSON object of an answer that is no error."""
    body = _parse(reply.content)
    error = _error(reply, body) if body is not None else None
    if error is not None:
        raise error
    if reply.status in _BY_STATUS:
        # A firewall's or a proxy's page: its words are not Kling's, its status is clear.
        raise _named(None, f"HTTP {reply.status} without Kling's JSON", reply, body or {})
    if body is None or not 200 <= reply.status < 300:
        where = reply.headers.get("location")
        hint = f", redirecting to {where}" if where else ""
        raise BadEnvelope(
            f"the answer is not Kling's JSON: {reply.content[:80]!r}{hint}",
            status=reply.status,
            body=reply.content,
        )
    return body


def _parse(content: bytes) -> Json | None:
    try:
        body: object = from_json(content)
    except ValueError:
        return None
    return cast("Json", body) if isinstance(body, dict) else None


def _error(reply: Reply, body: Json) -> APIError | None:
    code, message = body.get("code"), body.get("message")
    nested = body.get("error")
    # D.3 and D.4: {"error": {message, type, code}}. An OpenAI video object has an `error`
    # too, but that one is its task's.
    if isinstance(nested, dict) and nested and _task_id(body) is None:
        error = cast("Json", nested)
        code, message = error.get("code"), error.get("message")
    elif _is_fine(code) and (200 <= reply.status < 300 or message is None):
        return None
    elif 200 <= reply.status < 300 and _integer(code) not in _BY_CODE and _holds_task(body):
        return None  # a gateway's own word for success: the task in it is paid for
    return _named(code, message, reply, body)


def _holds_task(body: Json) -> bool:
    return any(map(_task_id, _layers(body)))


def _is_fine(code: object) -> bool:
    return code is None or (isinstance(code, int) and code == 0) or code in ("0", "success")


def _named(code: object, message: object, reply: Reply, body: Json) -> APIError:
    text = message if isinstance(message, str) and message else "no reason given"
    inner = _parse(text.encode()) if code == "fail_to_fetch_task" else None
    told = _error(reply, inner) if inner is not None else None
    if told is not None:
        # New-API wraps Kling's own answer as text: its code is the one that counts.
        told.request_id = told.request_id or _string(body.get("request_id"))
        told.raw = body
        return told
    number = _integer(code)
    kind = _kind(number, code, text, reply.status)
    context: dict[str, Any] = {
        "code": number if number is not None else (code if isinstance(code, str) else None),
        "status": reply.status,
        "request_id": _request_id(reply, body, text),
        "raw": body,
    }
    if issubclass(kind, RateLimited | ServerError):
        context["retry_after"] = _retry_after(reply)
    return kind(text[:_LONGEST_TEXT], **context)


def _request_id(reply: Reply, body: Json, text: str) -> str | None:
    # CometAPI and New-API write it into the message (D.3, D.4).
    written = re.search(r"\(request id: ([^()\s]{1,200})\)", text)
    return (
        _string(body.get("request_id"))
        or (written[1] if written else None)
        or _string(reply.headers.get("x-request-id"))
    )


def _kind(number: int | None, code: object, text: str, status: int) -> type[APIError]:
    kind = _BY_CODE.get(number) if number is not None else None
    kind = kind or (_BY_WORD.get(code) if isinstance(code, str) else None)
    if kind is None and number is not None and 5000 <= number < 6000:
        kind = ServerError  # a new code, of the family that is Kling's own fault
    kind = kind or _BY_STATUS.get(status)
    if kind is None:
        kind = InvalidRequest if 400 <= status < 500 else ServerError if status >= 500 else APIError
    lowered = text.lower()
    # 1201 is also what a missing task and a taken id get (D.1, seen live).
    if kind is InvalidRequest and "not found" in lowered and "task" in lowered:
        return TaskNotFound
    if kind is InvalidRequest and "external_task_id" in lowered and "already exists" in lowered:
        return DuplicateTaskId
    return kind


def _retry_after(reply: Reply) -> float | None:
    # Kling documents none; a gateway's is obeyed. The date form is not used by any.
    seconds = _number(reply.headers.get("retry-after"))
    return seconds if seconds is not None and seconds >= 0 else None


_NO_TASK = TaskState("", TaskStatus.UNKNOWN)
_NO_RESULT: Json = {}
_LONGEST_TEXT = 2000


def _layers(body: Json) -> Iterator[Json]:
    """The objects that describe a task, from the gateway's own to Kling's inside it."""
    for layer in _nested(body):
        # An old CometAPI answer has the id outside only.
        if _task_id(layer) or "task_status" in layer or "task_result" in layer:
            yield layer


def _nested(body: Json) -> Iterator[Json]:
    layer: object = body
    for _ in range(5):
        if not isinstance(layer, dict):
            return
        yield cast("Json", layer)
        layer = cast("Json", layer).get("data")


def _task_id(layer: Json) -> str | None:
    return _string(layer.get("task_id")) or (
        _string(layer.get("id")) if layer.get("object") == "video" else None
    )


def _state(body: Json, layers: list[Json], answer: bytes) -> TaskState:
    task_id = next(found for found in map(_task_id, layers) if found)
    result = next((found for found in map(_task_result, reversed(layers)) if found), _NO_RESULT)
    status = _status(layers, has_result=bool(result))
    inner = layers[-1]  # Kling's own
    words = [word for word in map(_word, layers) if isinstance(word, str)]
    return TaskState(
        id=task_id,
        status=status,
        word=words[-1] if words else "",
        message=_reason(layers) if status is TaskStatus.FAILED else "",
        external_task_id=_external_id(inner),
        # A gateway's clock and Kling's are not to be mixed: states are ordered by these.
        created_at=_time(inner, "created_at", "submit_time"),
        updated_at=_time(inner, "updated_at", "finish_time"),
        units=_units(inner.get("final_unit_deduction")),
        request_id=next(
            filter(None, (_string(at.get("request_id")) for at in _nested(body))), None
        ),
        task_result=result if status is TaskStatus.SUCCEEDED else _NO_RESULT,
        answer=answer,
    )


def _status(layers: list[Json], *, has_result: bool) -> TaskStatus:
    said = [read_status(_word(layer)) for layer in layers]
    if TaskStatus.SUCCEEDED in said and (has_result or said[-1] is TaskStatus.SUCCEEDED):
        return TaskStatus.SUCCEEDED
    # An outer success over an inner copy that still runs has no result to give yet.
    others = [status for status in said if status is not TaskStatus.SUCCEEDED]
    return max(others, key=_RANK.__getitem__)


def _word(layer: Json) -> object:
    word = layer.get("task_status")
    return word if word is not None else layer.get("status")


def _external_id(layer: Json) -> str | None:
    info = layer.get("task_info")
    return _string(cast("Json", info).get("external_task_id")) if isinstance(info, dict) else None


def _task_result(layer: Json) -> Json:
    result = layer.get("task_result")
    if isinstance(result, dict) and any(cast("Json", result).values()):
        return cast("Json", result)
    metadata = layer.get("metadata")
    nested = cast("Json", metadata).get("url") if isinstance(metadata, dict) else None
    # B.5 (c): New-API's fail_reason carries the address once the task has succeeded; before
    # that it is a reason, which may well begin with an address.
    ended_well = read_status(_word(layer)) is TaskStatus.SUCCEEDED
    for url in (layer.get("url"), nested, layer.get("fail_reason") if ended_well else None):
        if isinstance(url, str) and url.startswith(("https://", "http://")):
            return {"videos": [{"url": url}]}
    return {}


def _reason(layers: list[Json]) -> str:
    for layer in reversed(layers):
        error = layer.get("error")
        told = cast("Json", error).get("message") if isinstance(error, dict) else None
        for text in (layer.get("task_status_msg"), layer.get("fail_reason"), told):
            if isinstance(text, str) and text:
                return text
    return ""


def _time(layer: Json, *names: str) -> float | None:
    for name in names:
        moment = _number(layer.get(name))
        if moment:
            # Kling counts milliseconds, New-API seconds: the year 5138 tells them apart.
            return moment / 1000 if moment > 1e11 else moment
    return None


def _units(value: object) -> Decimal | None:
    text = repr(value) if isinstance(value, float) else _string(value)
    try:
        units = Decimal(text) if text is not None and len(text) <= _LONGEST_NUMBER else None
    except InvalidOperation:
        return None
    return units if units is not None and units.is_finite() else None


_LONGEST_NUMBER = 30


def _string(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        # Python refuses to print integers of thousands of digits; no id has so many.
        return str(value) if abs(value) < 10**_LONGEST_NUMBER else None
    return value if isinstance(value, str) and value else None


def _integer(value: object) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10:
        return int(value)
    return value if isinstance(value, int) and abs(value) < 10**_LONGEST_NUMBER else None


def _number(value: object) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
