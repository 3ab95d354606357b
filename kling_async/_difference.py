"""What differs between two requests, in words a person can act on."""

from __future__ import annotations

import os
from collections.abc import Generator
from typing import cast

from ._errors import RequestChanged

_LONGEST = 60  # letters of a value that an error shows


def changes(old: object, new: object, path: str = "") -> Generator[str, None, None]:
    """Field by field, what differs between two requests."""
    before, now = _fields(old), _fields(new)
    if before and now:
        for name in before | now:
            yield from changes(before.get(name), now.get(name), f"{path}.{name}".lstrip("."))
    elif old != new:
        yield f"{path}: {_shown(old, new)} before, {_shown(new, old)} now"


def refuse_changes(
    own_id: str, old: object, new: object, *, what: str = "external_task_id"
) -> None:
    """Raise if the task of an id of the caller's own was another request."""
    if old != new:
        raise RequestChanged(
            f"{what} {own_id!r} was another request before: {'; '.join(changes(old, new))}",
            advice="Give the new request one of its own.",
        )


def _fields(value: object) -> dict[object, object]:
    if isinstance(value, list):
        return dict(enumerate(cast("list[object]", value)))
    return cast("dict[object, object]", value) if isinstance(value, dict) else {}


def _shown(value: object, other: object) -> str:
    """Short; of a long text that begins like the *other* the part where they differ."""
    text = "not set" if value is None else repr(value)
    alike = len(os.path.commonprefix([text, repr(other)]))
    start = max(0, min(alike - 20, len(text) - _LONGEST))
    end = start + _LONGEST
    return f"{'…' if start else ''}{text[start:end]}{'…' if end < len(text) else ''}"
