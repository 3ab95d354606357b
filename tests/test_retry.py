"""A create is sent again only where the first certainly made nothing."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import (
    AnswerLost,
    APIError,
    AuthenticationError,
    BadEnvelope,
    BalanceExhausted,
    ConfigurationError,
    ConnectFailed,
    ContentRejected,
    DuplicateTaskId,
    InvalidRequest,
    KlingError,
    NotServed,
    ParallelLimit,
    PermissionDenied,
    RateLimited,
    ServerError,
    TaskNotFound,
    TransportError,
)
from kling_async._retry import created_nothing, is_transient, next_delay

TRANSIENT: list[KlingError] = [
    ConnectFailed(),
    AnswerLost(),
    TransportError(),
    BadEnvelope(),
    BadEnvelope(status=502),
    BadEnvelope(status=404),
    RateLimited(code=1302),
    RateLimited(retry_after=0.0),
    RateLimited(retry_after=120.0),
    ParallelLimit(code=1303),
    ServerError(code=5000),
    ServerError(code=5001),
    ServerError(code=5002, retry_after=120.0),
]
PERMANENT: list[KlingError] = [
    AuthenticationError(code=1002),
    BalanceExhausted(code=1102),
    PermissionDenied(code=1304),
    InvalidRequest(code=1201),
    DuplicateTaskId(code=1201),
    ContentRejected(code=1301),
    TaskNotFound(code=1201),
    NotServed(),
    ConfigurationError(),
    APIError(code=9999),
    KlingError(),
    RateLimited(retry_after=121.0),
    ParallelLimit(retry_after=1e300),
    ServerError(retry_after=3600.0),
]
# KLING_API D.1, "write safety", and DESIGN 4.
CREATED_NOTHING: list[KlingError] = [
    ConnectFailed(),
    ConfigurationError(),
    AuthenticationError(code=1004, status=401),
    PermissionDenied(code=1100, status=429),
    BalanceExhausted(code=1102, status=429),
    InvalidRequest(code=1201, status=400),
    InvalidRequest(code="invalid_request", status=500),
    ContentRejected(code=1301, status=400),
    TaskNotFound(code=1201, status=400),
    RateLimited(code=1302, status=429),
    ParallelLimit(code=1303, status=429),
    ServerError(code=5001, status=503),
    NotServed(),
    APIError(code=1000, status=200),
    APIError(code=1999, status=200),
    BadEnvelope(status=301),
    BadEnvelope(status=308),
    BadEnvelope(status=404),
    BadEnvelope(status=405),
    BadEnvelope(status=413),
]
MAY_HAVE_CREATED: list[KlingError] = [
    AnswerLost(),
    TransportError(),
    KlingError(),
    DuplicateTaskId(code=1201, status=400),
    ServerError(code=5000, status=500),
    ServerError(code=5002, status=504),
    ServerError(status=502),
    ServerError(status=503),
    ServerError(status=524),
    ServerError(code="do_request_failed", status=500),
    ServerError(code="5001", status=503),
    APIError(code=999, status=200),
    APIError(code=2000, status=200),
    APIError(code=9999, status=200),
    APIError(code="1201", status=200),
    APIError(status=200),
    BadEnvelope(),
    BadEnvelope(status=200),
    BadEnvelope(status=400),
    BadEnvelope(status=408),
    BadEnvelope(status=500),
    BadEnvelope(status=502),
    BadEnvelope(status=504),
]


def named(error: KlingError) -> str:
    """A parameter's name in the report."""
    hint = getattr(error, "retry_after", None)
    return f"{type(error).__name__} {error.code} {error.status} {hint}"


@pytest.mark.parametrize("error", TRANSIENT, ids=named)
def test_passing_trouble_is_transient(error: KlingError) -> None:
    assert is_transient(error)


@pytest.mark.parametrize("error", PERMANENT, ids=named)
def test_lasting_refusal_is_not_transient(error: KlingError) -> None:
    assert not is_transient(error)


@pytest.mark.parametrize("error", CREATED_NOTHING, ids=named)
def test_refusal_created_nothing(error: KlingError) -> None:
    assert created_nothing(error)


@pytest.mark.parametrize("error", MAY_HAVE_CREATED, ids=named)
def test_doubt_is_never_taken_for_nothing(error: KlingError) -> None:
    assert not created_nothing(error)


@given(st.integers(0, 10**6), st.randoms(use_true_random=False))
def test_delay_grows_up_to_the_limit(failures: int, random: Random) -> None:
    delay = next_delay(failures, random=random, base=2.0, limit=30.0)
    ceiling = min(30.0, 2.0 * 2.0 ** min(failures, 30))

    assert ceiling / 2 <= delay <= ceiling


@given(st.floats(0.001, 120), st.randoms(use_true_random=False))
def test_hint_is_never_undercut(hint: float, random: Random) -> None:
    delay = next_delay(9, random=random, hint=hint)

    assert hint + 0.5 <= delay <= hint + 1


def test_hint_of_zero_does_not_hammer() -> None:
    assert next_delay(5, random=Random(1), hint=0.0) >= 16


def test_delay_is_spread() -> None:
    random = Random(1)
    delays = {next_delay(3, random=random) for _ in range(100)}

    assert len(delays) == 100
