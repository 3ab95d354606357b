"""Every example is short, says how to run it, and does what it says."""

from __future__ import annotations

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kling_async.emulator import Fault
from tests.rehearsal import Rehearsal, compiled

ROOT = Path(__file__).parent.parent
DEMO = ROOT / "examples" / "demo.py"  # `kling demo`; test_cli_demo.py runs it
FASTAPI_APP = DEMO.with_name("fastapi_app.py")  # a whole program; test_fastapi_app.py runs it
FLEET_APP = DEMO.with_name("fleet_app.py")  # another; test_fleet_app.py runs it
NOTEBOOK = DEMO.with_name("notebook.ipynb")
EXAMPLES = sorted(set(DEMO.parent.glob("*.py")) - {DEMO, FASTAPI_APP, FLEET_APP})
ARGUMENTS = {
    "batch": ["prompts.txt"],
    "image_to_video": ["cat.png", "It yawns"],
    "one_video": ["A paper boat"],
}
SAYS = {
    "batch": "\n3 saved, 0 succeeded, 0 failed, ",
    "image_to_video": "submitted\nprocessing\nsucceed\ncat.mp4\n",
    "lost_answer": "\ncreates billed: 1\n",
    "many_at_once": "\n100 videos, 0 failures\n",
    "one_video": "boat.mp4: ",
    "own_provider": "acme/text2video/",
    "resume_by_token": "cometapi/text2video/",
}


@pytest.fixture
def stage(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Rehearsal:
    return Rehearsal(monkeypatch, tmp_path)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
async def test_example_runs(
    stage: Rehearsal, capsys: pytest.CaptureFixture[str], path: Path
) -> None:
    await stage.run_file(path, *ARGUMENTS.get(path.stem, []))

    assert SAYS[path.stem] in capsys.readouterr().out


async def test_notebook_runs_cell_by_cell(
    stage: Rehearsal, capsys: pytest.CaptureFixture[str]
) -> None:
    names: dict[str, Any] = {}
    for number, source in enumerate(cells("code")):
        await stage.run_code(compiled(source, NOTEBOOK.with_suffix(f".{number}.py"), 1), names)

    assert (stage.folder / "boat.mp4").is_file()
    assert len(capsys.readouterr().out.splitlines()) == 3
    assert len(names["emulator"].ledger) == 4


def test_notebook_is_stored_without_outputs() -> None:
    assert [cell["outputs"] for cell in notebook() if cell["cell_type"] == "code"] == [[]] * 5
    assert sum(len(source.splitlines()) for source in cells("code")) <= 40
    assert "examples/notebook.ipynb" in next(cells("markdown"))


def notebook() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"]
    return found


def cells(kind: str) -> Iterator[str]:
    return ("".join(cell["source"]) for cell in notebook() if cell["cell_type"] == kind)


async def test_second_run_fetches_what_the_first_one_paid_for(
    stage: Rehearsal, capsys: pytest.CaptureFixture[str]
) -> None:
    example = DEMO.with_name("resume_by_token.py")

    await stage.run_file(example)
    await stage.run_file(example, capsys.readouterr().out.strip())

    assert (stage.folder / "boat.mp4").is_file()
    assert len(stage.emulator.ledger) == 1


async def test_second_batch_tells_the_same_and_pays_nothing(
    stage: Rehearsal, capsys: pytest.CaptureFixture[str]
) -> None:
    example = DEMO.with_name("batch.py")

    await stage.run_file(example, "prompts.txt")
    first, asked = capsys.readouterr().out, len(stage.emulator.requests)
    await stage.run_file(example, "prompts.txt")

    assert sorted(capsys.readouterr().out.splitlines()) == sorted(first.splitlines())
    assert len(list((stage.folder / "videos").iterdir())) == len(stage.emulator.ledger) == 3
    assert len(stage.emulator.requests) == asked


async def test_batch_with_a_wrong_key_says_so_and_fails(stage: Rehearsal) -> None:
    stage.emulator.faults.add(Fault.UNAUTHORIZED, on="create", times=99)
    with pytest.raises(SystemExit) as caught:
        await stage.run_file(DEMO.with_name("batch.py"), "prompts.txt")

    for words in ("Check the key", "the same call goes on", "0 saved"):
        assert words in str(caught.value.code)


async def test_batch_with_a_failure_makes_the_others_and_fails(
    stage: Rehearsal, capsys: pytest.CaptureFixture[str]
) -> None:
    stage.emulator.faults.add(Fault.FAIL, message="too dark")
    with pytest.raises(SystemExit, match="1"):
        await stage.run_file(DEMO.with_name("batch.py"), "prompts.txt")

    out = capsys.readouterr().out
    assert "too dark" in out
    assert "\n2 saved, 0 succeeded, 1 failed, " in out


async def test_media_refused_here_cost_nothing(stage: Rehearsal) -> None:
    with pytest.raises(SystemExit, match=r"dog\.png"):
        await stage.run_file(DEMO.with_name("image_to_video.py"), "dog.png", "It barks")

    assert not stage.emulator.requests


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_example_is_one_short_file(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 40


@pytest.mark.parametrize(
    "path", [*EXAMPLES, DEMO, FASTAPI_APP, FLEET_APP], ids=lambda path: path.stem
)
def test_example_says_how_to_run_it(path: Path) -> None:
    docstring = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""

    assert f"python examples/{path.name}" in docstring or "scripts/demo" in docstring
