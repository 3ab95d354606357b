"""Stage: the emulator that a test's markers ask for, and a client that talks to it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

import pytest

from kling_async import CometAPI, Gateway, Kling, KlingAI, Polling, Provider
from kling_async.emulator import Emulator, Fault, Strike

KEY = "a-key-for-the-emulator"
FAST = 1000.0
"""Simulated seconds per second where time is real: a video takes a tenth of one."""

_GATEWAYS = ("newapi", "passthrough", "crazyrouter")
DIALECTS = ("cometapi", "official", *_GATEWAYS)


@dataclass(frozen=True, slots=True)
class Stage:
    """What `@pytest.mark.kling(...)` says.

    Args:
        dialect: The server the client talks to: "cometapi", "official", or one of the
            gateways, "newapi", "passthrough" and "crazyrouter".
        faults: What goes wrong, in this order: a `Fault`, or a `Strike` with its details.
        options: The rest, for the `Emulator`.
    """

    dialect: str = "cometapi"
    faults: Iterable[Fault | Strike] = ()
    options: dict[str, Any] = field(default_factory=dict[str, Any])

    def emulator(self, *, virtual: bool) -> Emulator:
        """A fresh one: fast where time is real, and as slow as Kling where it is not."""
        options: dict[str, Any] = {"speed": 1.0 if virtual else FAST, **self.options}
        emulator = Emulator(**options)
        for fault in self.faults:
            if isinstance(fault, Strike):  # it counts down, and a marker may serve many tests
                emulator.faults.add(**asdict(fault))
            else:
                emulator.faults.add(fault)
        return emulator

    def client(self, emulator: Emulator) -> Kling:
        """A client that asks at the pace of the emulator's clock."""
        key = next(iter(self.options.get("keys") or ()), KEY)
        provider = _provider(self.dialect, key)
        polling = _paced(emulator.clock.speed)
        return Kling(provider, transport=emulator.transport(), polling=polling)


def stage(node: pytest.Item) -> Stage:
    """The stage of a test; what a closer marker says counts."""
    said: dict[str, Any] = {}
    for marker in reversed(list(node.iter_markers("kling"))):
        if marker.args:
            raise TypeError("pytest.mark.kling takes keywords only: kling(speed=60)")
        said |= marker.kwargs
    own = {name: said.pop(name) for name in ("dialect", "faults") if name in said}
    return Stage(**own, options=said)


def _provider(dialect: str, key: str) -> Provider:
    if dialect == "cometapi":
        return CometAPI(key)
    if dialect == "official":
        return KlingAI(key)
    if dialect in _GATEWAYS:  # whatever the host, the emulator knows them by the path
        return Gateway(f"https://gateway.kling-emulator.test/gateway/{dialect}", key)
    raise ValueError(f"dialect {dialect!r}: give {', '.join(DIALECTS)}")


def _paced(speed: float) -> Polling:
    plain = Polling()
    return Polling(
        interval=plain.interval / speed,
        max_interval=plain.max_interval / speed,
        guards=tuple(guard / speed for guard in plain.guards),
        sweep_interval=plain.sweep_interval / speed,
    )
