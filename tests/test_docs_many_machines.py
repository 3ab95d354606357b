"""The program of the README for many machines, and its page, are run."""

from __future__ import annotations

import re
import runpy
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

import kling_async
from kling_async import Downloads, Kling, KlingAI, Polling
from kling_async.emulator import Emulator
from kling_async.engines import dbos

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "many-machines.md"


@pytest.fixture(params=["asyncio"])
def anyio_backend(request: pytest.FixtureRequest) -> Any:
    """DBOS knows asyncio alone."""
    return request.param


@pytest.mark.real_time
@pytest.mark.long
@pytest.mark.parametrize("document", [ROOT / "README.md", PAGE], ids=lambda path: path.name)
async def test_program_makes_what_was_ordered(
    document: Path, postgres_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    emulator = Emulator(duration=1)
    async with emulator.serve() as origin:
        client = partial(
            Kling,
            KlingAI("a-secret-key-0123456789", base_url=f"{origin}/official"),
            polling=Polling(interval=0.2, sweep_interval=0.2),
            downloads=Downloads(http=True, private=True),
        )
        monkeypatch.setattr(dbos, "KlingDBOS", partial(dbos.KlingDBOS, client=client))
        program = found(r"## Many machines|# Many machines", document)
        program = program.replace("postgresql://db.example/kling", postgres_url)
        program = program.replace("/videos/", f"{tmp_path}/")
        names: dict[str, Any] = {"anyio": anyio, "Text2Video": kling_async.Text2Video}
        exec(compile(program, str(document), "exec"), names)
        files: list[list[Path]] = []
        async with anyio.create_task_group() as group:
            group.start_soon(names["worker"])
            files += await names["order"](["A boat", "A cork"])
            group.cancel_scope.cancel()

    assert [file.stat().st_size > 1000 for each in files for file in each] == [True, True]
    assert len(emulator.ledger) == 2


def found(heading: str, document: Path) -> str:
    section = re.split(f"^(?:{heading})$", document.read_text(encoding="utf-8"), flags=re.M)[1]
    program = re.search(r"^```python\n(.*?)^```$", section, re.S | re.M)
    assert program is not None
    return program[1]


def test_simulation_prints_what_the_page_quotes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """With fewer tasks it is as quick as it is rough; the table's rows are the same."""
    main = runpy.run_path(str(ROOT / "benchmarks" / "at_scale.py"))["main"]
    monkeypatch.setitem(main.__globals__, "SAMPLE", 2_000)
    main()

    page = PAGE.read_text(encoding="utf-8")
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) > 20
    assert printed[0] in page
    for line in printed[1:]:
        assert f"\n{line[:32]}" in page


def test_page_and_results_quote_the_same_tables() -> None:
    page = PAGE.read_text(encoding="utf-8")
    results = (ROOT / "benchmarks" / "RESULTS.md").read_text(encoding="utf-8")
    tables = re.findall(r"\n\n```\n(.*?)^```$", page, re.S | re.M)

    assert len(tables) == 1
    assert tables[0] in results
