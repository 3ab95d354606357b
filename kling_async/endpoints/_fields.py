"""Field types that request models share, with errors that name limit and size."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, LiteralString, cast

from pydantic import AfterValidator, BeforeValidator, PlainValidator
from pydantic_core import PydanticCustomError

from .._media import AUDIO, IMAGE, MASK, MediaSource

_BUFFERS = (str, bytes, bytearray, memoryview)
_CONTENT = (*_BUFFERS, os.PathLike)


def cut(text: str | bytes | bytearray, longest: int = 80) -> str:
    """How a value stands in a message or a repr: whole when short, its beginning when long."""
    if len(text) <= longest:
        return repr(text)
    return f"{text[: longest * 3 // 4]!r}... ({len(text)} in all)"


def refuse(problem: LiteralString, **facts: Any) -> PydanticCustomError:
    """The error a validator raises; pydantic puts the field's name before it."""
    return PydanticCustomError("kling_rule", problem, facts)


def at_most(limit: int, things: str) -> Callable[[Any], Any]:
    """A validator for anything that has a length."""

    def check(value: Any) -> Any:
        if len(value) > limit:
            raise refuse(
                "at most {limit} {things}, got {size}", limit=limit, things=things, size=len(value)
            )
        return value

    return check


def several(low: int, high: int, things: str) -> BeforeValidator:
    """The validator of a list field: a list, neither too short nor too long, then a tuple."""
    rule = f"from {low} to {high} {things}" if low else f"at most {high} {things}"

    def check(value: object) -> tuple[object, ...]:
        items = listed(value)
        # Before the items are looked at: a million wrong ones make a million errors.
        if not low <= len(items) <= high:
            raise refuse("{rule}, got {size}", rule=rule, size=len(items))
        return items

    return BeforeValidator(check)


def listed(value: object) -> tuple[object, ...]:
    """What a list field holds, out of its giver's reach."""
    kind = type(value)
    if issubclass(kind, _BUFFERS) or not issubclass(kind, Sequence):
        raise refuse("a list, got {kind}", kind=kind.__name__)
    return tuple(cast("Sequence[object]", value))


def between(low: float, high: float) -> Callable[[float], float]:
    """A validator for numbers in a closed range; NaN is in none."""

    def check(value: float) -> float:
        if not low <= value <= high:
            got = _brief(value)
            raise refuse("from {low} to {high}, got {value}", low=low, high=high, value=got)
        return value

    return check


def not_empty(value: str) -> str:
    """A validator for texts that must say something."""
    if not value:
        raise refuse("not empty")
    return value


def as_json(value: Mapping[str, Any]) -> Mapping[str, Any]:
    """A validator for what is sent as it is."""
    try:
        json.dumps(dict(value), allow_nan=False, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise refuse("must be JSON: {why}", why=str(error)[:200]) from None
    return value


def _duration(value: object) -> str:
    # Kling takes a string; a number reads better in Python, so both are taken.
    text = str(value) if isinstance(value, (int, str)) and not isinstance(value, bool) else ""
    if not (text.isascii() and text.isdigit() and 1 <= len(text) <= 3 and int(text) >= 1):
        raise refuse("whole seconds, as 5 or '5', got {value}", value=_brief(value))
    return str(int(text))


def _media(value: object) -> object:
    # Whether it is usable is checked when it is read, off the loop.
    if not _is_content(value):
        raise refuse("a path, bytes, a file object, a URL or Base64, got {kind}", kind=_kind(value))
    return value


def _is_content(value: object) -> bool:
    return isinstance(value, _CONTENT) or hasattr(value, "read")


def _optional_media(value: object) -> object:
    return None if value is None else _media(value)


def shown(fields: Iterable[tuple[str | None, object]]) -> Iterator[tuple[str, object]]:
    """The set fields of a model's repr, with long texts and bytes cut."""
    for name, value in fields:
        if name is not None and value is not None and value != {}:
            yield name, _Shown(_brief(value))


def _brief(value: object) -> str:
    if isinstance(value, str | bytes | bytearray):
        return cut(value)
    text = repr(value)
    return text if len(text) <= 500 else f"{text[:400]}... ({len(text)} in all)"


class _Shown(str):
    __slots__ = ()

    def __repr__(self) -> str:
        return str(self)


def _kind(value: object) -> str:
    return type(value).__name__


Duration = Annotated[int | str, PlainValidator(_duration)]
"""Whole seconds; sent as a string, which is what Kling documents."""

Image = Annotated[MediaSource, PlainValidator(_media), IMAGE]
OptionalImage = Annotated[MediaSource | None, PlainValidator(_optional_media), IMAGE]
Mask = Annotated[MediaSource, PlainValidator(_media), MASK]
OptionalMask = Annotated[MediaSource | None, PlainValidator(_optional_media), MASK]
OptionalAudio = Annotated[MediaSource | None, PlainValidator(_optional_media), AUDIO]

Text = Annotated[str, AfterValidator(not_empty)]

CfgScale = Annotated[float, AfterValidator(between(0, 1))]
"""How closely the prompt is followed."""
