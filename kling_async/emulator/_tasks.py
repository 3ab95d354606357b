"""Holds every task and finds it by id, by external id, by page or by account."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Literal
from zlib import crc32

from kling_async.emulator._jobs import Job

ListOrder = Literal["newest", "oldest", "random"]


class Tasks(Mapping[str, Job]):
    """All tasks by task id."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._by_external_id: dict[tuple[str, str], Job] = {}
        self._by_path: defaultdict[tuple[str, str], list[Job]] = defaultdict(list)
        self._unfinished: defaultdict[tuple[str, str], dict[str, Job]] = defaultdict(dict)

    def __getitem__(self, task_id: str) -> Job:
        return self._jobs[task_id]

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[str]:
        return iter(self._jobs)

    def add(self, job: Job) -> None:
        """Take in a new task."""
        self._jobs[job.task_id] = job
        self._by_path[job.account, job.endpoint].append(job)
        self._unfinished[job.account, job.order.model][job.task_id] = job
        if job.external_task_id is not None:
            self._by_external_id[job.account, job.external_task_id] = job

    def by_external_id(self, account: str, external_task_id: str) -> Job | None:
        """The task an account knows by this name, the latest if there are several."""
        return self._by_external_id.get((account, external_task_id))

    def find(self, account: str, asked: str, *, by_external_id: bool) -> Job | None:
        """An account's task by either id."""
        job = self._jobs.get(asked)
        if job is None and by_external_id:
            job = self.by_external_id(account, asked)
        return job if job is not None and job.account == account else None

    def running(self, account: str, model: str) -> int:
        """How many tasks of a model an account has in progress."""
        # Ended ones are dropped only now: no timer runs to free a slot.
        unfinished = self._unfinished[account, model]
        for task_id in [name for name, job in unfinished.items() if job.state.is_terminal]:
            del unfinished[task_id]
        return len(unfinished)

    def page(
        self, account: str, endpoint: str, *, number: int, size: int, order: ListOrder
    ) -> list[Job]:
        """One page of an account's tasks of one kind, numbered from 1."""
        jobs = self._by_path[account, endpoint]
        skip = (number - 1) * size
        # Sliced from the end, so that a page costs the same however long the list is.
        if order == "newest":
            end = max(0, len(jobs) - skip)
            return jobs[max(0, end - size) : end][::-1]
        if order == "random":
            # Scrambled, yet the same on every call, so that pages fit together.
            jobs = sorted(jobs, key=lambda job: crc32(job.task_id.encode()))
        return jobs[skip : skip + size]
