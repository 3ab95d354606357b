"""Who is asked about next, and when: every time here is one that the test sets."""

from __future__ import annotations

from dataclasses import replace
from math import inf
from random import Random
from typing import Any

import pytest

from kling_async import ConfigurationError
from kling_async._agenda import Agenda
from kling_async._durations import Durations
from kling_async._job import Ask, Job, Move, Sleep, Sweep
from kling_async._listing import Listing
from kling_async._polling import Polling
from kling_async._schedule import Schedule

PATH = "/v1/videos/text2video"
PLAIN = Polling(jitter=0)


def schedule(polling: Polling = PLAIN, *, durations: Durations | None = None) -> Schedule:
    known = Durations() if durations is None else durations
    return Schedule(polling, Random(1), lists=False, durations=known)


def job(number: int = 1, *, born: float | None = 0.0, callback: bool = False) -> Job:
    return Job(str(number), PATH, "t2v", born=born, callback=callback)


def watching(*jobs: Job, now: float = 0.0, polling: Polling = PLAIN) -> Schedule:
    it = schedule(polling)
    for each in jobs:
        it.watch(each, now)
    return it


def learned(*seconds: float) -> Durations:
    durations = Durations()
    for each in seconds or [100.0] * 20:
        durations.observe("t2v", each)
    return durations


def moves(it: Schedule, now: float) -> list[Move]:
    """All that is to be done now, and is under way from then on."""
    found: list[Move] = []
    while not isinstance(move := it.next(now), Sleep):
        found.append(move)
    return found


def questions(it: Schedule, until: float, now: float = 0.0) -> list[float]:
    """When questions are asked, if every answer comes at once and says "running"."""
    times: list[float] = []
    while now <= until:
        match it.next(now):
            case Ask(asked):
                times.append(now)
                it.answered(asked, now, ended=False)
            case Sleep(float(wake)):
                now = wake
            case _:
                break
    return times


def test_nothing_learned_asks_every_interval() -> None:
    assert questions(watching(job()), until=20) == [5, 10, 15, 20]


def test_interval_counts_from_the_answer() -> None:
    asked = job()
    it = watching(asked)
    it.next(5)

    it.answered(asked, 5.75, ended=False)

    assert questions(it, until=11, now=5.75) == [10.75]


def test_growth_gives_exponential_questions() -> None:
    polling = Polling(jitter=0, learn=False, growth=2, interval=1, max_interval=30)

    assert questions(watching(job(), polling=polling), until=91) == [1, 3, 7, 15, 31, 61, 91]


def test_learned_kind_is_asked_at_the_guards_and_from_its_early_end_on() -> None:
    it = schedule(durations=learned())
    it.watch(job(), 0)

    assert questions(it, until=110) == [10, 25, 100, 105, 110]


def test_guards_past_the_early_end_are_left_out() -> None:
    it = schedule(durations=learned(*[12.0] * 20))
    it.watch(job(), 0)

    assert questions(it, until=20) == [10, 12, 17]


def test_late_task_is_asked_ever_less_often() -> None:
    it = schedule(replace(PLAIN, max_interval=8), durations=learned())
    it.watch(job(), 0)

    asked = questions(it, until=190)

    assert asked[-6:] == [150, 155, 161.25, 169.0625, 177.0625, 185.0625]


def test_learning_can_be_turned_off() -> None:
    it = schedule(replace(PLAIN, learn=False), durations=learned())
    it.watch(job(), 0)

    assert questions(it, until=15) == [5, 10, 15]


def test_kind_learned_meanwhile_changes_the_next_pause() -> None:
    durations = Durations()
    it = schedule(durations=durations)
    it.watch(job(), 0)
    assert questions(it, until=5) == [5]

    for _ in range(20):
        durations.observe("t2v", 100)

    assert questions(it, until=30, now=5)[:2] == [10, 25]


def test_burst_is_spread_by_its_first_question() -> None:
    it = watching(*map(job, range(1000)), polling=Polling(max_polls_at_once=1000))

    times = questions(it, until=6)

    assert len(times) == 1000
    assert len(set(times)) > 990
    assert 5 <= min(times) < 5.1 < 5.9 < max(times) <= 6


def test_task_of_unknown_age_is_asked_at_once_and_as_not_learned() -> None:
    it = schedule(durations=learned())
    it.watch(job(born=None), 7)

    assert questions(it, until=20, now=7) == [7, 12, 17]


def test_old_task_that_may_have_ended_is_asked_at_once() -> None:
    it = schedule(durations=learned())
    it.watch(job(born=0), 1000)

    assert questions(it, until=1000, now=1000) == [1000]


def test_old_task_that_cannot_have_ended_is_not() -> None:
    it = schedule(durations=learned())
    it.watch(job(born=0), 40)

    assert questions(it, until=100, now=40) == [100]


def test_callback_leaves_a_safety_net() -> None:
    assert questions(watching(job(callback=True)), until=300) == [60, 120, 195, 288.75]


def test_callback_of_a_learned_kind_waits_for_its_late_end() -> None:
    it = schedule(durations=learned())
    it.watch(job(callback=True), 0)

    assert questions(it, until=200) == [100, 160]


def test_finished_task_teaches_the_middle_of_what_was_seen() -> None:
    durations = Durations()
    it = schedule(durations=durations)
    for _ in range(20):
        seen = job()
        it.watch(seen, 0)
        it.next(10)
        it.answered(seen, 10, ended=False)
        it.next(20)
        it.finished(seen, 20)
        it.answered(seen, 20, ended=True)

    assert durations.quantile("t2v", 0.5) == 15


def test_finished_task_teaches_what_the_server_says() -> None:
    durations = Durations()
    it = schedule(durations=durations)
    for _ in range(20):
        it.finished(job(born=None), 20, took=12.5)

    assert durations.quantile("t2v", 0.5) == 12.5


def test_finished_task_of_unknown_age_teaches_nothing() -> None:
    durations = Durations()
    for _ in range(20):
        schedule(durations=durations).finished(job(born=None), 20)

    assert durations.quantile("t2v", 0.5) is None


def test_hastened_task_is_asked_at_that_time() -> None:
    hurried = job()
    it = watching(hurried)

    it.hasten(hurried, 2, 0)

    assert questions(it, until=8) == [2, 7]


def test_deadline_past_the_next_question_is_kept() -> None:
    hurried = job()
    it = watching(hurried)

    it.hasten(hurried, 7, 0)

    assert questions(it, until=15) == [5, 7, 12]


def test_haste_never_puts_off() -> None:
    hurried = job()
    it = watching(hurried)
    it.hasten(hurried, 2, 0)

    it.hasten(hurried, 100, 0)

    assert questions(it, until=2) == [2]


def test_callback_during_a_question_asks_again() -> None:
    hurried = job()
    it = watching(hurried)
    it.next(5)

    it.hasten(hurried, 5.1, 5.1)

    assert moves(it, 5.1) == []
    it.answered(hurried, 5.2, ended=False)
    assert moves(it, 5.2) == [Ask(hurried)]


def test_called_back_task_goes_before_a_backlog() -> None:
    backlog = [job(number) for number in range(50)]
    it = watching(*backlog, polling=replace(PLAIN, max_polls_at_once=1))

    it.hasten(backlog[-1], 100, 100)

    assert it.next(100) == Ask(backlog[-1])


def test_bound_holds_until_an_answer() -> None:
    jobs = [job(number) for number in range(5)]
    it = watching(*jobs, polling=replace(PLAIN, max_polls_at_once=2))

    assert moves(it, 5) == [Ask(jobs[0]), Ask(jobs[1])]
    assert it.next(5) == Sleep(None)
    it.answered(jobs[0], 5.2, ended=True)
    assert moves(it, 5.2) == [Ask(jobs[2])]


def test_longest_due_goes_first() -> None:
    late, later = job(1, born=0), job(2, born=1)
    it = schedule()
    it.watch(later, 1)
    it.watch(late, 1)

    assert moves(it, 100) == [Ask(late), Ask(later)]


def test_nothing_watched_sleeps_without_end() -> None:
    assert schedule().next(0) == Sleep(None)


def test_unwatched_task_is_not_asked() -> None:
    gone, kept = job(1), job(2)
    it = watching(gone, kept)

    it.unwatch(gone)

    assert moves(it, 5) == [Ask(kept)]
    assert len(it) == 1


def test_task_unwatched_while_it_is_asked_is_gone() -> None:
    gone = job()
    it = watching(gone)
    it.next(5)

    it.unwatch(gone)
    it.answered(gone, 5.2, ended=False)

    assert it.next(1000) == Sleep(None)


def test_task_watched_again_while_it_is_asked_is_not_asked_twice() -> None:
    again = job()
    it = watching(again)
    it.next(5)
    it.unwatch(again)

    it.watch(again, 5.1)

    assert moves(it, 100) == []
    it.answered(again, 100, ended=False)
    assert questions(it, until=105, now=100) == [105]


def test_failed_question_is_repeated_ever_later() -> None:
    failing = job()
    it = watching(failing)
    pauses: list[float] = []
    now = 5.0
    for _ in range(6):
        assert moves(it, now) == [Ask(failing)]
        it.failed(Ask(failing), now)
        assert isinstance(sleep := it.next(now), Sleep)
        assert sleep.until is not None
        pauses.append(sleep.until - now)
        now += 100

    ceilings = [5, 10, 20, 40, 60, 60]
    assert all(c / 2 - 0.1 <= pause <= c for pause, c in zip(pauses, ceilings, strict=True))


def test_failure_of_one_does_not_hold_up_another() -> None:
    failing, healthy = job(1), job(2, born=0.5)
    it = watching(failing, healthy)
    it.next(5)

    it.failed(Ask(failing), 5, hint=100)

    assert questions(it, until=20, now=5) == [5.5, 10.5, 15.5]


def test_failure_of_the_whole_pauses_all() -> None:
    jobs = [job(number) for number in range(3)]
    it = watching(*jobs)
    it.next(5)

    it.failed(Ask(jobs[0]), 5, whole=True)
    it.hasten(jobs[1], 5, 5)

    assert isinstance(sleep := it.next(5), Sleep)
    assert sleep.until is not None
    assert 5.5 <= sleep.until <= 6


@pytest.mark.parametrize(("hint", "least"), [(30, 30), (120, 120), (9999, 120)])
def test_hint_of_the_server_beats_the_formula(hint: float, least: float) -> None:
    failing = job()
    it = watching(failing)
    it.next(5)

    it.failed(Ask(failing), 5, hint=hint, whole=True)

    assert isinstance(sleep := it.next(5), Sleep)
    assert sleep.until is not None
    assert least <= sleep.until - 5 <= least + 1


def test_failures_of_one_moment_count_once() -> None:
    jobs = [job(number) for number in range(20)]
    it = watching(*jobs)
    under_way = moves(it, 5)

    for move in under_way:
        assert isinstance(move, Ask)
        it.failed(move, 5, whole=True)

    assert isinstance(sleep := it.next(5), Sleep)
    assert sleep.until is not None
    assert sleep.until <= 6


def test_fewer_feel_their_way_until_one_is_answered() -> None:
    jobs = [job(number) for number in range(100)]
    it = watching(*jobs)
    first = moves(it, 5)
    for move in first:
        assert isinstance(move, Ask)
        it.failed(move, 5, whole=True)

    assert len(first) == 20
    feelers = moves(it, 100)
    assert len(feelers) == 10
    assert isinstance(feelers[0], Ask)
    it.answered(feelers[0].job, 100, ended=False)
    assert len(moves(it, 100)) == 11


@pytest.mark.parametrize(
    "wrong",
    [
        {"interval": 0},
        {"interval": float("nan")},
        {"sweep_interval": -1},
        {"max_interval": 4.9},
        {"growth": 0.5},
        {"jitter": -0.1},
        {"max_polls_at_once": 0},
        {"guards": (10, 0)},
        {"timeout": -1},
        {"not_found_grace": float("inf")},
    ],
    ids=str,
)
def test_wrong_setting_is_named(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        Polling(**wrong)


def test_waiting_for_ever_is_a_setting() -> None:
    assert Polling(timeout=None).timeout is None
    assert Polling(timeout=inf).timeout == inf


def test_watched_twice_is_watched_once() -> None:
    boat = job()
    watched = watching(boat)
    watched.watch(boat, 0)

    assert len(watched) == 1


def test_agenda_forgets_the_times_of_what_was_taken_out() -> None:
    agenda = Agenda()
    stays = job()
    agenda.add(stays, 1000)
    for second in range(300):
        goes = job(second)
        agenda.add(goes, second)
        agenda.discard(goes)

    assert agenda.pop(999) is None
    assert agenda.pop(1000) is stays


def test_page_that_comes_after_the_list_was_closed_is_ignored() -> None:
    listing = Listing(PATH, Polling())
    listing.close()
    listing.shown(Sweep(PATH, 1, 30), 1, [])
    listing.lost(1, blameless=True)

    assert listing.due == inf


def test_hint_of_a_later_failure_lengthens_the_pause() -> None:
    first, second = job(1), job(2)
    watched = watching(first, second)
    moves = [watched.next(10), watched.next(10)]
    assert all(isinstance(move, Ask) for move in moves)
    watched.failed(Ask(first), 10, whole=True)
    watched.failed(Ask(second), 10, hint=30, whole=True)
    pause = watched.next(10)

    assert isinstance(pause, Sleep)
    assert pause.until is not None
    assert pause.until >= 40
