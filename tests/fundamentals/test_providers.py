"""Lesson 9: the same code against CometAPI, Kling itself, and gateways."""

from __future__ import annotations

import pytest

from kling_async import (
    CometAPI,
    ConfigurationError,
    Gateway,
    Kling,
    KlingAI,
    Limits,
    NotServed,
    Provider,
    RequestRefused,
    Text2Video,
)
from kling_async.emulator import Emulator

KEY = "a-key-of-mine"
# Most of these have defaults, except at gateways, which want them named.
BOAT = Text2Video(
    prompt="A paper boat", model_name="kling-v1-6", mode="std", duration=5, multi_shot=False
)
PROVIDERS = {
    "CometAPI": CometAPI(KEY),
    "Kling": KlingAI(KEY),
    "Kling in China": KlingAI(KEY, region="china"),
    "Kling by key pair": KlingAI(access_key="mine", secret_key="of-32-letters-and-more-is-better"),
    "New-API": Gateway("https://acme.example/gateway/newapi", KEY),
    "a gateway that hides nothing": Gateway("https://acme.example/gateway/passthrough", KEY),
    "a gateway with shapes of its own": Gateway("https://acme.example/gateway/crazyrouter", KEY),
}


@pytest.mark.parametrize("provider", PROVIDERS.values(), ids=PROVIDERS.keys())
async def test_every_provider_makes_videos(provider: Provider) -> None:
    """One program, whichever of them has your account."""
    emulator = Emulator()
    async with Kling(provider, transport=emulator.transport()) as kling:
        video = await kling.run(BOAT)

    assert video.url


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        (["COMETAPI_KEY"], "cometapi"),
        (["KLINGAI_API_KEY"], "klingai"),
        (["KLINGAI_ACCESS_KEY", "KLINGAI_SECRET_KEY"], "klingai"),
        (["COMETAPI_KEY", "KLINGAI_API_KEY"], "cometapi"),
    ],
    ids=" ".join,
)
async def test_key_in_the_environment_is_enough(
    monkeypatch: pytest.MonkeyPatch, variables: list[str], name: str
) -> None:
    """`Kling()` takes the provider whose key it finds first."""
    for variable in variables:
        monkeypatch.setenv(variable, "a-key-of-mine-in-the-environment")

    async with Kling() as kling:
        assert kling.provider.name == name


def test_missing_key_is_explained() -> None:
    """No key: the error names the variables, and how to go on without one."""
    with pytest.raises(ConfigurationError, match=r"COMETAPI_KEY.*kling_async\.emulator"):
        Kling()


async def test_limits_are_the_providers(emulator: Emulator) -> None:
    """CometAPI's pages say 500 characters, Kling's 2,500."""
    prompt = "x" * 501
    async with Kling(CometAPI(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(RequestRefused, match="500"):
            await kling.text2video.submit(prompt=prompt)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        assert (await kling.text2video.submit(prompt=prompt)).id


def test_limits_can_be_your_own() -> None:
    """When a provider's page is out of date, so need you not be."""
    provider = CometAPI(KEY, limits=Limits(prompt=2500))

    assert provider.limits.prompt == 2500


async def test_what_a_provider_lacks_is_said(emulator: Emulator) -> None:
    """CometAPI serves no lists; asking for one is an error that says so."""
    async with Kling(CometAPI(KEY), transport=emulator.transport()) as kling:
        with pytest.raises(NotServed):
            [state async for state in kling.text2video.list()]
