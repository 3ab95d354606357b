"""`kling text2video` and its like: options from the models, and a paid result is never lost."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import pytest

from kling_async.cli._app import app
from kling_async.cli._requests import MODELS, options
from kling_async.emulator import Fault
from tests.cli.terminal import Terminal
from tests.media_samples import png, wav

ONE = ("text2video", "--prompt", "A boat")


@pytest.mark.parametrize("name", MODELS)
def test_every_field_is_an_option_with_its_words(name: str) -> None:
    found = {option.field: option for option in options(MODELS[name])}

    assert found.keys() == MODELS[name].model_fields.keys()
    assert [field for field, option in found.items() if not option.doc] == []
    assert {o.field for o in found.values() if o.required} == {
        field for field, info in MODELS[name].model_fields.items() if info.is_required()
    }


@pytest.mark.parametrize("name", MODELS)
async def test_help_names_every_field(terminal: Terminal, name: str) -> None:
    assert await terminal.run(name, "--help") == 0

    assert [o.flag for o in options(MODELS[name]) if f"{o.flag} " not in terminal.out] == []
    assert terminal.err == ""


def test_only_the_command_that_is_called_is_loaded() -> None:
    assert set(app("models")) - {"--help", "-h", "--version"} == {"models"}


async def test_video_is_saved_and_its_file_told(terminal: Terminal) -> None:
    assert await terminal.run(*ONE, "--duration", "10", "-o", "boat.mp4") == 0

    assert terminal.out == "boat.mp4\n"
    assert Path("boat.mp4").stat().st_size
    assert terminal.paid == 1
    assert terminal.emulator.ledger[0].body["duration"] == "10"
    assert terminal.err.startswith("submitted klingai/text2video/")


async def test_without_a_file_its_address_is_told(terminal: Terminal) -> None:
    assert await terminal.run(*ONE) == 0

    assert terminal.out.startswith("https://")


async def test_quiet_says_only_the_result(terminal: Terminal) -> None:
    assert await terminal.run("--quiet", *ONE, "-o", "out/") == 0

    assert terminal.err == ""
    assert Path(terminal.out.strip()).is_file()


async def test_json_is_one_object_a_line(terminal: Terminal) -> None:
    assert await terminal.run(*ONE, "--json", "-o", "boat.mp4") == 0

    (found,) = terminal.objects
    assert found["status"] == "succeed"
    assert found["files"] == ["boat.mp4"]
    assert found["token"] in terminal.err


async def test_verbose_says_what_is_logged(terminal: Terminal) -> None:
    assert await terminal.run("-v", *ONE) == 0

    assert "kling: submitted text2video task" in terminal.err


async def test_doubts_are_said_in_a_line(terminal: Terminal) -> None:
    assert await terminal.run(*ONE, "--model-name", "kling-v2-master", "--mode", "std") == 0

    assert "kling: mode does not apply to kling-v2-master; sent as it is" in terminal.err
    assert "_server.py" not in terminal.err


async def test_fields_travel_as_they_are_typed(terminal: Terminal) -> None:
    control = {"type": "simple", "config": {"zoom": 5}}
    words = ("--camera-control", json.dumps(control), "--cfg-scale", "0.5", "--no-multi-shot")
    await terminal.run(*ONE, *words, "--mode", "std", "--negative-prompt", "-rain")

    body: Mapping[str, Any] = terminal.emulator.ledger[0].body
    assert body["cfg_scale"] == 0.5
    assert body["camera_control"]["config"]["zoom"] == 5
    assert body["negative_prompt"] == "-rain"


async def test_images_come_from_files_addresses_and_standard_input(terminal: Terminal) -> None:
    terminal.stdin = png(400, 400)
    words = ("--image-list", "cat.png", "--image-list", "https://host.example/dog.png|-")
    assert await terminal.run("multi-image2video", "--prompt", "They meet", *words) == 0

    images = terminal.emulator.ledger[0].body["image_list"]
    assert isinstance(images, list)
    assert len(images) == 3
    assert images[1]["image"] == "https://host.example/dog.png"


async def test_list_of_images_may_be_json(terminal: Terminal) -> None:
    words = ("--image-list", '["cat.png", {"image": "cat.png"}]')

    assert await terminal.run("multi-image2video", "--prompt", "They meet", *words) == 0


async def test_masks_in_json_are_files(terminal: Terminal) -> None:
    path = [{"x": 1, "y": 1}, {"x": 9, "y": 9}]
    masks = json.dumps([{"mask": "cat.png", "trajectories": path}])
    words = ("--image", "cat.png", "--dynamic-masks", masks)

    assert await terminal.run("image2video", *words) == 0
    body: Mapping[str, Any] = terminal.emulator.ledger[0].body
    assert len(body["dynamic_masks"][0]["mask"]) > 100


async def test_avatar_speaks(terminal: Terminal) -> None:
    Path("voice.wav").write_bytes(wav(3))

    assert await terminal.run("avatar", "--image", "cat.png", "--sound-file", "voice.wav") == 0


BAD = {
    "--duration: whole seconds": (*ONE, "--duration", "five"),
    "--camera-control: no JSON": (*ONE, "--camera-control", "{"),
    "--camera-control (config.zoom): ": (
        *ONE,
        "--camera-control",
        '{"type": "simple", "config": {"zoom": 99}}',
    ),
    "twice": (*ONE, "--extra", '{"a": 1, "a": 2}'),
    "NaN is no JSON": (*ONE, "--extra", '{"a": NaN}'),
    "nested too deep": (*ONE, "--extra", "[" * 100_000),
    '--sound. Choose from: "on", "off"': (*ONE, "--sound", "loud"),
    "--image: no such file: dog.png": ("image2video", "--image", "dog.png"),
    "no such file: \ufffd": ("image2video", "--image", "\0"),
    "standard input can be read once only": ("image2video", "--image", "-", "--image-tail", "-"),
    "parameter --image": ("avatar", "--sound-file", "cat.png"),
    "prompt is required": ("text2video",),
    "Did you mean --prompt?": ("text2video", "--promt", "A boat"),
    "is it text2video?": ("text3video",),
    "no command is given": ("--json",),
    "'A boat' 'B' follows no option": ("text2video", "A boat", "B"),
    "no command 'nothing-like-it'": ("nothing-like-it",),
    "at most 2500 characters": ("text2video", "--prompt", "A" * 2501),
    "cat.png exists. Give --overwrite": (*ONE, "-o", "cat.png"),
    "`kling models --help`": ("models", "--wrong"),
    "--base-url": ("--provider", "gateway", *ONE),
}


@pytest.mark.parametrize("said", BAD)
async def test_bad_usage_is_said_in_a_line_and_costs_nothing(terminal: Terminal, said: str) -> None:
    terminal.environ["KLING_GATEWAY_KEY"] = "another-key"

    assert await terminal.run(*BAD[said]) == 2
    assert said in terminal.err
    assert "Traceback" not in terminal.err
    assert terminal.out == ""
    assert terminal.creates == 0


async def test_target_that_cannot_be_written_costs_nothing(terminal: Terminal) -> None:
    assert await terminal.run(*ONE, "-o", "cat.png/boat.mp4") == 2

    assert "cannot save anything in cat.png" in terminal.err
    assert terminal.creates == 0


async def test_no_key_is_said_with_the_variables(terminal: Terminal) -> None:
    terminal.environ.clear()

    assert await terminal.run(*ONE) == 3
    assert "COMETAPI_KEY" in terminal.err
    assert "kling emulator" in terminal.err


@pytest.mark.parametrize("fault", [Fault.UNAUTHORIZED, Fault.ARREARS])
async def test_what_is_not_allowed_is_three(terminal: Terminal, fault: Fault) -> None:
    terminal.emulator.faults.add(fault, on="create", times=99)

    assert await terminal.run(*ONE) == 3
    assert "To go on" not in terminal.err
    assert "a-secret-key" not in terminal.err


async def test_failed_task_says_why(terminal: Terminal) -> None:
    terminal.emulator.faults.add(Fault.FAIL, message="too dark")

    assert await terminal.run(*ONE) == 1
    assert "too dark" in terminal.err
    assert "To go on" not in terminal.err


async def test_servers_words_do_not_command_the_terminal(terminal: Terminal) -> None:
    terminal.emulator.faults.add(Fault.FAIL, message="too dark\x1b[2J\x07\x9b31m")

    await terminal.run(*ONE)
    assert "too dark\ufffd[2J\ufffd\ufffd31m" in terminal.err


async def test_time_out_says_how_to_go_on_and_that_goes_on(terminal: Terminal) -> None:
    assert await terminal.run(*ONE, "-o", "boat.mp4", "--timeout", "5") == 4
    assert "kling.task" not in terminal.err
    (command,) = terminal.advice

    assert await terminal.run(*command) == 0
    assert Path("boat.mp4").is_file()
    assert terminal.paid == 1


async def test_download_that_breaks_says_how_to_go_on(terminal: Terminal) -> None:
    terminal.emulator.faults.add(Fault.SERVER_ERROR, on="file", times=99)

    assert await terminal.run(*ONE, "-o", "boat.mp4") == 1
    assert "await kling.task" not in terminal.err
    terminal.emulator.faults.clear()
    assert await terminal.run(*terminal.advice[0]) == 0
    assert terminal.out == "boat.mp4\n"
    assert terminal.paid == 1


async def test_unknown_create_is_settled_by_the_command_that_is_told(terminal: Terminal) -> None:
    terminal.environ = {"COMETAPI_KEY": "a-comet-key-0123"}
    terminal.emulator.faults.add(Fault.LOST_ANSWER, on="create")
    terminal.emulator.faults.add(Fault.SERVER_ERROR, on="query", times=99)

    assert await terminal.run(*ONE) == 4
    terminal.emulator.faults.clear()
    assert await terminal.run(*terminal.advice[0]) == 0
    assert terminal.out.startswith("cometapi/text2video/")
    assert terminal.paid == 1


async def test_gateway_tells_the_id_of_a_lost_create(terminal: Terminal) -> None:
    terminal.environ = {"KLING_GATEWAY_KEY": "a-gateway-key-01"}
    host = ("--provider", "gateway", "--base-url", "https://host.example/gateway/newapi")
    terminal.emulator.faults.add(Fault.LOST_ANSWER, on="create")

    model = ("--model-name", "kling-v1-6", "--mode", "std", "--duration", "5")
    assert await terminal.run(*ONE, *model, *host) == 4
    ((*command, lost),) = terminal.advice
    assert command == ["settle", *host]
    assert lost == terminal.emulator.ledger[0].external_task_id


@pytest.mark.parametrize("seconds", [2, 20])
async def test_interrupt_leaves_what_goes_on(terminal: Terminal, seconds: float) -> None:
    """While the create is on the wire, and while its task is waited for."""
    terminal.emulator.faults.add(Fault.STALL, on="create", seconds=5)
    with anyio.move_on_after(seconds):
        await terminal.run(*ONE, "-o", "boat.mp4")
    terminal.shell.farewell()

    assert await terminal.run(*terminal.advice[-1]) == 0
    assert Path("boat.mp4").is_file()
    assert terminal.paid == 1


async def test_interrupt_in_a_create_that_stays_silent_names_its_id(terminal: Terminal) -> None:
    terminal.emulator.faults.add(Fault.STALL, on="create", seconds=60)
    with anyio.move_on_after(2):
        await terminal.run(*ONE)
    terminal.shell.farewell()

    assert terminal.advice == [["settle", terminal.emulator.ledger[0].external_task_id]]


async def test_what_is_no_error_of_ours_is_shown_whole_but_loses_nothing(
    terminal: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr("kling_async.cli._making.hand_over", broken)

    with pytest.raises(RuntimeError, match="a bug"):
        await terminal.run(*ONE)
    assert "To go on: kling wait klingai/text2video/" in terminal.err
