"""What makes two requests the same: all that is sent, but for ids and addresses of ours."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from json import dumps
from typing import Any, cast

_NOT_THE_CLIP = frozenset({"callback_url", "external_task_id"})
_LARGE = 4096  # characters: longer than any prompt, and shorter than any media


def fingerprint(body: Mapping[str, Any]) -> tuple[bytes, dict[str, Any]]:
    """The digest of a request's *body*, and the body with large texts by their own digest.

    It blocks for as long as hashing the media takes.
    """
    facts = {name: _small(body[name]) for name in body if name not in _NOT_THE_CLIP}
    text = dumps(facts, sort_keys=True, separators=(",", ":"))
    return sha256(text.encode()).digest(), facts


def _small(value: object) -> object:
    if isinstance(value, str):
        if len(value) <= _LARGE:
            return value
        return {"sha256": sha256(value.encode()).hexdigest(), "characters": len(value)}
    if isinstance(value, dict):
        return {key: _small(item) for key, item in cast("dict[str, object]", value).items()}
    if isinstance(value, list):
        return [_small(item) for item in cast("list[object]", value)]
    return value
