"""A server that repeats the key never gets it into a state, an error or a traceback."""

from __future__ import annotations

import copy
import html
import json
import pickle
import re
from collections.abc import Callable
from traceback import TracebackException
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import (
    BadEnvelope,
    CometAPI,
    ConfigurationError,
    Gateway,
    KlingAI,
    KlingError,
    Provider,
)
from kling_async._exchange import Reply
from kling_async.providers._base import _spellings
from tests.wire import answer, kling

KEY = "sk-Kq7/wE+r9=Tz&4<Xp>'\"\\uM-3_a"
# Long enough for HS256; half of Kling's characters need an escape somewhere.
SECRET = "of/32+letters=and&more<is>better"


def every_character_escaped(text: str) -> str:
    """The text as an eager JSON writer writes it."""
    return "".join(f"\\u{ord(character):04X}" for character in text)


def eager_html(text: str) -> str:
    """The text as an eager HTML writer writes it."""
    return "".join(f"&#x{ord(character):x};" for character in text)


def gson(text: str) -> str:
    """The text as Java's Gson writes it."""
    return re.sub("[<>&='\"\\\\]", lambda found: f"\\u{ord(found[0]):04x}", text)


def lower_percent(text: str) -> str:
    """The text as a URL's part, its escapes in lower case."""
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), quote(text, safe=""))


def eager_percent(text: str) -> str:
    """The text as an eager URL writer writes it."""
    return "".join(f"%{ord(character):02x}" for character in text)


def backslashes(text: str) -> str:
    """The text as some shells and loggers quote it; this is no JSON."""
    return "".join(f"\\{character}" for character in text)


WRITERS: dict[str, Callable[[str], str]] = {
    "plain": str,
    "json": lambda text: json.dumps(text)[1:-1],
    "json with slashes": lambda text: json.dumps(text)[1:-1].replace("/", "\\/"),
    "json twice": lambda text: json.dumps(json.dumps(text)[1:-1])[1:-1],
    "eager json": every_character_escaped,
    "gson": gson,
    "gson twice": lambda text: json.dumps(gson(text))[1:-1],
    "percent": lambda text: quote(text, safe=""),
    "percent but slashes": quote,
    "lower percent": lower_percent,
    "eager percent": eager_percent,
    "html": html.escape,
    "eager html": eager_html,
}

PROVIDERS: dict[str, tuple[Provider, str]] = {
    "cometapi": (CometAPI(KEY), KEY),
    "klingai": (KlingAI(KEY), KEY),
    "gateway": (Gateway("https://host.example", KEY), KEY),
    "key pair": (KlingAI(access_key="the-access-key", secret_key=SECRET), SECRET),
}


@pytest.fixture(params=PROVIDERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def shown(error: BaseException) -> str:
    """All that anybody may ever see of an error."""
    frames = error.__traceback__
    while frames is not None and frames.tb_frame.f_code.co_filename == __file__:
        frames = frames.tb_next  # the tests' own variables
    lines = TracebackException(type(error), error, frames, capture_locals=True).format()
    return "".join([*lines, str(error), repr(error), repr(vars(error)), repr(error.args)])


def errors_of(provider: Provider, reply: Reply) -> list[KlingError]:
    """What both readers raise."""
    errors: list[KlingError] = []
    for read in (provider.read_task, provider.read_page):
        with pytest.raises(KlingError) as caught:
            read(reply)
        errors.append(caught.value)
    return errors


def is_in(secret: str, text: str) -> bool:
    """Whether the secret can be read out of the text, be it escaped by Python's repr."""
    return any(written in text for written in (secret, repr(secret)[1:-1], quote(secret, safe="")))


@pytest.mark.parametrize("writer", WRITERS)
def test_repeated_key_stays_out_of_errors(name: str, writer: str) -> None:
    provider, secret = PROVIDERS[name]
    key = WRITERS[writer](secret)
    contents = [
        f'{{"code":1002,"message":"bad key {key}","request_id":"req-1"}}',
        f'{{"error":{{"message":"bad key {key}","code":""}}}}',
        f'{{"code":1002,"message":"no","debug":["{key}",{{"{key}":"{key}"}}]}}',
        f"<html>bad key {key}</html>",
    ]
    for content in contents:
        for error in errors_of(provider, answer(content.encode(), 401)):
            again = pickle.loads(pickle.dumps(error))
            assert not is_in(secret, shown(error) + shown(again) + shown(copy.copy(error)))


@pytest.mark.parametrize("writer", WRITERS)
def test_repeated_key_stays_out_of_states(name: str, writer: str) -> None:
    provider, secret = PROVIDERS[name]
    key = WRITERS[writer](secret)
    task = f'{{"task_id":"7","task_status":"failed","task_status_msg":"bad {key}","x":"{key}"}}'
    state = provider.read_task(answer(f'{{"code":0,"data":{task}}}'.encode()))
    page = provider.read_page(answer(f'{{"code":0,"data":[{task}]}}'.encode()))

    assert state.message.startswith("bad ")
    for one in (state, *page):
        assert not is_in(secret, repr(one) + repr(one.raw))


@pytest.mark.parametrize("writer", ["plain", "percent", "percent but slashes", "lower percent"])
def test_key_in_a_header_stays_out_of_errors(name: str, writer: str) -> None:
    provider, secret = PROVIDERS[name]
    key = WRITERS[writer](secret)
    reply = Reply(301, {"location": f"https://x.example/?key={key}", "x-request-id": key}, b"<a>")
    refused = Reply(400, reply.headers, b'{"code":1200,"message":"no"}')

    for error in (*errors_of(provider, reply), *errors_of(provider, refused)):
        assert not is_in(secret, shown(error))


def test_repeated_token_stays_out_too() -> None:
    provider, _ = PROVIDERS["key pair"]
    token = provider.authorization(1e9).removeprefix("Bearer ")
    reply = answer({"code": 1002, "message": f"bad token {token}"}, 401)

    for error in errors_of(provider, reply):
        assert token not in shown(error)
        assert "bad token ***" in str(error)


def test_replaced_token_is_still_a_secret() -> None:
    provider = KlingAI(access_key="the-access-key", secret_key=SECRET)
    old = provider.authorization(1e9).removeprefix("Bearer ")
    new = provider.authorization(1e9 + 1750).removeprefix("Bearer ")

    assert old != new
    assert {old, new, SECRET} <= set(provider.secrets())


def test_key_cut_by_nothing_leaves_the_rest_readable() -> None:
    provider, _ = PROVIDERS["cometapi"]
    state = provider.read_task(answer(kling({"task_id": "7", "note": f"<{KEY}> <i>"})))

    assert state.raw["data"] == {"task_id": "7", "note": "<***> <i>"}


@given(
    st.lists(
        st.sampled_from([str, str, str, *WRITERS.values(), backslashes]),
        min_size=len(KEY),
        max_size=len(KEY),
    ),
    st.text(),
)
def test_key_is_found_however_its_characters_are_written(
    writers: list[Callable[[str], str]], rest: str
) -> None:
    provider, _ = PROVIDERS["cometapi"]
    key = "".join(write(character) for write, character in zip(writers, KEY, strict=True))
    reply = Reply(301, {"location": f"/{key}"}, f"<p>{key}{rest}</p>".encode())

    for error in errors_of(provider, reply):
        assert "/***" in str(error)
        assert isinstance(error, BadEnvelope)
        # A backslash that stood before the key is none of it.
        assert error.body.removeprefix(b"<p>").lstrip(b"\\").startswith(b"***")


@pytest.mark.parametrize("name", ["cometapi", "key pair"], ids=str)
def test_ordinary_page_is_not_searched_letter_by_letter(name: str) -> None:
    provider, _ = PROVIDERS[name]
    address = r"https://f.example/a%2Fb.mp4?x=1&Signature=a%3D%3D%20\u4e2d\u003d\/\""
    body = f'{{"code":0,"data":[{{"task_id":"7","url":"{address}"}}]}}'.encode()
    before = _spellings.cache_info()

    page = provider.read_page(answer(body, server="openresty", date="Mon, 01 Jan 2026 00:00:00"))

    assert [state.id for state in page] == ["7"]
    assert _spellings.cache_info() == before


@pytest.mark.parametrize("key", ["0", "code", "data", "task_id", "url", "https"])
def test_short_key_does_not_spoil_the_answer(key: str) -> None:
    state = CometAPI(key).read_task(answer(kling({"task_id": "7", "url": "https://a.example"})))

    assert state.id == "7"
    assert state.raw["data"]["url"] == "https://a.example"


@given(st.binary())
def test_answer_without_the_key_is_not_touched(content: bytes) -> None:
    provider, _ = PROVIDERS["cometapi"]
    with pytest.raises(KlingError) as caught:
        provider.read_task(Reply(500, {}, b"<" + content))

    assert getattr(caught.value, "body", b"<" + content) == (b"<" + content)[:2000]


def test_failure_to_sign_shows_no_key() -> None:
    provider = KlingAI(access_key="the-access-key", secret_key=SECRET)

    with pytest.raises((ValueError, OverflowError)) as caught:
        provider.authorization(float("inf"))

    assert not is_in(SECRET, shown(caught.value))


def test_missing_key_shows_nobody_elses() -> None:
    with pytest.raises(ConfigurationError) as caught:
        KlingAI(KEY, access_key="mine", secret_key=SECRET)

    assert not is_in(SECRET, str(caught.value))
    assert not is_in(KEY, str(caught.value))
