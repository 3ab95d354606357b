"""A journal as a page: whole, safe to open, and right."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import anyio.to_thread
import pytest

from kling_async import (
    ConfigurationError,
    Journal,
    JournalError,
    Kling,
    KlingAI,
    _report,
    write_report,
)
from kling_async._attempt import Row
from kling_async.emulator import Emulator, Fault
from tests.harbour import KEY, boats

VOID = {"input", "meta", "br"}
OPTIONAL_END = {"dt", "dd", "tr", "th", "td", "li", "thead", "tbody"}
IMAGE = "<img src=x onerror=alert(1)>&amp; \u202eכלב"
HOSTILE = f"""</script><script>alert(1)</script>"'>{IMAGE}\ud800"""
NOON = 1_700_000_000.0


class Page(HTMLParser):
    """Reads a page and sees that all that is opened is closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []
        ids = [found["id"] for _, found in self.tags if "id" in found]
        assert len(ids) == len(set(ids))
        for _, found in self.tags:
            assert not any(name.startswith("on") or name == "style" for name in found)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(attrs) == len(dict(attrs)), tag
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        while self.open[-1] != tag and self.open[-1] in OPTIONAL_END:
            self.open.pop()
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [found for name, found in self.tags if name == tag]

    def cards(self) -> list[str]:
        found = [each["class"] or "" for each in self.all("li")]
        return [each.removeprefix("card ") for each in found if each.startswith("card ")]

    @property
    def text(self) -> str:
        return " ".join("".join(self.texts).split())


class Harbour:
    """A journal that is written by hand, and its page."""

    def __init__(self, journal: Journal) -> None:
        self.journal = journal
        self.folder = journal.path.parent
        self.rows = 0

    async def row(self, **request: Any) -> tuple[Row, str]:
        self.rows += 1
        row = await self.journal.claim(
            key=None,
            digest=str(self.rows).encode(),
            endpoint="text2video",
            request={"prompt": f"Boat {self.rows}", **request},
        )
        return row, f"ka-{self.rows}"

    async def task(self, start: float = NOON, **request: Any) -> str:
        row, name = await self.row(**request)
        await self.journal.intend(row, name, now=start, estimate=Decimal(2))
        await self.journal.created(name, f"klingai/text2video/{self.rows}", now=start + 1)
        return name

    async def saved(self, *files: Path, start: float = NOON, told: float = 60.0) -> None:
        name = await self.task(start)
        raw = {
            "data": {"task_id": "1", "task_status": "succeed", "updated_at": (NOON + told) * 1000}
        }
        await self.journal.succeeded(name, {"raw": raw}, Decimal("1.50"), now=start + 62)
        await self.journal.saved(name, list(map(str, files)), now=start + 63)

    async def page(self, name: str = "boats.html") -> Page:
        await write_report(self.journal.path, self.folder / name)
        return Page((self.folder / name).read_text(encoding="utf-8"))


@pytest.fixture
async def harbour(tmp_path: Path) -> AsyncIterator[Harbour]:
    async with Journal(tmp_path / "boats.db") as journal:
        yield Harbour(journal)


def clip(path: Path) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(b"")
    return path


async def test_batch_reports_itself_open_and_closed(tmp_path: Path) -> None:
    emulator = Emulator(duration=10)
    emulator.faults.add(Fault.FAIL, message="too dark", times=1)
    async with Kling(KlingAI(KEY), transport=emulator.transport()) as kling:
        batch = kling.batch(tmp_path / "boats.db", boats(1, 2, 3), out=tmp_path / "videos")
        async with batch:
            async for _ in batch:
                await batch.report(tmp_path / "open.html")
    await batch.report(tmp_path / "closed.html")
    page = Page((tmp_path / "closed.html").read_text(encoding="utf-8"))

    assert sorted(page.cards()) == ["failed", "saved", "saved"]
    assert len(Page((tmp_path / "open.html").read_text(encoding="utf-8")).cards()) == 3
    sources = [video["src"] for video in page.all("video")]
    assert all(source and (tmp_path / source).is_file() for source in sources)
    assert len(sources) == 2
    assert page.text.count("too dark") == 2  # on the card, and among the failures
    assert "1 unit" in page.text
    assert "1 units" not in page.text
    assert KEY not in page.text


async def test_page_tells_what_each_row_came_to(harbour: Harbour) -> None:
    await harbour.saved(clip(harbour.folder / "videos" / "a #1?.mp4"))
    name = await harbour.task(NOON + 5, model_name="kling-v9", mode="pro", duration="10")
    await harbour.journal.failed(name, {"message": "task 7: too dark", "code": 5}, now=NOON + 9)
    await harbour.journal.succeeded(
        await harbour.task(), {"videos": [{"url": "https://cdn.example/1.mp4?a=1&b"}]}, None
    )
    await harbour.task()
    row, name = await harbour.row(prompt=None)
    await harbour.journal.intend(row, name, now=NOON, estimate=None)
    await harbour.row()
    row, name = await harbour.row()
    await harbour.journal.refused(row, name, {"type": "ContentRejected"}, now=NOON + 3)
    page = await harbour.page()

    expected = ["saved", "failed", "succeeded", "running", "unknown", "not", "failed"]
    assert page.cards() == expected
    assert [video["src"] for video in page.all("video")] == ["videos/a%20%231%3F.mp4"]
    assert {"href": "https://cdn.example/1.mp4?a=1&b", "rel": "noreferrer"} in page.all("a")
    for words in ("saved text2video 1 m 2 s 1.5 units", "≈ 2 units", "too dark (5)"):
        assert words.replace(" ", "") in page.text.replace(" ", "")
    for words in ("kling-v9", "duration 10, mode pro", "no prompt", "ContentRejected"):
        assert words in page.text
    assert "task 7" not in page.text
    totals = "rows7saved1succeeded1failed2running1unknown1not submitted1units≈ 7.5elapsed1 m 3 s"
    assert totals in "".join(page.texts)
    radios = [each["id"] for each in page.all("input") if each.get("type") == "radio"]
    stages = ["saved", "succeeded", "failed", "running", "unknown", "not"]
    assert radios == ["only-all", *(f"only-{stage}" for stage in stages)]


async def test_tries_before_count_too(harbour: Harbour) -> None:
    row, name = await harbour.row()
    await harbour.journal.intend(row, name, now=NOON, estimate=Decimal(2))
    await harbour.journal.created(name, "token")
    await harbour.journal.failed(name, {}, now=NOON + 10)
    await harbour.journal.intend(row, "again", now=NOON + 20, estimate=Decimal(2))
    page = await harbour.page()

    assert page.cards() == ["unknown"]
    assert "≈ 4" in page.text
    assert "2 attempts, at most 1 at once" in page.text
    assert "Attempt2" in "".join(page.texts)


async def test_lag_is_never_negative(harbour: Harbour) -> None:
    for told in (60.0, 61.5, 99.0):
        await harbour.saved(told=told)
    page = await harbour.page()

    assert "half within 500 ms, 95 % within 2 s, longest 2 s; 1 by a clock ahead" in page.text


async def test_clock_that_is_ahead_tells_no_lag(harbour: Harbour) -> None:
    await harbour.saved(told=99.0)
    page = await harbour.page()

    assert "Lag" not in page.text
    assert "Time taken" in page.text


async def test_ends_that_nobody_knows_are_not_drawn(harbour: Harbour) -> None:
    name = await harbour.task()
    await harbour.journal.succeeded(name, {}, None)
    page = await harbour.page()

    assert page.cards() == ["succeeded"]
    assert "In flight" not in page.text


async def test_journal_without_rows_is_a_page(harbour: Harbour) -> None:
    page = await harbour.page()

    assert page.cards() == []
    assert "nothing was submitted yet" in page.text


@pytest.mark.parametrize("field", ["prompt", "model_name", "mode"])
async def test_words_of_others_do_nothing(harbour: Harbour, field: str) -> None:
    request: dict[str, Any] = {field: HOSTILE}
    name = await harbour.task(**request)
    await harbour.journal.failed(name, {"message": HOSTILE, "code": HOSTILE}, now=NOON + 1)
    page = await harbour.page()

    assert len(page.all("script")) == 1
    assert page.all("img") == []
    assert page.text.count(IMAGE) == 5
    assert all(each["dir"] == "auto" for each in page.all("summary"))


async def test_names_and_addresses_of_others_do_nothing(tmp_path: Path) -> None:
    path = tmp_path / '"><script>alert(1)<'
    path.mkdir()
    async with Journal(path / "$name '\">&.db") as journal:
        harbour = Harbour(journal)
        await harbour.saved(clip(path / "a:\"'<b>.mp4"), path / "gone <b>.mp4")
        for url in ("javascript:alert(1)", " https:x", 7):
            name = await harbour.task()
            await journal.succeeded(name, {"videos": [{"url": url}]}, None, now=NOON + 3)
        page = await harbour.page()

    assert len(page.all("script")) == 1
    assert [video["src"] for video in page.all("video")] == ["a%3A%22%27%3Cb%3E.mp4"]
    assert "no longer there: gone <b>.mp4" in page.text
    assert not [each for each in page.all("a") if not (each["href"] or "").startswith("#")]
    assert "$name '\">&" in page.text


async def test_page_needs_no_network_and_allows_none(harbour: Harbour) -> None:
    await harbour.saved(clip(harbour.folder / "a.mp4"))
    page = await harbour.page()
    (policy,) = [each["content"] or "" for each in page.all("meta") if "http-equiv" in each]

    assert page.all("link") == []
    for _, found in page.tags:
        assert not re.match(r"(https?:)?//", found.get("src") or "")
    assert "url(" not in "".join(page.texts)
    assert "@import" not in "".join(page.texts)
    allowed = dict(each.strip().split(" ", 1) for each in policy.split(";"))
    assert allowed["default-src"] == allowed["base-uri"] == allowed["form-action"] == "'none'"
    assert allowed["media-src"] == "'self' file:"
    for name in ("script", "style"):
        text = re.findall(
            rf"<{name}>(.*?)</{name}>", (harbour.folder / "boats.html").read_text(), re.DOTALL
        )
        digest = b64encode(sha256(text[0].encode()).digest()).decode()
        assert allowed[f"{name}-src"] == f"'sha256-{digest}'"


async def test_clips_elsewhere_are_linked_by_their_whole_path(harbour: Harbour) -> None:
    file = clip(harbour.folder / "videos" / "a b.mp4")
    await harbour.saved(file)
    (harbour.folder / "pages").mkdir()
    page = await harbour.page("pages/boats.htm")

    assert [video["src"] for video in page.all("video")] == [file.resolve().as_uri()]


async def test_clips_behind_a_link_are_relative_either_way(harbour: Harbour) -> None:
    file = clip(harbour.folder / "real" / "a.mp4")
    (harbour.folder / "alias").symlink_to(harbour.folder / "real")
    await harbour.saved(harbour.folder / "alias" / "a.mp4")
    page = await harbour.page("alias/boats.html")
    other = await harbour.page("real/boats.html")

    assert file.exists()
    assert [each.all("video")[0]["src"] for each in (page, other)] == ["a.mp4", "a.mp4"]


async def test_only_the_first_clips_are_loaded_at_once(harbour: Harbour) -> None:
    file = clip(harbour.folder / "a.mp4")
    for _ in range(20):
        await harbour.saved(file)
    page = await harbour.page()

    assert [each["preload"] for each in page.all("video")] == ["metadata"] * 12 + ["none"] * 8


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a page leaves out what is too much."""
    for name in ("_MOST_CARDS", "_MOST_REASONS", "_MOST_LINKS", "_WHOLE"):
        monkeypatch.setattr(_report, name, {"_MOST_CARDS": 5}.get(name, 2))


@pytest.mark.usefixtures("small")
async def test_what_is_too_much_is_counted(harbour: Harbour) -> None:
    for number in range(8):
        name = await harbour.task(prompt=f"{'ä' * 400}")
        reason = "dark" if number < 6 else f"reason {number}"
        await harbour.journal.failed(name, {"message": reason}, now=NOON + 2)
    page = await harbour.page()

    assert len(page.cards()) == 5
    assert "3 more rows have no card" in page.text
    assert "1 2 and 4 more" in page.text
    assert "and 1 more reasons" in page.text
    assert "rows8" in "".join(page.texts)
    lengths = [len(each) for each in re.findall("ä+…?", page.text)]
    assert lengths == [400, 400, 149, 149, 149]


@pytest.mark.long
async def test_ten_thousand_rows_are_a_page_of_few_megabytes(
    harbour: Harbour, monkeypatch: pytest.MonkeyPatch
) -> None:
    await harbour.saved(clip(harbour.folder / f"{'f' * 40}.mp4"))
    await harbour.page()
    (row,) = await anyio.to_thread.run_sync(lambda: list(Journal.read(harbour.journal.path)))

    def read(path: Path, *, every_attempt: bool) -> Iterator[Row]:
        for number in range(10_000):
            yield Row(number, f"{number:016x}-1", row.endpoint, {"prompt": "x" * 150}, row.attempt)

    monkeypatch.setattr(Journal, "read", read)
    page = await harbour.page()

    assert len(page.cards()) == 10_000
    assert "on average over short whiles" in page.text
    assert (harbour.folder / "boats.html").stat().st_size < 8_000_000


async def test_other_names_are_refused_at_once(harbour: Harbour) -> None:
    with pytest.raises(ConfigurationError, match=r"boats.db: name it .html"):
        await write_report(harbour.journal.path, harbour.journal.path)


async def test_page_that_cannot_be_written_leaves_nothing(harbour: Harbour) -> None:
    with pytest.raises(JournalError, match="cannot write"):
        await write_report(harbour.journal.path, harbour.folder / "no folder" / "boats.html")
    (harbour.folder / "boats.html").mkdir()
    with pytest.raises(JournalError, match="cannot write"):
        await write_report(harbour.journal.path, harbour.folder / "boats.html")

    assert not [each for each in harbour.folder.iterdir() if each.suffix == ".part"]


async def test_journal_that_is_none_leaves_the_old_page(harbour: Harbour) -> None:
    await harbour.page()
    before = (harbour.folder / "boats.html").read_bytes()
    with pytest.raises(JournalError, match="does not exist"):
        await write_report(harbour.folder / "other.db", harbour.folder / "boats.html")

    assert (harbour.folder / "boats.html").read_bytes() == before
