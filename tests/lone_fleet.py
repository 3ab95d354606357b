"""A fleet on SQLite, which is for one process, and a server without a socket."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kling_async import ConfigurationError, Kling, KlingAI, Polling, Retries, Timeouts
from kling_async.emulator import Emulator
from kling_async.engines._address import check_address
from kling_async.engines.dbos import KlingDBOS


def lone_fleet(folder: Path, emulator: Emulator, **options: Any) -> KlingDBOS:
    """What it asks, it asks often."""

    def client() -> Kling:
        return Kling(
            KlingAI("a-secret-key-0123456789"),
            transport=emulator.transport(),
            polling=Polling(interval=0.1, sweep_interval=0.1, guards=(), jitter=0.0),
            retries=Retries(look_ups=2, connect=1),
            timeouts=Timeouts(total=0.5),
        )

    url = f"sqlite:///{folder}/fleet.db"
    return KlingDBOS(url, **{"client": client, "beat": 0.1, **options})


def skip_where_sqlite_is_too_old() -> None:
    """Debian 12's is, for DBOS on later Pythons."""
    try:
        check_address("sqlite:///fleet.db")
    except ConfigurationError as error:
        pytest.skip(error.message)
