"""The benchmarks still run; what they measure is for people to read."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.long
ROOT = Path(__file__).parent.parent
BENCHMARKS = sorted((ROOT / "benchmarks").glob("*.py"))
OURS = ["kling_async, KlingAI", "kling_async, CometAPI"]
"""Whom the benchmarks measure where no peers are installed."""


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_benchmark_loads_and_says_how_to_run_it(path: Path) -> None:
    module = runpy.run_path(str(path))

    assert callable(module["main"])
    assert f"python benchmarks/{path.name}" in module["__doc__"]


@pytest.mark.real_time
def test_import_time_prints_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "PYTHONPATH", str(ROOT))
    main = runpy.run_path(str(ROOT / "benchmarks" / "import_time.py"))["main"]
    monkeypatch.setitem(main.__globals__, "ROUNDS", 1)

    main()

    assert "extras imported: none" in capsys.readouterr().out


@pytest.mark.real_time
def test_command_line_prints_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(os.environ, "PYTHONPATH", str(ROOT))
    main = runpy.run_path(str(ROOT / "benchmarks" / "command_line.py"))["main"]
    monkeypatch.setitem(main.__globals__, "ROUNDS", 1)

    main()

    assert "kling --help" in capsys.readouterr().out


@pytest.mark.real_time
def test_journal_prints_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "benchmarks" / "journal.py"))["main"]
    monkeypatch.setitem(main.__globals__, "ROUNDS", 1)
    monkeypatch.setitem(main.__globals__, "TASKS", 10)

    main()

    assert "batch over map" in capsys.readouterr().out


@pytest.mark.real_time
def test_kill_prints_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "benchmarks" / "kill.py"))["main"]
    monkeypatch.setattr(sys, "argv", ["kill.py"])
    monkeypatch.setitem(main.__globals__, "ROWS", 6)
    monkeypatch.setitem(main.__globals__, "KILLS", 2)

    main()

    assert "6 creates paid, 0 twice" in capsys.readouterr().out


@pytest.mark.real_time
def test_telemetry_prints_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "benchmarks" / "telemetry.py"))["main"]
    for name in ("ROUNDS", "TASKS", "SPANS"):
        monkeypatch.setitem(main.__globals__, name, 2)

    main()

    assert "bytes each" in capsys.readouterr().out


@pytest.mark.real_time
@pytest.mark.parametrize("name", ["asking", "tasks"])
def test_benchmark_of_waiting_prints_a_row(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    module = runpy.run_path(str(ROOT / "benchmarks" / f"{name}.py"))
    monkeypatch.setattr(sys, "argv", [f"{name}.py", "2"])
    monkeypatch.setitem(module["main"].__globals__, "contenders", lambda: OURS)
    monkeypatch.setitem(module["main"].__globals__, "ROUNDS", 1)

    module["main"]()

    rows = capsys.readouterr().out.splitlines()
    assert [row.split("  ")[0] for row in rows][2:4] == OURS


@pytest.mark.real_time
@pytest.mark.long
def test_billing_bills_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "benchmarks" / "billing.py"))["main"]
    monkeypatch.setitem(main.__globals__, "contenders", lambda: OURS)

    main()

    _, _, _, *rows = capsys.readouterr().out.splitlines()
    cells = [row.split("  ") for row in rows]
    assert [[cell.strip() for cell in row if cell][1] for row in cells] == ["1 result"] * 9


@pytest.mark.real_time
def test_endless_prints_its_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "benchmarks" / "endless.py"))["main"]
    monkeypatch.setattr(sys, "argv", ["endless.py", "20"])

    main()

    assert "map over 20 requests" in capsys.readouterr().out


@pytest.mark.real_time
def test_requests_prints_its_table(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    main = runpy.run_path(str(ROOT / "benchmarks" / "requests.py"))["main"]
    rows = main.__globals__["ROWS"]
    monkeypatch.setattr(sys, "argv", ["requests.py", "1"])
    monkeypatch.setitem(main.__globals__, "ROUNDS", 1)
    for name in list(rows)[1:-1]:
        monkeypatch.delitem(rows, name)

    main()

    assert "poll in full, 20 connections" in capsys.readouterr().out
