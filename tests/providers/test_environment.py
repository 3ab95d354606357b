"""Without a provider, the client takes the one whose key stands in the environment."""

from __future__ import annotations

import pytest

from kling_async import CometAPI, ConfigurationError, Kling, KlingAI, Provider

COMET = {"COMETAPI_KEY": "comet-key"}
KEY = {"KLINGAI_API_KEY": "api-key"}
PAIR = {
    "KLINGAI_ACCESS_KEY": "access-key",
    "KLINGAI_SECRET_KEY": "secret-key-of-32-letters-or-more",
}


def provider(monkeypatch: pytest.MonkeyPatch, environ: dict[str, str]) -> Provider:
    """The provider of a client in such an environment."""
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    return Kling().provider


@pytest.mark.parametrize(
    ("environ", "kind", "secret"),
    [
        (COMET, CometAPI, "comet-key"),
        (COMET | KEY, CometAPI, "comet-key"),
        (COMET | PAIR, CometAPI, "comet-key"),
        (COMET | KEY | PAIR, CometAPI, "comet-key"),
        (KEY, KlingAI, "api-key"),
        (KEY | PAIR, KlingAI, "api-key"),
        (PAIR, KlingAI, "secret-key-of-32-letters-or-more"),
        ({"COMETAPI_KEY": ""} | KEY, KlingAI, "api-key"),
        ({"KLINGAI_API_KEY": ""} | PAIR, KlingAI, "secret-key-of-32-letters-or-more"),
        ({"COMETAPI_KEY": " comet-key\n"}, CometAPI, "comet-key"),
    ],
)
def test_first_key_found_decides(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], kind: type[Provider], secret: str
) -> None:
    found = provider(monkeypatch, environ)

    assert type(found) is kind
    assert found.secrets() == (secret,)


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        ({}, "no key found: set COMETAPI_KEY, or KLINGAI_API_KEY, or KLINGAI_ACCESS_KEY and"),
        ({"COMETAPI_KEY": "  "}, "the CometAPI key is empty"),
        ({"KLINGAI_ACCESS_KEY": "mine"}, "secret_key is empty"),
        ({"KLINGAI_SECRET_KEY": "mine"}, "access_key is empty"),
    ],
    ids=["nothing", "blank", "access only", "secret only"],
)
def test_incomplete_environment_is_explained(
    monkeypatch: pytest.MonkeyPatch, environ: dict[str, str], reason: str
) -> None:
    with pytest.raises(ConfigurationError, match=reason):
        provider(monkeypatch, environ)


def test_missing_key_points_to_the_emulator() -> None:
    with pytest.raises(ConfigurationError) as caught:
        Kling()

    assert "python -m kling_async.emulator" in str(caught.value)


def test_given_provider_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMETAPI_KEY", "comet-key")

    assert Kling(KlingAI("api-key")).provider.name == "klingai"
