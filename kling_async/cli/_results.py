"""Results: a finished task, handed over to people or programs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .._results import VideoResult
from .._state import TaskState
from .._task import Task
from ._shell import Shell


def hand_over(shell: Shell, task: Task[Any], result: VideoResult, files: Sequence[Path]) -> None:
    """Show where the videos are; then nobody need be told of the task again."""
    urls = [video.url for video in result.videos]
    if files:
        shell.debts.settle(task.token)
    shell.show(
        "\n".join(map(str, files)) or "\n".join(urls),
        {
            **facts(task.token, task.state),
            "files": list(map(str, files)),
            "urls": urls,
        },
    )
    shell.debts.settle(task.token)  # not before: who should have read it may be gone


def facts(token: str, state: TaskState) -> dict[str, Any]:
    """A task as it stands, for programs."""
    return {
        "token": token,
        "task_id": state.id,
        "external_task_id": state.external_task_id,
        "status": state.status.value,
        "message": state.message or None,
        "units": None if state.units is None else str(state.units),
    }
