"""Callbacks of both generations are read, and nothing else is."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import CallbackRefused, ConfigurationError, TaskStatus
from kling_async.emulator._callbacks import sign
from kling_async.webhooks import Callback, parse_callback

SECRET = "whsec_dGVzdHNlY3JldHRlc3RzZWNyZXR0ZXN0c2VjcmV0MTI="
OTHER = "whsec_b3RoZXJzZWNyZXRvdGhlcnNlY3JldG90aGVyc2VjcmU="
BODY = b'{"task_id": "7", "task_status": "succeed"}'


def headers(
    secret: str = SECRET, body: bytes = BODY, *, ago: float = 0, message_id: str = "m"
) -> dict[str, str]:
    stamp = str(int(time.time() - ago))
    return {
        "Webhook-Id": message_id,
        "Webhook-Timestamp": stamp,
        "Webhook-Signature": sign(secret, message_id, stamp, body),
    }


def refused(body: bytes, names: dict[str, str] | None = None, **options: Any) -> int | None:
    with pytest.raises(CallbackRefused) as error:
        parse_callback(body, names or {}, **options)
    return error.value.status


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # The fields of /v1 and of API 2.0, as Kling's pages have them (KLING_API E).
        (
            {
                "task_id": "7",
                "task_status": "succeed",
                "task_status_msg": "",
                "task_info": {"external_task_id": "me", "parent_video": {"id": "1"}},
                "created_at": 1722769557708,
                "updated_at": 1722769557708,
                "task_result": {"videos": [{"id": "1", "url": "https://a", "duration": "5"}]},
            },
            Callback("7", TaskStatus.SUCCEEDED, "me"),
        ),
        (
            {
                "id": "7",
                "status": "succeeded",
                "message": "",
                "create_time": 1781080778802,
                "update_time": 1781080794151,
                "external_id": "me",
                "outputs": [],
                "billing": [],
            },
            Callback("7", TaskStatus.SUCCEEDED, "me"),
        ),
        ({"id": "7", "status": "processing"}, Callback("7", TaskStatus.PROCESSING)),
        ({"id": "7", "status": "odd", "external_id": ""}, Callback("7", TaskStatus.UNKNOWN)),
        (
            {"task_id": "7", "task_status": "failed", "task_info": None},
            Callback("7", TaskStatus.FAILED),
        ),
        (
            {"task_id": "7", "task_status": "failed", "task_info": {}},
            Callback("7", TaskStatus.FAILED),
        ),
    ],
)
def test_both_generations_are_read(fields: dict[str, object], expected: Callback) -> None:
    assert parse_callback(json.dumps(fields).encode()) == expected


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"no JSON",
        b"[]",
        b"7",
        b"null",
        b"{}",
        b'{"task_id": "7"}',
        b'{"task_id": "7", "task_status": null}',
        b'{"task_id": "", "task_status": "failed"}',
        b'{"task_id": 7, "task_status": "failed"}',
        b'{"task_id": ["7"], "task_status": "failed"}',
        b'{"id": {"id": "7"}, "status": "failed"}',
        b'{"task_id": "' + b"7" * 600 + b'", "task_status": "failed"}',
        b'{"task_id": "\\ud800", "task_status": "failed"}',
        b'{"task_id": "\xff", "task_status": "failed"}',
        b"[" * 500_000,
        b'{"a":' * 100_000,
        b'{"task_id": "7", "task_status": "failed", "n": ' + b"9" * 900_000,
        b"\x00" * 100,
        b"\xef\xbb\xbf{}",
    ],
    ids=range(20),
)
def test_anything_else_is_a_bad_request(body: bytes) -> None:
    assert refused(body) == 400


FIELDS = ["task_id", "task_status", "task_info", "external_task_id", "id", "status", "external_id"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(FIELDS), inner),
)


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()))
def test_whatever_comes_is_read_or_refused(body: bytes) -> None:
    try:
        callback = parse_callback(body)
    except CallbackRefused as error:
        assert error.status == 400
    else:
        assert callback.task_id


def test_large_body_is_refused_before_it_is_read() -> None:
    assert refused(b" " * 1_000_001) == 413


def test_documented_signature_is_accepted_in_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    body = (
        b'{"id":"1234567890","status":"succeeded","message":"",'
        b'"create_time":1781080778802,"update_time":1781080794151}'
    )
    names = {
        "webhook-id": "9876543210",
        "webhook-timestamp": "1781080794",
        "webhook-signature": "v1,UsKlJP00XoQyOn410NM9xv34sP+Gl0jnOO9Lcpr7NJ4=",
    }
    assert refused(body, names, secrets=[SECRET]) == 401  # it is not that time

    class ThatTime(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(1781080800, UTC)

    monkeypatch.setattr("standardwebhooks.webhooks.datetime", ThatTime)
    assert parse_callback(body, names, secrets=[SECRET]).task_id == "1234567890"


@pytest.mark.parametrize("secrets", [SECRET, [SECRET], [OTHER, SECRET], (SECRET, OTHER)])
def test_any_of_the_secrets_will_do(secrets: Any) -> None:
    assert parse_callback(BODY, headers(), secrets=secrets) == Callback("7", TaskStatus.SUCCEEDED)


def test_two_signatures_of_a_rotation_are_understood() -> None:
    names, other = headers(), headers(OTHER)
    names["Webhook-Signature"] += " " + other["Webhook-Signature"]

    for secret in (OTHER, SECRET):
        assert parse_callback(BODY, names, secrets=[secret]).task_id == "7"


@pytest.mark.parametrize(
    "names",  # made in the test, whose time they tell
    [
        lambda: {},
        lambda: headers(OTHER),
        lambda: headers(ago=600),
        lambda: headers(ago=-600),
        lambda: headers(body=BODY + b" "),
        lambda: {**headers(), "Webhook-Id": "another"},
        lambda: {**headers(), "Webhook-Id": ""},
        lambda: {**headers(), "Webhook-Timestamp": "nan"},
        lambda: {**headers(), "Webhook-Timestamp": "9" * 400},
        lambda: {**headers(), "Webhook-Signature": "v1"},
        lambda: {**headers(), "Webhook-Signature": "v1,ÿ"},
        lambda: {**headers(), "Webhook-Signature": "v1,A"},
        lambda: {**headers(), "Webhook-Signature": "v2,AAAA"},
        lambda: {**headers(), "Webhook-Signature": ",,, v1,"},
        lambda: {**headers(), "Webhook-Id": "ÿ"},
    ],
    ids=range(15),
)
def test_without_a_good_signature_it_is_refused(names: Callable[[], dict[str, str]]) -> None:
    assert refused(BODY, names(), secrets=[SECRET]) == 401


@pytest.mark.parametrize("body", [b"no JSON", b"[" * 500_000], ids=["words", "deep"])
def test_signed_nonsense_is_nonsense(body: bytes) -> None:
    assert refused(body, headers(body=body), secrets=[SECRET]) == 400


@pytest.mark.parametrize(
    "secret", ["", "whsec_", "whsec_hush!", "hush hush", "husch\xff", "hush!==="]
)
def test_secret_that_is_no_base64_is_an_error_that_does_not_show_it(secret: str) -> None:
    with pytest.raises(ConfigurationError, match="Base64") as error:
        parse_callback(BODY, secrets=[secret])

    assert "hus" not in str(error.value)


def test_missing_library_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "standardwebhooks.webhooks", None)

    assert parse_callback(BODY).task_id == "7"
    with pytest.raises(ConfigurationError, match=r'pip install "kling_async\[webhooks\]"'):
        parse_callback(BODY, secrets=[SECRET])


def test_unknown_word_may_say_that_it_has_ended() -> None:
    says = {status: Callback("7", status).says_ended for status in TaskStatus}

    assert says == {
        TaskStatus.SUBMITTED: False,
        TaskStatus.PROCESSING: False,
        TaskStatus.SUCCEEDED: True,
        TaskStatus.FAILED: True,
        TaskStatus.UNKNOWN: True,
    }
