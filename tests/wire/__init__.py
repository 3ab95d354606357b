"""Answers of servers: those in the files here, and any that hypothesis can think of."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from kling_async._exchange import Reply

SAMPLES = {
    f"{path.parent.name}/{path.stem}": json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(Path(__file__).parent.glob("*/*.json"))
}

_KEYS = (
    "code data task_id id status task_status task_status_msg task_result task_info videos url error"
    " message object created_at updated_at request_id metadata fail_reason final_unit_deduction"
    " external_task_id duration watermark_url submit_time finish_time type"
)
_WORDS = (
    "video succeed SUCCESS failed processing unknown success fail_to_fetch_task 1303 5.1 0 nan"
    " 1e999 https://gw.example/boat.mp4 task_not_exist"
)
_scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(10**29, 10**40),
    st.sampled_from([0, 1102, 1201, 1303, 5000, 5001, 1774711071284, 1737367800]),
    st.floats(),
    st.text(max_size=20),
    st.sampled_from(_WORDS.split()),
)
json_values = st.recursive(
    _scalars,
    lambda values: st.one_of(
        st.lists(values, max_size=4),
        st.dictionaries(st.sampled_from(_KEYS.split()), values, max_size=8),
    ),
    max_leaves=30,
)
json_bodies = st.dictionaries(st.sampled_from(_KEYS.split()), json_values, max_size=8)
statuses = st.one_of(st.sampled_from([200, 301, 400, 401, 404, 429, 500, 504]), st.integers(0, 999))
headers = st.dictionaries(
    st.sampled_from(["location", "retry-after", "x-request-id", "content-type"]), st.text()
)


def answer(body: object, status: int = 200, **header: str) -> Reply:
    """A reply with *body*: bytes as they are, all else as JSON; header names with underscores."""
    names = {name.replace("_", "-"): value for name, value in header.items()}
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, names, content)


def kling(task: Any) -> dict[str, Any]:
    """Kling's envelope around a task or a list of them."""
    return {"code": 0, "message": "SUCCEED", "request_id": "req-1", "data": task}
