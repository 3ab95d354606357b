"""Jobs: the requests in a .csv or .jsonl file, read piece by piece; every fault has its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches
from pathlib import Path
from re import search
from typing import Any, cast

from pydantic import ValidationError

from .._errors import RequestRefused
from ..endpoints import Request
from ._lines import JobsError, lines, records, wrong
from ._requests import MODELS, Malformed, Option, options, parsed
from ._sources import beside

__all__ = ["Job", "Jobs", "JobsError"]

_OWN = ("endpoint", "key")
Check = Callable[[Request[Any]], Decimal | None]
"""Refuses a request that could not be sent; says what it costs, where that is listed."""


@dataclass(frozen=True, slots=True)
class Job:
    """One request, and where it stands."""

    line: int
    request: Request[Any]
    key: str | None
    units: Decimal | None


class Jobs:
    """A file of jobs; iterate it as often as you like, it is read anew each time."""

    def __init__(self, path: Path, check: Check, endpoint: str | None = None) -> None:
        self.path = path
        self._endpoint = endpoint
        self._check = check
        self._source = beside(path.parent)
        if endpoint is not None and endpoint not in MODELS:
            raise JobsError(f"no endpoint {endpoint!r}: {', '.join(MODELS)}")
        if path.suffix.lower() not in _READERS:
            raise JobsError(f"{path}: name it .jsonl or .csv")

    def __iter__(self) -> Iterator[Job]:
        """Every job in order; blocks while it reads."""
        keyed: bool | None = None
        names: dict[tuple[str, int], int] = {}
        for line, values in _READERS[self.path.suffix.lower()](self):
            job = self._job(line, values)
            keyed = job.key is not None if keyed is None else keyed
            if keyed != (job.key is not None):
                raise self._wrong(line, "key", "give every job a key, or none")
            named = {"key": job.key, "external_task_id": job.request.external_task_id}
            for column, name in named.items():
                first = line if name is None else names.setdefault((column, hash(name)), line)
                if first != line:
                    raise self._wrong(line, column, f"{name!r} stands in line {first} already")
            yield job
        if keyed is None:
            raise self._wrong(None, None, "it holds no job")

    def _job(self, line: int, values: dict[str, Any]) -> Job:
        model = self._model(line, values.pop("endpoint", None))
        key = values.pop("key", None)
        if key is not None and (not isinstance(key, str) or not key):
            raise self._wrong(line, "key", f"text, not empty, got {key!r}")
        known = {option.field: option for option in options(model)}
        given: dict[str, Any] = {}
        for column, value in values.items():
            if column not in known:
                near = get_close_matches(column, [*known, *_OWN], 1)
                hint = f"; is it {near[0]}?" if near else ""
                raise self._wrong(line, column, f"unknown to {model.endpoint}{hint}")
            given[column] = self._value(line, known[column], value)
        return self._checked(line, model, given, key)

    def _model(self, line: int, named: object) -> type[Request[Any]]:
        name = self._endpoint if named is None else named
        if name is None:
            raise self._wrong(line, "endpoint", "missing; add the column, or give --endpoint")
        if not isinstance(name, str) or name not in MODELS:
            raise self._wrong(line, "endpoint", f"{name!r} is none of {', '.join(MODELS)}")
        return MODELS[name]

    def _value(self, line: int, option: Option, value: Any) -> Any:
        try:
            if isinstance(value, _Cell):
                return option.read(str(value), self._source)
            return option.opened(value, self._source)
        except Malformed as error:
            raise self._wrong(line, option.field, str(error)) from None

    def _checked(
        self, line: int, model: type[Request[Any]], given: dict[str, Any], key: str | None
    ) -> Job:
        try:
            request = model.model_validate(given)
            return Job(line, request, key, self._check(request))
        except ValidationError as error:
            fault = error.errors(include_url=False)[0]
            place, message = list(map(str, fault["loc"])), fault["msg"]
            if fault["type"] == "missing":
                message = f"missing; {model.endpoint} needs it"
            elif len(place) > 1:
                message = f"{'.'.join(place[1:])}: {message}"
            column = place[0] if place else _named(model, message)
        except RequestRefused as error:
            column, message = error.field, str(error).removeprefix(f"{error.field}: ")
        raise self._wrong(line, column, message)

    def _csv(self) -> Iterator[tuple[int, dict[str, Any]]]:
        names: list[str] | None = None
        for line, cells in records(self.path):
            if names is None:
                names = self._header(line, cells)
            elif len(cells) != len(names):
                extra = f"{len(cells)} cells where the first line has {len(names)}"
                column = names[len(cells)] if len(cells) < len(names) else None
                raise self._wrong(line, column, extra)
            else:
                yield line, {n: _Cell(c) for n, c in zip(names, cells, strict=True) if c.strip()}

    def _header(self, line: int, cells: list[str]) -> list[str]:
        names = [cell.strip() for cell in cells]
        models = [MODELS[self._endpoint]] if self._endpoint else list(MODELS.values())
        known = {*_OWN, *(option.field for model in models for option in options(model))}
        if len(names) == 1 and (";" in names[0] or "\t" in names[0]):
            raise self._wrong(line, None, "separate the columns by commas")
        for name in names:
            if name not in known:
                near = get_close_matches(name, known, 1)
                hint = f"; is it {near[0]}?" if near else f"; known are {', '.join(sorted(known))}"
                raise self._wrong(line, name or "(no name)", f"unknown{hint}")
            if names.count(name) > 1:
                raise self._wrong(line, name, "stands there twice")
        if self._endpoint is None and "endpoint" not in names:
            raise self._wrong(line, "endpoint", "missing; add the column, or give --endpoint")
        if self._endpoint is not None and "endpoint" not in names:
            for option in options(MODELS[self._endpoint]):
                if option.required and option.field not in names:
                    raise self._wrong(line, option.field, f"missing; {self._endpoint} needs it")
        return names

    def _jsonl(self) -> Iterator[tuple[int, dict[str, Any]]]:
        for line, text in lines(self.path):
            if not text.strip():
                continue
            try:
                found = parsed(text)
            except Malformed as error:
                whole = text.strip() in ("[", "{", "[{")
                hint = "; a job stands in one line, and no brackets around them" if whole else ""
                raise self._wrong(line, None, f"{error}{hint}") from None
            if not isinstance(found, dict):
                hint = 'a JSON object is wanted in each line, as {"prompt": "..."}'
                raise self._wrong(line, None, hint)
            values = cast("dict[str, Any]", found)
            yield line, {name: value for name, value in values.items() if value is not None}

    def _wrong(self, line: int | None, column: str | None, what: str) -> JobsError:
        return wrong(self.path, line, column, what)


class _Cell(str):
    """A text of a CSV file, which may stand for anything."""

    __slots__ = ()


# A part of the class, which must be there first.
_READERS: Mapping[str, Callable[[Jobs], Iterator[tuple[int, dict[str, Any]]]]] = {
    ".csv": Jobs._csv,  # pyright: ignore[reportPrivateUsage]
    ".jsonl": Jobs._jsonl,  # pyright: ignore[reportPrivateUsage]
}


def _named(model: type[Request[Any]], message: str) -> str | None:
    """The column that a rule for several of them begins with."""
    found = [
        (match.start(), name)
        for name in model.model_fields
        if (match := search(rf"\b{name}\b", message))
    ]
    return min(found)[1] if found else None
