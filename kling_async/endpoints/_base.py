"""Request: what every endpoint's model shares, and how one becomes JSON."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Annotated, Any, ClassVar, Generic, Self, TypeVar, cast

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from .._capabilities import check_model
from .._errors import RequestRefused
from .._limits import Limits
from .._media import MediaRules, MediaSource, encode, needs_reading, picture_size
from .._results import FromState
from ._fields import as_json, cut, refuse, shown

_OTHER_LIMITS = "If what its pages say is out of date, give the provider other limits=."

ResultT_co = TypeVar("ResultT_co", bound=FromState, covariant=True)

Encode = Callable[[MediaSource, MediaRules, str], object]
"""Turns one media source into what is sent; gets its rules and the field's name."""


def _external_id(value: str) -> str:
    # It travels as one path segment when a task is looked up by it (KLING_API B.3).
    # What Kling allows in it is documented nowhere, so only the impossible is refused.
    if not value or re.search(r"[/\s\x00-\x1f\x7f]", value) or value in {".", ".."}:
        raise refuse("no slash, no white space, not empty, got {value}", value=cut(value))
    return value


class Request(BaseModel, Generic[ResultT_co]):
    """Base of the request models: one subclass is the whole definition of an endpoint.

    A field that is None is not sent. `extra` passes fields this version does not know.
    """

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        arbitrary_types_allowed=True,
        defer_build=True,
        hide_input_in_errors=True,
        protected_namespaces=(),
    )

    endpoint: ClassVar[str]
    """The name of the resource and of the page in Kling's reference."""
    path: ClassVar[str]
    """Where it is created and asked for, below the provider's prefix."""
    result_type: ClassVar[type[Any]]
    default_model: ClassVar[str | None] = None
    """The model the server takes when none is named."""
    prompt_limit: ClassVar[str] = "prompt"
    """Which of the provider's limits bounds the prompt."""

    callback_url: str | None = None
    """Where the server posts every change of the task's status."""
    external_task_id: Annotated[str, AfterValidator(_external_id)] | None = None
    """Your own id for the task, unique in the account; one is made if you give none."""
    extra: Annotated[Mapping[str, Any], AfterValidator(as_json)] = Field(
        default_factory=dict[str, Any]
    )
    """Further fields, sent as they are."""

    @property
    def model(self) -> str | None:
        """The model that makes it: the one named, else the one the server takes."""
        return getattr(self, "model_name", None) or self.default_model

    @property
    def weight(self) -> int:
        """How many of the account's slots it takes: Kling counts an image task as its `n`."""
        return getattr(self, "n", None) or 1

    @property
    def kind(self) -> tuple[str | None, ...]:
        """What it has in common with requests that take about as long."""
        options = (getattr(self, name, None) for name in ("mode", "duration"))
        return (self.endpoint, self.model, *options)

    def __repr_args__(self) -> Iterator[tuple[str, object]]:
        # A request may hold ten megabytes of image, and most of its fields are empty.
        return shown(super().__repr_args__())

    def body(self, limits: Limits, *, check: bool = True) -> dict[str, Any]:
        """The JSON object that is sent, its media read, checked and encoded.

        It blocks while it reads: call it in a worker thread when `reads_media`.
        """
        sizes: dict[str, tuple[int, int]] = {}

        def encode_one(source: MediaSource, rules: MediaRules, field: str) -> str:
            seconds = limits.audio_seconds if rules.kind == "audio" else None
            text = encode(source, rules, field, check=check, seconds=seconds)
            size = picture_size(text) if check and rules.kind == "image" else None
            if size is not None:
                sizes[field] = size
            return text

        body = self._wire(encode_one)
        for problem in self.size_problems(sizes, limits) if check else ():
            raise problem
        return body

    def named(self, external_task_id: str) -> Self:
        """The same request, by an id of your own."""
        fields = {name: getattr(self, name) for name in type(self).model_fields}
        return self.model_validate({**fields, "external_task_id": external_task_id})

    def reads_media(self) -> bool:
        """Whether `body` reads files or encodes bytes."""
        reads: list[bool] = []

        def look(source: MediaSource, rules: MediaRules, field: str) -> str:
            reads.append(needs_reading(source))
            return ""

        self._wire(look)
        return any(reads)

    def size_problems(
        self, sizes: Mapping[str, tuple[int, int]], limits: Limits
    ) -> Iterator[RequestRefused]:
        """What is wrong with the images' sizes in pixels beside each other; known ones only."""
        yield from ()

    def _wire(self, encode: Encode) -> dict[str, Any]:
        fields = self.plain(encode)
        extra = fields.pop("extra", {})
        return {**fields, **extra}

    def plain(self, encode: Encode) -> dict[str, Any]:
        """The fields that are set, as plain data, with media as *encode* gives them."""
        shared = [name for name in Request.model_fields if name != "extra"]
        own = [name for name in type(self).model_fields if name not in Request.model_fields]
        extra = {"extra": dict(self.extra)} if self.extra else {}
        return {**_wire(self, [*own, *shared], encode, ""), **extra}

    def check(self, limits: Limits) -> list[str]:
        """Refuse what the provider or the model would refuse; return what is only doubtful."""
        clashes = sorted(set(self.extra) & set(type(self).model_fields))
        if clashes:
            raise RequestRefused(f"extra: {clashes[0]} is a field; give it as one", field="extra")
        options = self.options()
        for problem in self.problems(limits):
            raise problem
        doubts = [
            f"{self.endpoint}: the provider's page does not list {name}"
            for name in options
            if f"{self.endpoint}.{name}" in limits.unlisted
        ]
        model_name = options.get("model_name", self.default_model)
        return doubts + (
            [] if model_name is None else check_model(self.endpoint, model_name, options)
        )

    def options(self) -> dict[str, Any]:
        """The set fields that ask for something, by Kling's names."""
        values = {name: getattr(self, name) for name in type(self).model_fields}
        return {
            name: value
            for name, value in values.items()
            if value is not None and value is not False and value not in ("off", (), [])
        }

    def problems(self, limits: Limits) -> Iterator[RequestRefused]:
        """What this provider would refuse, field by field; endpoints add their own."""
        for field in type(self).model_fields:
            if getattr(self, field) is None and f"{self.endpoint}.{field}" in limits.required:
                yield beyond_limits(field, "required", "none")
        for field, limit in (
            ("prompt", getattr(limits, self.prompt_limit)),
            ("negative_prompt", limits.negative_prompt),
        ):
            text = getattr(self, field, None)
            if text is not None and len(text) > limit:
                yield beyond_limits(field, f"at most {limit} characters", f"{len(text)}")
        for field, choices in (
            ("aspect_ratio", limits.aspect_ratios),
            ("duration", limits.durations),
            ("mode", limits.modes),
            ("shot_type", limits.shot_types),
        ):
            value = getattr(self, field, None)
            if value is not None and choices is not None and value not in choices:
                yield beyond_limits(field, one_of(choices), cut(value))


def refusal(field: str, rule: str, value: str, *, advice: str | None = None) -> RequestRefused:
    """A rule, broken: the field, what it takes and what it got."""
    return RequestRefused(f"{field}: {rule}, got {value}", field=field, advice=advice)


def beyond_limits(field: str, rule: str, value: str) -> RequestRefused:
    """A rule of this provider's, broken."""
    return refusal(field, f"{rule} at this provider", value, advice=_OTHER_LIMITS)


def one_of(choices: Iterable[str]) -> str:
    """The choices in words: numbers by size."""
    return f"one of {', '.join(sorted(choices, key=lambda choice: (len(choice), choice)))}"


def _wire(part: BaseModel, names: Sequence[str], encode: Encode, prefix: str) -> dict[str, Any]:
    fields = type(part).model_fields
    sent: dict[str, Any] = {}
    for name in names:
        value = getattr(part, name)
        if value is None:
            continue
        rules = next((m for m in fields[name].metadata if isinstance(m, MediaRules)), None)
        where = f"{prefix}{name}"
        sent[name] = encode(value, rules, where) if rules else _plain(value, encode, where)
        if isinstance(sent[name], str):
            _refuse_half_characters(sent[name], where)
    return sent


def _refuse_half_characters(text: str, where: str) -> None:
    try:
        _ = text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise RequestRefused(
            f"{where}: character {error.start} is half of one, which UTF-8 cannot hold",
            field=where,
            advice="Read the text anew, in the encoding it was written in.",
        ) from None


def _plain(value: Any, encode: Encode, where: str) -> Any:
    if isinstance(value, BaseModel):
        return _wire(value, list(type(value).model_fields), encode, f"{where}.")
    if isinstance(value, Sequence) and not isinstance(value, str):
        items = cast("Sequence[object]", value)
        return [_plain(item, encode, f"{where}[{i}]") for i, item in enumerate(items)]
    return value
