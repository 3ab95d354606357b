"""Parcel: a request as JSON, to be journaled or sent to another machine, and a request again."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from ._errors import ConfigurationError, MediaError
from ._handles import ENDPOINTS
from ._media import MediaRules, MediaSource, needs_reading
from .endpoints import Request


def pack(request: Request[Any]) -> dict[str, Any]:
    """A request as JSON: media by address, as a journal is no place for ten megabytes.

    Raises:
        MediaError: It holds bytes, Base64 or an open file.
    """
    return {"endpoint": request.endpoint, "fields": request.plain(_address)}


def unpack(parcel: Mapping[str, Any]) -> Request[Any]:
    """The request of a parcel.

    Raises:
        ConfigurationError: It is of an endpoint that this version does not have.
    """
    model = ENDPOINTS.get(parcel["endpoint"])
    if model is None:
        raise ConfigurationError(f"the request is of endpoint {parcel['endpoint']}, unknown here")
    fields = dict(parcel["fields"])
    extra = fields.pop("extra", {})
    return model.model_validate({**_opened(fields), "extra": extra})


def _address(source: MediaSource, _: MediaRules, field: str) -> object:
    if isinstance(source, os.PathLike):
        return {"path": str(Path(source).absolute())}
    if not needs_reading(source):
        return source
    raise MediaError(
        f"{field}: its content would have to be stored with the request",
        field=field,
        advice="Give a URL, or a path that every worker can read.",
    )


def _opened(value: Any) -> Any:
    if isinstance(value, list):
        return [_opened(item) for item in cast("list[object]", value)]
    if not isinstance(value, dict):
        return value
    fields = cast("dict[str, object]", value)
    if fields.keys() == {"path"}:
        return Path(str(fields["path"]))
    return {name: _opened(item) for name, item in fields.items()}
