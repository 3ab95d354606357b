"""A terminal for each test, in a folder of its own."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from random import Random

import pytest

from kling_async.emulator import Emulator
from tests.cli.terminal import Terminal
from tests.media_samples import png


@pytest.fixture
def terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(png(640, 640))
    return Terminal(Emulator(duration=lasting))


def lasting(_: Random, body: Mapping[str, object]) -> float:
    """As many seconds as the prompt says."""
    seconds = str(body.get("prompt")).partition(" lasts ")[2]
    return float(seconds or 30)
