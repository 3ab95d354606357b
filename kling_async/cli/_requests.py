"""Requests from text: which option each field of a request model is, read off the model itself."""

from __future__ import annotations

import ast
import inspect
import json
import os
import textwrap
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NoReturn, Union, cast, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo

from .._media import MediaRules, MediaSource
from ..endpoints import Avatar, Image2Video, MultiImage2Video, Request, Text2Video

MODELS: Mapping[str, type[Request[Any]]] = {
    model.endpoint: model for model in (Text2Video, Image2Video, MultiImage2Video, Avatar)
}
"""By the names of their commands."""
Open = Callable[[str], MediaSource]
"""What a text in place of an image or a sound stands for."""


class Kind(Enum):
    """How a value is written; the words are for its help."""

    TEXT = ""
    NUMBER = "a number"
    FLAG = "a flag"
    CHOICE = "a choice"
    MEDIA = "PATH, URL or - for stdin"
    SEVERAL = "PATH, URL or - for stdin; repeatable"
    JSON = "JSON"


class Malformed(ValueError):
    """A text that cannot be read as what its field takes."""


@dataclass(frozen=True, slots=True)
class Option:
    """One field of a request, as text."""

    field: str
    kind: Kind
    required: bool
    doc: str
    choices: tuple[str, ...] = ()
    part: type[BaseModel] | None = None
    """What its JSON is."""
    is_list: bool = False

    @property
    def flag(self) -> str:
        """Its name on the command line."""
        return f"--{self.field.replace('_', '-')}"

    @property
    def help(self) -> str:
        """What it is, in the field's own words, and how it is written."""
        written = self.kind.value
        if self.kind is Kind.JSON:
            shape = f"{{{', '.join(self.part.model_fields)}}}" if self.part else "{...}"
            written = f"JSON: {f'[{shape}, ...]' if self.is_list else shape}"
        if self.doc and self.kind not in (Kind.MEDIA, Kind.SEVERAL, Kind.JSON):
            return self.doc
        return f"{self.doc} [{written}]" if self.doc else written

    def read(self, text: str, source: Open) -> Any:
        """The value that *text* stands for; whether it is a good one, pydantic says."""
        if self.kind is Kind.SEVERAL and not text.lstrip().startswith(("[", "{")):
            return [source(part) for part in text.split("|")]
        if self.kind in (Kind.SEVERAL, Kind.JSON):
            return self.opened(parsed(text), source)
        return self.opened(text, source)

    def opened(self, value: Any, source: Open) -> Any:
        """The same, with the texts that stand for images or sounds opened."""
        if isinstance(value, list):
            return [self.opened(item, source) for item in cast("Sequence[Any]", value)]
        if isinstance(value, str) and self.kind in (Kind.MEDIA, Kind.SEVERAL):
            return source(value)
        if isinstance(value, dict) and self.part is not None:
            media = {name for name, field in self.part.model_fields.items() if _is_media(field)}
            return {
                name: source(item) if name in media and isinstance(item, str) else item
                for name, item in cast("Mapping[str, Any]", value).items()
            }
        return cast("Any", value)


_OURS = Request.__module__.rpartition(".")[0]


@cache
def options(model: type[Request[Any]]) -> tuple[Option, ...]:
    """The options of a request, its own fields first."""
    docs = _docs(model)
    fields = sorted(model.model_fields.items(), key=lambda item: item[0] in Request.model_fields)
    return tuple(_option(name, field, docs.get(name, "")) for name, field in fields)


def parsed(text: str) -> Any:
    """The JSON in *text*; of a name that comes twice, nobody knows which is meant."""
    try:
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_constant)
    except json.JSONDecodeError as error:
        raise Malformed(f"no JSON: {error.msg} at character {error.pos + 1}") from None
    except RecursionError:
        raise Malformed("no JSON that can be read: nested too deep") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise Malformed("a name stands in an object twice")
    return found


def _no_constant(word: str) -> NoReturn:
    raise Malformed(f"{word} is no JSON")


def _option(name: str, field: FieldInfo, doc: str) -> Option:
    kinds = _alternatives(field.annotation)
    sequence = next((kind for kind in kinds if get_origin(kind) is Sequence), None)
    items = _alternatives(get_args(sequence)[0]) if sequence else kinds
    parts = [item for item in items if isinstance(item, type) and issubclass(item, BaseModel)]
    part, is_list, choices = parts[0] if parts else None, sequence is not None, tuple[str, ...]()
    if _is_media(field):
        kind = Kind.MEDIA
    elif any(get_origin(item) is os.PathLike for item in items):
        kind = Kind.SEVERAL
    elif is_list or parts or get_origin(kinds[0]) is Mapping:
        kind = Kind.JSON
    elif get_origin(kinds[0]) is Literal:
        kind, choices = Kind.CHOICE, tuple(map(str, get_args(kinds[0])))
    elif kinds == [bool]:
        kind = Kind.FLAG
    else:
        kind = Kind.NUMBER if set(kinds) <= {int, float} else Kind.TEXT
    return Option(name, kind, field.is_required(), doc, choices, part, is_list)


def _alternatives(annotation: Any) -> list[Any]:
    """What a value may be, but None."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _alternatives(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [kind for each in get_args(annotation) for kind in _alternatives(each)]
    return [] if annotation is NoneType else [annotation]


def _is_media(field: FieldInfo) -> bool:
    return any(isinstance(rules, MediaRules) for rules in field.metadata)


def _docs(model: type[Any]) -> dict[str, str]:
    """The string below each field, which Python itself does not keep."""
    docs: dict[str, str] = {}
    for owner in reversed(model.__mro__):
        docs.update(_docs_of(owner) if owner.__module__.startswith(_OURS) else ())
    return docs


def _docs_of(owner: type[Any]) -> Iterator[tuple[str, str]]:
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(owner))).body[0]
    except (OSError, TypeError):  # it was installed without its source
        return
    assert isinstance(tree, ast.ClassDef)
    for field, below in zip(tree.body, tree.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
        ):
            yield field.target.id, " ".join(inspect.cleandoc(str(below.value.value)).split())
