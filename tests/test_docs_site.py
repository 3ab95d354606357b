"""The site of docs/ has every page and every public name, and its links lead somewhere."""

from __future__ import annotations

import importlib
import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.test_public_api import DOORS

ROOT = Path(__file__).parent.parent
DOCS = ROOT / "docs"
REFERENCE = (DOCS / "reference.md").read_text(encoding="utf-8")


class Page(HTMLParser):
    """What a page leads to, and the places in it that others can lead to."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self.links: list[str] = []
        self.loads: list[str] = []
        self.places = {""}
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name in ("href", "src"):
                self.links.append(value or "")
                if tag != "a":
                    self.loads.append(value or "")
            elif name == "id":
                self.places.add(value or "")

    def target(self, link: str) -> tuple[Path, str]:
        parts = urlsplit(link)
        path = (self.path.parent / unquote(parts.path)).resolve() if parts.path else self.path
        return path, unquote(parts.fragment)


def named() -> dict[str, set[str]]:
    """The names that the reference documents, by their modules."""
    names: dict[str, set[str]] = {}
    module = ""
    for directive, name in re.findall(r"^\.\. ([\w:]+):: (\S+)$", REFERENCE, re.M):
        if directive == "currentmodule":
            module = name
        else:
            names.setdefault(module, set()).add(name)
    return names


@pytest.mark.parametrize("door", DOORS)
def test_reference_has_every_public_name(door: str) -> None:
    known = named()
    shown = known["kling_async"] | known.get(door, set())
    module = importlib.import_module(door)

    assert set(module.__all__) - shown - {"__version__"} == set()
    # A name that two doors share is described once, so it must be one thing.
    for name in set(module.__all__) - known.get(door, set()) - {"__version__"}:
        assert getattr(module, name) is getattr(importlib.import_module("kling_async"), name)


def test_reference_names_nothing_else() -> None:
    for door, names in named().items():
        public = set(importlib.import_module(door).__all__)

        assert {name for name in names if "." not in name} <= public


def test_every_page_is_in_the_menu() -> None:
    index = (DOCS / "index.md").read_text(encoding="utf-8")
    menu = re.search(r"^```{toctree}\n:hidden:\n\n(.*?)^```$", index, re.M | re.S)

    assert menu is not None
    assert {*menu[1].split(), "index"} == {page.stem for page in DOCS.glob("*.md")}


@pytest.mark.long
@pytest.mark.timeout(300)
def test_site_is_built_without_a_warning_and_stands_alone(tmp_path: Path) -> None:
    site = tmp_path.resolve() / "site"
    command = [ROOT / "scripts" / "docs", site]

    built = subprocess.run(command, capture_output=True, text=True, check=False)

    assert built.returncode == 0, built.stdout + built.stderr
    pages = {path: Page(path) for path in site.glob("*.html")}
    links = [(page, link) for page in pages.values() for link in page.links]
    own = [(page, link) for page, link in links if not urlsplit(link).netloc]
    assert len(own) > 500
    assert [f"{page.path.name}: {link}" for page, link in own if not leads(page, link, pages)] == []
    # A reader may follow a link elsewhere; the pages themselves fetch nothing from there.
    assert [link for page in pages.values() for link in page.loads if urlsplit(link).netloc] == []


def leads(page: Page, link: str, pages: dict[Path, Page]) -> bool:
    path, place = page.target(link)
    if path in pages and path.name != "search.html":
        return place in pages[path].places
    return path.is_file()
