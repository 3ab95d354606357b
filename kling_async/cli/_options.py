"""Options: what every command takes, and the provider that is meant by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from cyclopts import Parameter

from .._errors import ConfigurationError
from ..providers import CometAPI, Gateway, KlingAI, Provider
from ._exit import NoKey

Name = Literal["cometapi", "kling", "gateway"]
_KEYS: dict[Name, tuple[str, ...]] = {
    "cometapi": ("COMETAPI_KEY",),
    "kling": ("KLINGAI_API_KEY", "KLINGAI_ACCESS_KEY", "KLINGAI_SECRET_KEY"),
    "gateway": ("KLING_GATEWAY_KEY",),
}
_NAMES: dict[str, Name] = {"cometapi": "cometapi", "klingai": "kling", "gateway": "gateway"}
"""Ours, by those that stand in tokens."""


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What every command takes."""

    provider: Annotated[Name | None, Parameter(help="By default whose key is set.")] = None
    base_url: Annotated[str | None, Parameter(help="Another host; a gateway needs one.")] = None
    json: Annotated[
        bool, Parameter(negative="", help="One JSON object a line on stdout, all else on stderr.")
    ] = False
    verbose: Annotated[
        bool,
        Parameter(name=["--verbose", "-v"], negative="", help="Say each submit and each end."),
    ] = False
    quiet: Annotated[bool, Parameter(negative="", help="Say nothing but results and errors.")] = (
        False
    )


def chosen(
    options: Options, environ: Mapping[str, str], tokens: Sequence[str] = ()
) -> tuple[Provider, tuple[str, ...]]:
    """The provider that is meant, and the variables that its key was found in."""
    name = options.provider or _of_tokens(tokens) or _of_keys(environ)
    found = tuple(variable for variable in _KEYS[name] if environ.get(variable)) if name else ()
    if name is None or not found:
        raise NoKey(
            f"no key found: set {' or '.join(_KEYS[name] if name else _ALL_KEYS)}",
            advice="No key yet? `kling emulator` speaks Kling on localhost, for free.",
        )
    key, base_url = environ[found[0]], options.base_url
    if name == "gateway":
        if base_url is None:
            raise ConfigurationError("a gateway needs --base-url")
        return Gateway(base_url, key), found
    if name == "cometapi":
        return CometAPI(key) if base_url is None else CometAPI(key, base_url=base_url), found
    if found[0] == "KLINGAI_API_KEY":
        return KlingAI(key, base_url=base_url), found[:1]
    access_key, secret_key = (environ.get(variable, "") for variable in _KEYS["kling"][1:])
    return KlingAI(access_key=access_key, secret_key=secret_key, base_url=base_url), found


_ALL_KEYS = (
    "COMETAPI_KEY",
    "KLINGAI_API_KEY",
    "KLINGAI_ACCESS_KEY with KLINGAI_SECRET_KEY",
    "KLING_GATEWAY_KEY",
)


def _of_tokens(tokens: Sequence[str]) -> Name | None:
    """Tokens say whose they are."""
    return next((_NAMES.get(token.partition("/")[0]) for token in tokens if "/" in token), None)


def _of_keys(environ: Mapping[str, str]) -> Name | None:
    return next((name for name in _KEYS if any(environ.get(key) for key in _KEYS[name])), None)
