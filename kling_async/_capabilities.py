"""The table of models: which one takes which mode, length and feature.

It is advice with teeth only where it knows: a known model with a known-bad option is
refused, and an unknown model or an option the sources do not settle passes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from ._errors import RequestRefused

T2V, I2V, MULTI, OMNI = "text2video", "image2video", "multi-image2video", "omni-video"
# What the server takes when a request names none (KLING_API A.2, A.3).
DEFAULT_MODE, DEFAULT_DURATION = "std", "5"


@dataclass(frozen=True, slots=True, kw_only=True)
class Where:
    """Where a feature works; None stands for everywhere."""

    endpoints: frozenset[str] | None = None
    modes: frozenset[str] | None = None
    durations: frozenset[str] | None = None
    values: frozenset[str] | None = None
    silent: bool = False
    """Only without sound."""


@dataclass(frozen=True, slots=True)
class Model:
    """One row: a model, what it takes, and where and when that was read."""

    name: str
    endpoints: frozenset[str]
    modes: tuple[str, ...]
    """Empty where the model has no modes."""
    durations: tuple[str, ...]
    features: Mapping[str, Where | None]
    """By request field: where it works, None for nowhere; a missing one is not settled."""
    source: str
    date: str
    """When the source was current, as YYYY-MM."""


EVERYWHERE = Where()
PRO = Where(modes=frozenset({"pro"}))
FIVE = Where(durations=frozenset({"5"}))
_NOTHING: Mapping[str, Where | None] = dict.fromkeys(
    (
        "image_tail",
        "end_only",
        "static_mask",
        "dynamic_masks",
        "camera_control",
        "cfg_scale",
        "sound",
        "voice_list",
        "multi_shot",
        "element_list",
    )
)
_UNSETTLED = object()
_MAP_FEB = "Kling's capability map, Chinese edition"
_MAP_SEP = "Kling's capability map, English edition"


def _row(
    name: str,
    endpoints: Iterable[str],
    modes: tuple[str, ...] = ("std", "pro"),
    seconds: Iterable[int] = (5, 10),
    *,
    source: str = _MAP_FEB,
    date: str = "2026-02",
    **features: Where | object,
) -> Model:
    merged = {**_NOTHING, **features}
    settled = {key: where for key, where in merged.items() if where is not _UNSETTLED}
    durations = tuple(str(number) for number in seconds)
    return Model(
        name,
        frozenset(endpoints),
        modes,
        durations,
        MappingProxyType(settled),  # type: ignore[arg-type]  # the sentinel is filtered out
        source,
        date,
    )


_CAMERA_V1 = Where(endpoints=frozenset({T2V}), modes=frozenset({"std"}), durations=frozenset({"5"}))
_CAMERA_V1_5 = Where(
    endpoints=frozenset({I2V}),
    modes=frozenset({"pro"}),
    durations=frozenset({"5"}),
    values=frozenset({"simple"}),
)
_ONLY_MULTI = Where(endpoints=frozenset({MULTI}))
_PRO_FIVE = Where(modes=frozenset({"pro"}), durations=frozenset({"5"}))

MODELS: Mapping[str, Model] = MappingProxyType(
    {
        model.name: model
        for model in (
            _row(
                "kling-v1",
                (T2V, I2V),
                image_tail=FIVE,
                static_mask=FIVE,
                dynamic_masks=FIVE,
                camera_control=_CAMERA_V1,
                cfg_scale=EVERYWHERE,
            ),
            _row(
                "kling-v1-5",
                (I2V,),
                image_tail=PRO,
                end_only=PRO,
                static_mask=_PRO_FIVE,
                dynamic_masks=_PRO_FIVE,
                camera_control=_CAMERA_V1_5,
                cfg_scale=EVERYWHERE,
            ),
            _row(
                "kling-v1-6",
                (T2V, I2V, MULTI),
                image_tail=PRO,
                end_only=PRO,
                cfg_scale=EVERYWHERE,
                # CometAPI lists masks for multi-image2video; Kling lists them nowhere.
                static_mask=_ONLY_MULTI,
                dynamic_masks=_ONLY_MULTI,
            ),
            _row("kling-v2-master", (T2V, I2V), ()),
            _row("kling-v2-1", (I2V,), image_tail=PRO),
            _row("kling-v2-1-master", (T2V, I2V), ()),
            _row("kling-v2-5-turbo", (T2V, I2V), image_tail=PRO),
            _row(
                "kling-v2-6",
                (T2V, I2V),
                image_tail=Where(modes=frozenset({"pro"}), silent=True),
                sound=PRO,
                voice_list=PRO,
            ),
            _row(
                "kling-v3",
                (T2V, I2V),
                ("std", "pro", "4k"),
                range(3, 16),
                image_tail=EVERYWHERE,
                cfg_scale=_UNSETTLED,
                sound=EVERYWHERE,
                # "2.6 and later" or "2.6 only": the sources disagree (KLING_API J).
                voice_list=_UNSETTLED,
                multi_shot=EVERYWHERE,
                element_list=Where(endpoints=frozenset({I2V})),
                source=_MAP_SEP,
                date="2026-09",
            ),
            _row(
                "kling-video-o1",
                (OMNI,),
                seconds=range(3, 11),
                image_tail=EVERYWHERE,
                element_list=EVERYWHERE,
                source=_MAP_SEP,
                date="2026-09",
            ),
            _row(
                "kling-v3-omni",
                (OMNI,),
                ("std", "pro", "4k"),
                range(3, 16),
                image_tail=EVERYWHERE,
                sound=EVERYWHERE,
                voice_list=_UNSETTLED,
                multi_shot=EVERYWHERE,
                element_list=EVERYWHERE,
                source=_MAP_SEP,
                date="2026-09",
            ),
        )
    }
)


def check_model(endpoint: str, model_name: str, options: Mapping[str, Any]) -> list[str]:
    """Refuse what the table knows to be wrong; return what it only has doubts about.

    *options* holds the request's set fields by Kling's names.
    """
    model = MODELS.get(model_name)
    if model is None:
        shown = repr(model_name[:80])
        return [f"model_name: {shown} is not in this version's table of models; sent unchecked"]
    if endpoint not in model.endpoints:
        served = ", ".join(name for name, row in MODELS.items() if endpoint in row.endpoints)
        raise RequestRefused(
            f"model_name: {model_name} is not served by {endpoint}; use one of {served}",
            field="model_name",
        )
    duration = options.get("duration", DEFAULT_DURATION)
    if duration not in model.durations:
        raise _refusal("duration", f"{model.name} cannot do {duration} s", model.durations)
    for name, value in options.items():
        if name in model.features:
            _check_feature(model, endpoint, name, value, options)
    mode = options.get("mode")
    if mode is None or mode in model.modes:
        return []
    if not model.modes:
        # Some gateways want a mode with every model, so it is not refused.
        return [f"mode does not apply to {model.name}; sent as it is"]
    raise _refusal("mode", f"{mode[:80]!r} is not a mode of {model.name}", model.modes)


def _check_feature(
    model: Model, endpoint: str, name: str, value: Any, options: Mapping[str, Any]
) -> None:
    where = model.features[name]
    field = "image_tail" if name == "end_only" else name
    shown = "image_tail without image" if name == "end_only" else name
    if where is None:
        able = [row.name for row in MODELS.values() if _serves(row, endpoint, name)]
        hint = f"; {', '.join(able)} can" if able else ""
        raise RequestRefused(f"{shown}: {model.name} cannot do this{hint}", field=field)
    if where.endpoints is not None and endpoint not in where.endpoints:
        raise _refusal(field, f"{model.name} takes it on another endpoint", where.endpoints)
    for option, allowed, default in (
        ("mode", where.modes, DEFAULT_MODE),
        ("duration", where.durations, DEFAULT_DURATION),
    ):
        actual = options.get(option, default)
        if allowed is not None and actual not in allowed:
            raise _refusal(field, f"{model.name} cannot do it with {option} {actual!r}", allowed)
    if where.values is not None and value.type not in where.values:
        raise _refusal(field, f"{model.name} does not take type {value.type!r}", where.values)
    if where.silent and options.get("sound") == "on":
        raise RequestRefused(f"{field}: {model.name} does it only with sound off", field=field)


def _serves(model: Model, endpoint: str, feature: str) -> bool:
    where = model.features.get(feature)
    return (
        endpoint in model.endpoints
        and where is not None
        and (where.endpoints is None or endpoint in where.endpoints)
    )


def _refusal(field: str, problem: str, allowed: Iterable[str]) -> RequestRefused:
    return RequestRefused(f"{field}: {problem}; allowed: {', '.join(allowed)}", field=field)
