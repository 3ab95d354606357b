"""The end of a film whose length nobody tells."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kling_async import DownloadError, Kling, KlingAI
from kling_async._film_end import FilmEnd
from tests.film_host import RESULT, FilmHost, Pieces

FIRST = b"\0\0\0\x18ftypmp42" + bytes(12)
LONG = b"\0\0\0\1mdat" + (16 + 50_000).to_bytes(8, "big") + bytes(50_000)
WHOLE = FIRST + LONG + b"\0\0\0\x0cfreeabcd"
ENDS = {0, len(FIRST), len(FIRST + LONG), len(WHOLE)}


@given(st.integers(0, len(WHOLE)), st.integers(1, 70_000))
def test_end_is_where_a_box_ends(end: int, step: int) -> None:
    film = FilmEnd()
    for at in range(0, end, step):
        film.feed(WHOLE[at : min(at + step, end)])

    assert film.is_missing == (end not in ENDS)


def test_box_without_a_length_goes_on_to_the_end() -> None:
    film = FilmEnd()
    film.feed(FIRST + b"\0\0\0\0mdat" + bytes(100))

    assert not film.is_missing


def answering(body: bytes) -> httpx.MockTransport:
    host = FilmHost(body)

    def answer(request: httpx.Request) -> httpx.Response:
        headers = {"content-type": "video/mp4"}
        return httpx.Response(200, headers=headers, stream=Pieces(host, body, breaks=False))

    return httpx.MockTransport(answer)


@pytest.mark.parametrize("size", [5_000, len(WHOLE)])
async def test_half_a_film_of_untold_length_is_refused(tmp_path: Path, size: int) -> None:
    target = tmp_path / "boat.mp4"
    async with Kling(KlingAI("a-secret-key-0123"), transport=answering(WHOLE[:size])) as kling:
        if size == len(WHOLE):
            await kling.download(RESULT, target)
        else:
            with pytest.raises(DownloadError, match="end in the midst of the film"):
                await kling.download(RESULT, target)

    assert target.exists() == (size == len(WHOLE))
