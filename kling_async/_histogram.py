"""Histogram: how lengths of time are spread, as a picture with a text that says the same."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from html import escape

from ._span import spoken, step_of

_BINS = 24
_HEIGHT = 132
_APART = 17.0
"""How far the labels of an axis stand apart at least, in percent of the width."""


def histogram(title: str, lengths: Iterable[float], note: str = "") -> str:
    """A figure of *lengths* in seconds; those beyond nearly all the others share the last bar."""
    ordered = sorted(lengths)
    if not ordered:
        return ""
    common = _quantile(ordered, 0.99)
    step = step_of(max(common - ordered[0], 1.0) / (_BINS - 1))
    first = math.floor(ordered[0] / step)
    last = max(math.floor(common / step), first + 9)
    counts = Counter(min(math.floor(length / step), last) for length in ordered)
    beyond = ordered[-1] >= (last + 1) * step
    told = "; ".join(filter(None, (_told(ordered), note)))
    return _figure(title, told, _picture(title, counts, first, last, step, beyond))


def _told(ordered: list[float]) -> str:
    median, most = spoken(_quantile(ordered, 0.5)), spoken(_quantile(ordered, 0.95))
    return f"half within {median}, 95 % within {most}, longest {spoken(ordered[-1])}"


def _figure(title: str, told: str, picture: str) -> str:
    caption = f"<figcaption><h2>{escape(title)}</h2><p>{told}</p></figcaption>"
    return f"<figure>{caption}{picture}</figure>"


def _picture(
    title: str, counts: Counter[int], first: int, last: int, step: float, beyond: bool
) -> str:
    width, top = 100 / (last - first + 1), max(counts.values())
    parts, words = list[str](), list[str]()
    for number in range(first, last + 1):
        count = counts[number]
        if not count:
            continue
        open_end = beyond and number == last
        until = "more" if open_end else spoken((number + 1) * step)
        word = f"{spoken(number * step)} to {until}: {count}"
        words.append(word)
        height = max(count / top * _HEIGHT, 1.5)
        left = (number - first) * width
        parts.append(
            f'<rect class="{"beyond" if open_end else "bin"}" x="{left + width * 0.06:.2f}%"'
            f' y="{_HEIGHT + 16 - height:.1f}" width="{width * 0.88:.2f}%"'
            f' height="{height:.1f}"><title>{word}</title></rect>'
        )
    parts += _axis(first, last, step, width)
    parts.append(f'<text class="axis" x="0" y="10">{top:,}</text>')
    return (
        f'<svg role="img" width="100%" height="{_HEIGHT + 38}"><title>{escape(title)}</title>'
        f"<desc>{escape('; '.join(words))}</desc>{''.join(parts)}</svg>"
    )


def _axis(first: int, last: int, step: float, width: float) -> list[str]:
    base = _HEIGHT + 16
    parts = [
        f'<line class="base" x1="0" x2="100%" y1="{base}" y2="{base}"/>',
        '<line class="grid" x1="0" x2="100%" y1="16" y2="16"/>',
    ]
    stride = max(math.ceil(_APART / width), 1)
    for number in range(first, last + 2, stride):
        place = (number - first) * width
        anchor = "start" if place < 4 else "end" if place > 96 else "middle"
        parts.append(
            f'<text class="axis" x="{place:.2f}%" y="{base + 18}" text-anchor="{anchor}">'
            f"{spoken(number * step)}</text>"
        )
    return parts


def _quantile(ordered: list[float], share: float) -> float:
    return ordered[max(math.ceil(len(ordered) * share) - 1, 0)]
