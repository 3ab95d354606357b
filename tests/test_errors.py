"""Every error says who said no, how, and what to do, and survives the way to another process."""

from __future__ import annotations

import builtins
import copy
import pickle
import re
from typing import Any

import pytest

import kling_async
from kling_async import (
    AnswerLost,
    APIError,
    BadEnvelope,
    ConfigurationError,
    KlingError,
    RateLimited,
    RequestRefused,
    TaskTimeout,
    _errors,
)

ERRORS: list[type[KlingError]] = [
    thing
    for thing in vars(_errors).values()
    if isinstance(thing, type) and issubclass(thing, KlingError)
]
LEAVES = [error for error in ERRORS if not error.__subclasses__()]
# Their messages are advice themselves: they say what to give instead.
SELF_EXPLAINING = {"ConfigurationError", "RequestRefused", "MediaError", "TransportError"}
CONTEXT: dict[str, Any] = {
    "code": 1303,
    "status": 429,
    "request_id": "req-1",
    "provider": "klingai",
    "advice": "Ask again.",
}
OWN: dict[str, dict[str, Any]] = {
    "RequestRefused": {"field": "prompt"},
    "BadEnvelope": {"body": b"<html>"},
    "APIError": {"raw": {"code": 1303}},
    "RateLimited": {"retry_after": 7.5, "raw": {"code": 1303}},
    "ServerError": {"retry_after": 7.5, "raw": {"code": 5000}},
    "TaskError": {"task_id": "7", "external_task_id": "ka-7", "token": "klingai/text2video/7"},
}


def made(kind: type[KlingError]) -> KlingError:
    """One with every attribute set."""
    own: dict[str, Any] = {}
    for parent in reversed(kind.__mro__):
        own |= OWN.get(parent.__name__, {})
    return kind("it went wrong", **own, **CONTEXT)


@pytest.fixture(params=ERRORS, ids=lambda kind: kind.__name__)
def error(request: pytest.FixtureRequest) -> KlingError:
    return made(request.param)


def test_error_survives_pickling(error: KlingError) -> None:
    error.add_note("a note")
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is type(error)
    assert vars(again) == vars(error)
    assert (str(again), again.args) == (str(error), error.args)


def test_error_survives_copying(error: KlingError) -> None:
    for again in (copy.copy(error), copy.deepcopy(error)):
        assert type(again) is type(error)
        assert vars(again) == vars(error)
        assert (str(again), again.args) == (str(error), error.args)


def test_bare_error_survives_pickling(error: KlingError) -> None:
    again = pickle.loads(pickle.dumps(type(error)()))

    assert vars(again) == vars(type(error)())


def test_error_is_documented_and_public(error: KlingError) -> None:
    assert type(error).__doc__
    assert getattr(kling_async, type(error).__name__) is type(error)


def test_text_holds_all_that_is_known(error: KlingError) -> None:
    assert str(error) == ("request req-1: it went wrong (code 1303, HTTP 429, klingai). Ask again.")


def test_text_of_a_bare_message_is_the_message() -> None:
    assert str(KlingError("it went wrong.")) == "it went wrong."


def test_empty_code_is_left_out() -> None:
    assert str(KlingError("no", code="", status=500)) == "no (HTTP 500)"


def test_code_zero_is_told() -> None:
    assert str(KlingError("no", code=0)) == "no (code 0)"


@pytest.mark.parametrize("kind", LEAVES, ids=lambda kind: kind.__name__)
def test_leaf_ends_in_advice(kind: type[KlingError]) -> None:
    text = str(kind("it went wrong"))

    assert kind.advice or kind.__name__ in SELF_EXPLAINING
    assert text.endswith(kind.advice)


def test_one_full_stop_stands_before_the_advice() -> None:
    assert str(KlingError("it failed. ", advice="Try again.")) == "it failed. Try again."


def test_ancestors_are_the_standard_ones() -> None:
    assert issubclass(TaskTimeout, TimeoutError)
    assert issubclass(RequestRefused, ValueError)
    assert issubclass(ConfigurationError, ValueError)


def test_only_those_have_standard_ancestors() -> None:
    standard = (ValueError, OSError, LookupError, RuntimeError, TypeError)
    having = {kind.__name__ for kind in ERRORS if issubclass(kind, standard)}

    refusals = {"ConfigurationError", "RequestRefused", "MediaError", "RequestChanged"}
    assert having == refusals | {"TaskTimeout"}


def test_no_name_hides_a_builtin() -> None:
    assert not {kind.__name__ for kind in ERRORS} & set(dir(builtins))


def test_drawn_tree_is_the_real_one() -> None:
    drawn, parent = {"KlingError": "KlingError"}, "KlingError"
    for line in re.findall(r"^ {2,}\S.*", _errors.__doc__ or "", re.MULTILINE):
        names = re.findall(r"\b[A-Z]\w+[a-z]\w*", re.split(r"(?<=\w) {2,}|\(", line)[0])
        if line.strip().startswith("x "):
            parent = names[0]
            drawn[parent] = "KlingError"
        else:
            drawn |= dict.fromkeys(names, parent)

    assert set(drawn) == {kind.__name__ for kind in ERRORS}
    for name, above in drawn.items():
        assert issubclass(getattr(_errors, name), getattr(_errors, above))


def test_body_of_a_bad_envelope_is_cut() -> None:
    assert len(BadEnvelope("no", body=b"x" * 10_000).body) == 2000


def test_attributes_default_to_none() -> None:
    known = RateLimited("no")

    assert (known.code, known.status, known.request_id, known.provider) == (None,) * 4
    assert (known.raw, known.retry_after) == (None, None)


def test_advice_of_one_error_is_its_own() -> None:
    AnswerLost("no", advice="Wait.")

    assert AnswerLost("no").advice == AnswerLost.advice
    assert APIError("no", advice="").advice == ""
