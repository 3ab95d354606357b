"""Tasks cost what the price list says, by the second."""

from __future__ import annotations

from decimal import Decimal

import pytest

from kling_async.emulator._prices import price


@pytest.mark.parametrize(
    ("model", "mode", "seconds", "options", "units"),
    [
        ("kling-v1", "std", 5, {}, "1"),
        ("kling-v1", "pro", 10, {}, "7"),
        ("kling-v1-6", "pro", 5, {}, "3.5"),
        ("kling-v2-master", "std", 5, {}, "10"),
        ("kling-v2-5-turbo", "pro", 10, {}, "5"),
        ("kling-v2-6", "pro", 5, {}, "2.5"),
        ("kling-v2-6", "pro", 5, {"sound": "on"}, "5"),
        ("kling-v2-6", "pro", 5, {"sound": "on", "voice_list": [{"voice_id": "v"}]}, "6"),
        ("kling-v3", "4k", 15, {"sound": "on"}, "45"),
        ("kling-v3", "std", 3, {"sound": "off"}, "1.8"),
        ("avatar", "std", 11, {}, "4.4"),
        ("kling-v99", "pro", 5, {}, "1"),
    ],
)
def test_price_is_as_listed(
    model: str, mode: str, seconds: int, options: dict[str, object], units: str
) -> None:
    found = price(model, mode, seconds, options)

    assert (found, str(found)) == (Decimal(units), units)
