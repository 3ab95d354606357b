"""What users test their own programs with: a pytest plugin, virtual time, a router for respx."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kling_async.testing._hold import hold
    from kling_async.testing._router import KlingRouter, MockTask, mock_kling
    from kling_async.testing._virtual_time import VirtualTime, virtual_backend

__all__ = [
    "hold",
    "KlingRouter",
    "mock_kling",
    "MockTask",
    "virtual_backend",
    "VirtualTime",
]

# Loaded when first used: pytest imports this for everybody who has the package installed.
_HOMES = {
    "hold": "_hold",
    "KlingRouter": "_router",
    "mock_kling": "_router",
    "MockTask": "_router",
    "virtual_backend": "_virtual_time",
    "VirtualTime": "_virtual_time",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = found = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    return found


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
