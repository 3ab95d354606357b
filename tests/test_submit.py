"""One intent becomes one task, or an error that says which id to look for."""

from __future__ import annotations

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kling_async import (
    AuthenticationError,
    BadEnvelope,
    BalanceExhausted,
    KlingError,
    RateLimited,
    Retries,
    ServerError,
    SubmissionUnknown,
)
from kling_async._submit import Ask, Outcome, Pause, Rules, Send
from tests.protocol_player import (
    ABSENT,
    BUSY,
    DOWN,
    ID,
    LOST,
    OFFLINE,
    REFUSED,
    TAKEN,
    TASK,
    WIRE,
    play,
    rules,
    run,
)

TRUSTED = rules()
DOUBTED = rules(trusts_not_found=False)
BLIND = rules(answers_look_ups=False, trusts_not_found=False)
DARING = rules(answers_look_ups=False, trusts_not_found=False, resend=True)


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
        (DARING, [LOST, TASK], "SS"),
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
        (DARING, [LOST, LOST], "SS"),
        (DARING, [LOST, TAKEN], "SS"),
        (DARING, [LOST, BalanceExhausted(code=1102)], "SS"),
        (DARING, [LOST, OFFLINE, OFFLINE, OFFLINE], "SSPSPS"),
    ],
)
def test_doubt_ends_as_unknown(known: Rules, answers: list[Outcome], shape: str) -> None:
    played = play(known, *answers)

    assert isinstance(played.end, SubmissionUnknown)
    assert played.end.external_task_id == ID
    assert played.shape == shape


def test_refusal_of_the_second_create_is_told_with_the_doubt_about_the_first() -> None:
    played = play(TRUSTED, LOST, ABSENT, ABSENT, BUSY, REFUSED)

    assert isinstance(played.end, SubmissionUnknown)
    assert f"sent again, it was refused: {REFUSED.message}" in str(played.end)


def test_duplicate_after_a_trusted_not_found_is_in_doubt_again() -> None:
    played = play(TRUSTED, LOST, ABSENT, ABSENT, TAKEN, *[ABSENT] * 4)

    assert isinstance(played.end, SubmissionUnknown)


@pytest.mark.parametrize(
    ("known", "answers", "shape"),
    [
        (TRUSTED, [REFUSED], "S"),
        (TRUSTED, [BadEnvelope(status=404)], "S"),
        (TRUSTED, [OFFLINE, OFFLINE, OFFLINE], "SPSPS"),
        (TRUSTED, [RateLimited(retry_after=121.0)], "S"),
        (TRUSTED, [BUSY, REFUSED], "SPS"),
        (BLIND, [TAKEN], "S"),
        (TRUSTED, [TAKEN, ABSENT, ABSENT, ABSENT], "SAPAPA"),
    ],
)
def test_refusal_is_raised_as_it_came(known: Rules, answers: list[Outcome], shape: str) -> None:
    played = play(known, *answers)

    assert played.end in answers
    assert played.shape == shape


# Ids of the caller's own are asked for first


@pytest.mark.parametrize(
    ("known", "answers", "shape"),
    [
        (TRUSTED, [TASK], "A"),
        (TRUSTED, [ABSENT, TASK], "AS"),
        (TRUSTED, [DOWN, LOST, ABSENT, TASK], "APAPAS"),
        (TRUSTED, [ABSENT, TAKEN, TASK], "ASA"),
        (TRUSTED, [ABSENT, BUSY, TASK], "ASPS"),
        (TRUSTED, [ABSENT, LOST, ABSENT, ABSENT, TASK], "ASAWAS"),
        (DOUBTED, [TASK], "A"),
        (DOUBTED, [ABSENT, LOST, TASK], "ASA"),
        (BLIND, [TASK], "S"),
        (rules(retries=Retries(look_ups=0)), [TASK], "S"),
    ],
)
def test_own_id_is_looked_up_first(known: Rules, answers: list[Outcome], shape: str) -> None:
    played = play(replace(known, asks_first=True), *answers)

    assert played.end is TASK
    assert played.shape == shape


@pytest.mark.parametrize(
    ("answers", "shape"),
    [
        ([AuthenticationError(code=1002)], "A"),
        ([RateLimited(retry_after=3600.0)], "A"),
        ([LOST, DOWN, BUSY, LOST], "APAPAPA"),
    ],
)
def test_own_id_that_cannot_be_looked_up_is_not_sent(answers: list[Outcome], shape: str) -> None:
    played = play(rules(asks_first=True), *answers)

    assert played.end is answers[-1]
    assert played.shape == shape


# An earlier process may have sent it


@pytest.mark.parametrize(
    ("known", "answers", "shape"),
    [
        (TRUSTED, [TASK], "A"),
        (TRUSTED, [LOST, TASK], "APA"),
        (TRUSTED, [ABSENT, TASK], "APA"),
        (TRUSTED, [ABSENT, ABSENT, TASK], "APAS"),
        (TRUSTED, [ABSENT, ABSENT, LOST, ABSENT, ABSENT, TASK], "APASAWAS"),
        (rules(asks_first=True), [ABSENT, ABSENT, TASK], "APAS"),
        (DOUBTED, [ABSENT, TASK], "APA"),
        (DARING, [TASK], "S"),
    ],
)
def test_create_of_an_earlier_process_is_looked_for(
    known: Rules, answers: list[Outcome], shape: str
) -> None:
    played = play(replace(known, left_before=50.0), *answers)

    assert played.end is TASK
    assert played.shape == shape
    if shape.startswith("APA") and answers[0] is ABSENT:
        assert played.pauses[0] == WIRE - 50


@pytest.mark.parametrize(("known", "answers"), [(BLIND, []), (DOUBTED, [ABSENT, ABSENT])])
def test_create_of_an_earlier_process_stays_unknown(known: Rules, answers: list[Outcome]) -> None:
    played = play(replace(known, left_before=0.0), *answers)

    assert isinstance(played.end, SubmissionUnknown)
    assert played.end.external_task_id == ID
    assert "stopped before the answer" in str(played.end)
    assert "S" not in played.shape


@pytest.mark.parametrize(("ago", "shape"), [(WIRE - 1, "APAS"), (WIRE, "AS"), (1e9, "AS")])
def test_wire_is_waited_for_only_while_it_lasts(ago: float, shape: str) -> None:
    assert play(rules(left_before=ago), *[ABSENT] * shape.count("A"), TASK).shape == shape


def test_clock_set_back_waits_no_longer_than_the_wire() -> None:
    assert play(rules(left_before=-1e6), ABSENT, TASK).shape == "AWA"


# Pauses


def test_connections_are_counted_in_a_row() -> None:
    played = play(TRUSTED, OFFLINE, OFFLINE, BUSY, BUSY, BUSY, OFFLINE, OFFLINE, TASK)

    assert played.end is TASK


def test_pause_is_as_long_as_the_server_says() -> None:
    played = play(TRUSTED, RateLimited(retry_after=30.0), TASK)
    pause = played.moves[1]

    assert isinstance(pause, Pause)
    assert 30 <= pause.seconds <= 31


def test_pause_between_look_ups_is_as_long_as_the_server_says() -> None:
    played = play(TRUSTED, LOST, RateLimited(retry_after=30.0), TASK)

    assert 30 <= played.pauses[0] <= 31


@pytest.mark.parametrize(
    ("answers", "first"),
    [
        ([BUSY] * 6, 1),
        ([LOST] * 6, 1),  # a create and five look-ups
        ([TAKEN, ABSENT, ABSENT], 2),
    ],
)
@pytest.mark.parametrize("seed", range(5))
def test_pauses_double(answers: list[Outcome], first: int, seed: int) -> None:
    played = play(rules(retries=Retries(look_ups=7)), *answers, TASK, seed=seed)
    ceilings = [first * 2**turn for turn in range(len(played.pauses))]

    assert len(ceilings) == (5 if LOST in answers else len(answers) - (TAKEN in answers))
    for pause, ceiling in zip(played.pauses, ceilings, strict=True):
        assert ceiling / 2 <= pause <= ceiling


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
    assert "sent again, it was refused: empty" in str(error)


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


def test_moves_are_values() -> None:
    assert (Send(), Ask(), Pause(1.0)) == (Send(), Ask(), Pause(1.0))
