"""Providers put replies in context, and no reply, however odd, gives another exception."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import (
    APIError,
    AuthenticationError,
    BadEnvelope,
    CometAPI,
    Gateway,
    KlingAI,
    KlingError,
    Provider,
)
from kling_async._exchange import Reply
from kling_async.providers._base import is_expired_token
from tests.wire import answer, headers, json_bodies, json_values, kling, statuses

KEY = "sk-the-key-of-the-test"
PROVIDERS = [CometAPI(KEY), KlingAI(KEY), Gateway("https://host.example", KEY)]


@pytest.fixture(params=PROVIDERS, ids=lambda provider: provider.name)
def provider(request: pytest.FixtureRequest) -> Provider:
    assert isinstance(request.param, Provider)
    return request.param


def error_of(provider: Provider, reply: Reply) -> KlingError:
    """What reading the reply as a task raises."""
    with pytest.raises(KlingError) as caught:
        provider.read_task(reply)
    return caught.value


def test_task_is_read(provider: Provider) -> None:
    assert provider.read_task(answer(kling({"task_id": "7"}))).id == "7"


def test_page_is_read(provider: Provider) -> None:
    states = provider.read_page(answer(kling([{"task_id": "7"}])))

    assert [state.id for state in states] == ["7"]


@pytest.mark.parametrize(
    "reply",
    [
        answer({"code": 1303, "message": "no"}, 429),
        answer(b"<html>", 502),
        answer(kling({})),
    ],
    ids=["refused", "html", "no task"],
)
def test_error_names_the_provider(provider: Provider, reply: Reply) -> None:
    assert error_of(provider, reply).provider == provider.name
    with pytest.raises(KlingError) as caught:
        provider.read_page(reply)
    assert caught.value.provider == provider.name


def test_bad_envelope_names_the_address(provider: Provider) -> None:
    error = error_of(provider, answer(b"<html>"))

    assert isinstance(error, BadEnvelope)
    assert f"{provider.base_url} is being asked" in str(error)


@pytest.mark.parametrize(
    ("one", "variable"),
    [(CometAPI(KEY), "COMETAPI_KEY"), (KlingAI(KEY), "KLINGAI_ACCESS_KEY")],
    ids=["cometapi", "klingai"],
)
def test_refused_key_names_its_variable(one: Provider, variable: str) -> None:
    error = error_of(one, answer({"code": 1002, "message": "no"}, 401))

    assert isinstance(error, AuthenticationError)
    assert variable in str(error)


def test_gateways_key_has_no_variable() -> None:
    gateway = Gateway("https://host.example", KEY)

    assert str(error_of(gateway, answer({"code": 1002, "message": "no"}, 401))).endswith(
        "Check the key."
    )


def test_error_hides_where_it_was_raised_first(provider: Provider) -> None:
    error = error_of(provider, answer(b"<html>"))

    assert error.__cause__ is None
    assert error.__suppress_context__


@pytest.mark.parametrize(("code", "expired"), [(1003, True), (1004, True), (1002, False)])
def test_expired_token_is_told_by_its_code(code: int, expired: bool) -> None:
    assert is_expired_token(APIError(code=code)) is expired


def test_only_a_servers_word_expires_a_token() -> None:
    assert not is_expired_token(KlingError(code=1004))


@given(st.sampled_from(PROVIDERS), statuses, headers, st.binary() | st.text().map(str.encode))
def test_any_bytes_are_survived(
    provider: Provider, status: int, header: dict[str, str], content: bytes
) -> None:
    assert_read(provider, Reply(status, header, content))


@given(st.sampled_from(PROVIDERS), statuses, headers, json_values | json_bodies)
def test_any_json_is_survived(
    provider: Provider, status: int, header: dict[str, str], body: object
) -> None:
    assert_read(provider, Reply(status, header, json.dumps(body).encode()))


@given(st.sampled_from(PROVIDERS), json_bodies.map(kling) | st.lists(json_bodies).map(kling))
def test_any_task_is_survived(provider: Provider, body: dict[str, object]) -> None:
    assert_read(provider, answer(body))


def assert_read(provider: Provider, reply: Reply) -> None:
    """Both readers give states or raise what is told of them."""
    try:
        assert provider.read_task(reply).id
    except KlingError as error:
        str(error)
    try:
        provider.read_page(reply)
    except KlingError as error:
        str(error)
