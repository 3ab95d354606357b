"""`kling wait`, `status`, `download`, `list` and `settle`: tasks that exist, by their tokens."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from kling_async.emulator import Fault
from tests.cli.terminal import Terminal


async def submitted(terminal: Terminal, *durations: int) -> list[str]:
    """Tokens of new tasks."""
    tokens: list[str] = []
    for duration in durations or (30,):
        words = ("text2video", "--prompt", f"A boat lasts {duration}", "--no-wait")
        assert await terminal.run(*words) == 0
        tokens.append(terminal.out.strip())
    return tokens


async def test_no_wait_prints_the_token_and_nothing_else(terminal: Terminal) -> None:
    (token,) = await submitted(terminal)

    assert token.startswith("klingai/text2video/")
    assert terminal.err == ""
    assert [seen.method for seen in terminal.emulator.requests] == ["POST"]


async def test_waits_as_they_finish(terminal: Terminal) -> None:
    tokens = await submitted(terminal, 90, 30)

    assert await terminal.run("wait", *tokens, *tokens, "--json") == 0
    assert [found["token"] for found in terminal.objects] == tokens[::-1]


async def test_saves_to_a_folder_again_and_again(terminal: Terminal) -> None:
    tokens = await submitted(terminal, 30, 30)

    assert await terminal.run("wait", *tokens, "-o", "out") == 0
    files = terminal.out.splitlines()
    assert await terminal.run("download", *tokens, "-o", "out") == 0
    assert sorted(terminal.out.splitlines()) == sorted(files)
    assert len(list(Path("out").iterdir())) == 2


async def test_token_says_which_provider_is_asked(terminal: Terminal) -> None:
    (token,) = await submitted(terminal)
    terminal.environ["COMETAPI_KEY"] = "a-comet-key-0123"

    assert await terminal.run("wait", token) == 0


async def test_tokens_of_two_providers_are_refused(terminal: Terminal) -> None:
    (token,) = await submitted(terminal)

    assert await terminal.run("status", token, "cometapi/text2video/1") == 2
    assert "the token is of provider cometapi" in terminal.err


@pytest.mark.parametrize("words", [("wait",), ("wait", "no-token"), ("status", "a/b")])
async def test_what_is_no_token_is_refused(terminal: Terminal, words: tuple[str, ...]) -> None:
    assert await terminal.run(*words) == 2
    assert not terminal.emulator.requests


async def test_time_out_goes_on_with_those_that_are_left(terminal: Terminal) -> None:
    early, late = await submitted(terminal, 30, 3000)

    assert await terminal.run("wait", early, late, "--timeout", "100") == 4
    assert "kling: 1 of 2 not ended after 100 s\n" in terminal.err
    assert terminal.advice == [["wait", late]]


@pytest.mark.parametrize("target", ["cat.png", "cat.png/boat.mp4"])
async def test_target_that_is_refused_is_not_advised_again(terminal: Terminal, target: str) -> None:
    (token,) = await submitted(terminal)

    assert await terminal.run("wait", token, "-o", target) == 2
    assert terminal.advice == []


async def test_interrupted_wait_goes_on_where_it_was(terminal: Terminal) -> None:
    (token,) = await submitted(terminal)
    with anyio.move_on_after(5):
        await terminal.run("wait", token, "-o", "boat.mp4", "--overwrite")
    terminal.shell.farewell()

    assert terminal.advice == [["wait", token, "-o", "boat.mp4", "--overwrite"]]


async def test_failed_task_is_told_and_the_others_are_waited_for(terminal: Terminal) -> None:
    terminal.emulator.faults.add(Fault.FAIL, message="too dark")
    bad, good = await submitted(terminal, 30, 40)

    assert await terminal.run("wait", bad, good, "--json") == 1
    assert [found["status"] for found in terminal.objects] == ["failed", "succeed"]
    assert "too dark" in terminal.err
    assert terminal.advice == []


async def test_refused_key_in_a_wait_is_not_allowed_and_loses_nothing(terminal: Terminal) -> None:
    (token,) = await submitted(terminal)
    terminal.emulator.faults.add(Fault.UNAUTHORIZED, on="query", times=99)

    assert await terminal.run("wait", token) == 3
    assert terminal.advice == [["wait", token]]


async def test_status_asks_once(terminal: Terminal) -> None:
    (token,) = await submitted(terminal)
    asked = len(terminal.emulator.requests)

    assert await terminal.run("status", token) == 0
    assert terminal.out.startswith(f"{token}   submitted")
    assert len(terminal.emulator.requests) == asked + 1


async def test_status_of_a_failed_task_is_one(terminal: Terminal) -> None:
    terminal.emulator.faults.add(Fault.FAIL, message="too dark")
    (token,) = await submitted(terminal)
    await terminal.run("wait", token)

    assert await terminal.run("status", token) == 1
    assert terminal.out == f"{token}   failed   too dark\n"


async def test_status_of_no_task_is_told_and_the_others_follow(terminal: Terminal) -> None:
    (token,) = await submitted(terminal)

    assert await terminal.run("status", "klingai/text2video/1", token) == 1
    assert terminal.out.startswith(token)
    assert "1" in terminal.err


async def test_download_of_a_running_task_says_how_to_wait(terminal: Terminal) -> None:
    (token,) = await submitted(terminal)

    assert await terminal.run("download", token) == 4
    assert "still submitted" in terminal.err
    assert terminal.advice == [["wait", token, "-o", "./"]]


async def test_list_shows_the_newest(terminal: Terminal) -> None:
    tokens = await submitted(terminal, 30, 30, 30)

    assert await terminal.run("list", "text2video", "--limit", "2") == 0
    lines = terminal.out.splitlines()
    assert len(lines) == 2
    ids = [token.split("/")[2] for token in tokens]
    assert all(line.split("/")[2].split()[0] in ids for line in lines)
    assert lines[0].endswith("Z")


async def test_list_reads_on_until_there_is_no_more(terminal: Terminal) -> None:
    await submitted(terminal, 30, 30, 30)

    assert await terminal.run("list", "text2video", "--json") == 0
    assert len(terminal.objects) == 3
    assert await terminal.run("list", "avatar") == 0
    assert terminal.out == ""
    assert await terminal.run("list", "text2video", "--limit", "3") == 0
    assert len(terminal.out.splitlines()) == 3


async def test_list_goes_over_pages(terminal: Terminal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kling_async.cli._tasks.LARGEST_PAGE", 2)
    await submitted(terminal, 30, 30, 30)

    assert await terminal.run("list", "text2video") == 0
    assert len(terminal.out.splitlines()) == 3


async def test_list_where_there_is_none_is_bad_usage(terminal: Terminal) -> None:
    terminal.environ = {"COMETAPI_KEY": "a-comet-key-0123"}

    assert await terminal.run("list", "text2video") == 2
    assert "serves no lists" in terminal.err


async def test_settle_finds_a_task_by_its_external_id(terminal: Terminal) -> None:
    (token,) = await submitted(terminal)
    name = terminal.emulator.ledger[0].external_task_id

    assert await terminal.run("settle", str(name), "--json") == 0
    assert terminal.objects[0]["task_id"] == token.split("/")[2]


async def test_settle_that_finds_nothing_may_be_tried_again(terminal: Terminal) -> None:
    assert await terminal.run("settle", "ka-nobody") == 4
    assert terminal.advice == [["settle", "ka-nobody"]]
