"""What the API reference makes of docstrings and signatures that are written for `help()`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, get_type_hints

from pydantic import BaseModel
from sphinx.application import Sphinx

import kling_async

# Their constructors are ours alone.
_MADE_BY_THE_CLIENT = {
    "Batch", "CallbackApp", "Job", "KlingRouter", "MockTask", "Outcomes", "Resource", "Task",
    "VideoStream",
}  # fmt: skip
_COLON = "\N{TWO DOT PUNCTUATION}"
_PYDANTIC = set(dir(BaseModel))


def _lay_out(app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]) -> None:
    if what in ("attribute", "data", "property"):
        # Or napoleon would take what stands before a colon for a type.
        lines[:1] = [line.replace(":", _COLON) for line in lines[:1]]
    for index, line in enumerate(lines):
        if line == "Example:":
            lines[index : index + 1] = [".. code-block:: python", ""]


def _put_colons_back(
    app: Sphinx, what: str, name: str, thing: Any, options: Any, lines: list[str]
) -> None:
    lines[:] = [line.replace(_COLON, ":") for line in lines]


def _sign(
    app: Sphinx,
    what: str,
    name: str,
    thing: Any,
    options: Any,
    given: str | None,
    returns: str | None,
) -> tuple[str, str | None] | None:
    if what == "class" and name.rpartition(".")[2] in _MADE_BY_THE_CLIENT:
        return "", ""
    if what == "class" and issubclass(thing, BaseModel):
        # pydantic does not know it before first use; types stand with the fields.
        fields = thing.model_fields.items()
        keywords = [name if field.is_required() else f"{name}=..." for name, field in fields]
        return f"(*, {', '.join(keywords)})" if keywords else "", ""
    if given is None:  # it is no function
        return None
    if "~P" in given:
        return "(**fields)", returns
    return re.sub(
        r"TypeAliasForwardRef\('(\w+)'\)", r"\1", given.replace("<factory>", "...")
    ), returns


def _skip(app: Sphinx, what: str, name: str, thing: Any, skip: bool, options: Any) -> bool | None:
    return True if name in _PYDANTIC else None


def _tell_types(models: Iterable[type[BaseModel]]) -> None:
    # Those of all fields, inherited ones too, and without what only validators read.
    for model in models:
        model.__annotations__ = get_type_hints(model)


def setup(app: Sphinx) -> dict[str, bool]:
    """Called by Sphinx."""
    public = [getattr(kling_async, name) for name in kling_async.__all__]
    _tell_types(
        thing for thing in public if isinstance(thing, type) and issubclass(thing, BaseModel)
    )
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-process-docstring", _lay_out, priority=400)  # before napoleon
    app.connect("autodoc-process-docstring", _put_colons_back, priority=600)
    app.connect("autodoc-process-signature", _sign)
    app.connect("autodoc-skip-member", _skip)
    return {"parallel_read_safe": True}
