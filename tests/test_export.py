"""A journal as a table that people and spreadsheets can read."""

from __future__ import annotations

import csv
import json
from decimal import Decimal
from pathlib import Path

import anyio.to_thread
import pytest

from kling_async import ConfigurationError, Journal, JournalError, Kling, KlingAI, Text2Video
from kling_async._export import export
from kling_async.emulator import Emulator, Fault

KEY = "a-secret-key-0123456789"


@pytest.fixture
async def path(tmp_path: Path) -> Path:
    """Three rows: done, failed, never submitted."""
    path = tmp_path / "boats.db"
    async with Journal(path) as journal:
        for name in ("done", "failed", "new"):
            row = await journal.claim(
                key=name,
                digest=name.encode(),
                endpoint="text2video",
                request={"prompt": f"=A {name}"},
            )
            if name != "new":
                await journal.intend(row, f"ka-{name}", now=1.0, estimate=Decimal(1))
                await journal.created(f"ka-{name}", f"klingai/text2video/{name}")
        result = {"videos": [{"url": "https://cdn.example/1.mp4"}]}
        await journal.succeeded("ka-done", result, Decimal("0.5"))
        await journal.saved("ka-done", ["videos/1.mp4"])
        await journal.failed("ka-failed", {"type": "TaskFailed", "message": "too dark"})
    return path


async def test_lines_of_json_hold_everything(path: Path) -> None:
    target = path.with_suffix(".jsonl")
    await anyio.to_thread.run_sync(export, path, target)
    done, failed, new = map(json.loads, target.read_text(encoding="utf-8").splitlines())

    assert done["files"] == ["videos/1.mp4"]
    assert (done["url"], done["units"]) == ("https://cdn.example/1.mp4", "0.5")
    assert (failed["stage"], failed["error"], failed["units"]) == ("failed", "too dark", "1")
    assert failed["token"] == "klingai/text2video/failed"
    assert (new["stage"], new["units"], new["request"]) == ("new", None, {"prompt": "=A new"})


async def test_csv_opens_in_a_spreadsheet_and_runs_nothing(path: Path) -> None:
    target = path.with_suffix(".csv")
    await anyio.to_thread.run_sync(export, path, target)
    with target.open(encoding="utf-8-sig", newline="") as file:
        rows = list(csv.DictReader(file))

    assert [row["key"] for row in rows] == ["done", "failed", "new"]
    assert rows[0]["files"] == "videos/1.mp4"
    assert rows[0]["prompt"] == "'=A done"


async def test_batch_exports_itself_open_and_closed(tmp_path: Path) -> None:
    emulator = Emulator(duration=10)
    emulator.faults.add(Fault.FAIL, message="too dark")
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        boats = [Text2Video(prompt=f"Boat {number}") for number in range(3)]
        async with kling.batch(tmp_path / "boats.db", boats) as batch:
            async for _ in batch:
                await batch.export(tmp_path / "open.jsonl")
    await batch.export(tmp_path / "boats.csv")

    assert len((tmp_path / "open.jsonl").read_text().splitlines()) == 3
    assert "too dark" in (tmp_path / "boats.csv").read_text(encoding="utf-8")
    assert KEY not in (tmp_path / "open.jsonl").read_text()


async def test_unknown_format_is_refused_at_once(tmp_path: Path) -> None:
    async with Kling(KlingAI(KEY)) as kling:
        with pytest.raises(ConfigurationError, match="name it .jsonl or .csv"):
            await kling.batch(tmp_path / "boats.db", []).export("boats.xlsx")


async def test_target_that_cannot_be_written_leaves_nothing(path: Path) -> None:
    with pytest.raises(JournalError, match="cannot write"):
        await anyio.to_thread.run_sync(export, path, path.parent / "no folder" / "boats.csv")

    assert sorted(each.suffix for each in path.parent.iterdir()) == [".db", ".lock"]
