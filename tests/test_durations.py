"""Finished tasks teach how long the next ones take."""

from __future__ import annotations

from math import inf, nan

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async._durations import Durations


def observed(*seconds: float, kind: str = "t2v") -> Durations:
    durations = Durations()
    for each in seconds:
        durations.observe(kind, each)
    return durations


def test_nineteen_tasks_teach_nothing() -> None:
    durations = observed(*[100.0] * 19)

    assert durations.quantile("t2v", 0.5) is None
    assert durations.span("t2v") is None


def test_twenty_tasks_are_enough() -> None:
    durations = observed(*[100.0] * 20)

    assert durations.quantile("t2v", 0.5) == 100
    assert durations.span("t2v") == (100, 100)


def test_kinds_are_apart() -> None:
    durations = observed(*[100.0] * 20)
    for _ in range(20):
        durations.observe("tts", 4.0)

    assert durations.quantile("tts", 0.5) == 4
    assert durations.quantile("t2v", 0.5) == 100
    assert durations.quantile("avatar", 0.5) is None


def test_fifty_new_tasks_outweigh_a_hundred_and_fifty_old() -> None:
    durations = observed(*[100.0] * 150, *[200.0] * 50)

    assert durations.quantile("t2v", 0.6) == 200


def test_two_hundred_new_tasks_replace_all_old() -> None:
    durations = observed(*[100.0] * 500, *[200.0] * 200)

    assert durations.quantile("t2v", 0.0) == 200


@pytest.mark.parametrize("nonsense", [nan, inf, -inf, -1.0, 86_401.0])
def test_nonsense_is_passed_over(nonsense: float) -> None:
    durations = observed(*[100.0] * 19, nonsense)

    assert durations.quantile("t2v", 0.5) is None


def test_answer_follows_each_observation() -> None:
    durations = observed(*[100.0] * 20)
    assert durations.quantile("t2v", 0.0) == 100

    durations.observe("t2v", 10.0)

    span = durations.span("t2v")
    assert span is not None
    assert 10 < span[0] < 100 == span[1]


def test_least_recently_fed_kinds_are_forgotten() -> None:
    durations = observed(*[100.0] * 20, kind="first")
    for number in range(255):
        durations.observe(number, 1.0)
    durations.observe("first", 100.0)

    durations.observe("one more", 1.0)

    assert len(durations) == 256
    assert durations.quantile("first", 0.5) == 100


@given(st.lists(st.floats(0, 86_400), min_size=20, max_size=250))
def test_quantiles_rise_and_stay_within_what_was_seen(seconds: list[float]) -> None:
    durations = observed(*seconds)

    found = [durations.quantile("t2v", q / 10) for q in range(11)]

    quantiles = [each for each in found if each is not None]
    assert len(quantiles) == 11
    assert all(low <= high + 1e-6 for low, high in zip(quantiles, quantiles[1:], strict=False))
    assert min(seconds) <= quantiles[0]
    assert quantiles[-1] <= max(seconds[-200:])
