"""What is public is listed, sorted and documented."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from types import ModuleType
from typing import Any

import pytest

import kling_async

DOORS = ["kling_async"] + [
    f"kling_async.{module.name}"
    for module in pkgutil.iter_modules(kling_async.__path__)
    if not module.name.startswith("_")
]
DOORS.append("kling_async.engines.dbos")


@pytest.fixture(params=DOORS)
def door(request: pytest.FixtureRequest) -> ModuleType:
    return importlib.import_module(request.param)


def test_doors_are_the_known_ones() -> None:
    assert {"kling_async.emulator", "kling_async.endpoints", "kling_async.providers"} <= set(DOORS)


def test_all_is_sorted(door: ModuleType) -> None:
    assert door.__all__ == sorted(door.__all__, key=str.casefold)


def test_all_is_complete(door: ModuleType) -> None:
    for name in door.__all__:
        getattr(door, name)  # it is there, though some doors load it only when asked

    public = {name for name, thing in vars(door).items() if is_public(name, thing)}

    aliases = {"Event", "Hook"}  # of unions and callables, which belong to no module
    assert public == set(door.__all__) - {"__version__"} - aliases


def test_public_things_are_documented(door: ModuleType) -> None:
    undocumented = [name for name in door.__all__ if not is_documented(getattr(door, name))]

    assert not undocumented


def is_public(name: str, thing: Any) -> bool:
    if name.startswith("_") or name in ("TYPE_CHECKING", "annotations") or inspect.ismodule(thing):
        return False
    return getattr(thing, "__module__", "kling_async").split(".")[0] == "kling_async"


def is_documented(thing: Any) -> bool:
    if not inspect.isclass(thing) and not inspect.isroutine(thing):
        return True  # a constant or an alias says what it is in a comment
    words = thing.__doc__ or ""
    # A dataclass without a docstring is given its signature for one.
    return bool(words) and not words.startswith(f"{thing.__name__}(")


def test_names_are_offered_before_they_are_loaded() -> None:
    assert set(kling_async.__all__) <= set(dir(kling_async))


def test_unknown_name_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="Klang"):
        getattr(kling_async, "Klang")  # noqa: B009  # checkers know better
