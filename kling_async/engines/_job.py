"""Job: one request on its way through the fleet, seen from any process."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from dbos import DBOSClient, WorkflowStatus

from kling_async._errors import TaskError
from kling_async._parcel import unpack
from kling_async._results import VideoResult
from kling_async.endpoints import Request
from kling_async.engines._failure import raised
from kling_async.engines._names import TASK, Names
from kling_async.engines._recovery import TAKEN_OVER
from kling_async.engines._watch import Watch

_UNDER_WAY = frozenset({"ENQUEUED", "DELAYED", "PENDING"})


class JobStatus(StrEnum):
    """How far a job has come."""

    QUEUED = "queued"
    """It waits for a slot of the account's."""
    RUNNING = "running"
    """A worker has it: its task is made or waited for."""
    SAVING = "saving"
    """There is a result; its files are on their way to the disk."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class JobState:
    """What the database says of a job at one moment."""

    key: str
    status: JobStatus
    request: Request[Any] | None
    """None where a version has made it whose requests this one does not know."""
    submitted_at: datetime
    result: VideoResult | None = None
    files: tuple[Path, ...] = ()
    error: Exception | None = None


class Jobs:
    """The jobs of one account, as the database has them."""

    def __init__(self, database: DBOSClient, names: Names, watch: Watch) -> None:
        self._database = database
        self._names = names
        self._watch = watch

    async def states(self, *, prefix: str, limit: int) -> list[JobState]:
        """The latest jobs, newest first."""
        tasks = await self._database.list_workflows_async(
            name=TASK,
            workflow_id_prefix=self._names.task(prefix),
            limit=limit,
            sort_desc=True,
        )
        return await self._states(tasks)

    async def state(self, key: str) -> JobState:
        """One job; LookupError where there is none."""
        found = await self._states(
            await self._database.list_workflows_async(workflow_ids=[self._names.task(key)])
        )
        if not found:
            raise LookupError(f"there is no job {key!r}")
        return found[0]

    async def _states(self, tasks: list[WorkflowStatus]) -> list[JobState]:
        wanted = [
            self._names.download(self._names.key(row.workflow_id))
            for row in tasks
            if row.status == "SUCCESS" and order_of(row)["to"] is not None
        ]
        saved = (
            await self._database.list_workflows_async(workflow_ids=wanted, load_input=False)
            if wanted
            else []
        )
        downloads = {row.workflow_id: row for row in saved}
        return [
            self._state(row, downloads.get(self._names.download(order_of(row)["key"])))
            for row in tasks
        ]

    def _state(self, task: WorkflowStatus, download: WorkflowStatus | None) -> JobState:
        order = order_of(task)
        last = download or task
        status = JobStatus.SAVING if download else JobStatus.RUNNING
        if task.status in ("ENQUEUED", "DELAYED"):
            status = JobStatus.QUEUED
        elif last.status == "SUCCESS":
            status = JobStatus.SUCCEEDED
        elif last.status not in _UNDER_WAY:
            status = JobStatus.FAILED
        return JobState(
            key=order["key"],
            status=status,
            request=_request(order["request"]),
            submitted_at=datetime.fromtimestamp((task.created_at or 0) / 1000, UTC),
            result=_result(task) if task.status == "SUCCESS" else None,
            files=_paths(download) if download and download.status == "SUCCESS" else (),
            error=_error(last, order["key"]) if status is JobStatus.FAILED else None,
        )

    async def end(self, key: str) -> tuple[VideoResult, list[Path]]:
        """Wait for the result, and for the files where there are to be any."""
        task = await self._ended(self._names.task(key), key)
        if order_of(task)["to"] is None:
            return _result(task), []
        download = await self._ended(self._names.download(key), key)
        return _result(task), list(_paths(download))

    async def _ended(self, workflow_id: str, key: str) -> WorkflowStatus:
        row = await self._watch.end(workflow_id)
        if row is None:
            raise LookupError(f"there is no job {key!r}, or no more")
        if row.status != "SUCCESS":
            raise _error(row, key)
        return row


class Job:
    """One request on its way; the same key gives it again in any process."""

    def __init__(self, jobs: Jobs, key: str, *, known: bool) -> None:
        self._jobs = jobs
        self._known = known
        self.key = key

    def __repr__(self) -> str:
        return f"Job({self.key!r})"

    async def state(self) -> JobState:
        """How far it has come; LookupError where there is no such job."""
        return await self._jobs.state(self.key)

    async def result(self) -> VideoResult:
        """Wait for the result, and until its files are saved.

        Raises:
            TaskFailed: Kling ended the task without a result.
            SubmissionUnknown: Nobody can say whether there is a task.
            TaskError: It was cancelled, or has lost too many workers.
            LookupError: There is no such job, or no more.
        """
        return (await self._end())[0]

    async def files(self) -> list[Path]:
        """Wait for the files; none where the job was given no place for them."""
        return (await self._end())[1]

    async def _end(self) -> tuple[VideoResult, list[Path]]:
        if not self._known:
            await self.state()
            self._known = True
        return await self._jobs.end(self.key)


def order_of(row: WorkflowStatus) -> Mapping[str, Any]:
    """What the job of a workflow is made of."""
    assert row.input is not None
    order: Mapping[str, Any] = row.input["args"][0]
    return order


def _request(parcel: Mapping[str, Any]) -> Request[Any] | None:
    try:
        return unpack(parcel)
    except ValueError:
        return None


def _result(row: WorkflowStatus) -> VideoResult:
    assert row.output is not None
    return VideoResult.model_validate(row.output["result"])


def _paths(row: WorkflowStatus) -> tuple[Path, ...]:
    assert row.output is not None
    return tuple(map(Path, row.output))


def _error(row: WorkflowStatus, key: str) -> Exception:
    if row.error is not None:
        return raised(row.error, key)
    lost = (row.attributes or {}).get(TAKEN_OVER)
    why = f"given up after it had lost {lost} workers" if lost else "cancelled"
    return TaskError(
        f"job {key} was {why}; a task of it may exist under that external_task_id",
        external_task_id=key,
        advice=f"kling.settle({key!r}) looks for it. To have it done anew, give it another key.",
    )
