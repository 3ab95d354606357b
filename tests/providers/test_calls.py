"""Providers say where a call goes, and refuse addresses and keys that cannot be meant."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import CometAPI, ConfigurationError, Gateway, KlingAI, Provider
from kling_async._exchange import Call

KEY = "sk-the-key-of-the-test"
PATH = "/v1/videos/text2video"
ODD = "a b/c?d#e%2F+&=ü\u4e2d\U0001f6a4"

PROVIDERS: dict[str, Callable[[str], Provider]] = {
    "cometapi": lambda url: CometAPI(KEY, base_url=url),
    "klingai": lambda url: KlingAI(KEY, base_url=url),
    "gateway": lambda url: Gateway(url, KEY),
}
PREFIX = {"cometapi": "/kling", "klingai": "", "gateway": "/kling"}


@pytest.fixture(params=PROVIDERS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def provider(name: str) -> Provider:
    return PROVIDERS[name]("https://host.example")


def test_create_posts_the_body(name: str, provider: Provider) -> None:
    body = {"prompt": "A paper boat"}

    assert provider.create(PATH, body) == Call(
        "POST", f"https://host.example{PREFIX[name]}{PATH}", body
    )


def test_query_gets_the_tasks_own_path(name: str, provider: Provider) -> None:
    url = f"https://host.example{PREFIX[name]}{PATH}/8668"

    assert provider.query(PATH, "8668") == Call("GET", url)


def test_page_is_counted_from_one(name: str, provider: Provider) -> None:
    url = f"https://host.example{PREFIX[name]}{PATH}?pageNum=1&pageSize=500"

    assert provider.page(PATH, 1, 500) == Call("GET", url)


@pytest.mark.parametrize(
    "url",
    [
        "https://host.example/",
        "https://host.example///",
        " https://host.example\n",
    ],
    ids=repr,
)
def test_slash_and_space_around_the_address_are_dropped(name: str, url: str) -> None:
    assert PROVIDERS[name](url).base_url == "https://host.example"


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1:8080",
        "http://[::1]:8080",
        "HTTPS://host.example",
        "https://host.example/proxy/v2",
        "https://höst.example",
    ],
)
def test_unusual_address_is_kept(name: str, url: str) -> None:
    call = PROVIDERS[name](f"{url}/").query(PATH, "7")

    assert call.url == f"{url}{PREFIX[name]}{PATH}/7"


def test_odd_id_stays_one_segment(provider: Provider) -> None:
    segment = urlsplit(provider.query(PATH, ODD).url).path.rpartition("/")[2]

    assert segment.isascii()
    assert unquote(segment) == ODD


@given(st.text(min_size=1))
def test_any_id_comes_back_from_its_segment(task_id: str) -> None:
    parts = urlsplit(CometAPI(KEY).query(PATH, task_id).url)

    assert unquote(parts.path.rpartition("/")[2]) == task_id
    assert (parts.query, parts.fragment) == ("", "")


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("", "no URL"),
        ("host.example", "no URL"),
        ("ftp://host.example", "no URL"),
        ("//host.example", "no URL"),
        ("file:///etc/passwd", "no URL"),
        (KEY, "no URL"),
        ("https://", "names no host"),
        ("https:///v1", "names no host"),
        ("https://:443", "names no host"),
        ("https://host.example:0", "port 0"),
        ("https://host.example:99999", "Port out of range"),
        ("https://host.example:https", "Port could not be cast"),
        ("https://[::1", "Invalid IPv6"),
        ("https://me:secret@host.example", "user name or password"),
        ("https://@host.example", "user name or password"),
        ("https://host.example?a=b", "holds [?] or #"),
        ("https://host.example/?", "holds [?] or #"),
        ("https://host.example#", "holds [?] or #"),
        ("https://host .example", "white space"),
        ("https://host.example\n/v1", "white space"),
        ("https://host.example\\v1", "backslash"),
    ],
)
def test_impossible_address_is_refused(name: str, url: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        PROVIDERS[name](url)

    assert KEY not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_key_in_place_of_the_address_is_not_repeated() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Gateway(KEY, "https://host.example")

    assert KEY not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        ("", "is empty"),
        (" \r\n", "is empty"),
        ("sk-the key", "white space"),
        ("sk-the\nkey", "white space"),
        ("sk-the\x00key", "white space"),
        ("sk-the-kéy", "characters"),
        ("sk-the\u200bkey", "characters"),
    ],
    ids=repr,
)
@pytest.mark.parametrize(
    "made",
    [
        CometAPI,
        KlingAI,
        lambda key: Gateway("https://host.example", key),
        lambda key: KlingAI(access_key=key, secret_key=KEY),
        lambda key: KlingAI(access_key="mine", secret_key=key),
    ],
    ids=["cometapi", "klingai", "gateway", "access_key", "secret_key"],
)
def test_impossible_key_is_refused(made: Callable[[str], Provider], key: str, reason: str) -> None:
    with pytest.raises(ConfigurationError, match=reason) as caught:
        made(key)

    assert not key.strip() or key not in str(caught.value)


def test_missing_key_is_empty() -> None:
    with pytest.raises(ConfigurationError, match="is empty"):
        CometAPI(None)  # type: ignore[arg-type]  # what os.environ.get gives


def test_space_around_a_key_is_dropped() -> None:
    assert CometAPI(f" {KEY}\r\n").authorization(0) == f"Bearer {KEY}"


def test_key_is_sent_as_a_bearer_token(provider: Provider) -> None:
    assert provider.authorization(0) == f"Bearer {KEY}"
    assert provider.secrets() == (KEY,)


def test_plain_key_is_never_renewed(provider: Provider) -> None:
    assert provider.renew() is False


def test_repr_shows_the_address_and_no_key(provider: Provider) -> None:
    assert repr(provider) == f"{type(provider).__name__}(base_url='https://host.example')"


def test_provider_is_not_pickled(provider: Provider) -> None:
    with pytest.raises(TypeError, match="holds a key"):
        pickle.dumps(provider)


def test_call_shows_no_media() -> None:
    call = CometAPI(KEY).create(PATH, {"image": "aGVsbG8="})

    assert "aGVsbG8=" not in repr(call)


@pytest.mark.parametrize(
    ("region", "host"),
    [("global", "api-singapore.klingai.com"), ("china", "api-beijing.klingai.com")],
)
def test_region_chooses_klings_host(region: str, host: str) -> None:
    provider = KlingAI(KEY, region=region)  # type: ignore[arg-type]  # one of the two

    assert provider.query(PATH, "7").url == f"https://{host}{PATH}/7"


def test_unknown_region_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="use global or china"):
        KlingAI(KEY, region="moon")  # type: ignore[arg-type]  # that is the point


def test_cometapi_has_its_own_host() -> None:
    url = CometAPI(KEY).query(PATH, "7").url

    assert url == f"https://api.cometapi.com/kling{PATH}/7"


def test_abilities_are_the_documented_ones() -> None:
    """KLING_API A.0, B.3: CometAPI's are not known, New-API looks up by its own ids only."""
    providers = [CometAPI(KEY), KlingAI(KEY), Gateway("https://host.example", KEY)]

    assert [one.lists for one in providers] == [False, True, False]
    assert [one.finds_external_id for one in providers] == [None, True, False]
    assert [one.refuses_duplicate_ids for one in providers] == [None, True, False]
