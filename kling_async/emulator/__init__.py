"""Imitates Kling, CometAPI and gateways: in process for tests, or on a port."""

from __future__ import annotations

try:
    import starlette as _starlette
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'the emulator needs more packages: pip install "kling_async[emulator]"'
    ) from error

from kling_async.emulator._app import Seen
from kling_async.emulator._callbacks import Delivery
from kling_async.emulator._emulator import Emulator
from kling_async.emulator._faults import Fault, Faults, Strike
from kling_async.emulator._jobs import Job, State
from kling_async.emulator._ledger import Entry, Ledger
from kling_async.emulator._limits import Limits
from kling_async.emulator._tasks import Tasks

__all__ = [
    "Delivery",
    "Emulator",
    "Entry",
    "Fault",
    "Faults",
    "Job",
    "Ledger",
    "Limits",
    "Seen",
    "State",
    "Strike",
    "Tasks",
]

del _starlette
