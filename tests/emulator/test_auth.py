"""Keys and signed tokens are checked, and each server words its refusal."""

from __future__ import annotations

import jwt
import pytest

from kling_async.emulator import Emulator
from tests.emulator.conftest import client

NOW = 1_800_000_000
SECRET = "a secret key of at least thirty-two bytes"
T2V = "/v1/videos/text2video"


def token(secret: str = SECRET, **claims: object) -> str:
    times = {"iss": "ak", "exp": NOW + 1800, "nbf": NOW - 5}
    return jwt.encode({**times, **claims}, secret, algorithm="HS256")


def emulator(keys: list[str] | None = None) -> Emulator:
    return Emulator(wall=lambda: NOW, access_keys={"ak": SECRET}, keys=keys)


async def refusal(emulator: Emulator, authorization: str | None) -> tuple[int, int]:
    headers = {} if authorization is None else {"Authorization": authorization}
    async with client(emulator, "https://api.klingai.com") as http:
        del http.headers["Authorization"]
        answer = await http.post(T2V, json={"prompt": "x"}, headers=headers)
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("header", [None, "", "Bearer", "Bearer "])
async def test_absent_key_is_1001(header: str | None) -> None:
    assert await refusal(Emulator(), header) == (401, 1001)


async def test_other_schemes_are_1002() -> None:
    assert await refusal(Emulator(), "Basic key") == (401, 1002)


async def test_any_key_is_good_unless_keys_are_named() -> None:
    assert await refusal(Emulator(), "Bearer whatever") == (200, 0)
    assert await refusal(Emulator(keys=["good"]), "Bearer whatever") == (401, 1002)
    assert await refusal(Emulator(keys=["good"]), "Bearer good") == (200, 0)


async def test_signed_token_names_the_account() -> None:
    server = emulator(keys=["good"])

    assert await refusal(server, f"Bearer {token()}") == (200, 0)
    assert await refusal(server, "Bearer good") == (200, 0)
    assert [entry.account for entry in server.ledger] == ["ak", "good"]


@pytest.mark.parametrize(
    ("bad", "code"),
    [
        (token("another secret key, no shorter than it"), 1000),
        (token(iss="stranger"), 1000),
        ("garbage", 1002),
        ("one.dot", 1002),
        ("a.b.c", 1002),
        (token(exp="soon"), 1002),
        (token(exp=None), 1002),
        (token(nbf=NOW + 1), 1003),
        (token(exp=NOW), 1004),
    ],
)
async def test_bad_token_is_refused_by_its_fault(bad: str, code: int) -> None:
    assert await refusal(emulator(), f"Bearer {bad}") == (401, code)


async def test_garbage_is_told_as_the_live_server_tells_it() -> None:
    async with client(emulator(), "https://api.klingai.com") as http:
        answer = await http.get(f"{T2V}/1")

    assert answer.json()["message"] == "The token was expected to have 3 parts, but got 0"


@pytest.mark.parametrize(
    ("base_url", "kind"),
    [
        ("https://api.cometapi.com/kling", "comet_api_error"),
        ("http://gateway/gateway/newapi/kling", "new_api_error"),
        ("http://gateway/gateway/passthrough/kling", "new_api_error"),
    ],
)
async def test_others_refuse_keys_in_their_own_words(base_url: str, kind: str) -> None:
    async with client(emulator(keys=[]), base_url) as http:
        answer = await http.post(T2V, json={"prompt": "x"})

    assert answer.status_code == 401
    assert answer.json()["error"]["type"] == kind
    assert "(request id: " in answer.json()["error"]["message"]
