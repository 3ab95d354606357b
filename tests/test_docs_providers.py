"""What docs/providers.md says of each provider is what the provider says of itself."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from kling_async import CometAPI, Gateway, KlingAI, Provider
from kling_async._environment import provider_in

PAGE = Path(__file__).parent.parent / "docs" / "providers.md"
ROWS: list[tuple[str, ...]] = re.findall(
    r"^\| (.+?) \| (.+?) \| (.+?) \| (.+?) \|$", PAGE.read_text("utf-8"), re.M
)
PROVIDERS = [CometAPI("any-key"), KlingAI("any-key"), Gateway("https://gateway.example", "any-key")]
WORDS = {True: "yes", False: "no", None: "not known"}


def row(title: str) -> list[str]:
    [found] = [cells for cells in ROWS if title in cells[0]]
    return list(found[1:])


def choices(values: frozenset[str] | None) -> set[str]:
    return {"by the model"} if values is None else set(values)


@pytest.mark.parametrize("column", range(3), ids=[provider.name for provider in PROVIDERS])
def test_abilities_are_those_of_the_class(column: int) -> None:
    provider = PROVIDERS[column]

    assert row("finds a task")[column].split(";")[0] == WORDS[provider.finds_external_id]
    assert row("refuses a second")[column] == WORDS[provider.refuses_duplicate_ids]
    assert row("lists tasks")[column] == WORDS[provider.lists]


@pytest.mark.parametrize("column", range(3), ids=[provider.name for provider in PROVIDERS])
def test_limits_are_those_of_the_class(column: int) -> None:
    limits = PROVIDERS[column].limits

    assert row("of `prompt`")[column] == f"{limits.prompt:,}"
    assert row("of `negative_prompt`")[column] == f"{limits.negative_prompt:,}"
    assert row("images of")[column] == "{} to {}".format(*limits.images)
    assert row("seconds of")[column] == "{:g} to {:g}".format(*limits.audio_seconds)
    for name, values in (
        ("duration", limits.durations),
        ("mode", limits.modes),
        ("aspect_ratio", limits.aspect_ratios),
    ):
        assert set(row(f"`{name}`")[column].split(", ")) == choices(values)


def test_variables_are_those_that_are_read() -> None:
    variables = re.findall(r"^\| (`[A-Z_]+`.*) \| `(\w+)`.* \|$", PAGE.read_text("utf-8"), re.M)
    names = [re.findall(r"`(\w+)`", cell) for cell, _ in variables]
    everything = {name: "a-key-of-at-least-32-letters-or-so" for cell in names for name in cell}

    found: list[Provider] = []
    for cell in names:  # in the page's order: each wins over those that follow
        found.append(provider_in(everything))
        for name in cell:
            del everything[name]

    assert [type(provider).__name__ for provider in found] == [name for _, name in variables]
    assert len(found) == 3
