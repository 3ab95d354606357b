"""The official server lists an account's tasks of one kind, page by page."""

from __future__ import annotations

import httpx
import pytest

from kling_async.emulator import Emulator

T2V = "/v1/videos/text2video"


@pytest.fixture
async def ids(official: httpx.AsyncClient) -> list[str]:
    found: list[str] = []
    for _ in range(5):
        answer = await official.post(T2V, json={"prompt": "a boat"})
        found.append(answer.json()["data"]["task_id"])
    return found


async def page(http: httpx.AsyncClient, number: int = 1, size: int = 30) -> list[str]:
    answer = await http.get(T2V, params={"pageNum": number, "pageSize": size})
    return [task["task_id"] for task in answer.json()["data"]]


async def test_list_is_newest_first(official: httpx.AsyncClient, ids: list[str]) -> None:
    assert await page(official) == ids[::-1]


async def test_pages_fit_together(official: httpx.AsyncClient, ids: list[str]) -> None:
    pages = [await page(official, number, 2) for number in (1, 2, 3, 4)]

    assert pages == [ids[:2:-1], ids[2:0:-1], ids[:1], []]


async def test_list_may_be_oldest_first(
    emulator: Emulator, official: httpx.AsyncClient, ids: list[str]
) -> None:
    emulator.list_order = "oldest"

    assert await page(official, 2, 2) == ids[2:4]
    assert emulator.list_order == "oldest"


async def test_random_order_loses_nothing(
    emulator: Emulator, official: httpx.AsyncClient, ids: list[str]
) -> None:
    emulator.list_order = "random"
    pages = [await page(official, number, 2) for number in (1, 2, 3)]

    assert sorted(sum(pages, [])) == ids


async def test_list_is_of_one_kind_and_account(official: httpx.AsyncClient, ids: list[str]) -> None:
    other_kind = await official.get("/v1/videos/image2video")
    other_account = await official.get(T2V, headers={"Authorization": "Bearer other"})

    assert (other_kind.json()["data"], other_account.json()["data"]) == ([], [])


@pytest.mark.parametrize(
    "query", ["pageNum=0", "pageNum=1001", "pageSize=501", "pageSize=x", "pageSize=²"]
)
async def test_page_out_of_bounds_is_refused(official: httpx.AsyncClient, query: str) -> None:
    answer = await official.get(f"{T2V}?{query}")

    assert (answer.status_code, answer.json()["code"]) == (400, 1201)


@pytest.mark.parametrize("prefix", ["/cometapi", "/gateway/newapi", "/gateway/passthrough"])
async def test_others_do_not_list(official: httpx.AsyncClient, prefix: str) -> None:
    answer = await official.get(f"{prefix}/kling{T2V}")

    assert answer.headers["content-type"].startswith("text/html") or answer.status_code == 404
