"""Reads the fields of a request body and refuses what is malformed."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import cast

from kling_async.emulator._refusals import Refusal


def invalid(name: str, value: object) -> Refusal:
    """The refusal of a value, worded as the live server words it."""
    return Refusal(1201, f"{name} value '{value}' is invalid")


class Fields:
    """A JSON object whose fields are read by type; null and empty mean absent."""

    def __init__(self, values: Mapping[str, object], where: str = "") -> None:
        self._values = values
        self._where = where

    def get(self, name: str) -> object:
        """The raw value, or None where it is absent."""
        value = self._values.get(name)
        return None if value == "" or value == [] else value

    def has(self, *names: str) -> bool:
        """Whether any of these fields is given."""
        return any(self.get(name) is not None for name in names)

    def require(self, *names: str) -> None:
        """Refuse a body that lacks one of these."""
        for name in names:
            if not self.has(name):
                raise Refusal(1201, f"{self._where}{name} can not be null")

    def text(self, name: str, longest: int | None = None) -> str | None:
        """A string of bounded length."""
        value = self.get(name)
        if value is None or (isinstance(value, str) and not _too_long(value, longest)):
            return value
        if isinstance(value, str):
            raise Refusal(1201, f"{self._where}{name} must not be longer than {longest} characters")
        raise self._wrong(name, value)

    def choice(self, name: str, allowed: Collection[str], default: str) -> str:
        """One of a few words."""
        value = self.get(name)
        if value is None:
            return default
        if isinstance(value, str) and value in allowed:
            return value
        raise self._wrong(name, value)

    def flag(self, name: str) -> bool:
        """A boolean, false where it is absent."""
        value = self.get(name)
        if value is None or isinstance(value, bool):
            return bool(value)
        raise self._wrong(name, value)

    def number(self, name: str, low: float, high: float, *, whole: bool = False) -> float:
        """A number within bounds, 0 where it is absent."""
        value = self.get(name)
        if value is None:
            return 0.0
        kinds = int if whole else (int, float)
        if isinstance(value, kinds) and not isinstance(value, bool) and low <= value <= high:
            return value
        raise self._wrong(name, value)

    def seconds(self, name: str, default: str) -> int:
        """A whole number of seconds."""
        # J: officially a string, yet gateways' own code sends numbers; both are taken.
        value = self.get(name)
        if value is None:
            value = default
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, str) and value.isascii() and value.isdigit():
            return int(value)
        raise self._wrong(name, value)

    def within(self, name: str) -> Fields | None:
        """A nested object."""
        value = self.get(name)
        if value is None:
            return None
        if isinstance(value, dict):
            return Fields(cast("dict[str, object]", value), f"{self._where}{name}.")
        raise self._wrong(name, value)

    def each(self, name: str, least: int, most: int) -> list[Fields]:
        """A list of objects, empty where it is absent."""
        value = self.get(name)
        if value is None:
            return []
        if not isinstance(value, list):
            raise self._wrong(name, value)
        items = cast("list[object]", value)
        if not least <= len(items) <= most:
            raise Refusal(
                1201, f"{self._where}{name} must hold {least} to {most} items, not {len(items)}"
            )
        found: list[Fields] = []
        for at, item in enumerate(items):
            if not isinstance(item, dict):
                raise self._wrong(name, item)
            found.append(Fields(cast("dict[str, object]", item), f"{self._where}{name}[{at}]."))
        return found

    def _wrong(self, name: str, value: object) -> Refusal:
        return invalid(self._where + name, value)


def _too_long(value: str, longest: int | None) -> bool:
    # Whether Kling counts code points, UTF-16 units or bytes is not known.
    return longest is not None and len(value) > longest
