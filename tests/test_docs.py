"""The documents are true: their code runs, their links lead somewhere, their names exist."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import shlex
import textwrap
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

import kling_async
import kling_async.emulator
import kling_async.engines.dbos
import kling_async.otel
import kling_async.testing
import kling_async.webhooks
from kling_async import (
    Batch,
    BatchOutcome,
    Kling,
    KlingError,
    Request,
    Task,
    VideoResult,
    endpoints,
)
from kling_async._exchange import Call
from kling_async.emulator.__main__ import main as emulator_command
from tests.rehearsal import Rehearsal, compiled

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PROMISES = ROOT / "docs" / "promises.md"
COMMAND_LINE = ROOT / "docs" / "command-line.md"
TELEMETRY = ROOT / "docs" / "telemetry.md"
TESTING = ROOT / "docs" / "testing.md"  # its code is tests: test_testing_docs.py runs it
ENGINES = ROOT / "docs" / "engines.md"  # so is this: test_docs_engines.py
PAGES = sorted((ROOT / "docs").glob("*.md"))
DOCUMENTS = [README, ROOT / "CHANGELOG.md", ROOT / "CONTRIBUTING.md", *PAGES]
SOURCES = sorted((ROOT / "kling_async").rglob("*.py"))


@dataclass(frozen=True)
class Snippet:
    """A piece of code and where it stands."""

    path: Path
    line: int
    source: str

    def __str__(self) -> str:
        return f"{self.path.relative_to(ROOT)}:{self.line}"


def text(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def blocks(path: Path, language: str) -> Iterator[Snippet]:
    document = text(path)
    for found in re.finditer(rf"^```{language}\n(.*?)^```$", document, re.S | re.M):
        yield Snippet(path, document.count("\n", 0, found.start(1)) + 1, found[1])


def spans(path: Path) -> list[str]:
    prose = re.sub(r"^```.*?^```$", "", text(path), flags=re.S | re.M)
    return [" ".join(code.split()) for code in re.findall(r"`([^`]+)`", prose)]


def docstring_examples(path: Path) -> Iterator[Snippet]:
    for node in ast.walk(ast.parse(text(path))):
        if not isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        # The first statement of a body is its docstring, if it has one.
        lines = (ast.get_docstring(node) or "").splitlines()
        for index in [i for i, line in enumerate(lines) if line == "Example:"]:
            body = lines[index + 1 :]
            end = next((i for i, line in enumerate(body) if line[:1].strip()), len(body))
            line = node.body[0].lineno + index + 1
            yield Snippet(path, line, textwrap.dedent("\n".join(body[:end])) + "\n")


PYTHON = [
    snippet
    for path in (README, *PAGES)
    if path not in (TESTING, ENGINES)
    for snippet in blocks(path, "python")
]
# Units, and names of metrics and attributes, which test_otel_metrics.py looks after.
TELEMETRY_NAMES = {"By"} | set(
    re.findall(r"`([a-z]+\.[a-z_.]+)`", "".join(re.findall(r"^\|.*", text(TELEMETRY), re.M)))
)
EXAMPLES = [snippet for path in SOURCES for snippet in docstring_examples(path)]
NAMES: dict[str, object] = {
    **{name: getattr(kling_async, name) for name in kling_async.__all__},
    **{name: getattr(kling_async.emulator, name) for name in ("Emulator", "Fault", "Strike")},
    "KlingDBOS": kling_async.engines.dbos.KlingDBOS,
    "Telemetry": kling_async.otel.Telemetry,
    **{name: getattr(kling_async.testing, name) for name in kling_async.testing.__all__},
    "Path": Path,
    "key": "the-key-of-a-reader",
    "requests": [kling_async.Text2Video(prompt=f"Boat {number}") for number in range(3)],
    "access_key": "an-access-key",
    "secret_key": "a-secret-key-of-at-least-32-letters",
}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rehearsal:
    return Rehearsal(monkeypatch, tmp_path)


@pytest.mark.parametrize("snippet", [*PYTHON, *EXAMPLES], ids=str)
async def test_code_runs(stage: Rehearsal, snippet: Snippet) -> None:
    async with stage.client() as kling:
        # Prepared for fragments; a block that makes its own finds its own.
        task = await kling.text2video.submit(prompt="A paper boat")
        names = {**NAMES, "Kling": stage.client, "kling": kling, "task": task, "token": task.token}
        names["video"] = await task

        await stage.run_code(compiled(snippet.source, snippet.path, snippet.line), names)


async def test_first_program_makes_a_video(stage: Rehearsal) -> None:
    first = PYTHON[0]

    await stage.run_code(compiled(first.source, first.path, first.line), {})

    assert (stage.folder / "boat.mp4").is_file()


def test_client_and_task_have_examples() -> None:
    assert {snippet.path.name for snippet in EXAMPLES} >= {"_client.py", "_task.py"}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\((?!https?://)([^)#]*)(#[^)]+)?\)", text(document))
    found = [((document.parent / path) if path else document, place) for path, place in links]

    assert [f"{path}" for path, _ in found if not path.exists()] == []
    assert [f"{path}{place}" for path, place in found if place and place not in places(path)] == []


def places(path: Path) -> set[str]:
    """What links can lead to in a document: its headings, as Markdown's readers name them."""
    headings = re.findall(r"^#+ (.*)$", text(path), re.M)
    return {"#" + re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in headings}


def test_every_promise_names_a_test_that_exists() -> None:
    rows = re.findall(r"^\|.*\| (.*) \|$", text(PROMISES), re.M)
    shown = [re.findall(r"\[(\w+)\]\((\S+)\)", cell) for cell in rows if cell != "Shown by"]

    assert shown
    assert all(shown)
    for name, file in [link for links in shown for link in links]:
        assert re.search(rf"^(async )?def {name}\(", text(PROMISES.parent / file), re.M), name


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_names_exist(document: Path, stage: Rehearsal) -> None:
    known = Known(stage.client())
    found = [span for span in spans(document) if span not in TELEMETRY_NAMES]

    assert [f"{span}: {what}" for span in found for what in known.missing(span)] == []


class Known:
    """Looks up the names that a piece of code uses."""

    def __init__(self, kling: Kling) -> None:
        self.names: dict[str, Any] = {
            **vars(builtins),
            **NAMES,
            "kling": kling,
            "kling_async": kling_async,
            "Call": Call,  # contributors meet it
            "ValidationError": ValidationError,
            # Classes stand for their instances, where only the attributes are looked at.
            "task": Task,
            "video": VideoResult,
            "error": KlingError,
            "batch": Batch,
            "outcome": BatchOutcome,
        }

    def missing(self, code: str) -> Iterator[str]:
        """What *code* names and nobody defines; text that is no Python names nothing."""
        if code.endswith(".py"):  # links and the map see to files
            return
        try:
            tree = ast.parse(code)
        except SyntaxError:
            return
        for node in ast.walk(tree):
            if isinstance(node, ast.Name) and node.id[0].isupper() and not node.id.isupper():
                yield from [] if node.id in self.names else [node.id]
            elif isinstance(node, ast.Attribute):
                owner = self.value(node.value)
                yield from [] if owner is None or has(owner, node.attr) else [ast.unparse(node)]
            elif isinstance(node, ast.Call) and (function := self.value(node.func)):
                taken = set(inspect.signature(function).parameters)
                yield from [f"{k.arg}=" for k in node.keywords if k.arg and k.arg not in taken]

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Name):
            return self.names.get(node.id)
        if isinstance(node, ast.Attribute):
            return getattr(self.value(node.value), node.attr, None)
        return None


def has(owner: Any, name: str) -> bool:
    return hasattr(owner, name) or name in getattr(owner, "model_fields", {})


def test_missing_names_are_found(stage: Rehearsal) -> None:
    known = Known(stage.client())

    assert list(known.missing("Klnig(key)")) == ["Klnig"]
    assert list(known.missing("kling.text3video")) == ["kling.text3video"]
    assert list(known.missing("CometAPI(key, region=1)")) == ["region="]


def test_code_comes_early() -> None:
    before = text(README).split("```")[0]

    assert len(before.split()) <= 60


def test_first_screen_says_what_to_run() -> None:
    first = "\n".join(text(README).splitlines()[:40])

    assert "`scripts/demo`" in first
    assert "`scripts/test`" in first


def test_table_names_every_endpoint(stage: Rehearsal) -> None:
    requests = [getattr(endpoints, name) for name in endpoints.__all__]
    kinds = [kind for kind in requests if issubclass(kind, Request) and kind is not Request]
    expected = {(kind.endpoint.replace("-", "_"), kind.__name__, kind.path) for kind in kinds}

    rows = re.findall(r"^\| `kling\.(\w+)` \| `(\w+)` \| `POST (\S+)` \|$", text(README), re.M)

    assert set(rows) == expected
    assert all(hasattr(stage.client(), name) for name, _, _ in rows)


def commands(path: Path) -> Iterator[str]:
    lines = [line for block in blocks(path, "sh") for line in block.source.splitlines()]
    for code in [*lines, *spans(path)]:
        if re.match(r"scripts/\w|\.ci/\w|python -m kling_async|pip install", code):
            yield code.split("#")[0].strip()


COMMANDS = sorted({command for path in [*DOCUMENTS, *SOURCES] for command in commands(path)})


@pytest.mark.parametrize("line", COMMANDS)
def test_command_exists(line: str, capsys: pytest.CaptureFixture[str]) -> None:
    command = shlex.split(line)

    if command[0] == "pip":
        extras = tomllib.loads(text(ROOT / "pyproject.toml"))["project"]["optional-dependencies"]
        package, *wanted = re.split(r"[\[,]", command[2].rstrip("]"))
        assert (package, set(wanted) - set(extras)) == ("kling_async", set())
    elif command[0] == "python":
        with pytest.raises(SystemExit, match="0"):
            emulator_command(["--help"])
        options = [word for word in command if word.startswith("--")]
        assert set(options) <= set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    else:
        assert (ROOT / command[0]).stat().st_mode & 0o100
