"""Report: a journal as one page to look at, which needs nothing but the files it names."""

from __future__ import annotations

import os
from base64 import b64encode
from collections.abc import Iterator
from datetime import datetime
from hashlib import sha256
from html import escape
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from string import Template
from uuid import uuid4

import anyio.to_thread

from ._card import card, class_of, plain
from ._errors import ConfigurationError, JournalError
from ._histogram import histogram
from ._journal import Journal
from ._span import spoken
from ._tally import Tally
from ._timeline import MOST_BARS, peak, timeline
from ._version import __version__

_MOST_CARDS = 10_000
_MOST_REASONS, _MOST_LINKS = 30, 12
_WHOLE = 500
"""So many prompts are shown however long they are."""
_WORDS = ("saved", "succeeded", "failed", "running", "unknown", "not submitted")
_PAGE = Path(__file__).parent / "_page"


async def write_report(journal: str | os.PathLike[str], target: str | os.PathLike[str]) -> None:
    """Write a page about all rows of the *journal* to *target*, an .html file.

    Clips below its folder are linked from there, so that both can be moved together. A batch
    may be under way meanwhile.
    """
    path = Path(target)
    check_name(path)
    await anyio.to_thread.run_sync(report, Path(journal), path)


def check_name(target: Path) -> None:
    """Refuse a name that no browser would open as a page."""
    if target.suffix.lower() not in (".html", ".htm"):
        raise ConfigurationError(f"{target}: name it .html")


def report(journal: Path, target: Path) -> None:
    """Write the page about *journal* to *target*, which appears when it is whole; blocks."""
    part = target.with_name(f".{target.name}-{uuid4().hex}.part")
    tally, cards = _read(journal, target.parent)
    try:
        # Half a surrogate pair can come out of JSON, and is nothing that UTF-8 can write.
        with part.open("w", encoding="utf-8", errors="xmlcharrefreplace", newline="\n") as file:
            before, after = _page(journal.stem, tally).split("<!-- cards -->")
            file.write(before)
            file.writelines(cards)
            file.write(after)
        os.replace(part, target)
    except OSError as error:
        raise JournalError(f"cannot write {target}: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def _read(journal: Path, folder: Path) -> tuple[Tally, list[str]]:
    tally, cards = Tally(), list[str]()
    rows = Journal.read(journal, every_attempt=True)
    for _, group in groupby(rows, attrgetter("id")):
        tries = list(group)
        tally.add(tries[-1], [row.attempt for row in tries if row.attempt is not None])
        if tally.rows <= _MOST_CARDS:
            longest = 4000 if tally.rows <= _WHOLE else 300
            cards.append(card(tries[-1], tally.rows, folder, longest))
    return tally, cards


def _page(name: str, tally: Tally) -> str:
    style, script = ((_PAGE / name).read_text(encoding="utf-8") for name in ("page.css", "page.js"))
    now = datetime.now().astimezone()
    words = [word for word in _WORDS if tally.words[word]]
    return Template((_PAGE / "page.html").read_text(encoding="utf-8")).substitute(
        name=escape(name),
        policy=f"default-src 'none'; media-src 'self' file:; style-src {_hash(style)};"
        f" script-src {_hash(script)}; base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        span=_span(tally),
        totals="".join(f"<div><dt>{name}<dd>{value}</div>" for name, value in _totals(tally)),
        share=_share(tally),
        figures="".join(_figures(tally)),
        failures=_failures(tally),
        choices="".join(_choices(words)),
        labels="".join(_labels(words, tally)),
        left_out=_left_out(tally),
        written=f"Written {now:%Y-%m-%d %H:%M} ({now:%Z}) by kling_async {__version__}.",
    )


def _hash(text: str) -> str:
    """What lets a page use this text as its style or script, and no other."""
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"


def _span(tally: Tally) -> str:
    if not (bars := tally.bars):
        return "nothing was submitted yet"
    first, last = min(bar.start for bar in bars), max(bar.end for bar in bars)
    start, end = map(datetime.fromtimestamp, (first, last))
    day = "" if start.date() == end.date() else "%Y-%m-%d "
    begun, ended = f"{start:%Y-%m-%d %H:%M}", end.strftime(f"{day}%H:%M")
    return begun if begun.endswith(ended) else f"{begun} – {ended}"


def _totals(tally: Tally) -> Iterator[tuple[str, str]]:
    yield "rows", f"{tally.rows:,}"
    for word in _WORDS:
        if tally.words[word]:
            yield word, f"{tally.words[word]:,}"
    yield "units", f"{'≈ ' if tally.is_estimate else ''}{plain(tally.units)}"
    if bars := tally.bars:
        yield "elapsed", spoken(max(b.end for b in bars) - min(b.start for b in bars))


def _share(tally: Tally) -> str:
    """How the rows divide into stages, as one bar."""
    place, parts = 0.0, list[str]()
    for word in _WORDS:
        width = tally.words[word] / max(tally.rows, 1) * 100
        if width:
            parts.append(
                f'<rect class="{class_of(word)}" x="{place:.2f}%" width="{width:.2f}%"'
                f' height="100%"><title>{tally.words[word]:,} {word}</title></rect>'
            )
        place += width
    return "".join(parts)


def _figures(tally: Tally) -> Iterator[str]:
    if bars := tally.bars:
        drawn = "one line each" if len(bars) <= MOST_BARS else "on average over short whiles"
        more = f"{len(bars):,} attempts, at most {peak(bars):,} at once; {drawn}"
        legend = "".join(
            f'<li class="{kind}">{words}'
            for kind, words in (("done", "done"), ("failed", "failed"), ("open", "under way"))
            if any(bar.kind == kind for bar in bars)
        )
        yield (
            f'<figure class="wide"><figcaption><h2>In flight</h2><p>{more}</p>'
            f'<ul class="legend">{legend}</ul></figcaption>{timeline(bars)}</figure>'
        )
    yield histogram("Time taken", tally.taken)
    if 2 * tally.ahead <= len(tally.lags):  # else the server's clock tells nothing
        note = f"{tally.ahead:,} by a clock ahead of ours" if tally.ahead else ""
        yield histogram("Lag: from the server’s end to ours", tally.lags, note)


def _failures(tally: Tally) -> str:
    reasons = sorted(tally.reasons.items(), key=lambda each: -len(each[1]))
    if not reasons:
        return ""
    lines = "".join(
        f'<tr><td>{len(rows):,}<th scope="row" dir="auto">{escape(reason)}<td>{_links(rows)}'
        for reason, rows in reasons[:_MOST_REASONS]
    )
    more = len(reasons) - _MOST_REASONS
    rest = f"<p>and {more:,} more reasons, on the cards</p>" if more > 0 else ""
    head = '<tr><th scope="col">Rows<th scope="col">Reason<th scope="col">Which'
    return (
        '<section class="failures"><h2>Failures</h2>'
        f"<table><thead>{head}</thead><tbody>{lines}</tbody></table>{rest}</section>"
    )


def _links(rows: list[int]) -> str:
    shown = [number for number in rows if number <= _MOST_CARDS][:_MOST_LINKS]
    links = " ".join(f'<a href="#r{number}">{number}</a>' for number in shown)
    more = len(rows) - len(shown)
    return links + (f" and {more:,} more" if more else "")


def _choices(words: list[str]) -> Iterator[str]:
    # Style alone makes them work, because they stand before the cards, in the same element.
    yield '<input type="radio" name="stage" id="only-all" checked>'
    for word in words:
        yield f'<input type="radio" name="stage" id="only-{class_of(word)}">'


def _labels(words: list[str], tally: Tally) -> Iterator[str]:
    yield f'<label for="only-all">all <b>{tally.rows:,}</b></label>'
    for word in words:
        yield f'<label for="only-{class_of(word)}">{word} <b>{tally.words[word]:,}</b></label>'


def _left_out(tally: Tally) -> str:
    more = tally.rows - _MOST_CARDS
    return f"<p>{more:,} more rows have no card; an export has them all.</p>" if more > 0 else ""
