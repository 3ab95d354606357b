"""Kling's own servers: an API key, or a pair of keys that signs short-lived tokens."""

from __future__ import annotations

import sys
from typing import Any

import jwt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import ConfigurationError, KlingAI

ACCESS, SECRET = "the-access-key", "a-secret-key-of-32-letters-or-so"
NOW = 1_800_000_000.0


def claims_of(provider: KlingAI, now: float = NOW) -> dict[str, Any]:
    """What the token says, its signature checked."""
    scheme, _, token = provider.authorization(now).partition(" ")
    assert scheme == "Bearer"
    assert jwt.get_unverified_header(token) == {"alg": "HS256", "typ": "JWT"}
    claims: dict[str, Any] = jwt.decode(
        token, SECRET, algorithms=["HS256"], options={"verify_exp": False, "verify_nbf": False}
    )
    return claims


@pytest.fixture
def pair() -> KlingAI:
    return KlingAI(access_key=ACCESS, secret_key=SECRET)


def test_token_says_what_kling_documents(pair: KlingAI) -> None:
    assert claims_of(pair) == {"iss": ACCESS, "exp": 1_800_001_800, "nbf": 1_799_999_940}


def test_token_outlives_a_clock_that_runs_ahead(pair: KlingAI) -> None:
    assert claims_of(pair)["nbf"] <= NOW - 30


def test_token_is_used_again(pair: KlingAI) -> None:
    assert pair.authorization(NOW) == pair.authorization(NOW + 1679)


def test_token_is_renewed_before_it_expires(pair: KlingAI) -> None:
    claims_of(pair)

    assert claims_of(pair, NOW + 1681)["exp"] == NOW + 1681 + 1800


def test_token_is_renewed_when_the_clock_was_set_back(pair: KlingAI) -> None:
    claims_of(pair)

    assert claims_of(pair, NOW - 3600)["nbf"] == NOW - 3600 - 60


def test_refused_token_is_signed_anew(pair: KlingAI) -> None:
    claims_of(pair)
    renewed = pair.renew()

    assert renewed
    assert claims_of(pair, NOW + 10)["exp"] == NOW + 1810


@given(st.lists(st.floats(1e9, 2e9)))
def test_token_is_always_good_for_two_minutes(moments: list[float]) -> None:
    provider = KlingAI(access_key=ACCESS, secret_key=SECRET)
    for now in moments:
        claims = claims_of(provider, now)

        assert now + 119 <= claims["exp"] <= now + 1800.001
        assert claims["nbf"] <= now


def test_secret_and_token_are_secrets_but_not_the_access_key(pair: KlingAI) -> None:
    token = pair.authorization(NOW).removeprefix("Bearer ")

    assert pair.secrets() == (SECRET, token)


def test_before_the_first_token_only_the_key_is_secret(pair: KlingAI) -> None:
    assert pair.secrets() == (SECRET,)


def test_space_around_the_pair_is_dropped() -> None:
    assert claims_of(KlingAI(access_key=f"{ACCESS}\n", secret_key=f" {SECRET} "))["iss"] == ACCESS


def test_repr_shows_neither_key(pair: KlingAI) -> None:
    assert repr(pair) == "KlingAI(base_url='https://api-singapore.klingai.com')"


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({}, "give an API key, or access_key and secret_key"),
        ({"key": "k", "access_key": ACCESS}, "give an API key, or access_key and secret_key"),
        ({"key": "k", "secret_key": SECRET}, "give an API key, or access_key and secret_key"),
        ({"access_key": ACCESS}, "secret_key is empty"),
        ({"secret_key": SECRET}, "access_key is empty"),
        ({"key": ""}, "the Kling API key is empty"),
    ],
    ids=["none", "key and access", "key and secret", "access only", "secret only", "empty"],
)
def test_half_a_pair_is_refused(arguments: dict[str, str], reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        KlingAI(**arguments)  # type: ignore[arg-type]  # keys only


def test_missing_pyjwt_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)

    with pytest.raises(ConfigurationError, match=r'pip install "kling_async\[jwt\]"'):
        KlingAI(access_key=ACCESS, secret_key=SECRET)


def test_api_key_needs_no_pyjwt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jwt", None)

    assert KlingAI("the-api-key").authorization(NOW) == "Bearer the-api-key"
