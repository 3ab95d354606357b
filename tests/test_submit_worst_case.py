"""A server that does its worst gets one task out of one intent, and hides none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kling_async import (
    BadEnvelope,
    DuplicateTaskId,
    KlingError,
    RateLimited,
    SubmissionUnknown,
    TaskState,
)
from kling_async._submit import Move, Outcome, Pause, Send
from tests.protocol_player import (
    ABSENT,
    BUSY,
    DOWN,
    EMPTY,
    ID,
    LOST,
    OFFLINE,
    TAKEN,
    TASK,
    WIRE,
    Played,
    rules,
    run,
)


@dataclass
class Server:
    """A server that commits when it likes, answers when it likes, and counts the tasks."""

    draw: Callable[[st.SearchStrategy[Any]], Any]
    finds: bool
    refuses_duplicates: bool
    faults: int
    """How many more exchanges go wrong."""
    lag: float
    """Seconds after its commit in which a task may still not be found."""
    now: float = 0.0
    commits: list[float] = field(default_factory=list[float])
    """When each task comes to exist; some lie ahead."""
    refused: bool = False
    """Whether it refused a create for good."""

    def answer(self, move: Move) -> Outcome:
        if isinstance(move, Pause):
            self.now += move.seconds
            return None
        return self.create() if isinstance(move, Send) else self.look_up()

    def create(self) -> Outcome:
        exists = any(commit <= self.now for commit in self.commits)
        if self.goes_wrong():
            reaches = self.draw(st.booleans())
            if not reaches:
                self.refused = self.draw(st.sampled_from([False, False, False, True]))
                if self.refused:
                    return EMPTY
                return self.one_of(LOST, DOWN, BUSY, OFFLINE, BadEnvelope(status=502))
            self.commit(self.now + self.draw(st.sampled_from([0.0, 1.0, WIRE / 2, WIRE])))
            return self.one_of(LOST, DOWN, BadEnvelope(status=504), BadEnvelope(status=200))
        if exists and self.refuses_duplicates:
            return TAKEN
        self.commit(self.now)
        return TASK

    def look_up(self) -> Outcome:
        if self.goes_wrong():
            return self.one_of(LOST, DOWN, RateLimited(code=1302), BadEnvelope(status=502))
        found = self.finds and any(commit + self.lag <= self.now for commit in self.commits)
        return TASK if found else ABSENT

    def commit(self, moment: float) -> None:
        if self.refuses_duplicates and self.commits:
            self.commits = [min(moment, *self.commits)]
        else:
            self.commits.append(moment)

    def goes_wrong(self) -> bool:
        wrong = self.faults > 0 and bool(self.draw(st.booleans()))
        self.faults -= wrong
        return wrong

    def one_of(self, *errors: KlingError) -> KlingError:
        error: KlingError = self.draw(st.sampled_from(errors))
        return error


@given(st.data(), st.randoms(use_true_random=False))
def test_without_trust_no_intent_makes_two_tasks(data: st.DataObject, random: Random) -> None:
    server = Server(
        data.draw,
        finds=data.draw(st.booleans()),
        refuses_duplicates=data.draw(st.booleans()),
        faults=data.draw(st.sampled_from([1, 3, 20, 1000])),
        lag=data.draw(st.sampled_from([0.0, 5.0, WIRE, 1e9])),
    )
    known = rules(answers_look_ups=data.draw(st.booleans()), trusts_not_found=False)
    played = run(known, server.answer, random)

    assert len(server.commits) <= 1
    assert_told(played, server)


@given(st.data(), st.randoms(use_true_random=False))
def test_with_trust_no_intent_makes_two_tasks(data: st.DataObject, random: Random) -> None:
    faults, lag = data.draw(st.sampled_from([1, 3, 20, 1000])), data.draw(st.floats(0, 1e6))
    server = Server(data.draw, finds=True, refuses_duplicates=True, faults=faults, lag=lag)
    played = run(rules(), server.answer, random)

    assert len(server.commits) <= 1
    assert_told(played, server)


@given(st.data(), st.randoms(use_true_random=False))
def test_misplaced_trust_makes_no_two_tasks(data: st.DataObject, random: Random) -> None:
    """That duplicates are refused is inferred for /v1: waiting for the wire must do alone."""
    faults = data.draw(st.sampled_from([1, 3, 20, 1000]))
    server = Server(data.draw, finds=True, refuses_duplicates=False, faults=faults, lag=0.0)
    played = run(rules(), server.answer, random)

    assert len(server.commits) <= 1
    assert_told(played, server)


@given(st.data(), st.randoms(use_true_random=False))
def test_with_trust_a_result_follows_when_faults_stop(data: st.DataObject, random: Random) -> None:
    lag = data.draw(st.sampled_from([0.0, 5.0]))
    server = Server(data.draw, finds=True, refuses_duplicates=True, faults=2, lag=lag)
    played = run(rules(), server.answer, random)

    if not server.refused:
        assert played.end is TASK
        assert len(server.commits) == 1


@given(st.data(), st.randoms(use_true_random=False))
def test_resend_makes_two_tasks_at_most(data: st.DataObject, random: Random) -> None:
    server = Server(data.draw, finds=False, refuses_duplicates=False, faults=20, lag=0.0)
    known = rules(answers_look_ups=False, trusts_not_found=False, resend=True)
    played = run(known, server.answer, random)

    assert len(server.commits) <= 2
    assert_told(played, server)


def assert_told(played: Played, server: Server) -> None:
    """A task that exists is returned, or its id is in the error."""
    if isinstance(played.end, SubmissionUnknown):
        assert played.end.external_task_id == ID
    elif not isinstance(played.end, TaskState | DuplicateTaskId):
        assert not server.commits
