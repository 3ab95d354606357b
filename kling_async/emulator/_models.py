"""Knows which model does what, as far as Kling's capability map denies it plainly."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from kling_async.emulator._refusals import Refusal

_BOTH = ("text2video", "image2video")
_STD_PRO = ("std", "pro")


@dataclass(frozen=True, slots=True)
class Model:
    """One row of the map; a field holds where or in which modes a feature works."""

    endpoints: Collection[str] = _BOTH
    modes: Collection[str] = _STD_PRO
    durations: Collection[int] = (5, 10)
    tail: Collection[str] = ()
    tail_alone: Collection[str] = ()
    masks: Collection[str] = ()
    camera: Collection[tuple[str, str]] = ()
    sound: Collection[str] = ()
    multi_shot: bool = False
    elements: bool = False


# F: only what is denied without conditions; cfg_scale and mode of v2 are left alone, since
# gateways send both to every model.
MODELS = {
    "kling-v1": Model(tail=_STD_PRO, masks=_STD_PRO, camera=[("text2video", "std")]),
    "kling-v1-5": Model(
        endpoints=("image2video",),
        tail=("pro",),
        tail_alone=("pro",),
        masks=("pro",),
        camera=[("image2video", "pro")],
    ),
    "kling-v1-6": Model(
        endpoints=(*_BOTH, "multi-image2video"), tail=("pro",), tail_alone=("pro",)
    ),
    "kling-v2-master": Model(),
    "kling-v2-1": Model(endpoints=("image2video",), tail=("pro",)),
    "kling-v2-1-master": Model(),
    "kling-v2-5-turbo": Model(tail=("pro",)),
    "kling-v2-6": Model(tail=("pro",), sound=("pro",)),
    "kling-v3": Model(
        modes=(*_STD_PRO, "4k"),
        durations=range(3, 16),
        tail=(*_STD_PRO, "4k"),
        sound=(*_STD_PRO, "4k"),
        multi_shot=True,
        elements=True,
    ),
}
"""The known models, by `model_name` (KLING_API F)."""


def find_model(name: str, endpoint: str, *, open_ended: bool) -> Model | None:
    """A model's row; None for an unheard-of one where the server lists no names."""
    model = MODELS.get(name)
    if model is None:
        if open_ended:
            return None
        raise Refusal(1203, f"model {name} is not found")
    if endpoint not in model.endpoints:
        raise unsupported("model_name", name, endpoint)
    return model


def unsupported(feature: str, value: object, by: str) -> Refusal:
    """The refusal of an option that a model or a mode does not have."""
    return Refusal(1201, f"{feature} value '{value}' is not supported by {by}")
