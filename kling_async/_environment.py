"""Environment: which variable holds whose key."""

from __future__ import annotations

from collections.abc import Mapping

from ._errors import ConfigurationError
from .providers import CometAPI, KlingAI, Provider


def provider_in(environ: Mapping[str, str]) -> Provider:
    """The provider whose key is set."""
    if key := environ.get("COMETAPI_KEY"):
        return CometAPI(key)
    if key := environ.get("KLINGAI_API_KEY"):
        return KlingAI(key)
    access_key, secret_key = environ.get("KLINGAI_ACCESS_KEY"), environ.get("KLINGAI_SECRET_KEY")
    if access_key or secret_key:
        return KlingAI(access_key=access_key or "", secret_key=secret_key or "")
    raise ConfigurationError(
        "no key found: set COMETAPI_KEY, or KLINGAI_API_KEY, or KLINGAI_ACCESS_KEY and"
        " KLINGAI_SECRET_KEY; or pass Kling(CometAPI(key))",
        advice="No key yet? `python -m kling_async.emulator` speaks Kling on localhost, for free.",
    )
