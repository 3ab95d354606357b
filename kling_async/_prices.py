"""The table of prices: what one request costs, in Kling's units.

It guards a budget, so it says what Kling's lists say and nothing where they are silent.
These are Kling's own units: CometAPI and gateways bill in other currencies and may charge
differently.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from types import MappingProxyType
from typing import Any

from ._capabilities import DEFAULT_DURATION, DEFAULT_MODE, MODELS


@dataclass(frozen=True, slots=True)
class Rate:
    """One row: a model with or without sound and voices, and where and when that was read."""

    model: str
    sound: str
    voices: bool
    units: Mapping[str, Decimal]
    """By mode: units a second; a missing mode is not priced."""
    source: str
    date: str
    """When the source was current, as YYYY-MM."""


_PAGE = "Kling's price page, English edition"
_CLIPS = "Kling's prices a clip, as compared in cuijinyu/new-api"
# What the lists price, and what does not change the clip that is billed. A storyboard, elements,
# masks and camera movements do, and no list names them: a request that asks for them has no price.
_SETTLED = frozenset(
    (
        "model_name",
        "mode",
        "duration",
        "sound",
        "voice_list",
        "prompt",
        "negative_prompt",
        "cfg_scale",
        "aspect_ratio",
        "image",
        "image_tail",
        "end_only",
        "image_list",
        "watermark_info",
        "callback_url",
        "external_task_id",
        "extra",
    )
)


def _row(
    model: str,
    std: str,
    pro: str,
    uhd: str = "",
    *,
    sound: str = "off",
    voices: bool = False,
    source: str = _PAGE,
    date: str = "2026-09",
) -> Rate:
    columns = {"std": std, "pro": pro, "4k": uhd}
    units = {mode: Decimal(text) for mode, text in columns.items() if text}
    return Rate(model, sound, voices, MappingProxyType(units), source, date)


def _old(model: str, std: str, pro: str) -> Rate:
    # The list says 2025-01, yet it prices kling-v2-6, which came in 2025-12.
    return _row(model, std, pro, source=_CLIPS, date="2025-12")


# Left out: kling-video-o1 and kling-v3-omni, whose price hangs on the video that is put in.
RATES: Mapping[tuple[str, str, bool], Rate] = MappingProxyType(
    {
        (rate.model, rate.sound, rate.voices): rate
        for rate in (
            # Listed by the clip; 10 s cost twice what 5 s do, and there are no other lengths.
            _old("kling-v1", "0.2", "0.7"),
            _old("kling-v1-5", "0.4", "0.7"),
            # The same for several images as for none or one.
            _old("kling-v1-6", "0.4", "0.7"),
            _old("kling-v2-1", "0.4", "0.7"),
            # They have no modes; whichever of these a gateway insists on makes no difference.
            _old("kling-v2-master", "2", "2"),
            _old("kling-v2-1-master", "2", "2"),
            _row("kling-v2-5-turbo", "0.3", "0.5"),
            # The prices a clip know no std for it; the page, which is newer, does.
            _row("kling-v2-6", "0.3", "0.5"),
            _row("kling-v2-6", "", "1.0", sound="on"),
            _row("kling-v2-6", "", "1.2", sound="on", voices=True),
            _row("kling-v3", "0.6", "0.8", "3.0"),
            # "No Voice Control", says the page, and it has no row with.
            _row("kling-v3", "0.9", "1.2", "3.0", sound="on"),
        )
    }
)


def price(endpoint: str, model: str | None, options: Mapping[str, Any]) -> Decimal | None:
    """The units one request costs; None where the sources do not settle it.

    *options* holds the request's set fields by Kling's names. An avatar has no price: it is
    billed by the length of its audio, which no field tells.
    """
    # Where none is named, Comfy's schema has kling-v2-master for image2video. Kling's own pages
    # say kling-v1, and so does the *model* that comes here.
    row = None if model is None else MODELS.get(model)
    if row is None or endpoint not in row.endpoints:
        return None
    if options.get("extra") or not options.keys() <= _SETTLED:
        return None
    rate = RATES.get((row.name, options.get("sound", "off"), bool(options.get("voice_list"))))
    units = None if rate is None else rate.units.get(options.get("mode", DEFAULT_MODE))
    duration = str(options.get("duration", DEFAULT_DURATION))
    if units is None or duration not in row.durations:
        return None
    return _plain(units * int(duration))


def _plain(units: Decimal) -> Decimal:
    whole = units.to_integral_value()
    return whole if whole == units else units.normalize()
