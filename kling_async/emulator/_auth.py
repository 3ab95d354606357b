"""Tells whose request it is from its Authorization header."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from kling_async.emulator._refusals import Refusal


class Gate:
    """Knows the accepted keys and names the account behind a header."""

    def __init__(
        self,
        keys: Collection[str] | None,
        access_keys: Mapping[str, str] | None,
        wall: Callable[[], float],
    ) -> None:
        self._keys = None if keys is None else frozenset(keys)
        self._access_keys = access_keys
        self._wall = wall

    def account(self, header: str | None, *, signed: bool) -> str:
        """The account: the API key itself, or the access key of a signed token.

        Args:
            signed: Whether this server takes signed tokens, as the official one does.

        Raises:
            Refusal: 1000 to 1004, as the header deserves.
        """
        scheme, _, key = (header or "").partition(" ")
        key = key.strip()
        if not key:
            raise Refusal(1001)
        if scheme.lower() != "bearer":
            raise Refusal(1002)
        if self._keys is not None and key in self._keys:
            return key
        if signed and self._access_keys is not None:
            return self._signer(key, self._access_keys)
        if self._keys is not None:
            raise Refusal(1002)
        return key

    def _signer(self, token: str, secrets: Mapping[str, str]) -> str:
        import jwt

        parts = token.split(".")
        if len(parts) != 3:
            # The live server counts one part as none.
            found = len(parts) if len(parts) > 1 else 0
            raise Refusal(1002, f"The token was expected to have 3 parts, but got {found}")
        # PyJWT's types name those of cryptography, which HS256 does not need.
        decode: Callable[..., dict[str, object]] = jwt.decode  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
        try:
            claims = decode(token, options={"verify_signature": False})
            access_key = str(claims.get("iss"))
            secret = secrets.get(access_key)
            if secret is None:
                raise Refusal(1000)
            # Times are compared below, by the emulator's own wall clock.
            times = {"verify_exp": False, "verify_nbf": False, "require": ["exp"]}
            decode(token, secret, algorithms=["HS256"], options=times)
            not_before, expiry = _moment(claims.get("nbf", 0)), _moment(claims["exp"])
        except jwt.InvalidSignatureError:
            raise Refusal(1000) from None
        except (jwt.InvalidTokenError, ValueError):
            raise Refusal(1002) from None
        now = self._wall()
        if now < not_before:
            raise Refusal(1003)
        if now >= expiry:
            raise Refusal(1004)
        return access_key


def _moment(claim: object) -> float:
    if isinstance(claim, int | float):
        return claim
    raise ValueError("a token's times are numbers")
