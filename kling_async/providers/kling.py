"""KlingAI: Kling's own servers, by API key or by access key and secret key."""

from __future__ import annotations

import importlib
from typing import Any, ClassVar, Literal

from .._errors import ConfigurationError
from .._limits import Limits
from ._base import Provider, checked_key

REGIONS = {
    "global": "https://api-singapore.klingai.com",
    "china": "https://api-beijing.klingai.com",
}


class KlingAI(Provider):
    """Kling itself: ``KlingAI(key)``, or ``KlingAI(access_key=…, secret_key=…)``.

    The keys stand in KLINGAI_API_KEY, or KLINGAI_ACCESS_KEY and KLINGAI_SECRET_KEY. The
    pair needs ``pip install "kling_async[jwt]"``.
    """

    name: ClassVar[str] = "klingai"
    key_variable: ClassVar[str] = "KLINGAI_API_KEY (or KLINGAI_ACCESS_KEY and KLINGAI_SECRET_KEY)"

    lists: bool = True
    finds_external_id: bool | None = True
    # Seen live on API 2.0; for /v1 it follows from "unique per account" (KLING_API B.3).
    refuses_duplicate_ids: bool | None = True

    def __init__(
        self,
        key: str | None = None,
        *,
        access_key: str | None = None,
        secret_key: str | None = None,
        region: Literal["global", "china"] = "global",
        base_url: str | None = None,
        limits: Limits | None = None,
    ) -> None:
        if region not in REGIONS:
            raise ConfigurationError(f"region {region!r}: use global or china")
        super().__init__(REGIONS[region] if base_url is None else base_url, limits or Limits())
        if (key is None) == (access_key is None and secret_key is None):
            raise ConfigurationError("give an API key, or access_key and secret_key")
        self.unreachable = (
            f"Check the network, and the region: {region} is set, and a key of the other region"
            " does not work here."
        )
        self._key = checked_key(key, "the Kling API key") if key is not None else None
        self._signer = Signer(access_key, secret_key) if key is None else None

    def authorization(self, now: float) -> str:
        """The API key, or a token that is signed anew before it expires."""
        return f"Bearer {self._signer.token(now) if self._signer else self._key}"

    def secrets(self) -> tuple[str, ...]:
        """The API key, or the pair and the token."""
        if self._signer is not None:
            return self._signer.secrets()
        return (self._key,) if self._key else ()

    def renew(self) -> bool:
        """Sign anew for the next call."""
        if self._signer is None:
            return False
        self._signer.forget()
        return True


class Signer:
    """Signs the tokens of an access key: HS256, as Kling documents it (KLING_API C)."""

    LIFETIME = 1800.0
    EARLY = 120.0
    """A token with less than this left is not used: a large upload takes its time."""
    SKEW = 60.0
    """How far this machine's clock may run ahead; Kling's sample has 5 s, which is little."""

    def __init__(self, access_key: str | None, secret_key: str | None) -> None:
        self._access_key = checked_key(access_key or "", "access_key")
        self._secret_key = checked_key(secret_key or "", "secret_key")
        self._jwt: Any = _import_jwt()
        self._token = self._previous = ""
        self._expires = 0.0

    def token(self, now: float) -> str:
        """A token good for two minutes at least."""
        signed_ahead = self._expires - now > self.LIFETIME  # the clock was set back since
        if signed_ahead or self._expires - now < self.EARLY:
            self._expires = now + self.LIFETIME
            claims = {
                "iss": self._access_key,
                "exp": int(self._expires),
                "nbf": int(now - self.SKEW),
            }
            self._previous = self._token
            self._token = self._jwt.encode(claims, self._secret_key, algorithm="HS256")
        return self._token

    def forget(self) -> None:
        """Sign anew next time."""
        self._expires = 0.0

    def secrets(self) -> tuple[str, ...]:
        """The secret key and the tokens still good; the access key is a name."""
        return tuple(filter(None, (self._secret_key, self._token, self._previous)))


def _import_jwt() -> Any:
    try:
        return importlib.import_module("jwt")
    except ImportError:
        raise ConfigurationError(
            'access_key and secret_key need PyJWT: pip install "kling_async[jwt]"'
        ) from None
