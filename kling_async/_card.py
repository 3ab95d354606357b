"""Card: one row of a journal on a page, its clip next to its prompt."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from decimal import Decimal
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ._attempt import Attempt, Row, Stage
from ._span import spoken

_WORDS = {None: "not submitted", Stage.INTENDED: "unknown"}
_OPTIONS = ("duration", "mode", "aspect_ratio", "cfg_scale", "sound")
_LONGEST_REASON = 400
_AT_ONCE = 12
"""So many clips show their first picture without being scrolled to."""


def word_of(row: Row) -> str:
    """What a summary calls the stage of a row."""
    stage = None if row.attempt is None else row.attempt.stage
    return _WORDS.get(stage) or str(stage)


def class_of(word: str) -> str:
    """What the style sheet calls it."""
    return word.partition(" ")[0]


def time_taken(attempt: Attempt) -> float | None:
    """From the create until the end was known, where there was a task."""
    if attempt.ended_at is None or attempt.token is None:
        return None
    return max(attempt.ended_at - attempt.intended_at, 0.0)


def reason_of(attempt: Attempt) -> str:
    """Why it failed."""
    facts = attempt.error or {}
    code = facts.get("code")
    message = f"{facts.get('message') or facts.get('type') or 'no reason given'}"
    message = re.sub(r"^task \S+: ", "", message)  # or no two reasons are the same
    return shortened(message if code is None else f"{message} ({code})", _LONGEST_REASON)


def shortened(text: str, length: int) -> str:
    """No more than *length* bytes of it."""
    coded = text.encode("utf-8", "replace")
    return text if len(coded) <= length else coded[: length - 3].decode("utf-8", "ignore") + "…"


def plain(number: Decimal) -> str:
    """Without zeros that say nothing."""
    text = f"{number:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def card(row: Row, number: int, folder: Path, longest_prompt: int) -> str:
    """An item of a list; files below *folder* are linked from there."""
    word, attempt = word_of(row), row.attempt
    prompt = row.request.get("prompt")
    text = shortened(prompt, longest_prompt) if isinstance(prompt, str) and prompt else ""
    facts = f'<span class="state">{word}</span>' + "".join(
        f"<span>{escape(fact)}</span>" for fact in _facts(row)
    )
    frames = "".join(_frames(row, number, folder)) if attempt else f"<p>{word}</p>"
    details = "".join(f"<dt>{name}<dd>{escape(fact)}" for name, fact in _details(row))
    return (
        f'<li class="card {class_of(word)}" id="r{number}"><div class="frame">{frames}</div>'
        f'<p class="facts">{facts}</p>'
        f'<details><summary id="p{number}" dir="auto">{escape(text) or "no prompt"}</summary>'
        f"<dl>{details}</dl></details></li>\n"
    )


def _facts(row: Row) -> Iterator[str]:
    yield str(row.request.get("model_name") or row.endpoint)
    if row.attempt is None:
        return
    taken = time_taken(row.attempt)
    if taken is not None:
        yield spoken(taken)
    if row.attempt.units is not None:
        yield _units(row.attempt.units)
    elif row.attempt.estimate is not None:
        yield f"≈ {_units(row.attempt.estimate)}"


def _units(number: Decimal) -> str:
    return f"{plain(number)} unit{'' if number == 1 else 's'}"


def _details(row: Row) -> Iterator[tuple[str, str]]:
    yield "Key", row.key
    options = [f"{name} {row.request[name]}" for name in _OPTIONS if name in row.request]
    if options:
        yield "Options", ", ".join(options)
    if row.attempt is None or row.attempt.token is None:
        yield "Endpoint", row.endpoint
    else:  # which names the endpoint, too
        yield "Token", row.attempt.token
    if row.attempt is None:
        return
    yield "Id", row.attempt.external_task_id
    if row.attempt.number > 1:
        yield "Attempt", str(row.attempt.number)


def _frames(row: Row, number: int, folder: Path) -> Iterator[str]:
    """The clips, or what there is to be said in their place."""
    attempt = row.attempt
    assert attempt is not None
    preload = "metadata" if number <= _AT_ONCE else "none"
    for file in attempt.files:
        path = Path(file)
        if path.exists():
            source = escape(_link(path, folder))
            yield (
                f'<video src="{source}" preload="{preload}" aria-labelledby="p{number}"'
                " controls loop muted playsinline></video>"
            )
        else:
            yield f"<p>no longer there: <bdi>{escape(path.name)}</bdi></p>"
    if attempt.stage is Stage.FAILED:
        yield f'<p dir="auto">{escape(reason_of(attempt))}</p>'
    elif not attempt.files:
        videos: list[dict[str, Any]] = (attempt.result or {}).get("videos") or [{}]
        url = str(videos[0].get("url") or "")
        is_safe = re.match("https?://", url)
        link = f'<a href="{escape(url)}" rel="noreferrer">on the server, for a while</a>'
        yield f"<p>{link if is_safe else word_of(row)}</p>"


def _link(file: Path, folder: Path) -> str:
    """Relative if the file lies below *folder*, so that both can be moved together."""
    for path, base in ((file.absolute(), folder.absolute()), (file.resolve(), folder.resolve())):
        if path.is_relative_to(base):
            parts = path.relative_to(base).parts
            return "/".join(quote(os.fsencode(part), safe="") for part in parts)
    return file.resolve().as_uri()
