"""Export: a journal as a table, one line a row, as JSON lines or CSV."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TextIO, cast
from uuid import uuid4

from ._attempt import Row
from ._errors import ConfigurationError, JournalError
from ._journal import Journal

_COLUMNS = (
    "key",
    "endpoint",
    "stage",
    "prompt",
    "files",
    "url",
    "units",
    "error",
    "token",
    "external_task_id",
)


def check_format(target: Path) -> None:
    """Refuse a name that does not tell the format."""
    if target.suffix not in _WRITERS:
        raise ConfigurationError(f"{target}: name it .jsonl or .csv")


def export(journal: Path, target: Path) -> None:
    """Write all rows of *journal* to *target*, which appears when it is whole; blocks."""
    part = target.with_name(f".{target.name}-{uuid4().hex}.part")
    try:
        # CSV ends its lines itself; and Excel takes UTF-8 for what it is when it opens so.
        encoding = "utf-8-sig" if target.suffix == ".csv" else "utf-8"
        with part.open("w", encoding=encoding, newline="") as file:
            _WRITERS[target.suffix](file, map(_facts, Journal.read(journal)))
        os.replace(part, target)
    except OSError as error:
        raise JournalError(f"cannot write {target}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _facts(row: Row) -> dict[str, Any]:
    """What a row has come to; the server's own words where it has no result."""
    facts: dict[str, Any] = dict.fromkeys(_COLUMNS)
    facts |= {"key": row.key, "endpoint": row.endpoint, "stage": "new", "files": []}
    facts |= {"prompt": row.request.get("prompt"), "request": row.request}
    if (attempt := row.attempt) is None:
        return facts
    videos: list[dict[str, Any]] = (attempt.result or {}).get("videos") or [{}]
    units = attempt.estimate if attempt.units is None else attempt.units
    return facts | {
        "stage": attempt.stage.value,
        "files": list(attempt.files),
        "url": videos[0].get("url"),
        "units": None if units is None else str(units),
        "error": (attempt.error or {}).get("message"),
        "token": attempt.token,
        "external_task_id": attempt.external_task_id,
    }


def _write_jsonl(file: TextIO, rows: Iterable[Mapping[str, Any]]) -> None:
    for row in rows:
        file.write(json.dumps(row, ensure_ascii=False) + "\n")


def _write_csv(file: TextIO, rows: Iterable[Mapping[str, Any]]) -> None:
    writer = csv.writer(file)
    writer.writerow(_COLUMNS)
    for row in rows:
        writer.writerow([_cell(row[name]) for name in _COLUMNS])


def _cell(value: object) -> str:
    if isinstance(value, list):
        return " ".join(cast("list[str]", value))
    text = "" if value is None else str(value)
    # A spreadsheet would take it for a formula and run it.
    return f"'{text}" if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


_WRITERS = {".jsonl": _write_jsonl, ".csv": _write_csv}
