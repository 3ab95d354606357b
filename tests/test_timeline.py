"""What was in flight, drawn as bars or as an area on an axis without long pauses."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from kling_async._histogram import histogram
from kling_async._span import spoken, step_of
from kling_async._timeline import MOST_BARS, Axis, Bar, peak, timeline

DAY = 86_400.0


def bars(*spans: tuple[float, float], kind: str = "done") -> list[Bar]:
    return [Bar(start, end, kind, f"<{start}>") for start, end in spans]


def rects(picture: str) -> list[str]:
    return re.findall(r"<rect[^>]*>", picture)


def numbers(name: str, picture: str) -> list[float]:
    return [float(each) for each in re.findall(rf' {name}="([\d.]+)%?"', " ".join(rects(picture)))]


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "0 s"),
        (0.034, "34 ms"),
        (0.9999, "1 s"),
        (3.44, "3.4 s"),
        (9.99, "10 s"),
        (59.7, "1 m"),
        (118, "1 m 58 s"),
        (3599.6, "1 h"),
        (7500, "2 h 5 m"),
        (2 * DAY + 3 * 3600, "2 d 3 h"),
    ],
)
def test_spans_are_spoken_in_two_parts(seconds: float, words: str) -> None:
    assert spoken(seconds) == words


def test_steps_are_those_people_count_in() -> None:
    assert [step_of(least) for least in (0.0004, 0.3, 7, 61, 5000)] == [0.001, 0.5, 10, 120, 7200]
    assert step_of(2.5 * DAY) == 3 * DAY


def test_bars_share_lanes_where_they_can() -> None:
    picture = timeline(bars((0, 10), (0, 5), (5, 10), (6, 6)))

    assert len(rects(picture)) == 4
    assert len(set(numbers("y", picture))) == 3
    assert numbers("x", picture) == [0, 0, 50, 60]
    assert "&lt;0&gt;" in picture
    assert "4 attempts" in picture


def test_very_many_at_once_stay_small() -> None:
    picture = timeline(bars(*[(0.0, 9.0)] * MOST_BARS))

    assert len(set(numbers("y", picture))) == MOST_BARS
    assert float(re.findall(r'width="100%" height="(\d+)"', picture)[0]) < 300


def test_peak_counts_what_overlaps() -> None:
    assert peak(bars((0, 5), (5, 9), (3, 4))) == 2
    assert peak(bars((7, 7))) == 1


def test_long_pauses_are_cut_out() -> None:
    axis = Axis([(0, 100), (50, 200), (DAY, DAY + 200)])

    assert axis.stretches == [(0, 200), (DAY, DAY + 200)]
    assert [round(axis.place(each)) for each in (0, 200, 5000, DAY, DAY + 200)] == [
        0,
        49,
        49,
        51,
        100,
    ]
    assert "23 h 56 m without work" in "".join(axis.draw(100))


def test_short_pauses_are_not() -> None:
    assert len(Axis([(0, 100), (109, 200)]).stretches) == 1


def test_labels_do_not_run_into_each_other() -> None:
    spans = [(day * DAY, day * DAY + 60) for day in range(40)]
    places = re.findall(r'<text[^>]* x="([\d.]+)%"', "".join(Axis(spans).draw(100)))

    apart = [float(after) - float(before) for before, after in pairwise(places)]
    assert 1 < len(places) < 7
    assert min(apart) > 15


def test_hundreds_become_an_area_of_their_mean_number() -> None:
    spans = [(float(each), each + 10.0) for each in range(5 * MOST_BARS)]
    picture = timeline([*bars(*spans), *bars((0.0, 2000.0), kind="failed")])

    assert not rects(picture)
    assert re.findall(r'<path class="(\w+)"', picture) == ["open", "failed", "done"]
    assert '<text class="axis" x="0" y="10">11</text>' in picture
    assert len(picture) < 60_000


def test_area_of_instants_is_flat() -> None:
    picture = timeline(bars(*[(0.0, 0.0)] * (MOST_BARS + 1)))

    assert 'd=""' in picture


def test_nothing_is_drawn_of_nothing() -> None:
    assert timeline([]) == histogram("Time", []) == ""


def test_histogram_counts_each_length_once() -> None:
    figure = histogram("Time <taken>", [60.0, 61, 62, 90, 119], "and a note")
    counts = [int(each) for each in re.findall(r"<title>[^<]* to [^<]*: (\d+)</title>", figure)]

    assert sum(counts) == 5
    assert "half within 1 m 2 s, 95 % within 1 m 59 s, longest 1 m 59 s; and a note" in figure
    assert "Time &lt;taken&gt;" in figure
    assert "beyond" not in figure


def test_outliers_share_the_last_bar() -> None:
    figure = histogram("Lag", [*(each / 100 for each in range(500)), 86_400])

    assert figure.count('class="beyond"') == 1
    assert "to more: " in figure
    assert len(rects(figure)) < 40


def test_equal_lengths_are_one_bar_of_many() -> None:
    figure = histogram("Lag", [0.0] * 9)

    (width,) = numbers("width", figure)
    assert width < 11
