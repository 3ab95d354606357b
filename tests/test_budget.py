"""A budget counts what is in flight, and is corrected by what tasks really cost."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from kling_async import Avatar, ConfigurationError, RequestRefused, Text2Video
from kling_async._budget import Budget

BOAT = Text2Video(prompt="A boat")
SPEAKER = Avatar(image="https://cdn.example/face.png", sound_file="https://cdn.example/hi.mp3")


def test_price_comes_from_the_list() -> None:
    assert Budget().estimate(BOAT) == 1


def test_own_price_beats_the_list() -> None:
    assert Budget(price=2.5).estimate(BOAT) == Decimal("2.5")
    assert Budget(price=lambda request: "0.3").estimate(SPEAKER) == Decimal("0.3")


def test_request_without_a_price_is_refused_under_a_budget() -> None:
    assert Budget().estimate(SPEAKER) is None
    with pytest.raises(RequestRefused, match="avatar: no list prices.*price=3.5"):
        Budget(100).estimate(SPEAKER)


@pytest.mark.parametrize("bad", [-1, float("nan"), float("inf"), "much", None])
def test_what_is_no_number_of_units_is_refused(bad: Any) -> None:
    with pytest.raises(ConfigurationError, match="give units"):
        Budget(price=lambda request: bad).estimate(BOAT)
    if bad is not None:
        with pytest.raises(ConfigurationError, match="budget is"):
            Budget(bad)


def test_room_counts_what_is_in_flight() -> None:
    budget = Budget(2)

    assert [budget.take(Decimal(1)) for _ in range(3)] == [True, True, False]
    assert (budget.spent, budget.in_flight) == (Decimal(2), 2)


def test_end_of_a_task_corrects_its_estimate() -> None:
    budget = Budget(2)
    budget.take(Decimal(2))
    budget.settle(Decimal(2), Decimal("0.5"))

    assert (budget.spent, budget.in_flight) == (Decimal("0.5"), 0)


def test_estimate_stands_where_nobody_tells() -> None:
    budget = Budget(2)
    budget.take(Decimal(2))
    budget.settle(Decimal(2), None)

    assert budget.spent == 2


def test_task_of_an_earlier_run_is_counted_already() -> None:
    budget = Budget(2)
    budget.spent = Decimal(2)
    budget.resume()
    budget.settle(Decimal(2), Decimal(1))

    assert (budget.spent, budget.in_flight) == (Decimal(1), 0)


def test_without_a_limit_there_is_always_room() -> None:
    budget = Budget()

    assert budget.take(None)
    assert budget.take(Decimal(10**9))
