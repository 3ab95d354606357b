"""The file host serves real videos, whole or in part, while their URLs are good."""

from __future__ import annotations

import anyio
import httpx
import pytest

from kling_async.emulator import Emulator, Fault
from tests.emulator.conftest import client
from tests.emulator.test_faults import drain

T2V = "/v1/videos/text2video"


@pytest.fixture
async def task_id(official: httpx.AsyncClient) -> str:
    answer = await official.post(T2V, json={"prompt": "a boat"})
    await anyio.sleep(100)
    return str(answer.json()["data"]["task_id"])


@pytest.fixture
async def url(official: httpx.AsyncClient, task_id: str) -> str:
    return await current_url(official, task_id)


async def current_url(http: httpx.AsyncClient, task_id: str) -> str:
    task = (await http.get(f"{T2V}/{task_id}")).json()["data"]
    return str(task["task_result"]["videos"][0]["url"])


async def test_file_is_a_video_and_needs_no_key(emulator: Emulator, url: str) -> None:
    async with httpx.AsyncClient(transport=emulator.transport()) as http:
        answer = await http.get(url)

    assert (answer.status_code, answer.headers["content-type"]) == (200, "video/mp4")
    assert answer.headers["accept-ranges"] == "bytes"
    assert int(answer.headers["content-length"]) == len(answer.content)
    assert answer.content[4:8] == b"ftyp"
    assert emulator.requests[-1].authorized is False


async def test_files_differ_from_task_to_task(official: httpx.AsyncClient, url: str) -> None:
    second = await official.post(T2V, json={"prompt": "a boat"})
    await anyio.sleep(100)
    other = await current_url(official, second.json()["data"]["task_id"])
    one, two = await official.get(url), await official.get(other)

    assert one.content != two.content
    assert one.headers["etag"] != two.headers["etag"]


@pytest.mark.parametrize(
    ("wanted", "start", "end"),
    [("bytes=0-9", 0, 10), ("bytes=100-", 100, None), ("bytes=-50", -50, None)],
)
async def test_range_is_a_part_of_the_whole(
    official: httpx.AsyncClient, url: str, wanted: str, start: int, end: int | None
) -> None:
    whole = await official.get(url)
    part = await official.get(url, headers={"Range": wanted})

    assert part.status_code == 206
    assert part.content == whole.content[start:end]
    assert part.headers["content-range"].endswith(f"/{len(whole.content)}")
    assert part.headers["etag"] == whole.headers["etag"]


@pytest.mark.parametrize("wanted", ["bytes=99999999-", "bytes=-0"])
async def test_range_past_the_end_is_416(
    official: httpx.AsyncClient, url: str, wanted: str
) -> None:
    whole = await official.get(url)
    answer = await official.get(url, headers={"Range": wanted})

    assert answer.status_code == 416
    assert answer.headers["content-range"] == f"bytes */{len(whole.content)}"


@pytest.mark.parametrize("wanted", ["bytes=9-0", "bytes=-", "lines=1-2", "bytes=0-1,5-6"])
async def test_meaningless_range_is_ignored(
    official: httpx.AsyncClient, url: str, wanted: str
) -> None:
    assert (await official.get(url, headers={"Range": wanted})).status_code == 200


async def test_range_of_another_version_is_ignored(official: httpx.AsyncClient, url: str) -> None:
    etag = (await official.head(url)).headers["etag"]
    statuses = [
        (await official.get(url, headers={"Range": "bytes=0-9", "If-Range": tag})).status_code
        for tag in (etag, '"other"')
    ]

    assert statuses == [206, 200]


async def test_head_tells_the_size(official: httpx.AsyncClient, url: str) -> None:
    whole = await official.get(url)
    head = await official.head(url)

    assert head.content == b""
    assert head.headers["content-length"] == whole.headers["content-length"]


async def test_other_methods_are_refused(official: httpx.AsyncClient, url: str) -> None:
    assert (await official.post(url)).status_code == 405


@pytest.mark.parametrize("name", ["1.mp4", "0.png"])
async def test_unknown_file_is_404(official: httpx.AsyncClient, url: str, name: str) -> None:
    assert (await official.get(url.replace("0.mp4", name))).status_code == 404


async def test_unfinished_task_has_no_file(official: httpx.AsyncClient) -> None:
    answer = await official.post(T2V, json={"prompt": "a boat"})
    task_id = answer.json()["data"]["task_id"]

    for name in (task_id, "stranger"):
        file = await official.get(f"https://files.kling-emulator.test/{name}/0.mp4")
        assert file.status_code == 404


async def test_expired_url_is_replaced(
    emulator: Emulator, official: httpx.AsyncClient, task_id: str, url: str
) -> None:
    emulator.faults.add(Fault.EXPIRED_URL)
    statuses = [(await official.get(url)).status_code for _ in range(2)]
    fresh = await current_url(official, task_id)

    assert statuses == [403, 403]
    assert fresh == f"{url}?v=1"
    assert (await official.get(fresh)).status_code == 200


@pytest.mark.parametrize(
    ("fault", "status"), [(Fault.BUSY, 503), (Fault.HTML, 502), (Fault.EMPTY, 200)]
)
async def test_file_host_has_faults_too(
    emulator: Emulator, official: httpx.AsyncClient, url: str, fault: Fault, status: int
) -> None:
    emulator.faults.add(fault, on="file")

    assert (await official.get(url)).status_code == status


async def test_broken_download_can_be_resumed(
    emulator: Emulator, official: httpx.AsyncClient, url: str
) -> None:
    emulator.faults.add(Fault.RESET, on="file")
    got = bytearray()
    async with official.stream("GET", url) as answer:
        with pytest.raises(httpx.ReadError):
            await drain(answer, got)
    rest = await official.get(url, headers={"Range": f"bytes={len(got)}-"})

    assert bytes(got) + rest.content == (await official.get(url)).content


async def test_loopback_urls_stay_on_the_same_origin(emulator: Emulator) -> None:
    async with client(emulator, "http://localhost:8000/kling") as http:
        answer = await http.post(T2V, json={"prompt": "a boat"})
        await anyio.sleep(100)
        url = await current_url(http, answer.json()["data"]["task_id"])

        assert url.startswith("http://localhost:8000/files/")
        assert (await http.get(url)).status_code == 200


async def test_videos_may_be_padded() -> None:
    emulator = Emulator(duration=0.0, video_bytes=1_000_000)
    async with client(emulator, "https://api.klingai.com") as http:
        answer = await http.post(T2V, json={"prompt": "a boat"})
        file = await http.get(await current_url(http, answer.json()["data"]["task_id"]))

    assert len(file.content) == pytest.approx(1_000_000, abs=100)
