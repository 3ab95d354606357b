"""A task's state is a frozen snapshot whose status has one spelling."""

from __future__ import annotations

import pickle
from dataclasses import FrozenInstanceError

import pytest

from kling_async import TaskState, TaskStatus
from kling_async._state import read_status


@pytest.mark.parametrize(
    ("status", "ended"),
    [
        (TaskStatus.SUBMITTED, False),
        (TaskStatus.PROCESSING, False),
        (TaskStatus.SUCCEEDED, True),
        (TaskStatus.FAILED, True),
        (TaskStatus.UNKNOWN, False),
    ],
)
def test_only_success_and_failure_are_terminal(status: TaskStatus, ended: bool) -> None:
    assert status.is_terminal is ended


@pytest.mark.parametrize("status", TaskStatus)
def test_own_words_are_read_back(status: TaskStatus) -> None:
    assert read_status(status.value) is status


def test_status_is_klings_word() -> None:
    assert f"{TaskStatus.SUCCEEDED}" == "succeed"


def test_state_cannot_be_changed() -> None:
    state = TaskState("7", TaskStatus.SUBMITTED)

    with pytest.raises(FrozenInstanceError):
        state.id = "8"  # type: ignore[misc]  # that is the point


def test_state_survives_pickling() -> None:
    state = TaskState("7", TaskStatus.FAILED, message="no", answer=b'{"code":0}')

    assert pickle.loads(pickle.dumps(state)) == state


def test_raw_answer_stays_out_of_the_repr() -> None:
    assert "raw" not in repr(TaskState("7", TaskStatus.SUBMITTED, answer=b'{"code":0}'))


def test_states_do_not_share_their_defaults() -> None:
    one, other = TaskState("7", TaskStatus.SUBMITTED), TaskState("8", TaskStatus.SUBMITTED)

    assert one.raw is not other.raw
    assert one.task_result is not other.task_result
