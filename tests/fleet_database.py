"""The database of a fleet in memory, for what asks it and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import anyio

from kling_async.engines._names import TASK, Names

NAMES = Names("main")


@dataclass
class Row:
    """A workflow, as far as these look at one."""

    workflow_id: str
    executor_id: str | None = "dead"
    status: str = "PENDING"
    app_version: str = "1"
    queue_name: str = NAMES.tasks
    attributes: dict[str, Any] | None = None
    name: str = TASK
    steps: list[object] = field(default_factory=list[object])
    dequeued_at: int | None = None


@dataclass
class Database:
    """The part of DBOSClient that these use, in memory; an outage raises so many times."""

    rows: list[Row] = field(default_factory=list[Row])
    outages: int = 0
    resumed: list[str] = field(default_factory=list[str])

    def __post_init__(self) -> None:
        self.asked = 0
        self.takes = 0.0

    async def list_workflows_async(self, **wanted: Any) -> list[Row]:
        self.asked += 1
        await anyio.sleep(self.takes)
        if self.outages:
            self.outages -= 1
            raise ConnectionError("no database")
        executors = wanted.get("executor_id")
        return [
            row
            for row in self.rows
            if row.status in wanted.get("status", row.status)
            and row.workflow_id in wanted.get("workflow_ids", [row.workflow_id])
            and executors in (None, row.executor_id)
            and wanted.get("app_version") in (None, row.app_version)
        ]

    async def list_workflow_steps_async(self, workflow_id: str) -> list[dict[str, object]]:
        return [{"output": output} for output in self._row(workflow_id).steps]

    async def update_workflow_attributes_async(
        self, workflow_id: str, attributes: dict[str, Any], *, merge: bool
    ) -> None:
        assert merge
        self._row(workflow_id).attributes = attributes

    async def cancel_workflow_async(self, workflow_id: str) -> None:
        self._row(workflow_id).status = "CANCELLED"

    async def resume_workflows_async(self, workflow_ids: list[str], *, queue_name: str) -> None:
        self.resumed += workflow_ids
        for workflow_id in workflow_ids:
            row = self._row(workflow_id)
            assert row.queue_name == queue_name
            row.status, row.executor_id = "ENQUEUED", None

    async def delete_workflows_async(self, workflow_ids: list[str]) -> None:
        self.rows = [row for row in self.rows if row.workflow_id not in workflow_ids]

    def _row(self, workflow_id: str) -> Row:
        [row] = [row for row in self.rows if row.workflow_id == workflow_id]
        return row
