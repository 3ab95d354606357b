"""Timeline: what was in flight when, as a bar for each attempt, or as an area for very many."""

from __future__ import annotations

import heapq
import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from html import escape
from itertools import accumulate, pairwise
from operator import attrgetter

from ._span import MINUTE, spoken, step_of

MOST_BARS = 400
_KINDS = ("done", "failed", "open")
_HEIGHT = 240
_BINS = 300
_CUT = 2.0
"""How wide a pause that was cut out is drawn, in percent of the width."""
_APART = 22.0
"""How far the labels stand apart at least, likewise."""


@dataclass(frozen=True, slots=True)
class Bar:
    """An attempt: from when to when it was in flight, and what came of it."""

    start: float
    end: float
    kind: str
    """One of: done, failed, open."""
    label: str


def timeline(bars: Sequence[Bar]) -> str:
    """A picture as wide as the page."""
    if not bars:
        return ""
    axis = Axis([(bar.start, bar.end) for bar in bars])
    if len(bars) <= MOST_BARS:
        picture, height = _bars(sorted(bars, key=attrgetter("start")), axis)
    else:
        picture, height = _area(bars, axis)
    first, last = axis.moment(axis.start), axis.moment(axis.end)
    told = f"{len(bars)} attempts from {first} to {last}, at most {peak(bars)} at once"
    kinds = ", ".join(f"{sum(bar.kind == kind for bar in bars)} {kind}" for kind in _KINDS)
    return (
        f'<svg role="img" width="100%" height="{height + 24:.0f}"><title>In flight</title>'
        f"<desc>{told}: {kinds}</desc>{''.join(axis.draw(height))}{picture}</svg>"
    )


def peak(bars: Sequence[Bar]) -> int:
    """How many were in flight at most; one that ends as another begins makes room for it."""
    changes = [(bar.start, 1) for bar in bars] + [(bar.end, -1) for bar in bars]
    return max(1, *accumulate(change for _, change in sorted(changes)))


class Axis:
    """Where a moment stands, in percent of the width; long pauses are cut out."""

    def __init__(self, spans: Sequence[tuple[float, float]]) -> None:
        busy = sum(end - start for start, end in _merged(spans, 0))
        self.stretches = [
            (start, max(end, start + 1)) for start, end in _merged(spans, max(busy / 10, 1))
        ]
        self.start, self.end = self.stretches[0][0], self.stretches[-1][1]
        self._busy = sum(end - start for start, end in self.stretches)
        cuts = len(self.stretches) - 1
        self._cut = min(_CUT, 40 / max(cuts, 1))
        self._scale = (100 - cuts * self._cut) / self._busy
        widths = ((end - start) * self._scale + self._cut for start, end in self.stretches)
        self._places = list(accumulate(widths, initial=0.0))
        self._starts = [start for start, _ in self.stretches]

    def place(self, moment: float) -> float:
        """Where *moment* stands."""
        number = max(bisect_right(self._starts, moment) - 1, 0)
        start, end = self.stretches[number]
        return self._places[number] + (min(moment, end) - start) * self._scale

    def moment(self, moment: float) -> str:
        """What the clock here said, with the day if there are several."""
        first, last = map(datetime.fromtimestamp, (self.start, self.end))
        clock = "%H:%M" if self._busy > 10 * MINUTE else "%H:%M:%S"
        day = "" if first.date() == last.date() else "%m-%d "
        return datetime.fromtimestamp(moment).strftime(day + clock)

    def draw(self, height: float) -> Iterator[str]:
        """The lines and labels below everything else."""
        base = f"{height:.0f}"
        yield f'<line class="base" x1="0" x2="100%" y1="{base}" y2="{base}"/>'
        for place, moment in self._ticks():
            anchor = "start" if place < 4 else "end" if place > 96 else "middle"
            yield (
                f'<line class="grid" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="{base}"/>'
                f'<text class="axis" x="{place:.2f}%" y="{height + 18:.0f}"'
                f' text-anchor="{anchor}">{self.moment(moment)}</text>'
            )
        for (_, end), (start, _) in pairwise(self.stretches):
            place = self.place(start) - self._cut / 2
            yield (
                f'<line class="cut" x1="{place:.2f}%" x2="{place:.2f}%" y1="0" y2="{base}">'
                f"<title>{spoken(start - end)} without work</title></line>"
            )

    def _ticks(self) -> list[tuple[float, float]]:
        """Where each stretch begins, and round times between."""
        step = step_of(self._busy / 5)
        zone = datetime.fromtimestamp(self.start).astimezone().utcoffset()
        offset = zone.total_seconds() if zone else 0.0
        moments = list(self._starts)
        for start, end in self.stretches:
            first, last = math.ceil((start + offset) / step), math.floor((end + offset) / step)
            moments += [number * step - offset for number in range(first, last + 1)]
        chosen: list[tuple[float, float]] = []
        for moment in moments:
            place = self.place(moment)
            if all(abs(place - other) >= _APART for other, _ in chosen):
                chosen.append((place, moment))
        return chosen


def _merged(spans: Sequence[tuple[float, float]], gap: float) -> list[tuple[float, float]]:
    """Those that touch, or have no longer *gap* between them, are one."""
    merged: list[tuple[float, float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1] + gap:
            merged[-1] = merged[-1][0], max(merged[-1][1], end)
        else:
            merged.append((start, end))
    return merged


def _bars(bars: Sequence[Bar], axis: Axis) -> tuple[str, float]:
    """Each in the first lane that is free: there are as many lanes as were in flight at most."""
    lanes, free, busy = list[int](), list[int](), list[tuple[float, int]]()
    for bar in bars:
        while busy and busy[0][0] <= bar.start:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (bar.end, lane))
        lanes.append(lane)
    pitch = min(14.0, _HEIGHT / (max(lanes) + 1))
    thick = pitch * 0.7 if pitch > 3 else pitch
    height = pitch * (max(lanes) + 1) + 4
    return "".join(
        f'<rect class="{bar.kind}" x="{axis.place(bar.start):.2f}%"'
        f' y="{height - 4 - (lane + 1) * pitch:.1f}"'
        f' width="{max(axis.place(bar.end) - axis.place(bar.start), 0.25):.2f}%"'
        f' height="{thick:.1f}" rx="{min(thick / 4, 2):.1f}">'
        f"<title>{escape(bar.label)}</title></rect>"
        for bar, lane in zip(bars, lanes, strict=True)
    ), height


def _area(bars: Sequence[Bar], axis: Axis) -> tuple[str, float]:
    """How many were in flight on average in each short while, one kind upon the other."""
    edges = _edges(axis)
    heights = [0.0] * len(edges)
    layers: list[tuple[str, list[float]]] = []
    for kind in _KINDS:
        means = _means([bar for bar in bars if bar.kind == kind], edges)
        heights = [below + mean for below, mean in zip(heights, means, strict=True)]
        layers.append((kind, heights))
    top = max(heights) or 1.0
    paths: list[str] = []
    for kind, heights in reversed(layers):
        steps = "".join(
            f"M{axis.place(start) * 10:.1f} 100V{100 - height / top * 100:.1f}"
            f"H{axis.place(end) * 10:.1f}V100"
            for (start, end), height in zip(edges, heights, strict=True)
            if height
        )
        paths.append(f'<path class="{kind}" d="{steps}"/>')
    return (
        f'<svg y="16" width="100%" height="{_HEIGHT - 16}" viewBox="0 0 1000 100"'
        f' preserveAspectRatio="none">{"".join(paths)}</svg>'
        f'<line class="grid" x1="0" x2="100%" y1="16" y2="16"/>'
        f'<text class="axis" x="0" y="10">{top:,.0f}</text>'
    ), _HEIGHT


def _edges(axis: Axis) -> list[tuple[float, float]]:
    """Short whiles, none of which has a pause in it."""
    edges: list[tuple[float, float]] = []
    for start, end in axis.stretches:
        width = axis.place(end) - axis.place(start)
        number = max(round(width / 100 * _BINS), 1)
        marks = [start + (end - start) * each / number for each in range(number + 1)]
        edges += pairwise(marks)
    return edges


def _means(bars: Sequence[Bar], edges: Sequence[tuple[float, float]]) -> list[float]:
    begun = _Elapsed([bar.start for bar in bars])
    ended = _Elapsed([bar.end for bar in bars])
    return [
        max(begun.until(end) - begun.until(start) - ended.until(end) + ended.until(start), 0.0)
        / (end - start)
        for start, end in edges
    ]


class _Elapsed:
    """How long it is since each of many moments, all together."""

    def __init__(self, moments: list[float]) -> None:
        self._moments = sorted(moments)
        self._zero = self._moments[0] if moments else 0.0  # keeps the sums small, and so exact
        self._sums = list(accumulate((each - self._zero for each in self._moments), initial=0.0))

    def until(self, moment: float) -> float:
        past = bisect_right(self._moments, moment)
        return (moment - self._zero) * past - self._sums[past]
