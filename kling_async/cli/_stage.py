"""Stage: the emulator that the demo plays on, and what is to go wrong there."""

from __future__ import annotations

import math
from collections.abc import Mapping
from random import Random

from ..emulator import Emulator, Fault

SPEED = 60.0
"""Seconds of Kling's in one of ours."""

_SEED = 1
_MEDIAN, _SPREAD = 120.0, 0.35
_SLOTS = 4
_LATENCY = 0.02
_FILE = 600_000


def stage() -> Emulator:
    """A server with few slots and much bad luck; the same requests always take as long."""
    emulator = Emulator(
        speed=SPEED,
        seed=_SEED,
        parallel=_SLOTS,
        duration=_lasting,
        video_bytes=_FILE,
        latency=_LATENCY,
    )
    add = emulator.faults.add
    # These must strike creates that find a slot: of text2video the first does, and of the two
    # others all do, as there are no more of them than slots.
    add(Fault.LOST_ANSWER, endpoint="text2video")
    add(Fault.LOST_ANSWER, endpoint="avatar/image2video", after=1)
    add(Fault.LOST_BEFORE, on="create", endpoint="multi-image2video")
    add(Fault.FAIL, endpoint="multi-image2video", after=1)
    add(Fault.CONTENT, endpoint="text2video", after=6)
    add(Fault.RESET, on="query", after=9)
    add(Fault.TRUNCATED, on="file", after=2)
    add(Fault.EXPIRED_URL, after=7)
    return emulator


def _lasting(_: Random, body: Mapping[str, object]) -> float:
    # By the prompt, as in what order creates arrive is chance.
    return Random(f"{_SEED} {body['prompt']}").lognormvariate(math.log(_MEDIAN), _SPREAD)
