"""Rows and their attempts, as a journal has them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, TypeAlias

Facts: TypeAlias = Mapping[str, Any]  # plain data, as JSON has it


class Stage(StrEnum):
    """How far an attempt has come."""

    INTENDED = "intended"
    """A create may be on the wire, or lost."""
    RUNNING = "running"
    """There is a task, and its token is known."""
    SUCCEEDED = "succeeded"
    """Its result is known."""
    SAVED = "saved"
    """Its files are on the disk."""
    FAILED = "failed"
    """It ended without a result, or was refused for good."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """One intent to create, so at most one paid task."""

    external_task_id: str
    number: int
    stage: Stage
    intended_at: float
    account: str = ""
    """A mark of the account it was meant for: another one knows nothing of it."""
    token: str | None = None
    estimate: Decimal | None = None
    units: Decimal | None = None
    result: Facts | None = None
    files: tuple[str, ...] = ()
    error: Facts | None = None
    answered_at: float | None = None
    """When it was known what came of its create; by our clock, as all these times."""
    ended_at: float | None = None
    """When its end was known, which was some time after it had come."""
    saved_at: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """One line of work, with its latest attempt."""

    id: int
    key: str
    endpoint: str
    request: Facts
    attempt: Attempt | None = None


_UNDER_WAY = "stage IN ('intended', 'running')"


def read_row(record: Sequence[Any]) -> Row:
    """A row of the table of rows, joined with its latest attempt."""
    number, key, endpoint, request, external_task_id = record[:5]
    attempt = None if external_task_id is None else read_attempt(record[4:])
    return Row(number, key, endpoint, json.loads(request), attempt)


def read_attempt(record: Sequence[Any]) -> Attempt:
    """A row of the table of attempts."""
    external_task_id, number, stage, intended_at, account, token, *texts = record[:-3]
    estimate, units = (text and Decimal(text) for text in texts[:2])
    result, files, error = (text and json.loads(text) for text in texts[2:])
    facts = (account, token, estimate, units, result, tuple(files or ()), error)
    return Attempt(external_task_id, number, Stage(stage), intended_at, *facts, *record[-3:])
