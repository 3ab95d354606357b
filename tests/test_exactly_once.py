"""Of many submits whose creates go wrong, each comes to one task or to an error that names it.

`benchmarks/exactly_once.py` prints the same for thousands.
"""

from __future__ import annotations

import runpy
from pathlib import Path
from typing import Any

import pytest

BENCHMARK = runpy.run_path(str(Path(__file__).parent.parent / "benchmarks" / "exactly_once.py"))
DIALECTS: list[Any] = BENCHMARK["DIALECTS"]
SUBMITS = 200


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
async def test_each_submit_is_billed_once_or_named(dialect: Any) -> None:
    figures = await BENCHMARK["run"](dialect, BENCHMARK["MIXES"]["all"], SUBMITS, seed=1)

    assert figures.sent > SUBMITS  # faults did strike
    assert figures.billed_twice == figures.hidden == figures.others == 0
    assert figures.results + figures.unknown == SUBMITS
    assert figures.results <= figures.billed <= SUBMITS
    if dialect.name == "official":
        assert (figures.billed, figures.results) == (SUBMITS, SUBMITS)
    else:
        assert figures.unknown > 0
