"""Names: what an account's queues, and a job's workflows, are called in the database."""

from __future__ import annotations

from dataclasses import dataclass

TASK = "kling_async.task"
FILES = "kling_async.files"
TOPIC = "kling_async"


@dataclass(frozen=True, slots=True)
class Names:
    """Those of one account."""

    account: str

    @property
    def tasks(self) -> str:
        """The queue whose slots are the account's tasks in progress."""
        return f"kling_async.{self.account}"

    @property
    def files(self) -> str:
        """The queue of downloads, which hold no slot of the account's."""
        return f"{self.tasks}.files"

    @property
    def queues(self) -> list[str]:
        """Both."""
        return [self.tasks, self.files]

    def task(self, key: str) -> str:
        """The workflow that makes the task of a job."""
        return f"{self.tasks}:{key}"

    def download(self, key: str) -> str:
        """The workflow that saves its files."""
        return f"{self.files}:{key}"

    def key(self, workflow_id: str) -> str:
        """The job that a workflow of the tasks' queue belongs to."""
        return workflow_id.removeprefix(f"{self.tasks}:")
