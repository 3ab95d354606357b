"""Prices a task in Kling's units."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

_PER_SECOND = {
    # Older models are listed per clip of 5 or 10 s; both come to the same price a second.
    "kling-v1": {"std": "0.2", "pro": "0.7"},
    "kling-v1-5": {"std": "0.4", "pro": "0.7"},
    "kling-v1-6": {"std": "0.4", "pro": "0.7"},
    "kling-v2-1": {"std": "0.4", "pro": "0.7"},
    "kling-v2-master": {"std": "2", "pro": "2"},
    "kling-v2-1-master": {"std": "2", "pro": "2"},
    "kling-v2-5-turbo": {"std": "0.3", "pro": "0.5"},
    "kling-v2-6": {"std": "0.3", "pro": "0.5"},
    "kling-v3": {"std": "0.6", "pro": "0.8", "4k": "3"},
    "avatar": {"std": "0.4", "pro": "0.8"},
}
_WITH_SOUND = {
    "kling-v2-6": {"pro": "1"},
    "kling-v3": {"std": "0.9", "pro": "1.2", "4k": "3"},
}
_WITH_VOICE = {"kling-v2-6": {"pro": "1.2"}}
_UNLISTED = Decimal(1)


def price(model: str, mode: str, seconds: int, options: Mapping[str, object]) -> Decimal:
    """The units a task costs; 1 where no price is known.

    Args:
        model: `model_name`, or "avatar", which has no models.
        options: The request body, looked at for sound and voices.
    """
    prices = _PER_SECOND
    if options.get("sound") == "on":
        prices = _WITH_VOICE if options.get("voice_list") else _WITH_SOUND
    listed = prices.get(model, {}).get(mode)
    if listed is None:
        return _UNLISTED
    return (Decimal(listed) * seconds).normalize() + Decimal(0)
