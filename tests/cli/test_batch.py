"""`kling batch`: checked as a whole, then run; stopped, the command that is told goes on."""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path

import anyio
import pytest

from kling_async.cli._app import perform
from kling_async.cli._exit import Exit
from kling_async.emulator import Fault
from tests.cli.terminal import Terminal

COMMAND = ("batch", "jobs.csv", "--endpoint", "text2video", "--out", "videos/")


def write(rows: int, name: str = "jobs.csv", duration: str = "5") -> None:
    with Path(name).open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("key", "prompt", "duration"))
        writer.writerows((f"boat-{n}", f"Boat {n}", duration) for n in range(rows))


async def test_every_row_is_made_saved_and_told(terminal: Terminal) -> None:
    write(5)

    assert await terminal.run(*COMMAND) == 0
    told = dict(line.split(": ", 1) for line in terminal.out.splitlines()[:-1])
    assert told.keys() == {f"boat-{n}" for n in range(5)}
    assert all(Path(file).is_file() and file.startswith("videos/") for file in told.values())
    assert terminal.out.splitlines()[-1].startswith("5 saved, ")
    assert terminal.paid == 5


async def test_units_are_told_before_anything_is_sent(terminal: Terminal) -> None:
    write(5, duration="10")
    terminal.emulator.faults.add(Fault.UNAUTHORIZED, on="create", times=9)

    assert await terminal.run(*COMMAND) == 3
    assert terminal.err.startswith("5 jobs, 10 units by the price list, less what is done already")


async def test_what_has_no_price_is_counted(terminal: Terminal) -> None:
    Path("jobs.jsonl").write_text('{"prompt": "A"}\n{"prompt": "B", "extra": {"x": 1}}\n')

    await terminal.run("batch", "jobs.jsonl", "--endpoint", "text2video")
    assert "; the list has no price for 1" in terminal.err


async def test_budget_ends_it_and_says_so_before(terminal: Terminal) -> None:
    write(5)

    assert await terminal.run(*COMMAND, "--budget", "3") == 1
    assert "; the budget of 3 units ends it before that" in terminal.err
    assert "the budget of 3 units has no room for the next" in terminal.err
    assert terminal.paid == 3
    assert terminal.advice == [[*COMMAND, "--budget", "3"]]


async def test_row_without_a_price_under_a_budget_costs_nothing(terminal: Terminal) -> None:
    Path("jobs.jsonl").write_text('{"prompt": "A"}\n{"prompt": "B", "extra": {"x": 1}}\n')
    words = ("batch", "jobs.jsonl", "--endpoint", "text2video", "--budget", "99")

    assert await terminal.run(*words) == 2
    assert "jobs.jsonl, line 2: text2video: no list prices this request" in terminal.err
    assert terminal.creates == 0
    assert await terminal.run(*words, "--price", "2") == 0


async def test_files_elsewhere_are_told_with_their_whole_path(
    terminal: Terminal, tmp_path_factory: pytest.TempPathFactory
) -> None:
    write(1)
    elsewhere = str(tmp_path_factory.mktemp("videos"))

    assert await terminal.run(*COMMAND[:-1], elsewhere) == 0
    assert terminal.out.startswith(f"boat-0: {elsewhere}/")


async def test_second_run_costs_nothing(terminal: Terminal) -> None:
    write(3)
    await terminal.run(*COMMAND)
    asked = len(terminal.emulator.requests)

    assert await terminal.run(*COMMAND) == 0
    assert len(terminal.out.splitlines()) == 4
    assert len(terminal.emulator.requests) == asked


@pytest.mark.parametrize("wrong", [1, 250, 712])
async def test_fault_in_the_file_is_told_before_anything_is_created(
    terminal: Terminal, wrong: int
) -> None:
    rows = [f"Boat,{'five' if line == wrong else 5}\n" for line in range(1, 800)]
    Path("jobs.csv").write_text("prompt,duration\n" + "".join(rows))

    assert await terminal.run(*COMMAND) == 2
    assert terminal.err == (
        f"kling: jobs.csv, line {wrong + 1}, column duration:"
        " whole seconds, as 5 or '5', got 'five'\n"
    )
    assert terminal.emulator.requests == type(terminal.emulator.requests)()
    assert not Path("jobs.db").exists()
    assert not Path("videos").exists()


async def test_what_the_provider_refuses_is_told_before_anything_is_created(
    terminal: Terminal,
) -> None:
    terminal.environ = {"COMETAPI_KEY": "a-comet-key-0123"}
    Path("jobs.csv").write_text(f"prompt\nA boat\n{'x' * 501}\n")

    assert await terminal.run(*COMMAND) == 2
    assert "jobs.csv, line 3, column prompt: at most 500 characters" in terminal.err
    assert terminal.creates == 0


async def test_file_that_changes_for_the_worse_meanwhile_ends_the_run(terminal: Terminal) -> None:
    rows = "".join(f"{'Boat ' * 20}{n},5\n" for n in range(2, 301))
    Path("jobs.csv").write_text(f"prompt,duration\n{rows}")

    async with anyio.create_task_group() as group:

        async def spoil() -> None:
            while not terminal.creates:  # noqa: ASYNC110  # nobody tells
                await anyio.sleep(1)
            Path("jobs.csv").write_text(f"prompt,duration\n{rows.replace('300,5', '300,x')}")

        group.start_soon(spoil)
        assert await terminal.run(*COMMAND, "--max-at-once", "9") == 2
    assert "line 300, column duration" in terminal.err
    assert len(terminal.advice) == 1
    assert terminal.emulator.ledger.billed_twice == {}


async def test_failures_are_told_and_the_others_made(terminal: Terminal) -> None:
    write(3)
    terminal.emulator.faults.add(Fault.FAIL, message="too dark")

    assert await terminal.run(*COMMAND, "--json") == 1
    *told, summary = terminal.objects
    assert [found["ok"] for found in told].count(False) == 1
    assert "too dark" in next(found["error"] for found in told if not found["ok"])
    assert summary["summary"]["failed"] == 1
    assert await terminal.run(*COMMAND, "--retry-failed") == 0
    assert terminal.paid == 4


async def test_first_failure_may_stop_it(terminal: Terminal) -> None:
    write(9)
    terminal.emulator.faults.add(Fault.CONTENT, on="create")

    assert await terminal.run(*COMMAND, "--on-failure", "stop", "--max-at-once", "1") == 1
    assert "stopped submitting: a row failed" in terminal.err
    assert "the same call" not in terminal.err
    assert terminal.paid < 9


async def test_rows_without_keys_go_by_their_prompts(terminal: Terminal) -> None:
    long = "A boat " * 20
    Path("jobs.csv").write_text(f'prompt\n"{long}"\n"A cork"\n')
    Path("sounds.jsonl").write_text('{"endpoint": "avatar", "image": "cat.png", "audio_id": "1"}\n')

    assert await terminal.run(*COMMAND) == 0
    labels = {line.split(": ")[0] for line in terminal.out.splitlines()[:-1]}
    assert labels == {"A cork", f"{long[:59]}…"}
    assert await terminal.run("batch", "sounds.jsonl") == 0
    assert terminal.out.startswith("job 1: https://")


async def test_interrupted_batch_goes_on_by_the_command_that_is_told(terminal: Terminal) -> None:
    write(20)
    with anyio.move_on_after(45):
        await terminal.run(*COMMAND, "--max-at-once", "6", "--journal", "my run.db")
    terminal.shell.farewell()
    paid = terminal.paid
    assert "Ctrl-C once more leaves at once" in terminal.err
    assert "run the same batch on my run.db again" in terminal.err
    (command,) = terminal.advice
    assert 6 <= paid < 20

    assert await terminal.run(*command) == 0
    assert terminal.paid == 20
    assert terminal.emulator.ledger.billed_twice == {}
    assert len(list(Path("videos").iterdir())) == 20


async def test_interrupt_while_the_file_is_checked_leaves_nothing_to_do(
    terminal: Terminal,
) -> None:
    write(3)
    command = await terminal.typed(*COMMAND)
    assert not isinstance(command, Exit)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await perform(command, terminal.shell)
    terminal.shell.farewell()

    assert terminal.err == ""


async def test_task_that_does_not_end_is_pending(terminal: Terminal) -> None:
    write(2)
    terminal.emulator.faults.add(Fault.STUCK)

    assert await terminal.run(*COMMAND) == 4
    assert "1 running" in terminal.out
    assert "kling.task" not in terminal.out
    assert terminal.advice == [list(COMMAND)]


async def test_unknown_create_is_pending(terminal: Terminal) -> None:
    terminal.environ = {"KLING_GATEWAY_KEY": "a-gateway-key-01"}
    host = ("--provider", "gateway", "--base-url", "https://host.example/gateway/newapi")
    row = {"prompt": "A", "model_name": "kling-v1-6", "mode": "std", "duration": 5}
    Path("jobs.jsonl").write_text(json.dumps(row))
    terminal.emulator.faults.add(Fault.LOST_ANSWER, on="create")

    words = ("batch", "jobs.jsonl", "--endpoint", "text2video", *host)
    assert await terminal.run(*words) == 4
    assert "1 unknown" in terminal.out
    assert terminal.advice == [list(words)]
    await terminal.run(*words)
    assert terminal.creates == 1
    await terminal.run(*words, "--resend")
    assert terminal.creates == 2
    assert terminal.advice == [list(words)]  # what pays twice is nothing to go on with


async def test_refused_key_stops_it(terminal: Terminal) -> None:
    write(9)
    terminal.emulator.faults.add(Fault.UNAUTHORIZED, on="create", times=99)

    assert await terminal.run(*COMMAND) == 3
    assert terminal.paid == 0
    assert "\n0 saved, 0 succeeded, 0 failed, 0 running, 0 unknown, " in terminal.out
    assert "a-secret-key" not in terminal.out + terminal.err


@pytest.mark.parametrize(
    "words", [("--budget", "much"), ("--price", "-1"), ("--max-at-once", "0"), ("--endpoint", "x")]
)
async def test_bad_bounds_cost_nothing(terminal: Terminal, words: tuple[str, ...]) -> None:
    write(1)

    assert await terminal.run("batch", "jobs.csv", "--endpoint", "text2video", *words) == 2
    assert terminal.creates == 0


async def test_journal_of_another_server_is_refused(terminal: Terminal) -> None:
    write(1)
    await terminal.run(*COMMAND)
    terminal.environ = {"COMETAPI_KEY": "a-comet-key-0123"}

    assert await terminal.run(*COMMAND) == 2
    assert "has tasks of klingai" in terminal.err
    assert terminal.advice == []  # it would end the same


async def test_without_a_terminal_a_line_comes_now_and_then(terminal: Terminal) -> None:
    write(2)

    await terminal.run(*COMMAND, "--max-at-once", "1")
    heads = [line for line in terminal.err.splitlines() if line.startswith("jobs.csv  ")]
    assert len(heads) in (2, 3)
    assert heads[-1].startswith("jobs.csv  1 of 2 told  2 units  1 slots")
    assert "\x1b" not in terminal.err


async def test_on_a_terminal_results_stand_above_the_table(terminal: Terminal) -> None:
    write(2)
    terminal.tty = True

    assert await terminal.run(*COMMAND) == 0
    assert "boat-1: " in terminal.err
    assert "boat-1: " not in terminal.out
    assert terminal.out.startswith("2 saved, ")
    assert terminal.err.endswith("\x1b[?25h")


@pytest.mark.parametrize("column", ["key", "external_task_id"])
async def test_name_that_comes_twice_is_told_before_anything_is_created(
    terminal: Terminal, column: str
) -> None:
    rows = "".join(f"boat-{n % 250},Boat {n},5\n" for n in range(251))
    Path("jobs.csv").write_text(f"{column},prompt,duration\n{rows}")

    assert await terminal.run(*COMMAND) == 2
    assert terminal.err == (
        f"kling: jobs.csv, line 252, column {column}: 'boat-0' stands in line 2 already\n"
    )
    assert terminal.creates == 0


@pytest.mark.parametrize(
    "words", [("--out", "cat.png"), ("--out", "videos", "--report", "cat.png/report.html")]
)
async def test_place_that_cannot_be_written_costs_nothing(
    terminal: Terminal, words: tuple[str, ...]
) -> None:
    write(1)

    assert await terminal.run(*COMMAND[:4], *words) == 2
    assert terminal.err.splitlines()[0].startswith("1 job, 1 unit by the price list")
    assert "cannot save anything in cat.png" in terminal.err
    assert terminal.creates == 0
    assert not Path("jobs.db").exists()


@pytest.mark.parametrize(("column", "name"), [("key", "boat-0"), ("negative_prompt", "Boat 0")])
async def test_table_shows_the_jobs_by_what_people_know(
    terminal: Terminal, column: str, name: str
) -> None:
    terminal.tty = True
    write(3)
    text = Path("jobs.csv").read_text()
    Path("jobs.csv").write_text(text.replace("key", column, 1))

    assert await terminal.run(*COMMAND) == 0
    assert f"\n{name} " in re.sub(r"\x1b\[[0-9;]*[a-zA-Z]", "", terminal.err)
