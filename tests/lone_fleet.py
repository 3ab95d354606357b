"""Fixtures: fleets on SQLite, which is for one process, and a server without a socket."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kling_async import ConfigurationError, Kling, KlingAI, Polling, Retries, Timeouts
from kling_async.emulator import Emulator
from kling_async.engines._address import check_address
from kling_async.engines.dbos import KlingDBOS


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """DBOS knows asyncio alone."""
    return request.param


@pytest.fixture
def emulator() -> Emulator:
    return Emulator(duration=0.3)


@pytest.fixture
def make(tmp_path: Path, emulator: Emulator) -> Callable[..., KlingDBOS]:
    """Makes fleets; what they ask, they ask often."""
    try:
        check_address("sqlite:///fleet.db")
    except ConfigurationError as error:  # Debian 12's is too old, for DBOS on later Pythons
        pytest.skip(error.message)

    def client() -> Kling:
        return Kling(
            KlingAI("a-secret-key-0123456789"),
            transport=emulator.transport(),
            polling=Polling(interval=0.1, sweep_interval=0.1, guards=(), jitter=0.0),
            retries=Retries(look_ups=2, connect=1),
            timeouts=Timeouts(total=0.5),
        )

    return partial(KlingDBOS, f"sqlite:///{tmp_path}/fleet.db", client=client, beat=0.1)
