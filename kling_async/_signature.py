"""Signatures: who sent a message, by Standard Webhooks (KLING_API E)."""

from __future__ import annotations

import importlib
from base64 import b64decode
from collections.abc import Iterable, Mapping
from typing import Any

from ._errors import CallbackRefused, ConfigurationError

_PREFIX = "whsec_"


class Signatures:
    """Checks messages against any of several secrets, as one follows another."""

    def __init__(self, secrets: str | Iterable[str]) -> None:
        given = [secrets] if isinstance(secrets, str) else list(secrets)
        library: Any = _import_library() if given else None
        self._signers = [library.Webhook(_checked(secret)) for secret in given]
        self._refusals = (library.WebhookVerificationError, ValueError) if given else ()

    def check(self, body: bytes, headers: Mapping[str, str]) -> None:
        """Refuse a message that none of the secrets has signed within five minutes of now."""
        reason: Exception | None = None
        for signer in self._signers:
            try:
                signer.verify(body, headers, json_parse=False)
            except self._refusals as error:
                reason = error
            else:
                return
        if reason is not None:
            raise CallbackRefused("its signature is missing or wrong", status=401) from reason


def _checked(secret: str) -> str:
    key = secret.strip().removeprefix(_PREFIX)
    try:
        # The library passes over what is not Base64, and would then refuse every callback.
        if not b64decode(key + "=" * (-len(key) % 4), validate=True):
            raise ValueError
    except ValueError:
        raise ConfigurationError(
            f"a callback secret of {len(secret)} letters is no Base64",
            advice=f"Copy it whole from Kling's console; it looks like {_PREFIX}...",
        ) from None
    return key


def _import_library() -> Any:
    try:
        return importlib.import_module("standardwebhooks.webhooks")
    except ImportError:
        raise ConfigurationError(
            'secrets need standardwebhooks: pip install "kling_async[webhooks]"'
        ) from None
