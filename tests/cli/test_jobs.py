"""Files of jobs: each fault is told with file, line and column, and before anything is sent."""

from __future__ import annotations

import json
import tracemalloc
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from kling_async import RequestRefused, Text2Video
from kling_async.cli._jobs import Job, Jobs, JobsError
from kling_async.cli._lines import lines
from tests.media_samples import png

GOOD = b"prompt,duration\nA boat,5\n"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cat.png").write_bytes(png(640, 640))
    return tmp_path


def accept(_: object) -> Decimal | None:
    return Decimal(1)


def read(name: str, content: bytes | str, endpoint: str | None = "text2video") -> list[Job]:
    path = Path(name)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return list(Jobs(path, accept, endpoint))


def said(name: str, content: bytes | str, endpoint: str | None = "text2video") -> str:
    with pytest.raises(JobsError) as caught:
        read(name, content, endpoint)
    return caught.value.message


def prompts(jobs: Iterable[Job]) -> list[Any]:
    return [getattr(job.request, "prompt", None) for job in jobs]


def images(job: Job) -> Any:
    request: Any = job.request
    return request.image_list if job.request.endpoint == "multi-image2video" else request.image


def numbered(wrong: int, duration: str) -> str:
    """A table with one wrong cell."""
    rows = [f"Boat {line},{duration if line == wrong else 5}\n" for line in range(2, 1000)]
    return "prompt,duration\n" + "".join(rows)


@pytest.mark.parametrize(
    "content",
    [
        GOOD,
        b"\xef\xbb\xbf" + GOOD,
        GOOD.replace(b"\n", b"\r\n"),
        b"\xef\xbb\xbf" + GOOD.replace(b"\n", b"\r\n") + b"\r\n\r\n",
        GOOD.rstrip(b"\n"),
        b"\n" + GOOD + b",\n , \n",
        b" prompt ,duration\nA boat,5\n",
    ],
)
def test_csv_is_read_as_spreadsheets_write_it(content: bytes) -> None:
    (job,) = read("jobs.csv", content)

    assert job.request == Text2Video(prompt="A boat", duration=5)
    assert job.units == 1


def test_cells_hold_lines_and_quotes_and_no_value_where_they_are_empty() -> None:
    (job,) = read("jobs.csv", 'prompt,mode\n"A ""boat"",\r\nadrift",\n')

    assert job.request == Text2Video(prompt='A "boat",\r\nadrift')


def test_lines_are_counted_as_an_editor_does() -> None:
    jobs = read("jobs.csv", 'prompt\n"one\ntwo\nthree"\n\nfour\n')

    assert [job.line for job in jobs] == [2, 6]


BAD_CSV: dict[str, tuple[str | bytes, str]] = {
    "empty": (b"", "jobs.csv: it holds no job"),
    "header only": (b"prompt\n", "jobs.csv: it holds no job"),
    "wrong type": (
        numbered(712, "five"),
        "jobs.csv, line 712, column duration: whole seconds, as 5 or '5', got 'five'",
    ),
    "BOM and CRLF": (
        b"\xef\xbb\xbf" + numbered(712, "0").replace("\n", "\r\n").encode(),
        "jobs.csv, line 712, column duration: whole seconds, as 5 or '5', got '0'",
    ),
    "unknown column": (
        b"prompts\nA boat\n",
        "jobs.csv, line 1, column prompts: unknown; is it prompt?",
    ),
    "nothing like it": (b"x,prompt\n1,A\n", "jobs.csv, line 1, column x: unknown; known are "),
    "no name": (b"prompt,\nA,\n", "jobs.csv, line 1, column (no name): unknown"),
    "twice": (b"prompt,prompt\nA,B\n", "jobs.csv, line 1, column prompt: stands there twice"),
    "no prompt": (b"duration\n5\n", "jobs.csv, line 2, column prompt: prompt is required unless"),
    "semicolons": (b"prompt;mode\nA;std\n", "jobs.csv, line 1: separate the columns by commas"),
    "tabs": (b"prompt\tmode\nA\tstd\n", "jobs.csv, line 1: separate the columns by commas"),
    "too few": (
        b"prompt,mode,duration\nA,std\n",
        "jobs.csv, line 2, column duration: 2 cells where the first line has 3",
    ),
    "too many": (
        b"prompt,mode\nA boat, adrift,std\n",
        "jobs.csv, line 2: 3 cells where the first line has 2",
    ),
    "Latin-1": (
        b"prompt\nA boat\nUn bateau \xe9chou\xe9\n",
        "jobs.csv, line 3: not UTF-8: byte 11 is b'\\xe9'; save the file as UTF-8",
    ),
    "UTF-16": ("prompt\nA boat\n".encode("utf-16"), "jobs.csv, line 1: UTF-16; save the file as"),
    "open quote": (
        b'prompt\nA boat\n"A leaf\nA cork\n',
        "jobs.csv, line 3: a quote is opened here and never closed",
    ),
    "open quote in much": (
        b'prompt\n"' + b"A leaf,\n" * 3_000_000,
        "jobs.csv, line 2: a quote is opened here and never closed",
    ),
    "stray quote": (
        b'prompt\nA boat\n"A "leaf" adrift"\n',
        "jobs.csv, line 3: text follows a closing quote; inside of quotes, write each quote twice",
    ),
    "stray quote further down": (
        b'prompt\n"A\nleaf" adrift\n',
        "jobs.csv, line 2: text follows a closing quote, 1 lines further down",
    ),
    "old line ends": (b"prompt\rA boat\r", "jobs.csv, line 1: "),
    "no JSON": (
        b"prompt,camera_control\nA,{zoom\n",
        "jobs.csv, line 2, column camera_control: no JSON: ",
    ),
    "inside of JSON": (
        b'prompt,camera_control\nA,"{""type"": ""loop""}"\n',
        "jobs.csv, line 2, column camera_control: type: Input should be ",
    ),
    "no choice": (b"prompt,sound\nA,loud\n", "jobs.csv, line 2, column sound: Input should be "),
    "some keys": (b"prompt,key\nA,a\nB,\n", "jobs.csv, line 3, column key: give every job a key"),
    "one endpoint of two": (
        b"endpoint,prompt\ntext3video,A\n",
        "jobs.csv, line 2, column endpoint: 'text3video' is none of text2video, ",
    ),
}


@pytest.mark.parametrize("name", BAD_CSV)
def test_fault_in_csv_is_told_with_its_place(name: str) -> None:
    content, place = BAD_CSV[name]

    assert said("jobs.csv", content).startswith(place)


def test_endpoint_comes_from_somewhere() -> None:
    place = "jobs.csv, line 1, column endpoint: missing; add the column, or give --endpoint"
    assert said("jobs.csv", GOOD, None) == place
    place = "jobs.jsonl, line 1, column endpoint: missing"
    assert said("jobs.jsonl", '{"prompt": "A"}', None).startswith(place)
    place = "jobs.csv, line 3, column endpoint: missing"
    assert said("jobs.csv", "endpoint,prompt\ntext2video,A\n,B\n", None).startswith(place)


def test_needed_column_is_missed_before_any_row_is_read() -> None:
    place = "jobs.csv, line 1, column image: missing; avatar needs it"
    assert said("jobs.csv", "audio_id\n1\n", "avatar") == place
    place = "jobs.csv, line 2, column image: missing; avatar needs it"
    assert said("jobs.csv", "endpoint,audio_id\navatar,1\n", None) == place


def test_column_of_another_endpoint_is_unknown() -> None:
    content = "endpoint,prompt,image\ntext2video,A,cat.png\n"

    place = "jobs.csv, line 2, column image: unknown to text2video"
    assert said("jobs.csv", content, None).startswith(place)


def test_endpoints_mix() -> None:
    content = "endpoint,prompt,image,key\ntext2video,A,,a\nimage2video,B,cat.png,b\n"
    jobs = read("jobs.csv", content, None)

    assert [job.request.endpoint for job in jobs] == ["text2video", "image2video"]
    assert [job.key for job in jobs] == ["a", "b"]


def test_files_are_found_beside_the_jobs() -> None:
    Path("deep").mkdir()
    jobs = read("deep/jobs.csv", "image\n../cat.png\nhttps://host.example/a.png\n", "image2video")
    assert [images(job) for job in jobs] == [
        Path("deep/../cat.png"),
        "https://host.example/a.png",
    ]
    place = "deep/jobs.csv, line 2, column image: no such file: deep/cat.png"
    assert said("deep/jobs.csv", "image\ncat.png\n", "image2video") == place


def test_lists_of_files_are_divided_by_bars() -> None:
    content = "prompt,image_list\nA,cat.png|cat.png\n"
    (job,) = read("jobs.csv", content, "multi-image2video")

    assert len(images(job)) == 2


def test_jsonl_holds_any_value() -> None:
    content = {
        "endpoint": "image2video",
        "key": "a",
        "image": "cat.png",
        "prompt": None,
        "cfg_scale": 0.5,
        "multi_shot": False,
        "camera_control": {"type": "simple", "config": {"zoom": 1}},
    }
    (job,) = read("jobs.jsonl", f"\n{json.dumps(content)}\r\n\n", None)

    assert job.line == 2
    assert images(job) == Path("cat.png")
    assert job.key == "a"


BAD_JSONL = {
    "": "jobs.jsonl: it holds no job",
    '{"prompt": "A"}\n{"prompt": "B",}\n': "jobs.jsonl, line 2: no JSON: ",
    '"A boat"\n': "jobs.jsonl, line 1: a JSON object is wanted",
    '{"prompt": "A", "prompt": "B"}': "jobs.jsonl, line 1: a name stands in an object twice",
    '{"prompt": 5}': "jobs.jsonl, line 1, column prompt: Input should be a valid string",
    '{"prompt": "A", "cfg_scale": NaN}': "jobs.jsonl, line 1: NaN is no JSON",
    '{"prompt": "A", "key": 5}': "jobs.jsonl, line 1, column key: text, not empty, got 5",
    '{"prompt": "A", "key": ""}': "jobs.jsonl, line 1, column key: text, not empty, got ''",
    '{"prompt": "A", "mod": "std"}': "jobs.jsonl, line 1, column mod: unknown to text2video; is it",
    '{"prompt": "A", "zzz": "std"}': "jobs.jsonl, line 1, column zzz: unknown to text2video",
    '{"prompt": "A", "endpoint": 5}': "jobs.jsonl, line 1, column endpoint: 5 is none of ",
    '{"prompt": "A", "voice_list": 5}': "jobs.jsonl, line 1, column voice_list: a list, got int",
}


@pytest.mark.parametrize("content", BAD_JSONL)
def test_fault_in_jsonl_is_told_with_its_place(content: str) -> None:
    assert said("jobs.jsonl", content).startswith(BAD_JSONL[content])


def test_file_in_json_that_is_missing_is_told() -> None:
    content = '{"image_list": [{"image": "dog.png"}], "prompt": "A"}'

    place = "jobs.jsonl, line 1, column image_list: no such file: dog.png"
    assert said("jobs.jsonl", content, "multi-image2video") == place


def test_what_the_provider_refuses_is_told_with_its_place() -> None:
    def refuse(_: object) -> None:
        raise RequestRefused("prompt: at most 3 characters, got 6", field="prompt")

    Path("jobs.csv").write_bytes(GOOD)
    with pytest.raises(JobsError, match=r"line 2, column prompt: at most 3 characters"):
        list(Jobs(Path("jobs.csv"), refuse, "text2video"))


@pytest.mark.parametrize("name", ["jobs.txt", "jobs"])
def test_name_tells_the_format(name: str) -> None:
    assert said(name, GOOD) == f"{name}: name it .jsonl or .csv"


def test_name_that_no_file_can_have_is_told() -> None:
    content = f"image\n{'x' * 5000}\n"

    assert "column image: no such file: xxx" in said("jobs.csv", content, "image2video")


def test_endpoint_that_nobody_knows_is_refused() -> None:
    assert said("jobs.csv", GOOD, "text3video").startswith("no endpoint 'text3video': text2video, ")


def test_missing_file_is_told() -> None:
    with pytest.raises(JobsError, match=r"^jobs\.csv: No such file"):
        list(Jobs(Path("jobs.csv"), accept, "text2video"))


def test_line_without_end_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kling_async.cli._lines._LONGEST", 10)

    with pytest.raises(JobsError, match=r"line 1: longer than 10 bytes"):
        Path("jobs.csv").write_bytes(GOOD)
        list(lines(Path("jobs.csv")))


def test_long_files_are_read_in_flat_memory() -> None:
    path = Path("jobs.csv")
    path.write_text("prompt\n" + "".join(f"Boat {n} {'x' * 500}\n" for n in range(10_000)))
    jobs = iter(Jobs(path, accept, "text2video"))
    next(jobs)

    tracemalloc.start()
    number = sum(1 for _ in jobs)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert number == 9_999
    assert peak * 10 < path.stat().st_size


def test_every_prompt_comes_in_its_order() -> None:
    assert prompts(read("jobs.csv", "prompt\nA\nB\n")) == ["A", "B"]


def test_name_in_capitals_is_read() -> None:
    assert prompts(read("JOBS.CSV", GOOD)) == ["A boat"]


@pytest.mark.parametrize(
    "text", ['[\n{"prompt": "A"}\n]', '{\n"prompt": "A"\n}', '[{\n"prompt": "A"}]']
)
def test_json_of_several_lines_is_told_to_be_wrong(text: str) -> None:
    assert said("jobs.jsonl", text).endswith(
        "a job stands in one line, and no brackets around them"
    )


def test_line_ends_of_old_are_told_without_pythons_words() -> None:
    assert said("jobs.csv", GOOD.replace(b"\n", b"\r")) == (
        "jobs.csv, line 1: a line ends with a CR alone; end lines with LF or CRLF"
    )
