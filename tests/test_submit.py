"""One intent becomes one task, or an error that says which id to look for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async import (
    AnswerLost,
    AuthenticationError,
    BadEnvelope,
    BalanceExhausted,
    ConnectFailed,
    DuplicateTaskId,
    InvalidRequest,
    KlingError,
    ParallelLimit,
    RateLimited,
    Retries,
    ServerError,
    SubmissionUnknown,
    TaskNotFound,
    TaskState,
    TaskStatus,
)
from kling_async._submit import Ask, Move, Outcome, Pause, Rules, Send, submission

ID = "ka-7"
TASK = TaskState("7", TaskStatus.SUBMITTED, external_task_id=ID)
LOST, BUSY, OFFLINE = AnswerLost("lost"), ParallelLimit("busy", code=1303), ConnectFailed("no")
EMPTY = BalanceExhausted("empty", code=1102)
REFUSED, ABSENT = InvalidRequest("no", code=1201), TaskNotFound("absent", code=1201)
TAKEN = DuplicateTaskId("External_task_id ka-7 already exists", code=1201)
DOWN = ServerError("down", code=5000, status=500)
WIRE = 120.0


def rules(**changes: Any) -> Rules:
    """The official server's, unless changed: look-ups work and duplicates are refused."""
    known: dict[str, Any] = {"answers_look_ups": True, "trusts_not_found": True}
    known["retries"] = Retries(look_ups=4)
    return Rules(external_task_id=ID, on_the_wire=WIRE, **(known | changes))


TRUSTED = rules()
DOUBTED = rules(trusts_not_found=False)
BLIND = rules(answers_look_ups=False, trusts_not_found=False)


@dataclass
class Played:
    """How a protocol went."""

    moves: list[Move] = field(default_factory=list[Move])
    end: TaskState | KlingError | None = None

    @property
    def shape(self) -> str:
        """S for each send, A for each look-up, P for each pause, W for one as long as the wire."""
        long = Pause(WIRE)
        return "".join("W" if move == long else type(move).__name__[0] for move in self.moves)


def play(known: Rules, *answers: Outcome, seed: int = 1) -> Played:
    """Run the protocol against prepared answers to its sends and look-ups."""
    left = list(answers)
    played = run(known, lambda move: None if isinstance(move, Pause) else left.pop(0), Random(seed))

    assert not left
    return played


def run(known: Rules, answer: Callable[[Move], Outcome], random: Random) -> Played:
    """Run the protocol against anything that answers."""
    protocol, played, outcome = submission(known, random), Played(), None
    try:
        while True:
            move = protocol.send(outcome)
            played.moves.append(move)
            outcome = answer(move)
    except StopIteration as done:
        played.end = done.value
    except KlingError as error:
        played.end = error
    return played


# The paths of the drawing


@pytest.mark.parametrize(
    ("known", "answers", "shape"),
    [
        (TRUSTED, [TASK], "S"),
        (TRUSTED, [BUSY, TASK], "SPS"),
        (TRUSTED, [BUSY, RateLimited(code=1302), OFFLINE, TASK], "SPSPSPS"),
        (TRUSTED, [ServerError(code=5001), TASK], "SPS"),
        (TRUSTED, [TAKEN, TASK], "SA"),
        (TRUSTED, [TAKEN, ABSENT, TASK], "SAPA"),
        (TRUSTED, [TAKEN, LOST, TASK], "SAPA"),
        (TRUSTED, [LOST, TASK], "SA"),
        (TRUSTED, [LOST, DOWN, LOST, BadEnvelope(), TASK], "SAPAPAPA"),
        (TRUSTED, [LOST, ABSENT, TASK], "SAWA"),
        (TRUSTED, [LOST, ABSENT, ABSENT, TASK], "SAWAS"),
        (TRUSTED, [LOST, ABSENT, ABSENT, LOST, TASK], "SAWASA"),
        (TRUSTED, [LOST, ABSENT, ABSENT, TAKEN, TASK], "SAWASA"),
        (TRUSTED, [LOST, ABSENT, ABSENT, BUSY, TASK], "SAWASPS"),
        (DOUBTED, [LOST, ABSENT, TASK], "SAWA"),
        (DOUBTED, [TAKEN, TASK], "SA"),
        (rules(trusts_not_found=False, resend=True), [LOST, ABSENT, ABSENT, TASK], "SAWAS"),
        (rules(answers_look_ups=False, trusts_not_found=False, resend=True), [LOST, TASK], "SS"),
        (BLIND, [BUSY, TASK], "SPS"),
    ],
)
def test_path_leads_to_the_task(known: Rules, answers: list[Outcome], shape: str) -> None:
    played = play(known, *answers)

    assert played.end is TASK
    assert played.shape == shape


@pytest.mark.parametrize(
    ("known", "answers", "shape"),
    [
        (BLIND, [LOST], "S"),
        (BLIND, [DOWN], "S"),
        (BLIND, [BadEnvelope(status=502)], "S"),
        (BLIND, [BUSY, LOST], "SPS"),
        (DOUBTED, [LOST, ABSENT, ABSENT], "SAWA"),
        (DOUBTED, [LOST, AuthenticationError(code=1002)], "SA"),
        (DOUBTED, [LOST, RateLimited(retry_after=3600.0)], "SA"),
        (TRUSTED, [LOST, LOST, LOST, LOST, LOST], "SAPAPAPA"),
        (TRUSTED, [LOST, ABSENT, LOST, LOST, LOST, LOST], "SAWAPAPAPA"),
        (TRUSTED, [LOST, ABSENT, ABSENT, TAKEN, ABSENT, ABSENT, ABSENT, ABSENT], "SAWASAPAPAPA"),
        (TRUSTED, [LOST, ABSENT, ABSENT, REFUSED], "SAWAS"),
        (rules(answers_look_ups=False, trusts_not_found=False, resend=True), [LOST, LOST], "SS"),
        (rules(answers_look_ups=False, trusts_not_found=False, resend=True), [LOST, TAKEN], "SS"),
        (
            rules(answers_look_ups=False, trusts_not_found=False, resend=True),
            [LOST, BalanceExhausted(code=1102)],
            "SS",
        ),
        (
            rules(answers_look_ups=False, trusts_not_found=False, resend=True),
            [LOST, OFFLINE, OFFLINE, OFFLINE],
            "SSPSPS",
        ),
    ],
)
def test_doubt_ends_as_unknown(known: Rules, answers: list[Outcome], shape: str) -> None:
    played = play(known, *answers)

    assert isinstance(played.end, SubmissionUnknown)
    assert played.end.external_task_id == ID
    assert played.shape == shape


@pytest.mark.parametrize(
    ("known", "answers", "shape"),
    [
        (TRUSTED, [REFUSED], "S"),
        (TRUSTED, [BadEnvelope(status=404)], "S"),
        (TRUSTED, [OFFLINE, OFFLINE, OFFLINE], "SPSPS"),
        (TRUSTED, [RateLimited(retry_after=121.0)], "S"),
        (TRUSTED, [BUSY, REFUSED], "SPS"),
        (BLIND, [TAKEN], "S"),
        (TRUSTED, [TAKEN, ABSENT, ABSENT, ABSENT, ABSENT], "SAPAPAPA"),
    ],
)
def test_refusal_is_raised_as_it_came(known: Rules, answers: list[Outcome], shape: str) -> None:
    played = play(known, *answers)

    assert played.end in answers
    assert played.shape == shape


def test_connections_are_counted_in_a_row() -> None:
    played = play(TRUSTED, OFFLINE, OFFLINE, BUSY, BUSY, BUSY, OFFLINE, OFFLINE, TASK)

    assert played.end is TASK


def test_pause_is_as_long_as_the_server_says() -> None:
    played = play(TRUSTED, RateLimited(retry_after=30.0), TASK)
    pause = played.moves[1]

    assert isinstance(pause, Pause)
    assert 30 <= pause.seconds <= 31


def test_server_busy_for_ever_is_given_up() -> None:
    known = rules(retries=Retries(busy=600.0))
    played = run(known, lambda move: None if isinstance(move, Pause) else BUSY, Random(1))
    waited = sum(move.seconds for move in played.moves if isinstance(move, Pause))

    assert played.end is BUSY
    assert 600 <= waited <= 660


def test_resends_are_bounded() -> None:
    known = rules(retries=Retries(resends=2))
    played = run(known, lambda move: LOST if isinstance(move, Send) else ABSENT, Random(1))

    assert isinstance(played.end, SubmissionUnknown)
    assert played.shape == "SAWASAWASAWA"


def test_no_look_ups_allowed_leaves_it_unknown() -> None:
    assert isinstance(play(rules(retries=Retries(look_ups=0)), LOST).end, SubmissionUnknown)


def test_trust_without_look_ups_sends_nothing_again() -> None:
    assert isinstance(play(rules(answers_look_ups=False), LOST).end, SubmissionUnknown)


def test_unknown_says_what_was_lost() -> None:
    lost = ServerError("it broke", code=5000, status=500, request_id="r-1", provider="klingai")
    error = play(BLIND, lost).end

    assert isinstance(error, SubmissionUnknown)
    assert error.__cause__ is lost
    assert str(error).startswith("request r-1: the create left and its answer was lost (it broke);")
    assert "external_task_id ka-7 (code 5000, HTTP 500, klingai)" in str(error)


def test_unknown_after_a_second_send_says_how_that_went() -> None:
    known = rules(answers_look_ups=False, trusts_not_found=False, resend=True)
    error = play(known, LOST, BalanceExhausted("empty", code=1102)).end

    assert isinstance(error, SubmissionUnknown)
    assert error.__notes__[0].startswith("Sent again, it was refused: empty (code 1102).")


# It always ends

FAILURES: list[KlingError] = [
    LOST,
    BUSY,
    OFFLINE,
    REFUSED,
    ABSENT,
    TAKEN,
    DOWN,
    ServerError(code=5001),
    BadEnvelope(status=200),
    BadEnvelope(status=301),
    RateLimited(retry_after=0.0),
    RateLimited(retry_after=0.001),
    RateLimited(retry_after=120.0),
    AuthenticationError(code=1004),
]


@pytest.mark.parametrize("resend", [False, True])
@pytest.mark.parametrize("known", [(True, True), (True, False), (False, False)])
@settings(deadline=None)  # an hour of refusals is thousands of moves
@given(st.lists(st.sampled_from(FAILURES), min_size=1, max_size=6), st.randoms())
def test_failing_for_ever_ends(
    known: tuple[bool, bool], resend: bool, failures: list[KlingError], random: Random
) -> None:
    answers, trusts = known
    turn = iter(range(100_000))
    played = run(
        rules(answers_look_ups=answers, trusts_not_found=trusts, resend=resend),
        lambda move: None if isinstance(move, Pause) else failures[next(turn) % len(failures)],
        random,
    )

    assert isinstance(played.end, KlingError)
    assert len(played.moves) < 20_000


# Against a server that does its worst


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
    played = run(TRUSTED, server.answer, random)

    assert len(server.commits) <= 1
    assert_told(played, server)


@given(st.data(), st.randoms(use_true_random=False))
def test_misplaced_trust_makes_no_two_tasks(data: st.DataObject, random: Random) -> None:
    """That duplicates are refused is inferred for /v1: waiting for the wire must do alone."""
    faults = data.draw(st.sampled_from([1, 3, 20, 1000]))
    server = Server(data.draw, finds=True, refuses_duplicates=False, faults=faults, lag=0.0)
    played = run(TRUSTED, server.answer, random)

    assert len(server.commits) <= 1
    assert_told(played, server)


@given(st.data(), st.randoms(use_true_random=False))
def test_with_trust_a_result_follows_when_faults_stop(data: st.DataObject, random: Random) -> None:
    lag = data.draw(st.sampled_from([0.0, 5.0]))
    server = Server(data.draw, finds=True, refuses_duplicates=True, faults=2, lag=lag)
    played = run(TRUSTED, server.answer, random)

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


def test_moves_are_values() -> None:
    assert (Send(), Ask(), Pause(1.0)) == (Send(), Ask(), Pause(1.0))
