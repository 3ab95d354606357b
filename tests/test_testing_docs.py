"""The tests that docs/testing.md and the README show are run, by the plugins they name."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

# Another pytest takes its time on a busy machine.
pytestmark = [pytest.mark.long, pytest.mark.timeout(120)]

ROOT = Path(__file__).parent.parent


def blocks(path: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", path.read_text(encoding="utf-8"), re.M | re.S)


PAGE = blocks(ROOT / "docs" / "testing.md")
README = [block for block in blocks(ROOT / "README.md") if "def test_" in block]
CONFTEST = [block for block in PAGE if block.startswith("# conftest.py")]
FILES = [block for block in [*README, *PAGE] if block not in CONFTEST]
COROUTINES = sum(block.count("\nasync def test_") for block in FILES)
FUNCTIONS = sum(block.count("\ndef test_") for block in FILES)


@pytest.fixture
def shown(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    """A suite of what the page shows, but for its conftest.py."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    pytester.makeini("[pytest]\nfilterwarnings = error\nstrict = true")
    pytester.makepyfile(**{f"test_{number}": block for number, block in enumerate(FILES)})
    return pytester


def test_page_shows_each_way() -> None:
    assert len(CONFTEST) == len(README) == 1
    assert COROUTINES >= 8


def test_page_runs_with_pytest_asyncio(shown: pytest.Pytester) -> None:
    options = ("--asyncio-mode=auto", "-o", "asyncio_default_fixture_loop_scope=function")

    result = shown.runpytest_subprocess(*options)

    result.assert_outcomes(passed=COROUTINES + FUNCTIONS)


@pytest.mark.parametrize("conftest", ["", *CONFTEST], ids=["real", "virtual"])
def test_page_runs_with_anyios_plugin(shown: pytest.Pytester, conftest: str) -> None:
    shown.makeconftest(conftest)

    result = shown.runpytest_subprocess("-p", "no:asyncio", "--anyio-mode=auto")

    # On asyncio and trio, but for the server, which is asyncio's alone.
    result.assert_outcomes(passed=COROUTINES * 2 - 1 + FUNCTIONS)
